"""The plan of a training: what the cases look like, what follows from that, and the same in plain words.

What the settings leave open follows from the fingerprint by the rules of nnU-Net (:mod:`~medaug.tasks._segmentation.rules`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from pydantic import Field

from medaug.core.case import Case
from medaug.core.config import Document, Frozen
from medaug.core.errors import ConfigError
from medaug.core.intensity import IntensityScheme
from medaug.core.volume import Unit
from medaug.tasks._segmentation.contrast import Foreground
from medaug.tasks._segmentation.network import (
    SWIN_STEPS,
    NetworkKind,
    Steps,
    Style,
    even_strides,
    plan_strides,
)
from medaug.tasks._segmentation.resizing import resized_shape
from medaug.tasks._segmentation.rules import (
    ALIKE,
    BUDGET,
    Topology,
    plan_batch,
    plan_patch_by_spacing,
    plan_topology,
    target_spacing,
)

SpacingChoice = Literal["as_is", "median"] | tuple[float, ...]

_PATCHES = {2: 12, 3: 2}  # that share the voxels of a step where the depth is given
_MOST_CHANNELS = 320
_NAMES: dict[NetworkKind, str] = {
    "unet": "U-Net",
    "dynunet": "DynUNet",
    "segresnet": "SegResNet",
    "swinunetr": "Swin UNETR",
}


@final
class Fingerprint(Frozen):
    """What the labelled training cases look like."""

    cases: int
    patients: int
    median_shape: tuple[int, int, int]
    median_spacing_mm: tuple[float, float, float]
    spacing: Literal["known", "nominal"] = Field(description="nominal: mm figures mean nothing")
    cases_per_class: tuple[int, ...] = Field(description="in the order of the classes")
    spacing_spread: float = Field(
        default=0.0,
        description="largest difference of a case's spacing from the median along an axis, relative",
    )
    target_spacing_mm: tuple[float, float, float] | None = Field(
        default=None, description="that nnU-Net would resample to; null where the spacing is nominal"
    )


@final
class TrainingPlan(Document):
    """``plan.json``: everything needed to rebuild the network, and why it is as it is."""

    kind: Literal["segmentation"] = "segmentation"
    summary: tuple[str, ...] = Field(description="the plan in plain words")
    classes: tuple[str, ...]
    scheme: IntensityScheme
    fingerprint: Fingerprint
    patch_size: tuple[int, ...]
    batch_size: int
    steps: int
    widths: tuple[int, ...] = Field(description="feature channels of every level")
    strides: tuple[tuple[int, ...], ...] = Field(description="how much each step down shrinks each axis")
    parameters: int
    flips_at_prediction: bool
    network: NetworkKind = "unet"
    kernels: Steps = Field(default=(), description="of every level (dynunet); empty: 3 everywhere")
    deep_supervision: bool = False
    context: int = Field(default=0, description="neighbouring slices on each side that are further channels")
    resampled_to_mm: tuple[float, ...] | None = Field(
        default=None, description="spacing along the axes of the patch; null: cases as they are"
    )
    foreground: Foreground | None = Field(
        default=None,
        description="lesions' grey values that normalised images are scaled by; null: they are not",
    )

    @property
    def style(self) -> Style:
        """Which network, for its builder."""
        return Style(self.network, self.kernels, self.deep_supervision)


@final
@dataclass(frozen=True, slots=True)
class Wishes:
    """What the settings say of the plan; None leaves it to the fingerprint.

    Attributes:
        dims: Axes of the patch.
        network: Which network.
        spacing: Of the cases that the network sees.
        patch: Its size.
        batch: Patches of a step.
        levels: Of the network.
        full_resolution: Whether a U-Net keeps its first level at full resolution.
        budget: Voxels of a step, where patch or batch are planned.
    """

    dims: Literal[2, 3]
    network: NetworkKind = "unet"
    spacing: SpacingChoice = "as_is"
    patch: tuple[int, ...] | None = None
    batch: int | None = None
    levels: int | None = None
    full_resolution: bool = False
    budget: int | None = None

    @property
    def voxels(self) -> int:
        """Voxels of a step."""
        return self.budget or BUDGET[self.dims]


def take_fingerprint(cases: Sequence[Case], classes: tuple[str, ...]) -> Fingerprint:
    """Shapes, spacings and classes of the labelled cases.

    Args:
        cases: At least one with a label map; the others are ignored.
        classes: The class table.
    """
    labelled = [(case, case.label_map) for case in cases if case.label_map is not None]
    all_shapes = np.array([case.volume.grid.shape for case, _ in labelled])
    all_spacings = np.array([case.volume.grid.spacing_mm for case, _ in labelled])
    shapes, spacings = np.median(all_shapes, axis=0), np.median(all_spacings, axis=0)
    known = all(case.volume.spacing_known for case, _ in labelled)
    ids = [set(np.unique(label_map.labels).tolist()) for _, label_map in labelled]
    return Fingerprint(
        cases=len(labelled),
        patients=len({case.patient_id for case, _ in labelled}),
        median_shape=(int(shapes[0]), int(shapes[1]), int(shapes[2])),
        median_spacing_mm=(round(spacings[0], 4), round(spacings[1], 4), round(spacings[2], 4)),
        spacing="known" if known else "nominal",
        cases_per_class=tuple(sum(n in present for present in ids) for n in range(1, len(classes) + 1)),
        spacing_spread=round(float(np.abs(all_spacings / spacings - 1).max()), 4) if known else 0.0,
        target_spacing_mm=target_spacing(all_spacings, all_shapes) if known else None,
    )


def choose_spacing(wishes: Wishes, found: Fingerprint) -> tuple[float, ...] | None:
    """Spacing along the axes of the patch that cases are resampled to; None leaves them as they are.

    Raises:
        ConfigError: If a spacing is asked for and that of the cases is nominal.
    """
    if wishes.spacing == "as_is":
        return None
    if isinstance(wishes.spacing, tuple):
        if found.spacing == "nominal":
            hint = "set spacing: as_is"
            raise ConfigError("the spacing of the cases is nominal", where="task.spacing", hint=hint)
        return wishes.spacing
    if found.target_spacing_mm is None or found.spacing_spread <= ALIKE:
        return None
    return found.target_spacing_mm[: wishes.dims]


def median_shape(cases: Sequence[Case], target_mm: tuple[float, ...] | None) -> tuple[int, int, int]:
    """Of the labelled cases as the network sees them."""
    shapes = [resized_shape(case.volume.grid, target_mm) for case in cases if case.label_map is not None]
    middle = np.median(shapes, axis=0)
    return (int(middle[0]), int(middle[1]), int(middle[2]))


def choose_topology(wishes: Wishes, shape: tuple[int, int, int], spacing_mm: tuple[float, ...]) -> Topology:
    """Patch, strides and kernels, as far as they are given as they are given.

    Args:
        wishes: What is given.
        shape: Of the median case as the network sees it.
        spacing_mm: Along the axes of the patch.

    Raises:
        ConfigError: If the patch cannot be halved as often as the network does.
    """
    if wishes.network == "swinunetr":
        patch = wishes.patch or _patch(wishes, shape, SWIN_STEPS + 1)
        return Topology(patch, even_strides(patch, SWIN_STEPS), ())
    if wishes.levels is None:
        return _planned_depth(wishes, shape, spacing_mm)
    patch = wishes.patch or _patch(wishes, shape, wishes.levels)
    if wishes.network == "segresnet":
        return Topology(patch, even_strides(patch, wishes.levels - 1), ())
    strides = plan_strides(patch, wishes.levels, full_resolution=wishes.full_resolution)
    return Topology(patch, strides, ())


def _patch(wishes: Wishes, shape: tuple[int, int, int], levels: int) -> tuple[int, ...]:
    return plan_patch(shape, wishes.dims, levels, wishes.voxels // _PATCHES[wishes.dims])


def _planned_depth(wishes: Wishes, shape: tuple[int, int, int], spacing_mm: tuple[float, ...]) -> Topology:
    if wishes.patch is None:
        found = plan_patch_by_spacing(shape[: wishes.dims], spacing_mm, wishes.voxels // 2)
    else:
        found = plan_topology(wishes.patch, spacing_mm)
        if found.patch != wishes.patch:
            said = " x ".join(map(str, found.patch))
            raise ConfigError(
                "cannot be halved as often as the cases allow",
                where="task.patch_size",
                expected=f"{said}, or levels of your own",
            )
    least = 2 if wishes.network == "dynunet" else 1
    if len(found.strides) < least:
        hint = "set levels and patch_size"
        raise ConfigError("the median case is too small to plan a depth", where="task.levels", hint=hint)
    if wishes.network == "segresnet":
        steps = min(sum(stride[axis] == 2 for stride in found.strides) for axis in range(wishes.dims))
        return Topology(found.patch, even_strides(found.patch, max(1, steps)), ())
    if wishes.full_resolution:
        return Topology(found.patch, ((1,) * wishes.dims, *found.strides), ())
    return found


def choose_batch(wishes: Wishes, patch: tuple[int, ...], shape: tuple[int, int, int], cases: int) -> int:
    """Patches of a step."""
    return wishes.batch or plan_batch(patch, wishes.voxels, cases * int(np.prod(shape)))


def plan_widths(network: NetworkKind, base: int, steps: int) -> tuple[int, ...]:
    """Feature channels of every level: doubled from one to the next."""
    if network == "swinunetr":
        return (base, *(base * 2**step for step in range(steps)))
    most = _MOST_CHANNELS if network != "segresnet" else base * 2**steps
    return tuple(min(base * 2**level, most) for level in range(steps + 1))


def plan_patch(
    median_shape: tuple[int, int, int], dims: Literal[2, 3], levels: int, voxels: int | None = None
) -> tuple[int, ...]:
    """A patch as large as the median case where two cores can bear it; every size can be halved on every level.

    The longest side is shortened first (Isensee et al., Nat Methods 2021, do so on the GPU's memory).

    Args:
        median_shape: Of the cases.
        dims: Axes of the patch.
        levels: Of the network.
        voxels: That it may hold; None = what two cores bear.
    """
    most = voxels or BUDGET[dims] // _PATCHES[dims]
    step = 2 ** (levels - 1)
    sizes = [max(step, step * -(-n // step)) for n in median_shape[:dims]]
    while np.prod(sizes) > most and max(sizes) > step:
        sizes[int(np.argmax(sizes))] -= step
    return tuple(sizes)


def describe(plan: TrainingPlan, wishes: Wishes) -> tuple[str, ...]:
    """The plan in plain words, and where each part of it comes from."""
    found, dims = plan.fingerprint, len(plan.patch_size)
    counts = ", ".join(f"{name} in {n}" for name, n in zip(plan.classes, found.cases_per_class, strict=True))
    halved = [int(np.log2(np.prod([stride[axis] for stride in plan.strides]))) for axis in range(dims)]
    seen = f"{'slices' if dims == 2 else 'volumes'} in patches of {_by(plan.patch_size)} voxels"
    if plan.context:
        seen += f", each with {plan.context} neighbours on either side as further channels"
    widths = f"{plan.widths[0]} to {plan.widths[-1]} channels ({plan.parameters / 1e6:.1f} million weights)"
    name, median = (
        _NAMES[plan.network],
        f"{_by(found.median_shape)} voxels of {_by(found.median_spacing_mm)} mm",
    )
    return (
        f"{found.cases} labelled cases of {found.patients} patients; {counts}.",
        f"The median case has {median} ({found.spacing} spacing); {_resampling(plan, wishes)}",
        f"The network sees {seen}, {plan.batch_size} at a time, for {plan.steps} steps.",
        f"It is a {name} of {len(plan.widths)} levels with {widths}.",
        f"Its axes are halved {', '.join(map(str, halved))} times.",
        *_reasons(wishes),
        _units(plan.scheme.unit, plan.foreground),
    )


def _by(sizes: Sequence[float]) -> str:
    return " x ".join(f"{n:g}" for n in sizes)


def _resampling(plan: TrainingPlan, wishes: Wishes) -> str:
    """What is resampled, and why."""
    found = plan.fingerprint
    if plan.resampled_to_mm is None:
        if found.spacing == "nominal":
            return "nothing is resampled, since a nominal spacing says nothing."
        if found.spacing_spread <= ALIKE:
            return f"nothing is resampled, since all spacings agree within {ALIKE:.0%}."
        spread = f"spacings differ by up to {found.spacing_spread:.0%} from the median"
        return f"nothing is resampled, as the settings say, although {spread}."
    said = f"all cases are resampled to {_by(plan.resampled_to_mm)} mm"
    if wishes.spacing != "median":
        return f"{said}, as the settings say."
    finer = any(
        mm < 0.999 * middle for mm, middle in zip(plan.resampled_to_mm, found.median_spacing_mm, strict=False)
    )
    coarse = ", along the coarse axis the 10th percentile, lest most cases lose detail" if finer else ""
    return f"{said}: the median, since spacings differ by up to {found.spacing_spread:.0%} from it{coarse}."


def _reasons(wishes: Wishes) -> tuple[str, ...]:
    """Which of patch, batch and depth follow from the cases."""
    reasons = []
    voxels = f"{wishes.voxels} voxels of a step"
    if wishes.patch is None:
        reasons.append(f"The patch shows as much of the median case as {voxels} allow.")
    if wishes.batch is None:
        reasons.append(f"The batch fills the {voxels}, with at least 2 patches and at most 5% of all voxels.")
    if wishes.levels is None and wishes.network != "swinunetr":
        reasons.append(
            "The network halves the finest axes until 4 voxels are left and leaves an axis alone while it is twice as coarse."
        )
    return tuple(reasons)


def _units(unit: Unit, foreground: Foreground | None) -> str:
    if foreground is not None:
        return (
            "Hounsfield units are clipped to the 0.5th and 99.5th percentile of the lesions' own and scaled to their mean 0 "
            "and deviation 1."
        )
    if unit is Unit.HU:
        return "Hounsfield units are scaled by one fixed rule for all cases."
    return "Intensities have no unit: every case is scaled to mean 0 and deviation 1 inside the body."
