"""Lesions drawn into hosts: shape, place, generate and blend, with a cgan, against other generators.

    .venv/bin/python scripts/benchmarks/synthesize.py --threads 2
    .venv/bin/python scripts/benchmarks/synthesize.py --threads 2 --dims 3
    .venv/bin/python scripts/benchmarks/synthesize.py generate --threads 2
    .venv/bin/python scripts/benchmarks/synthesize.py stages
    .venv/bin/python scripts/benchmarks/synthesize.py files --threads 2
    .venv/bin/python scripts/benchmarks/synthesize.py training --threads 2
    .venv/bin/python scripts/benchmarks/synthesize.py memory --lesions 50 500 5000

Hosts are made up: a body with two lungs and grain, 256 x 256 in 2D, 128 x 128 x 128 in 3D, one lesion a host; each host is looked
at anew for every lesion, as if it had just been read. The networks have the size of the toy presets and are trained for two steps,
since what they draw does not change how long it takes.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final, Literal, final

import numpy as np

from medaug.core.config import Document
from medaug.core.seeding import SeedTree
from scripts.benchmarks.measure import (
    BenchmarkResult,
    alternate,
    at_least_one,
    limit_threads,
    parser,
    peak_mb,
    show,
    versions,
)

if TYPE_CHECKING:
    from medaug.core.case import Case
    from medaug.core.lesion import Generator
    from medaug.lesions.bank import Bank
    from medaug.synthesis.render import Renderer

SEED: Final = SeedTree(0)
PLAN: Final = "plan.json"
CLASSES: Final = ("solid", "ground_glass")
PATIENTS: Final = 10
BATCH: Final = 16
TRAINING_STEPS: Final = 12
FIT: Final = {"steps": 2, "batch_size": 4}


@final
class Plan(Document):
    """What every side draws; written once, read by the processes whose memory is measured."""

    dims: Literal[2, 3]
    shape: tuple[int, int, int]
    lesions: int
    base: int
    size: tuple[int, ...]
    sampling_steps: int


def patient(number: int, shape: tuple[int, int, int]) -> Case:
    """A CT of air, a body, two lungs, and a lesion of each class."""
    from medaug.core.case import Case
    from medaug.core.geometry import Grid
    from medaug.core.volume import LabelMap, Unit, Volume

    rng = SEED.child("patient", number).rng()
    i, j, k = (np.linspace(-1.0, 1.0, n)[:, None, None] for n in shape)
    j, k = j.reshape(1, -1, 1), k.reshape(1, 1, -1)
    image = np.full(shape, -1000.0, np.float32)
    image[np.broadcast_to((i / 0.92) ** 2 + (j / 0.86) ** 2 < 1, shape)] = 40.0
    labels = np.zeros(shape, np.uint8)
    radius = np.array([rng.uniform(4, 8)] * 3) / (np.array(shape) / 2)
    for name, (side, level) in enumerate(((-0.42, 30.0), (0.42, -550.0)), start=1):
        image[np.broadcast_to(((i - side) / 0.34) ** 2 + (j / 0.62) ** 2 < 1, shape)] = -820.0
        ball = ((i - side) / radius[0]) ** 2 + ((j + 0.2) / radius[1]) ** 2 + (
            k / max(radius[2], 0.02)
        ) ** 2 < 1
        image[np.broadcast_to(ball, shape)], labels[np.broadcast_to(ball, shape)] = level, name
    image += rng.normal(0, 15, shape).astype(np.float32)
    grid, patient_id = Grid(shape, np.eye(4)), f"patient_{number}"
    volume = Volume(np.rint(image)[None], grid, Unit.HU, ("CT",))
    return Case(patient_id, patient_id, volume, LabelMap(labels, grid, CLASSES))


def hosts_and_bank(plan: Plan) -> tuple[list[Case], Bank]:
    """The patients, and the bank of their lesions."""
    from medaug.core.splits import Fold
    from medaug.lesions.bank import bank_of_cases

    cases = [patient(number, plan.shape) for number in range(PATIENTS)]
    names = tuple(case.patient_id for case in cases)
    return cases, bank_of_cases(cases, Fold(index=0, train=names, held_out=("nobody",)))


def prepare(folder: Path, asked: Namespace, kinds: tuple[str, ...]) -> Plan:
    """Fix the settings, and train the generators that are measured."""
    from medaug.core.runs import NoProgress, open_run
    from medaug.generators.base import ReadyConfig, parse_generator, train_generator

    side = asked.size or (256 if asked.dims == 2 else 128)
    shape = (side, side, 1 if asked.dims == 2 else side)
    size = (48, 48) if asked.dims == 2 else (32, 32, 12)
    base = asked.base or (16 if asked.dims == 2 else 12)
    plan = Plan(
        dims=asked.dims,
        shape=shape,
        lesions=asked.lesions[0],
        base=base,
        size=size,
        sampling_steps=asked.sampling_steps,
    )
    plan.write(folder / PLAN)
    _, bank = hosts_and_bank(plan)
    for kind in kinds:
        own: dict[str, object] = (
            {} if kind == "procedural" else {"dims": plan.dims, "size": size, "base": base, **FIT}
        )
        if kind == "diffusion":
            own["sampling_steps"] = plan.sampling_steps
        config = parse_generator({"kind": kind, **own})
        if not isinstance(config, ReadyConfig):
            with open_run(folder / kind, "fit", plan, {}) as run:
                train_generator(config, bank, run, NoProgress(), SEED.child(kind))
    return plan


def generator(folder: Path, kind: str) -> Generator:
    """One that :func:`prepare` trained, or that needs no training."""
    from medaug.generators.base import load_generator

    return load_generator(str(folder / kind) if (folder / kind).is_dir() else kind)


def renderer(folder: Path, kind: str) -> tuple[Renderer, list[Case]]:
    """What draws, and hosts to draw into."""
    import torch

    from medaug.synthesis.render import Renderer

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    cases, bank = hosts_and_bank(Plan.read(folder / PLAN))
    return Renderer(bank, generator(folder, kind)), cases


def insertion(folder: Path, kind: str, count: int = 0) -> Callable[[], int]:
    """Draws lesions, a batch at a time, one a host."""
    from medaug.synthesis.order import Order

    machine, cases = renderer(folder, kind)
    wanted = count or Plan.read(folder / PLAN).lesions

    def insert() -> int:
        voxels = 0
        for start in range(0, wanted, BATCH):
            numbers = range(start, min(start + BATCH, wanted))
            orders = [Order(CLASSES[n % len(CLASSES)]) for n in numbers]
            rngs = [SEED.child("lesion", n).rng() for n in numbers]
            made = machine.render([cases[n % len(cases)] for n in numbers], orders, rngs)
            voxels += sum(int(one.edit_mask.sum()) for one in made)
        if voxels == 0:
            sys.exit(f"{kind} drew nothing")
        return voxels

    return insert


def generation(folder: Path, kind: str) -> Callable[[], int]:
    """The generator alone, on one batch of lesions that have their shape and place."""
    from medaug.synthesis.order import Order

    machine, cases = renderer(folder, kind)
    count = min(BATCH, Plan.read(folder / PLAN).lesions)
    seeds = [SEED.child("lesion", n) for n in range(count)]
    prepared = [
        machine.prepare(machine.view(cases[n % len(cases)]), Order(CLASSES[n % 2]), seed.rng())
        for n, seed in enumerate(seeds)
    ]
    return lambda: len(machine.draw(prepared, [seed.child("draw").rng() for seed in seeds]))


def insert_once(kind: str, count: int, folder: Path) -> int:
    """For the processes whose memory is measured."""
    return insertion(folder, kind, count)()


def generate_once(kind: str, folder: Path) -> int:
    """For the processes whose memory is measured."""
    return generation(folder, kind)()


def compare_insertion(folder: Path, asked: Namespace) -> BenchmarkResult:
    """Lesions with a cgan, and with procedural ones in its place."""
    sides = {"medaug": "cgan", "procedural": "procedural"}
    plan = prepare(folder, asked, tuple(sides.values()))
    calls = {name: insertion(folder, kind) for name, kind in sides.items()}
    seconds = {name: taken / plan.lesions for name, taken in alternate(calls, asked.repeats).items()}
    peaks = {name: peak_mb(partial(insert_once, kind, 0), folder) for name, kind in sides.items()}
    note = f"{1 / seconds['medaug']:.1f} lesions a second with a cgan; {1 / seconds['procedural']:.1f} with procedural"
    ratios = {"procedural": seconds["procedural"] / seconds["medaug"]}
    return result(asked, plan, "a lesion: shape, place, generate, blend", (ratios, seconds, peaks, (note,)))


def compare_generation(folder: Path, asked: Namespace) -> BenchmarkResult:
    """The generate step of a cgan, and of diffusion of the same base width."""
    sides = {"medaug: generate": "cgan", "diffusion: generate": "diffusion"}
    plan = prepare(folder, asked, tuple(sides.values()))
    count = min(BATCH, plan.lesions)
    calls = {name: generation(folder, kind) for name, kind in sides.items()}
    seconds = {name: taken / count for name, taken in alternate(calls, asked.repeats).items()}
    peaks = {name: peak_mb(partial(generate_once, kind), folder) for name, kind in sides.items()}
    note = f"diffusion takes {plan.sampling_steps} steps; {count} lesions in one call, base width {plan.base} for both"
    ratios = {"diffusion: generate": seconds["diffusion: generate"] / seconds["medaug: generate"]}
    return result(asked, plan, "the generator alone, a lesion", (ratios, seconds, peaks, (note,)))


@contextmanager
def stopwatch(owner: ModuleType | type, name: str, taken: dict[str, float]) -> Iterator[None]:
    """Time every call of a function that a module, or of a method that a class, calls by name."""
    original = getattr(owner, name)

    def timed(*given: object, **named: object) -> object:
        begun = time.perf_counter()
        try:
            return original(*given, **named)
        finally:
            taken[name] = taken.get(name, 0.0) + time.perf_counter() - begun

    setattr(owner, name, timed)
    try:
        yield
    finally:
        setattr(owner, name, original)


def stages(folder: Path, asked: Namespace) -> BenchmarkResult:
    """How long each part of a lesion takes; one lesion after the other, the generator in batches."""
    from medaug.synthesis import prepare as preparing
    from medaug.synthesis.order import Order

    plan = prepare(folder, asked, ("cgan",))
    machine, cases = renderer(folder, "cgan")
    taken: dict[str, float] = {}
    parts = {"place": 0.0, "shape": 0.0, "generate": 0.0, "blend": 0.0}
    with stopwatch(preparing, "find_site", taken):
        for turn in range(-1, asked.repeats):
            if turn == 0:  # the first round is a warm-up
                taken.clear()
                parts = dict.fromkeys(parts, 0.0)
            for start in range(0, plan.lesions, BATCH):
                numbers = range(start, min(start + BATCH, plan.lesions))
                clock = [time.perf_counter()]
                views = [machine.view(cases[n % len(cases)]) for n in numbers]
                tissues = [
                    machine.tissue(view, CLASSES[n % 2]) for n, view in zip(numbers, views, strict=True)
                ]
                clock.append(time.perf_counter())
                rngs = [SEED.child("lesion", n).rng() for n in numbers]
                ready = [
                    machine.prepare(view, Order(CLASSES[n % 2]), rng, tissue)
                    for n, view, rng, tissue in zip(numbers, views, rngs, tissues, strict=True)
                ]
                clock.append(time.perf_counter())
                drawn = machine.draw(ready, rngs)
                clock.append(time.perf_counter())
                for one, lesion in zip(ready, drawn, strict=True):
                    machine.insert(one, lesion)
                clock.append(time.perf_counter())
                for name, spent in zip(("place", "shape", "generate", "blend"), np.diff(clock), strict=True):
                    parts[name] += float(spent)
    searching = taken.get("find_site", 0.0)
    parts["place"] += searching
    parts["shape"] -= searching
    lesions = asked.repeats * plan.lesions
    seconds = {name: spent / lesions for name, spent in parts.items()}
    whole = sum(seconds.values())
    note = ", ".join(f"{name} {spent / whole:.0%}" for name, spent in seconds.items())
    peak = peak_mb(partial(insert_once, "cgan", 0), folder)
    return result(asked, plan, "parts of a lesion", ({}, seconds, dict.fromkeys(seconds, peak), (note,)))


def measure_files(folder: Path, asked: Namespace) -> BenchmarkResult:
    """Reading hosts and writing cases, apart, and overlapped with the drawing in `medaug synthesize`."""
    from medaug.core.case import SPLITS, Manifest
    from medaug.core.runs import NoProgress
    from medaug.core.splits import Fold, Splits
    from medaug.io.dataset import CaseFacts, finish_dataset, load_case, write_case
    from medaug.workflows.bank import BankOptions, bank
    from medaug.workflows.fit import FitOptions, fit
    from medaug.workflows.synthesize import SynthesizeOptions, synthesize

    plan = prepare(folder, asked, ())
    cases, _ = hosts_and_bank(plan)
    dataset = folder / "set"
    records = [write_case(dataset, case, CaseFacts(modality="CT")) for case in cases]
    manifest = Manifest(name="made_up", classes=CLASSES, cases=tuple(records))
    finish_dataset(dataset, manifest, ())
    fold = Fold(index=0, train=manifest.patient_ids, held_out=("nobody",))
    Splits(seed=0, dataset_sha256=manifest.content_sha256, folds=(fold,)).write(dataset / SPLITS)
    bank(BankOptions(dataset=dataset, out=folder / "bank"), NoProgress())
    size = "".join(f"{key}: {value}\n" for key, value in FIT.items())
    (folder / "cgan.yaml").write_text(
        f"kind: cgan\ndims: {plan.dims}\nsize: {list(plan.size)}\nbase: {plan.base}\n{size}", encoding="utf-8"
    )
    fit(
        FitOptions(dataset=dataset, bank=folder / "bank", config=folder / "cgan.yaml", out=folder / "cgan"),
        NoProgress(),
    )
    turn = iter(range(10**6))

    def together() -> None:
        synthesize(
            SynthesizeOptions(
                dataset=dataset,
                bank=folder / "bank",
                generator=str(folder / "cgan"),
                per_class=(f"solid={plan.lesions}",),
                out=folder / f"made_{next(turn)}",
            ),
            NoProgress(),
        )

    calls = {
        "read": lambda: [load_case(dataset, records[n % len(records)], CLASSES) for n in range(plan.lesions)],
        "draw": insertion(folder, "cgan"),
        "write": lambda: [
            write_case(folder / "again", cases[n % len(cases)], CaseFacts(modality="CT"))
            for n in range(plan.lesions)
        ],
        "together": together,
    }
    seconds = {name: taken / plan.lesions for name, taken in alternate(calls, asked.repeats).items()}
    apart = seconds["read"] + seconds["draw"] + seconds["write"]
    note = f"one after the other they would take {apart:.4f} s a lesion, {apart / seconds['together']:.2f} times as long"
    peak = peak_mb(partial(insert_once, "cgan", 0), folder)
    return result(asked, plan, "files, a lesion", ({}, seconds, dict.fromkeys(seconds, peak), (note,)))


def measure_training(folder: Path, asked: Namespace) -> BenchmarkResult:
    """A training step of a segmenter whose synthetic patches are drawn on the fly; and what of it is drawing."""
    from medaug.core.intensity import IntensityScheme
    from medaug.core.runs import NoProgress, open_run
    from medaug.synthesis.source import StreamingSource, StreamOptions
    from medaug.tasks.base import TrainingData
    from medaug.tasks.segmentation import Config
    from medaug.transforms.none import Config as Plain

    plan = prepare(folder, asked, ("cgan",))
    machine, cases = renderer(folder, "cgan")
    source = StreamingSource(cases, machine, StreamOptions(plan.dims))
    scheme = IntensityScheme.for_volume(cases[0].volume)
    data = TrainingData(tuple(cases), CLASSES, scheme, source)
    patch, batch = ((64, 64), 12) if plan.dims == 2 else ((48, 48, 48), 2)
    task = Config(
        dims=plan.dims, patch_size=patch, batch_size=batch, steps=TRAINING_STEPS, synthetic_share=0.5
    )
    spent: list[tuple[float, float, float]] = []
    for turn in range(asked.repeats + 1):
        taken: dict[str, float] = {}
        with (
            open_run(folder / f"training_{turn}", "train", plan, {}) as run,
            stopwatch(type(source), "draw", taken),
            stopwatch(type(machine.generator), "generate", taken),
        ):
            report = task.build("cpu").fit(data, Plain().build(scheme.unit), run, NoProgress(), SEED)
        spent.append((report.seconds, taken["draw"], taken["generate"]))
    steps, draws, generates = (float(v) / TRAINING_STEPS for v in np.median(spent[1:], axis=0))
    seconds = {"step": steps, "draw": draws, "generate": generates}
    said = " x ".join(map(str, patch))
    note = (
        f"drawing is {draws / steps:.0%} of a step of {batch} patches of {said}, half of them synthetic; "
        f"the generator alone {generates / steps:.0%}"
    )
    peak = peak_mb(partial(insert_once, "cgan", 0), folder)
    return result(asked, plan, "a training step", ({}, seconds, dict.fromkeys(seconds, peak), (note,)))


def measure_memory(folder: Path, asked: Namespace) -> BenchmarkResult:
    """Time and peak memory for few and for many lesions."""
    plan = prepare(folder, asked, ("cgan",))
    seconds, peaks = {}, {}
    for count in asked.lesions:
        begun = time.perf_counter()
        insertion(folder, "cgan", count)()
        seconds[f"{count} lesions"] = time.perf_counter() - begun
        peaks[f"{count} lesions"] = peak_mb(partial(insert_once, "cgan", count), folder)
    fewest, most = asked.lesions[0], asked.lesions[-1]
    times = seconds[f"{most} lesions"] / seconds[f"{fewest} lesions"]
    note = f"{most} lesions take {times:.1f} times as long as {fewest}"
    return result(asked, plan, "all lesions", ({}, seconds, peaks, (note,)))


Figures = tuple[dict[str, float], dict[str, float], dict[str, float], tuple[str, ...]]


def result(asked: Namespace, plan: Plan, what: str, figures: Figures) -> BenchmarkResult:
    """The record that is printed."""
    ratios, seconds, peaks, notes = figures
    size = " x ".join(map(str, plan.shape[: plan.dims]))
    return BenchmarkResult(
        name="synthesize",
        setting=f"{what}; hosts of {size}, on the CPU",
        ratios={name: round(ratio, 3) for name, ratio in ratios.items()},
        seconds={name: round(taken, 6) for name, taken in seconds.items()},
        peaks_mb=peaks,
        threads=asked.threads,
        repeats=asked.repeats,
        versions=versions("torch", "monai", "scipy"),
        notes=notes,
    )


MEASURES: Final = {
    "insert": compare_insertion,
    "generate": compare_generation,
    "stages": stages,
    "files": measure_files,
    "training": measure_training,
    "memory": measure_memory,
}
_LESIONS: Final = {"memory": [50, 500], "generate": [16], "files": [20]}


def main() -> int:
    """Read the command line, measure, and print."""
    options = parser("Draw lesions into hosts, and time it.", repeats=5)
    options.add_argument("what", nargs="?", choices=tuple(MEASURES), default="insert")
    options.add_argument("--dims", type=int, choices=(2, 3), default=2)
    options.add_argument(
        "--size", type=at_least_one, help="voxels a side of a host (default 256 in 2D, 128 in 3D)"
    )
    options.add_argument(
        "--lesions", type=at_least_one, nargs="+", help="a repeat (default 32; memory 50 500)"
    )
    options.add_argument(
        "--base", type=at_least_one, help="width of the networks (default 16 in 2D, 12 in 3D)"
    )
    options.add_argument("--sampling-steps", type=at_least_one, default=50, help="of diffusion (default 50)")
    asked = options.parse_args()
    asked.lesions = asked.lesions or _LESIONS.get(asked.what, [32])
    limit_threads(asked.threads)
    with tempfile.TemporaryDirectory() as name:
        figures = MEASURES[asked.what](Path(name), asked)
    show(figures, as_json=asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
