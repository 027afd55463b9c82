"""A segmentation training step with its data and augmentation, against the same step on batches made beforehand.

    .venv/bin/python scripts/benchmarks/train.py --json
    .venv/bin/python scripts/benchmarks/train.py --dims 3

The peer ``bare`` is a loop by hand: forward, loss, backward, clipping, optimiser, on tensors that lie ready. Its
network begins with the same weights and sees the same batches; the losses must agree before anything is timed.
The ratio is at most about 1: what is missing to 1 is the price of sampling, augmentation and book-keeping.
"""

from __future__ import annotations

import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable
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
    from torch import nn
    from torch.optim import Optimizer

    from medaug.core.case import Case
    from medaug.tasks._segmentation.sampling import BatchMaker

SEED: Final = SeedTree(0)
PLAN: Final = "plan.json"
RATE: Final = 1e-3
CLIP: Final = 12.0
Losses = list[float]


@final
class Plan(Document):
    """What both sides train; written once, read by the processes whose memory is measured."""

    dims: Literal[2, 3]
    patch: tuple[int, ...]
    batch_size: int
    widths: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]
    lesion_patch_share: float
    steps: int


def prepare(folder: Path, asked: Namespace) -> Plan:
    """Draw phantom patients and fix the settings: those of `medaug train` where the command line names none."""
    import torch

    from medaug.phantom.cohort import PhantomSpec, draw_patient, list_patients
    from medaug.tasks._segmentation.network import plan_strides
    from medaug.tasks._segmentation.planning import plan_patch
    from medaug.tasks.segmentation import Config

    n = asked.patients
    spec = PhantomSpec(solid=n, ground_glass=n, both=n, lesion_free=0, shape=tuple(asked.shape))
    scans = [draw_patient(spec, patient) for patient in list_patients(spec)]
    images, labels = ([scan.volume.image for scan in scans], [scan.label_map.labels for scan in scans])
    np.savez(folder / "cases.npz", images=np.stack(images), labels=np.stack(labels))
    config = Config(dims=asked.dims, batch_size=asked.batch_size or (12 if asked.dims == 2 else 2))
    patch = plan_patch(spec.shape, config.dims, config.levels)
    plan = Plan(
        dims=config.dims,
        patch=patch,
        batch_size=config.batch_size,
        widths=config.widths,
        strides=plan_strides(patch, config.levels, full_resolution=config.full_resolution),
        lesion_patch_share=config.lesion_patch_share,
        steps=asked.steps,
    )
    plan.write(folder / PLAN)
    maker = batch_maker(folder, plan)
    device = torch.device("cpu")
    batches = [maker.batch(step, device).patches for step in range(plan.steps)]
    np.savez(
        folder / "batches.npz",
        images=torch.stack([batch.images for batch in batches]).numpy(),
        labels=torch.stack([batch.labels for batch in batches]).numpy(),
    )
    return plan


def read_cases(folder: Path) -> tuple[Case, ...]:
    """The drawn patients, on a grid of 1 mm."""
    from medaug.core.case import Case
    from medaug.core.geometry import Grid
    from medaug.core.volume import LabelMap, Unit, Volume
    from medaug.phantom.growth import CLASSES

    with np.load(folder / "cases.npz") as stored:
        pairs = list(zip(stored["images"], stored["labels"], strict=True))
    cases = []
    for number, (image, labels) in enumerate(pairs):
        grid = Grid(labels.shape, np.eye(4))
        name, volume = f"phantom_{number}", Volume(image, grid, Unit.HU, ("CT",))
        cases.append(Case(name, name, volume, LabelMap(labels, grid, CLASSES)))
    return tuple(cases)


def batch_maker(folder: Path, plan: Plan) -> BatchMaker:
    """Batches as `medaug train` makes them, with classical augmentation."""
    from medaug.core.intensity import IntensityScheme
    from medaug.phantom.growth import CLASSES
    from medaug.tasks._segmentation.sampling import BatchMaker, PatchPool, Shares
    from medaug.transforms.classical import Config as Classical

    cases = read_cases(folder)
    scheme = IntensityScheme.for_volume(cases[0].volume)
    pool = PatchPool(cases, scheme, CLASSES, plan.patch)
    shares = Shares(plan.batch_size, plan.lesion_patch_share, 0.0, 0.0)
    augment = Classical().build(scheme.unit)
    return BatchMaker(pool, None, augment, shares.counts(plan.steps), plan.batch_size, SEED)


def fresh_network(plan: Plan) -> tuple[nn.Module, Optimizer]:
    """The same weights at every call."""
    import torch

    from medaug.phantom.growth import CLASSES
    from medaug.tasks._segmentation.learner import build_optimiser
    from medaug.tasks._segmentation.network import build_network, initialise

    network = build_network(1, len(CLASSES) + 1, plan.widths, plan.strides)
    initialise(network, torch.Generator().manual_seed(SEED.seed))
    return network.train(), build_optimiser(network, "adamw", RATE)


def medaug_training(folder: Path) -> Callable[[], Losses]:
    """Training as `medaug train` does it: every call takes all steps and gives their losses."""
    import torch

    from medaug.tasks._segmentation.learner import SegmentationLearner

    plan = Plan.read(folder / PLAN)
    network, optimiser = fresh_network(plan)
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
    network, optimiser = fresh_network(plan)
    layout = torch.channels_last if plan.dims == 2 else torch.channels_last_3d
    criterion = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False, batch=True)
    with np.load(folder / "batches.npz") as stored:
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


def compare(folder: Path, plan: Plan, repeats: int, threads: int) -> BenchmarkResult:
    """Check that both sides learn the same, then time them and measure their memory."""
    ours, theirs = train_medaug(folder), train_bare(folder)
    if not np.allclose(ours, theirs, rtol=1e-3):
        sys.exit(f"losses differ: {ours} and {theirs}")
    calls = {"medaug": medaug_training(folder), "bare": bare_training(folder)}
    seconds = {name: taken / plan.steps for name, taken in alternate(calls, repeats).items()}
    size = " x ".join(map(str, plan.patch))
    return BenchmarkResult(
        name="train",
        setting=f"one U-Net training step, {plan.batch_size} patches of {size}, on the CPU",
        ratios={"bare": round(seconds["bare"] / seconds["medaug"], 3)},
        seconds={name: round(taken, 6) for name, taken in seconds.items()},
        peaks_mb={"medaug": peak_mb(train_medaug, folder), "bare": peak_mb(train_bare, folder)},
        threads=threads,
        repeats=repeats,
        versions=versions("torch", "monai"),
        notes=(),
    )


def main() -> int:
    """Read the command line, draw the patients, and print."""
    options = parser("Train a segmenter with data and augmentation, and bare.", repeats=7)
    options.add_argument("--dims", type=int, choices=(2, 3), default=2)
    options.add_argument("--patients", type=at_least_one, default=4, help="phantoms (default 4)")
    options.add_argument(
        "--shape", type=at_least_one, nargs=3, default=(96, 96, 16), help="of a phantom (default 96 96 16)"
    )
    options.add_argument("--batch-size", type=at_least_one, help="patches a step (default 12 in 2D, 2 in 3D)")
    options.add_argument("--steps", type=at_least_one, default=4, help="a repeat (default 4)")
    asked = options.parse_args()
    limit_threads(asked.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result = compare(folder, prepare(folder, asked), asked.repeats, asked.threads)
    show(result, as_json=asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
