"""A segmentation training step against the same step by hand, and the labelling of a volume against MONAI's.

    .venv/bin/python scripts/benchmarks/train.py --json
    .venv/bin/python scripts/benchmarks/train.py --dims 3
    .venv/bin/python scripts/benchmarks/train.py --dataset dataset      # its training patients of fold 0, not phantoms
    .venv/bin/python scripts/benchmarks/train.py inference --json

The peer ``bare`` is a loop by hand: forward, loss, backward, clipping, optimiser, on tensors that lie ready. Its
network begins with the same weights and sees the same batches; the losses must agree before anything is timed.
medaug's step cuts its patches too; augmentation and synthesis on the fly come on top, and are measured apart.

The peer ``monai`` is its sliding window, with Gaussian weights and half an overlap; the scores must agree.
"""

from __future__ import annotations

import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
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
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from medaug.core.case import Case
    from medaug.engine.augment import BatchAugment
    from medaug.synthesis.source import StreamingSource
    from medaug.tasks._segmentation.sampling import BatchMaker

SEED: Final = SeedTree(0)
PLAN, CASES, BATCHES = "plan.json", "cases.npz", "batches.npz"
RATE: Final = 1e-3
CLIP: Final = 12.0
SYNTHETIC_SHARE: Final = 0.5
WINDOW: Final = {2: (64, 64), 3: (32, 32, 16)}
FOLD: Final = 0
Losses = list[float]


@final
class Plan(Document):
    """What both sides train; written once, read by the processes whose memory is measured."""

    dataset: Path | None
    patients: int
    dims: Literal[2, 3]
    patch: tuple[int, ...]
    batch_size: int
    widths: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]
    lesion_patch_share: float
    steps: int


def prepare(folder: Path, asked: Namespace) -> Plan:
    """Draw phantom patients and fix the settings: those of `medaug train` where the command line names none."""
    from medaug.phantom.cohort import PhantomSpec, draw_patient, list_patients
    from medaug.tasks._segmentation.planning import choose_topology, plan_widths
    from medaug.tasks.segmentation import Config

    shape = tuple(asked.shape)
    if asked.dataset is None:
        n = asked.patients
        spec = PhantomSpec(solid=n, ground_glass=n, both=n, lesion_free=0, shape=shape)
        scans = [draw_patient(spec, patient) for patient in list_patients(spec)]
        images, labels = ([scan.volume.image for scan in scans], [scan.label_map.labels for scan in scans])
        np.savez(folder / CASES, images=np.stack(images), labels=np.stack(labels))
    else:
        shape = median_shape(cases_of(asked.dataset, asked.patients))
    batch_size = asked.batch_size or (12 if asked.dims == 2 else 2)
    config = Config(dims=asked.dims, batch_size=batch_size, patch_size=asked.patch)
    topology = choose_topology(config.wishes, shape, (1.0,) * config.dims)
    plan = Plan(
        dataset=asked.dataset,
        patients=asked.patients,
        dims=config.dims,
        patch=topology.patch,
        batch_size=config.batch_size or 1,
        widths=plan_widths(config.network, config.base_channels, len(topology.strides)),
        strides=topology.strides,
        lesion_patch_share=config.lesion_patch_share,
        steps=asked.steps,
    )
    plan.write(folder / PLAN)
    return plan


def cases_of(dataset: Path, count: int) -> tuple[Case, ...]:
    """Labelled cases of the first training patients of a dataset's fold."""
    from medaug.core.case import read_manifest
    from medaug.core.splits import read_splits
    from medaug.io.dataset import load_case

    manifest = read_manifest(dataset)
    chosen = read_splits(dataset, manifest).fold(FOLD).train
    records = [one for one in manifest.cases if one.label is not None and one.patient_id in chosen]
    return tuple(load_case(dataset, record, manifest.classes) for record in records[:count])


def median_shape(cases: tuple[Case, ...]) -> tuple[int, int, int]:
    """Of the cases, axis by axis."""
    i, j, k = (int(n) for n in np.median([case.volume.grid.shape for case in cases], axis=0))
    return i, j, k


def read_cases(folder: Path, plan: Plan) -> tuple[Case, ...]:
    """The cases of the dataset, or the drawn patients on a grid of 1 mm."""
    from medaug.core.case import Case
    from medaug.core.geometry import Grid
    from medaug.core.volume import LabelMap, Unit, Volume
    from medaug.phantom.growth import CLASSES

    if plan.dataset is not None:
        return cases_of(plan.dataset, plan.patients)
    with np.load(folder / CASES) as stored:
        pairs = list(zip(stored["images"], stored["labels"], strict=True))
    cases = []
    for number, (image, labels) in enumerate(pairs):
        grid = Grid(labels.shape, np.eye(4))
        name, volume = f"phantom_{number}", Volume(image, grid, Unit.HU, ("CT",))
        cases.append(Case(name, name, volume, LabelMap(labels, grid, CLASSES)))
    return tuple(cases)


def batch_maker(folder: Path, plan: Plan, *, augmented: bool = False, synthetic: bool = False) -> BatchMaker:
    """Batches as `medaug train` makes them: patches alone, with classical augmentation, or half of the lesions new."""
    from medaug.core.intensity import IntensityScheme
    from medaug.tasks._segmentation.sampling import BatchMaker, PatchPool, SyntheticPatches
    from medaug.tasks._training.dealing import Dealing, Shares
    from medaug.transforms.classical import Config as Classical
    from medaug.transforms.none import Config as Plain

    cases = read_cases(folder, plan)
    scheme, classes = IntensityScheme.for_volume(cases[0].volume), class_names(cases)
    pool = PatchPool(cases, scheme, classes, plan.patch)
    source = SyntheticPatches(streaming(cases, plan), scheme, classes, plan.patch) if synthetic else None
    share = SYNTHETIC_SHARE if synthetic else 0.0
    shares = Shares(plan.batch_size, plan.lesion_patch_share, (share,) * len(classes))
    augment: BatchAugment = Classical().build(scheme.unit) if augmented else Plain().build(scheme.unit)
    return BatchMaker(pool, source, augment, Dealing(shares, plan.steps), SEED)


def class_names(cases: tuple[Case, ...]) -> tuple[str, ...]:
    """Names of label ids 1, 2, ... in order."""
    return cases[0].label_map.class_names if cases[0].label_map is not None else ()


def streaming(cases: tuple[Case, ...], plan: Plan) -> StreamingSource:
    """Lesions of the bank pasted when they are needed."""
    from medaug.core.splits import Fold
    from medaug.generators.base import load_generator
    from medaug.lesions.bank import bank_of_cases
    from medaug.synthesis.render import Renderer
    from medaug.synthesis.source import StreamingSource, StreamOptions

    names = tuple(dict.fromkeys(case.patient_id for case in cases))
    bank = bank_of_cases(cases, Fold(index=FOLD, train=names, held_out=("nobody",)))
    return StreamingSource(cases, Renderer(bank, load_generator("copy_paste")), StreamOptions(plan.dims))


def write_batches(folder: Path, plan: Plan) -> None:
    """The batches of all steps, for the bare side."""
    import torch

    maker, device = batch_maker(folder, plan), torch.device("cpu")
    batches = [maker.batch(step, device).patches for step in range(plan.steps)]
    np.savez(
        folder / BATCHES,
        images=torch.stack([batch.images for batch in batches]).numpy(),
        labels=torch.stack([batch.labels for batch in batches]).numpy(),
    )


def fresh_network(folder: Path, plan: Plan) -> tuple[nn.Module, Optimizer]:
    """The same weights at every call."""
    import torch

    from medaug.tasks._segmentation.network import build_network, initialise
    from medaug.tasks._training.optimiser import build_optimiser

    cases = read_cases(folder, plan)
    channels, classes = len(cases[0].volume.channels), class_names(cases)
    network = build_network(channels, len(classes) + 1, plan.widths, plan.strides)
    initialise(network, torch.Generator().manual_seed(SEED.seed))
    return network.train(), build_optimiser(network, "adamw", RATE)


def medaug_training(folder: Path) -> Callable[[], Losses]:
    """Training as `medaug train` does it, without augmentation: every call takes all steps and gives their losses."""
    import torch

    from medaug.tasks._segmentation.learner import SegmentationLearner

    plan = Plan.read(folder / PLAN)
    network, optimiser = fresh_network(folder, plan)
    rates = (RATE,) * plan.steps
    batches, device = batch_maker(folder, plan), torch.device("cpu")
    learner = SegmentationLearner(network, optimiser, rates, batches, device)
    return lambda: [learner.train_step(step)["loss"] for step in range(plan.steps)]


def bare_training(folder: Path) -> Callable[[], Losses]:
    """The same optimiser steps on tensors that are there already."""
    import torch
    from monai.losses.dice import DiceCELoss
    from torch.nn.utils import clip_grad_norm_

    plan = Plan.read(folder / PLAN)
    network, optimiser = fresh_network(folder, plan)
    layout = torch.channels_last if plan.dims == 2 else torch.channels_last_3d
    criterion = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False, batch=True)
    with np.load(folder / BATCHES) as stored:
        images = [torch.from_numpy(batch).to(memory_format=layout) for batch in stored["images"]]
        labels = [torch.from_numpy(batch)[:, None].long() for batch in stored["labels"]]

    def train() -> Losses:
        losses = []
        for image, label in zip(images, labels, strict=True):
            optimiser.zero_grad(set_to_none=True)
            loss = criterion(network(image), label)
            loss.backward()
            clip_grad_norm_(network.parameters(), CLIP)
            optimiser.step()
            losses.append(float(loss.detach()))
        return losses

    return train


def train_medaug(folder: Path) -> Losses:
    """All steps once, from a fresh network."""
    return medaug_training(folder)()


def train_bare(folder: Path) -> Losses:
    """All steps once, from a fresh network."""
    return bare_training(folder)()


def making(folder: Path, *, augmented: bool = False, synthetic: bool = False) -> Callable[[], None]:
    """Makes the batches of all steps and trains nothing."""
    import torch

    plan, device = Plan.read(folder / PLAN), torch.device("cpu")
    maker = batch_maker(folder, plan, augmented=augmented, synthetic=synthetic)

    def make() -> None:
        for step in range(plan.steps):
            maker.batch(step, device)

    return make


def compare_steps(folder: Path, asked: Namespace) -> BenchmarkResult:
    """Check that both sides learn the same, then time them and measure their memory."""
    plan = prepare(folder, asked)
    write_batches(folder, plan)
    ours, theirs = train_medaug(folder), train_bare(folder)
    if not np.allclose(ours, theirs, rtol=1e-3):
        sys.exit(f"losses differ: {ours} and {theirs}")
    calls: dict[str, Callable[[], object]] = {
        "medaug": medaug_training(folder),
        "bare": bare_training(folder),
        "cut": making(folder),
        "augment": making(folder, augmented=True),
        "synthesise": making(folder, synthetic=True),
    }
    taken = {
        name: all_steps / plan.steps
        for name, all_steps in alternate(calls, asked.repeats, CLOCKS[asked.clock]).items()
    }
    seconds = {name: taken[name] for name in ("medaug", "bare")}
    peaks = {"medaug": peak_mb(train_medaug, folder), "bare": peak_mb(train_bare, folder)}
    what = f"one U-Net training step, {plan.batch_size} patches of {size_of(plan)}, on the CPU"
    return result(asked, what, seconds, peaks, extras(taken))


def extras(taken: dict[str, float]) -> tuple[str, ...]:
    """What a step may cost beside the training itself."""
    cut, bare = taken["cut"], taken["bare"]
    augment, draw = taken["augment"] - cut, taken["synthesise"] - cut
    share = f"{SYNTHETIC_SHARE:.0%} of the lesions pasted on the fly"
    return (
        f"included: cutting patches, {cut * 1e3:.1f} ms, {cut / bare:.0%} of the bare step",
        f"not included: classical augmentation, {augment * 1e3:.1f} ms, {augment / bare:.0%} of the bare step",
        f"not included: {share}, {draw * 1e3:.1f} ms, {draw / bare:.0%} of the bare step",
    )


def labelling(folder: Path, side: str) -> Callable[[], Tensor]:
    """Scores of a whole volume, by medaug's windows or by MONAI's."""
    import torch
    from monai.inferers.utils import sliding_window_inference

    from medaug.core.intensity import IntensityScheme
    from medaug.engine.launch import memory_format
    from medaug.tasks._segmentation.sliding import SlidingWindow

    plan, device = Plan.read(folder / PLAN), torch.device("cpu")
    volume = read_cases(folder, plan)[0].volume
    image = IntensityScheme.for_volume(volume).case_scale(volume).normalise(volume.image)
    shown = torch.from_numpy(
        np.ascontiguousarray(np.moveaxis(image, -1, 0) if plan.dims == 2 else image[None])
    )
    network = fresh_network(folder, plan)[0].eval()
    laid = shown.to(memory_format=memory_format(plan.dims))

    @torch.inference_mode()
    def label() -> Tensor:
        if side == "medaug":
            return SlidingWindow(network, plan.patch, device).logits(shown)
        found = sliding_window_inference(laid, plan.patch, 4, network, overlap=0.5, mode="gaussian")
        return torch.as_tensor(found)

    return label


def label_once(side: str, folder: Path) -> object:
    """One volume, in a process of its own."""
    return labelling(folder, side)()


def compare_inference(folder: Path, asked: Namespace) -> BenchmarkResult:
    """Check that both sides give the same scores, then time them and measure their memory."""
    plan = prepare(folder, asked if asked.patch else Namespace(**vars(asked) | {"patch": WINDOW[asked.dims]}))
    shape = read_cases(folder, plan)[0].volume.grid.shape
    if any(size > n for size, n in zip(plan.patch, shape, strict=False)):
        sys.exit(f"--patch {size_of(plan)} is larger than the volume")
    calls = {side: labelling(folder, side) for side in ("medaug", "monai")}
    ours, theirs = (call().numpy() for call in calls.values())
    if not np.allclose(ours, theirs, atol=1e-4):
        sys.exit(f"scores differ by {np.abs(ours - theirs).max()}")
    seconds = alternate(calls, asked.repeats, CLOCKS[asked.clock])
    peaks = {side: peak_mb(partial(label_once, side), folder) for side in calls}
    whole = " x ".join(map(str, shape))
    return result(asked, f"a volume of {whole} labelled in windows of {size_of(plan)}", seconds, peaks, ())


def size_of(plan: Plan) -> str:
    """The patch in words."""
    return " x ".join(map(str, plan.patch))


def result(
    asked: Namespace, what: str, seconds: dict[str, float], peaks: dict[str, float], notes: tuple[str, ...]
) -> BenchmarkResult:
    """The record that is printed."""
    peer = next(side for side in seconds if side != "medaug")
    return BenchmarkResult(
        name="train",
        setting=what,
        ratios={peer: round(seconds[peer] / seconds["medaug"], 3)},
        seconds={name: round(taken, 6) for name, taken in seconds.items()},
        peaks_mb=peaks,
        threads=asked.threads,
        repeats=asked.repeats,
        versions=versions("torch", "monai"),
        notes=notes,
    )


MEASURES: Final = {"step": compare_steps, "inference": compare_inference}
CLOCKS: Final = {"wall": time.perf_counter, "cpu": time.process_time}


def main() -> int:
    """Read the command line, draw the patients, and print."""
    options = parser("Train a segmenter and label a volume, with medaug and without.", repeats=9)
    options.add_argument("what", nargs="?", choices=tuple(MEASURES), default="step")
    options.add_argument("--dims", type=int, choices=(2, 3), default=2)
    options.add_argument(
        "--patients", type=at_least_one, default=4, help="phantoms of a kind, or cases (default 4)"
    )
    options.add_argument(
        "--shape", type=at_least_one, nargs=3, default=(96, 96, 16), help="of a phantom (default 96 96 16)"
    )
    options.add_argument("--dataset", type=Path, help="dataset folder with folds, in place of phantoms")
    options.add_argument(
        "--patch", type=at_least_one, nargs="+", help="or window; default: planned, or 64 64 or 32 32 16"
    )
    options.add_argument("--batch-size", type=at_least_one, help="patches a step (default 12 in 2D, 2 in 3D)")
    options.add_argument("--steps", type=at_least_one, default=4, help="a repeat (default 4)")
    options.add_argument(
        "--clock",
        choices=tuple(CLOCKS),
        default="wall",
        help="cpu: time of this process alone, on a busy machine",
    )
    asked = options.parse_args()
    limit_threads(asked.threads)
    with tempfile.TemporaryDirectory() as name:
        found = MEASURES[asked.what](Path(name), asked)
    show(found, as_json=asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
