"""The plan of a training: what the cases look like, what follows from that, and the same in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, final

import numpy as np
from pydantic import Field

from medaug.core.case import Case
from medaug.core.config import Document, Frozen
from medaug.core.intensity import IntensityScheme
from medaug.core.volume import Unit

_PATCH_VOXELS = {2: 128 * 128, 3: 48 * 56 * 48}


@final
class Fingerprint(Frozen):
    """What the labelled training cases look like."""

    cases: int
    patients: int
    median_shape: tuple[int, int, int]
    median_spacing_mm: tuple[float, float, float]
    spacing: Literal["known", "nominal"] = Field(description="nominal: mm figures mean nothing")
    cases_per_class: tuple[int, ...] = Field(description="in the order of the classes")


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


def take_fingerprint(cases: Sequence[Case], classes: tuple[str, ...]) -> Fingerprint:
    """Shapes, spacings and classes of the labelled cases.

    Args:
        cases: At least one with a label map; the others are ignored.
        classes: The class table.
    """
    labelled = [(case, case.label_map) for case in cases if case.label_map is not None]
    shapes = np.median([case.volume.grid.shape for case, _ in labelled], axis=0)
    spacings = np.median([case.volume.grid.spacing_mm for case, _ in labelled], axis=0)
    ids = [set(np.unique(label_map.labels).tolist()) for _, label_map in labelled]
    return Fingerprint(
        cases=len(labelled),
        patients=len({case.patient_id for case, _ in labelled}),
        median_shape=(int(shapes[0]), int(shapes[1]), int(shapes[2])),
        median_spacing_mm=(round(spacings[0], 4), round(spacings[1], 4), round(spacings[2], 4)),
        spacing="known" if all(case.volume.spacing_known for case, _ in labelled) else "nominal",
        cases_per_class=tuple(sum(n in present for present in ids) for n in range(1, len(classes) + 1)),
    )


def plan_patch(median_shape: tuple[int, int, int], dims: int, levels: int) -> tuple[int, ...]:
    """A patch as large as the median case where two cores can bear it; every size can be halved on every level.

    The longest side is shortened first (Isensee et al., Nat Methods 2021, do so on the GPU's memory).
    """
    step = 2 ** (levels - 1)
    sizes = [max(step, step * -(-n // step)) for n in median_shape[:dims]]
    while np.prod(sizes) > _PATCH_VOXELS[dims] and max(sizes) > step:
        sizes[int(np.argmax(sizes))] -= step
    return tuple(sizes)


def describe(plan: TrainingPlan) -> tuple[str, ...]:
    """The plan in plain words."""
    found, dims = plan.fingerprint, len(plan.patch_size)
    shape = " x ".join(str(n) for n in found.median_shape)
    spacing = " x ".join(f"{mm:g}" for mm in found.median_spacing_mm)
    patch = " x ".join(str(n) for n in plan.patch_size)
    counts = ", ".join(f"{name} in {n}" for name, n in zip(plan.classes, found.cases_per_class, strict=True))
    halved = [int(np.log2(np.prod([stride[axis] for stride in plan.strides]))) for axis in range(dims)]
    units = "Intensities have no unit: every case is scaled to mean 0 and deviation 1 inside the body."
    if plan.scheme.unit is Unit.HU:
        units = "Hounsfield units are scaled by one fixed rule for all cases."
    seen = f"{'slices' if dims == 2 else 'volumes'} in patches of {patch} voxels"
    widths = f"{plan.widths[0]} to {plan.widths[-1]} channels ({plan.parameters / 1e6:.1f} million weights)"
    return (
        f"{found.cases} labelled cases of {found.patients} patients; {counts}.",
        f"The median case has {shape} voxels of {spacing} mm ({found.spacing} spacing); nothing is resampled.",
        f"The network sees {seen}, {plan.batch_size} at a time, for {plan.steps} steps.",
        f"It is a U-Net of {len(plan.widths)} levels with {widths}.",
        f"Its axes are halved {', '.join(map(str, halved))} times.",
        units,
    )
