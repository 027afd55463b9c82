"""Augmentation of images with their labels: medaug against MONAI, TorchIO and batchgeneratorsv2.

    .venv/bin/python scripts/benchmarks/augment.py --json             # 3D; peers: pip install torchio batchgeneratorsv2
    .venv/bin/python scripts/benchmarks/augment.py --dims 2           # 32 images of 256 x 256
    .venv/bin/python scripts/benchmarks/augment.py --operations       # one by one, against MONAI's class where it has one
    .venv/bin/python scripts/benchmarks/augment.py --device cuda      # medaug on a GPU, copying included; peers stay

Every operation happens to every image, and all sides draw their parameters from the same ranges (``augment_peers.py``):
medaug's at magnitude 1. Before anything is timed, each operation of each side must change the image about as much as
medaug's does, and move the labels where it is one of geometry. What a peer lacks is left out on both sides.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import warnings
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from scripts.benchmarks.measure import (
    BenchmarkResult,
    Peer,
    alternate,
    at_least_one,
    limit_threads,
    parser,
    peak_mb,
    show,
    versions,
)

if TYPE_CHECKING:
    from torch import Tensor

    from medaug.engine.augment import PatchBatch
    from scripts.benchmarks.augment_peers import Build, Interpolation

SPATIAL: Final = ("flip", "rotate", "scale", "shear", "translate", "elastic")
PIPELINE: Final = (*SPATIAL, "gamma", "bias_field", "blur", "gaussian_noise")
# Operations timed alone: the affine ones are one, as they are in every peer
ALONE: Final[dict[str, tuple[str, ...]]] = {
    "flip": ("flip",),
    "affine": ("rotate", "scale", "shear", "translate"),
    "elastic": ("elastic",),
    "gamma": ("gamma",),
    "bias_field": ("bias_field",),
    "blur": ("blur",),
    "gaussian_noise": ("gaussian_noise",),
    "brightness": ("brightness",),
    "contrast": ("contrast",),
    "histogram_warp": ("histogram_warp",),
    "sharpen": ("sharpen",),
    "low_resolution": ("low_resolution",),
    "rician_noise": ("rician_noise",),
    "spikes": ("spikes",),
}
SMALL: Final = {2: (96, 96), 3: (48, 48, 48)}
DRAWS: Final = 12
# Mean changes of two sides may differ by this factor: they come from a few draws of each
LIKENESS: Final = 3.0
# Peaks of several processes differ: what the heap keeps of freed memory depends on the order of threads.
# So many are looked at, or as many as there are repeats
_PROCESSES: Final = 3
_MMAP: Final = "MALLOC_MMAP_THRESHOLD_"
Run = Callable[[], tuple["Tensor", "Tensor"]]


@final
@dataclass(frozen=True, slots=True)
class Setting:
    """What is augmented; small enough to be handed to the processes whose memory is measured."""

    shape: tuple[int, ...]
    batch: int
    interpolation: Interpolation
    device: str


@final
@dataclass(frozen=True, slots=True)
class Peers:
    """A package that augments too."""

    package: str
    install: str
    build: str
    lacks: frozenset[str] = frozenset()
    dims: tuple[int, ...] = (2, 3)

    def function(self) -> Build:
        """Its part of ``augment_peers.py``, imported when it is needed."""
        from scripts.benchmarks import augment_peers

        build: Build = getattr(augment_peers, self.build)
        return build


PEERS: Final[dict[Peer, Peers]] = {
    "monai": Peers("monai", "it comes with medaug", "monai_smooth"),
    "monai_fused": Peers("monai", "it comes with medaug", "monai_fused", dims=(3,)),
    "torchio": Peers("torchio", "pip install torchio", "torchio", frozenset({"shear"}), (3,)),
    "batchgenerators": Peers(
        "batchgeneratorsv2",
        "pip install batchgeneratorsv2",
        "batchgenerators",
        frozenset({"shear", "bias_field"}),
    ),
}


def make_batch(setting: Setting) -> PatchBatch:
    """Smooth blobs from 0 to 1 in three classes, on a grid of 1 mm."""
    import torch
    from torch.nn.functional import interpolate

    from medaug.core.volume import Unit
    from medaug.engine.augment import PatchBatch

    coarse = (setting.batch, 1, *(max(4, n // 8) for n in setting.shape))
    mode = {2: "bilinear", 3: "trilinear"}[len(setting.shape)]
    noise = torch.rand(coarse, generator=torch.Generator().manual_seed(0))
    images = interpolate(noise, size=setting.shape, mode=mode, align_corners=True).contiguous()
    labels = (images > 0.5).to(torch.uint8) + (images > 0.7).to(torch.uint8)
    spacing_mm = ((1.0,) * len(setting.shape),) * setting.batch
    return PatchBatch(images, labels[:, 0], spacing_mm, Unit.ARBITRARY)


def run_medaug(operations: Sequence[str], setting: Setting, batch: PatchBatch) -> Run:
    """Every call draws anew and changes the batch; on a GPU it is brought there first."""
    import numpy as np
    import torch

    from medaug.transforms import parse_transforms

    steps = [{"step": name, "magnitude": (1, 1)} for name in operations]
    config = parse_transforms({"kind": "classical", "steps": steps, "image": setting.interpolation})
    augment = config.build(batch.unit)
    rngs = [np.random.default_rng(n) for n in range(setting.batch)]

    def run() -> tuple[Tensor, Tensor]:
        images, labels = batch.images.to(setting.device), batch.labels.to(setting.device)
        changed = augment(replace(batch, images=images, labels=labels), rngs)
        if setting.device == "cuda":
            torch.cuda.synchronize()
        return changed.images, changed.labels

    return run


def run_peer(peer: Peer, operations: Sequence[str], setting: Setting, batch: PatchBatch) -> Run:
    """Image by image, as no peer takes a batch, and stacked again."""
    import torch

    change = PEERS[peer].function()(operations, setting.shape, setting.interpolation)

    def run() -> tuple[Tensor, Tensor]:
        done = [change(one, ids[None]) for one, ids in zip(batch.images, batch.labels, strict=True)]
        return torch.stack([image for image, _ in done]), torch.stack([ids[0] for _, ids in done])

    return run


def run_side(side: str, operations: Sequence[str], setting: Setting, batch: PatchBatch) -> Run:
    """A side by the name it has in the results."""
    if side.startswith("medaug"):
        return run_medaug(operations, setting, batch)
    return run_peer(_peer(side), operations, setting, batch)


def _peer(side: str) -> Peer:
    return next(peer for peer in PEERS if peer == side.partition(": ")[0])


def mean_changes(
    side: str, operations: Sequence[str], setting: Setting, batch: PatchBatch
) -> tuple[float, float]:
    """Mean change of the images away from their borders, and share of voxels with another label, of a few draws."""
    import numpy as np
    import torch

    # Peers draw from these; the same draws in every run, so that the check answers alike
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    run = run_side(side, operations, setting, batch)
    inner = (slice(None), slice(None), *(slice(n // 6, n - n // 6) for n in setting.shape))
    images, moved = [], []
    for _ in range(DRAWS):
        image, labels = run()
        if not torch.isin(labels.cpu(), batch.labels).all():
            sys.exit(f"{side}: {', '.join(operations)} makes labels that were not there")
        images.append((image.cpu() - batch.images)[inner].abs().mean().item())
        moved.append((labels.cpu() != batch.labels).float().mean().item())
    return sum(images) / DRAWS, sum(moved) / DRAWS


def check(sides: Sequence[str], operations: Sequence[str], setting: Setting) -> None:
    """Leave with a message unless all sides change images about alike, and labels where ours do."""
    small = replace(setting, shape=SMALL[len(setting.shape)], batch=1)
    batch = make_batch(small)
    ours = mean_changes("medaug", operations, small, batch)
    for side in sides:
        theirs = mean_changes(side, operations, small, batch)
        alike = (1 / LIKENESS < b / a < LIKENESS if a else not b for a, b in zip(ours, theirs, strict=True))
        if not ours[0] or not all(alike):
            what = f"{side}: {', '.join(operations)} changes image and labels by {theirs}"
            sys.exit(f"{what}; medaug by {ours}")


def once(
    side: str, operations: Sequence[str], setting: Setting, _folder: Path, *, rests: bool = False
) -> None:
    """Load all that a side needs on a small batch; then hold the whole one and change it, unless it ``rests``."""
    use_threads(int(os.environ["OMP_NUM_THREADS"]))
    small = replace(setting, shape=SMALL[len(setting.shape)], batch=1)
    run_side(side, operations, small, make_batch(small))()
    run = run_side(side, operations, setting, make_batch(setting))
    if not rests:
        run()


def use_threads(threads: int) -> None:
    """For packages that do not follow the environment."""
    import torch

    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    if importlib.util.find_spec("SimpleITK"):
        import SimpleITK

        SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


def compare(setting: Setting, repeats: int, threads: int) -> BenchmarkResult:
    """The whole pipeline: check every operation, then time all sides in turns and measure their memory."""
    dims, notes, packages = len(setting.shape), [], ["torch", "monai"]
    sides: dict[str, tuple[str, ...]] = {"medaug": PIPELINE}
    rivals: dict[Peer, str] = {}
    for name, peer in PEERS.items():
        if dims not in peer.dims:
            continue
        if not importlib.util.find_spec(peer.package):
            notes.append(f"{name}: not installed; {peer.install}")
            continue
        packages += [peer.package] * (peer.package != "monai")
        sides[name] = tuple(one for one in PIPELINE if one not in peer.lacks)
        rivals[name] = "medaug"
        if peer.lacks:
            left = ", ".join(one for one in PIPELINE if one in peer.lacks)
            notes.append(f"{name} has no {left}: left out on both sides")
            rivals[name] = f"medaug for {name}"
            sides[rivals[name]] = sides[name]
    for operation in PIPELINE:
        check([side for side in rivals if operation in sides[side]], (operation,), setting)
    batch = make_batch(setting)
    calls = {side: run_side(side, chosen, setting, batch) for side, chosen in sides.items()}
    seconds = alternate(calls, repeats)
    peaks = {side: peak_mb(partial(once, side, chosen, setting), Path()) for side, chosen in sides.items()}
    return BenchmarkResult(
        name=f"augment {dims}D",
        setting=f"{', '.join(PIPELINE)}; {_described(setting)}",
        ratios={peer: round(seconds[peer] / seconds[ours], 3) for peer, ours in rivals.items()},
        seconds=seconds,
        peaks_mb=peaks,
        threads=threads,
        repeats=repeats,
        versions=versions(*packages),
        notes=(*notes, _memory_note(setting, batch, min(_PROCESSES, repeats))),
    )


def _described(setting: Setting) -> str:
    size = " x ".join(map(str, setting.shape))
    return f"{setting.batch} of {size}, {setting.interpolation} and nearest, medaug on {setting.device}"


def _memory_note(setting: Setting, batch: PatchBatch, processes: int) -> str:
    """What augmenting holds at its peak beside the packages, over the size of the batch; the batch itself counts."""
    size = sum(one.element_size() * one.nelement() for one in (batch.images, batch.labels)) / 2**20
    usual = [_times_the_batch(setting, size) for _ in range(processes)]
    before = os.environ.get(_MMAP)
    os.environ[_MMAP] = str(1 << 20)
    held = _times_the_batch(setting, size)
    if before is None:
        del os.environ[_MMAP]
    else:
        os.environ[_MMAP] = before
    return (
        f"medaug's peak is {min(usual):.1f} to {max(usual):.1f} times the batch of {size:.1f} MiB in {processes} "
        f"processes, the batch included; {held:.1f} where freed memory leaves the process at once (glibc)"
    )


def _times_the_batch(setting: Setting, size: float) -> float:
    rest, peak = (
        peak_mb(partial(once, "medaug", PIPELINE, setting, rests=rests), Path()) for rests in (True, False)
    )
    return (peak - rest) / size + 1


def compare_operations(setting: Setting, repeats: int, threads: int) -> BenchmarkResult:
    """One operation after the other against MONAI's class for it."""
    batch = make_batch(setting)
    seconds: dict[str, float] = {}
    for name, operations in ALONE.items():
        sides = {"medaug": f"medaug: {name}", "monai": f"monai: {name}"}
        calls = {label: run_side(side, operations, setting, batch) for side, label in sides.items()}
        seconds |= alternate(calls, repeats)
    return BenchmarkResult(
        name=f"augment operations {len(setting.shape)}D",
        setting=f"one operation at a time; {_described(setting)}",
        ratios={
            f"monai: {name}": round(seconds[f"monai: {name}"] / seconds[f"medaug: {name}"], 3)
            for name in ALONE
        },
        seconds=seconds,
        peaks_mb={},
        threads=threads,
        repeats=repeats,
        versions=versions("torch", "monai"),
        notes=("memory is that of the pipeline: run without --operations",),
    )


def read_setting(asked: Namespace) -> Setting:
    """The settings of the two goals where the command line names none."""
    shape = tuple(asked.shape or ((256, 256) if asked.dims == 2 else (128, 128, 128)))
    if len(shape) != asked.dims:
        sys.exit(f"--shape has {len(shape)} numbers, --dims is {asked.dims}")
    if asked.interpolation == "cubic" and asked.dims == 3:
        sys.exit("cubic interpolation is for 2D")
    return Setting(shape, asked.batch or (32 if asked.dims == 2 else 1), asked.interpolation, asked.device)


def main() -> int:
    """Read the command line, check, time and print."""
    options = parser("Augment images with labels.", repeats=9)
    options.set_defaults(threads=2)
    options.add_argument("--dims", type=int, choices=(2, 3), default=3)
    options.add_argument("--shape", type=at_least_one, nargs="+", help="default 256 256 or 128 128 128")
    options.add_argument("--batch", type=at_least_one, help="images (default 32 in 2D, 1 in 3D)")
    options.add_argument("--interpolation", choices=("linear", "cubic"), default="linear", help="of images")
    options.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of medaug")
    options.add_argument("--operations", action="store_true", help="one by one instead of all together")
    asked = options.parse_args()
    limit_threads(asked.threads)
    use_threads(asked.threads)
    setting = read_setting(asked)
    work = compare_operations if asked.operations else compare
    show(work(setting, asked.repeats, asked.threads), as_json=asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
