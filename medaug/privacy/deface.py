"""Faces taken out of head MR: from the shape of the head alone, measured, and refused where it cannot be told.

No template is registered. The body is what stands out of the air, the brain what is as bright as the core of the head and joined to
it through wide necks, and a face is all that lies ahead of the brain, straight on or downwards. No voxel of that estimate of the brain, and
none that is to be spared, is ever removed. The estimate can miss brain: a made-up head bent back by 25 degrees lost 0.9 ml of its stem.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal, final

import numpy as np
from pydantic import Field

from medaug.core.config import Frozen
from medaug.core.errors import GeometryError
from medaug.core.volume import Mask, Unit, Volume
from medaug.privacy._deface.brain import estimate_brains, is_whole
from medaug.privacy._deface.cut import (
    face_excess,
    leak_mm,
    lean_mm,
    measure_profile,
    mirrored,
    points_of,
    tells_face,
)
from medaug.privacy._deface.frame import Levels, Voxels
from medaug.privacy._deface.outline import Outline, find_outline
from medaug.privacy._deface.skull import skull_share, tapers
from medaug.privacy._deface.surface import NEAR_MM, distances_mm, face_skin, middle
from medaug.privacy.heads import look_for_head

Outcome = Literal["defaced", "nothing", "quarantined"]
Part = Literal["auto", "head", "other"]
Reason = Literal[
    "face-removed",
    "skull-stripped",
    "no-head-in-view",
    "said-to-be-no-head",
    "head-ct-untested",
    "modality-untested",
    "too-few-slices",
    "head-not-certain",
    "size-of-no-head",
    "brain-not-told-from-face",
    "face-left",
    "spared-voxels-in-the-face",
]

MARGIN_MM: Final = 8.0  # adult mm between the brain's estimate and what is removed
_FEWEST_SLICES = 8
_MR = frozenset({"MR", "OT"})
_HEAD_MM = (85.0, 215.0)
_HEAD_SKULL, _NO_SKULL = 0.4, 0.3
_LEAK_MM = 10.0
_LEAST_LEAN_MM = 10.0
_FINE_LEFT, _MOST_LEFT = 0.08, 0.2


@final
class DefaceReport(Frozen):
    """What became of one volume, with figures; holds nothing of the patient."""

    outcome: Outcome
    reason: Reason
    removed_share: float = Field(default=0.0, description="of all voxels")
    face_left: float | None = Field(
        default=None, description="share of the face's skin that has a surface within 4 mm afterwards"
    )
    face_distance_mm: float | None = Field(
        default=None, description="median, from the face's skin to the nearest surface afterwards"
    )
    brain_distance_mm: float | None = Field(
        default=None, description="smallest, from what was removed to what may be brain"
    )
    skull: float | None = Field(
        default=None, description="share of the places around the head that show a skull below the skin"
    )
    neck_mm: float | None = Field(default=None, description="half width of the necks that were cut")
    spacing_believed: bool = Field(default=True, description="else lengths are those of an adult head")


@final
@dataclass(frozen=True, slots=True, eq=False)
class Defaced:
    """A volume without a face, or as it was.

    Attributes:
        volume: Removed voxels hold the value of air.
        removed: (I, J, K), where voxels were replaced.
        report: What was done and why.
    """

    volume: Volume
    removed: Mask
    report: DefaceReport


def deface(volume: Volume, spared: Mask | None = None, *, modality: str, part: Part = "auto") -> Defaced:
    """Remove the face from a head scan of any MR weighting, or say why there is nothing to remove, or why it cannot be told.

    A volume that is ``quarantined`` may show a face and must not leave. All channels lose the same voxels; the first one that tells
    the brain decides.

    Args:
        volume: In RAS+ order.
        spared: (I, J, K), voxels that must stay whatever they are, such as lesions; None where there are none.
        modality: DICOM modality code; OT is taken as MR unless the unit is HU.
        part: What a person says it shows; ``auto`` is found out.

    Raises:
        GeometryError: If the volume is not in RAS+ order, or ``spared`` does not lie on its grid.
    """
    _check(volume, spared)
    refused = _refused_unseen(volume, modality, part)
    if refused is not None:
        return _unchanged(volume, refused)
    found: list[DefaceReport] = []
    for channel in volume.image:
        tried = _try_channel(channel, volume, spared, part)
        if isinstance(tried, _Cut):
            return _apply(volume, tried)
        found.append(tried)
    worst = next((one for one in found if one.outcome == "quarantined"), found[0])
    return _unchanged(volume, worst)


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Cut:
    """Voxels to be removed, and the figures."""

    removed: Mask
    report: DefaceReport


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A brain that was told from a face, and what a cut ahead of it leaves of the face."""

    excess_mm: Levels
    neck_mm: float
    left: float
    distance_mm: float
    gap_mm: float


def _check(volume: Volume, spared: Mask | None) -> None:
    if volume.grid.axcodes != "RAS":
        raise GeometryError(f"grid axes are {volume.grid.axcodes}", expected="RAS")
    if spared is not None and spared.shape != volume.grid.shape:
        raise GeometryError(f"mask of spared voxels is {spared.shape}", expected=f"{volume.grid.shape}")


def _refused_unseen(volume: Volume, modality: str, part: Part) -> DefaceReport | None:
    """What is decided before any look at a head's shape."""
    if part == "other":
        return DefaceReport(outcome="nothing", reason="said-to-be-no-head")
    if part == "auto" and look_for_head(volume) == "no head":
        return DefaceReport(outcome="nothing", reason="no-head-in-view")
    if modality == "CT" or volume.unit is Unit.HU:
        return DefaceReport(outcome="quarantined", reason="head-ct-untested")
    if modality not in _MR:
        return DefaceReport(outcome="quarantined", reason="modality-untested")
    if min(volume.grid.shape) < _FEWEST_SLICES:
        return DefaceReport(outcome="quarantined", reason="too-few-slices")
    return None


def _try_channel(channel: np.ndarray, volume: Volume, spared: Mask | None, part: Part) -> _Cut | DefaceReport:
    """The cut that one channel asks for, or why it asks for none."""
    outline = find_outline(channel, volume.grid.spacing_mm, spacing_known=volume.spacing_known)
    if outline is None:
        return DefaceReport(outcome="quarantined", reason="head-not-certain")
    skull = skull_share(outline)
    facts = DefaceReport(
        outcome="quarantined",
        reason="head-not-certain",
        skull=round(skull, 3),
        spacing_believed=outline.spacing_believed,
    )
    if 0 <= skull < _NO_SKULL and outline.air_is_plain and tapers(outline.body):
        return facts.model_copy(update={"outcome": "nothing", "reason": "skull-stripped"})
    if skull < _HEAD_SKULL and part != "head":
        return facts
    if outline.spacing_believed and not _HEAD_MM[0] <= outline.breadth_mm <= _HEAD_MM[1]:
        return facts.model_copy(update={"reason": "size-of-no-head"})
    found = _find_face(outline, spared)
    if found is None:
        return facts.model_copy(update={"reason": "brain-not-told-from-face"})
    return _judge(outline, found, facts, spared)


def _find_face(outline: Outline, spared: Mask | None) -> _Found | None:
    """Cut necks wider and wider until the brain recedes from the face as a brain does; the first good one, else the best."""
    best: _Found | None = None
    for neck_mm, brain in estimate_brains(outline):
        if not brain.any() or not is_whole(brain, outline):
            continue
        found = _found(outline, brain, spared, neck_mm)
        if found is not None and (best is None or found.left < best.left):
            best = found
        if best is not None and best.left <= _FINE_LEFT:
            break
    return best


def _found(outline: Outline, brain: Voxels, spared: Mask | None, neck_mm: float) -> _Found | None:
    spacing = outline.frame.spacing_mm
    profile = measure_profile(brain, outline.body, spacing)
    if not tells_face(profile) or leak_mm(profile) > _LEAK_MM:
        return None
    if lean_mm(brain, outline.body, profile, spacing) < _LEAST_LEAN_MM:
        return None
    points = mirrored(points_of(brain, spacing), middle(outline.body) * spacing[0])
    if spared is not None and spared.any():
        points = np.concatenate([points, points_of(outline.frame.coarse_mask(spared), spacing)])
    excess = face_excess(points, outline.body.shape, spacing)
    removed = excess > MARGIN_MM
    skin = face_skin(outline.body, brain, profile.brow, spacing)
    if not skin.any():
        return None
    distances = distances_mm(skin, outline.body & ~removed, spacing)
    gap = float(distances_mm(removed & outline.body, brain, spacing).min(initial=np.inf))
    return _Found(excess, neck_mm, float((distances < NEAR_MM).mean()), float(np.median(distances)), gap)


def _judge(outline: Outline, found: _Found, facts: DefaceReport, spared: Mask | None) -> _Cut | DefaceReport:
    facts = facts.model_copy(
        update={
            "face_left": round(found.left, 3),
            "face_distance_mm": round(found.distance_mm, 1),
            "brain_distance_mm": round(found.gap_mm, 1),
            "neck_mm": found.neck_mm,
        }
    )
    if found.left > _MOST_LEFT:
        return facts.model_copy(update={"reason": "face-left"})
    removed = outline.frame.to_scan(found.excess_mm) > MARGIN_MM
    if spared is not None and bool((removed & spared).any()):
        return facts.model_copy(update={"reason": "spared-voxels-in-the-face"})
    share = round(float(removed.mean()), 4)
    return _Cut(
        removed,
        facts.model_copy(update={"outcome": "defaced", "reason": "face-removed", "removed_share": share}),
    )


def _apply(volume: Volume, cut: _Cut) -> Defaced:
    """Every channel with its own air in place of the face."""
    image = volume.image.copy()
    for channel in image:
        channel[cut.removed] = _air_value(channel)
    return Defaced(replace(volume, image=image), cut.removed, cut.report)


def _air_value(channel: np.ndarray) -> float:
    """The value most common among the dark ones, whole where all values are."""
    lowest = float(channel.min())
    dark = channel[channel <= np.percentile(channel, 20)]
    value = float(np.median(dark))
    return float(np.round(value)) if np.array_equal(channel, np.round(channel)) else max(value, lowest)


def _unchanged(volume: Volume, report: DefaceReport) -> Defaced:
    return Defaced(volume, np.zeros(volume.grid.shape, dtype=bool), report)
