"""The plan of a training: what the lesions look like, and what follows from that."""

from __future__ import annotations

from typing import Literal, final

import numpy as np
from jaxtyping import Integer
from pydantic import Field

from medaug.core.config import Document
from medaug.core.intensity import IntensityScheme

_CONTEXT = 2.0  # of the extent of nearly all lesions: what lies around a lesion is part of its look
_STEP, _SMALLEST, _LARGEST = 8, (24, 24, 8), {2: (96, 96), 3: (64, 64, 48)}

NetworkKind = Literal["resnet", "densenet"]


@final
class ClassificationPlan(Document):
    """``plan.json``: everything needed to rebuild the network, and why it is as it is."""

    kind: Literal["classification"] = "classification"
    summary: tuple[str, ...] = Field(description="the plan in plain words")
    classes: tuple[str, ...]
    scheme: IntensityScheme
    lesions_per_class: tuple[int, ...] = Field(description="in training, in the order of the classes")
    patients_per_class: tuple[int, ...]
    patch_size: tuple[int, ...]
    batch_size: int
    steps: int
    network: NetworkKind
    base_channels: int
    shows_mask: bool = Field(description="the lesion's mask is a further channel of the network's input")
    parameters: int
    flips_at_prediction: bool


def plan_patch(extents: Integer[np.ndarray, "N 3"], dims: int) -> tuple[int, ...]:
    """Twice what nine of ten lesions measure along each axis, a multiple of eight within what two cores can bear.

    Args:
        extents: Voxels of every lesion along I, J, K.
        dims: 2 or 3.
    """
    wanted = _CONTEXT * np.percentile(extents, 90, axis=0)[:dims]
    sizes = [_STEP * int(np.ceil(n / _STEP)) for n in wanted]
    return tuple(
        min(max(n, low), high) for n, low, high in zip(sizes, _SMALLEST, _LARGEST[dims], strict=False)
    )


def describe(plan: ClassificationPlan) -> tuple[str, ...]:
    """The plan in plain words."""
    counts = ", ".join(
        f"{name}: {lesions} lesions of {patients} patients"
        for name, lesions, patients in zip(
            plan.classes, plan.lesions_per_class, plan.patients_per_class, strict=True
        )
    )
    patch = " x ".join(str(n) for n in plan.patch_size)
    seen = "slices of a lesion" if len(plan.patch_size) == 2 else "whole lesions"
    mask = "with its mask as a further channel" if plan.shows_mask else "without its mask"
    return (
        f"{counts}; every class is drawn equally often.",
        f"The network sees {seen} in patches of {patch} voxels, {mask}.",
        f"It is a {plan.network} of {plan.parameters / 1e6:.2f} million weights, trained for {plan.steps} steps of {plan.batch_size} patches.",
    )
