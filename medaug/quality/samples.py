"""Lesions cut out of cases for assessment: a crop in normalised units, what it measures and where it lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from medaug.core.case import Case
from medaug.core.errors import DataError
from medaug.core.geometry import NEIGHBOURS_26, Box
from medaug.core.intensity import IntensityScheme
from medaug.core.volume import Image, LabelMap, Mask
from medaug.lesions.body import Body
from medaug.quality.features import Features, Part, lesion_features

_LARGEST_IN_PLANE = 64
_MARGIN_VOXELS = 4
_ROOM_VOXELS = 8  # around the lesion, so that its rim can be compared with the tissue beyond
_SMALLEST_VOXELS = 3


@final
@dataclass(frozen=True, slots=True)
class Place:
    """Where a lesion lies.

    Attributes:
        shares: Of its middle along I, J, K: 0 to 1 through the body, or through the image where that cuts the body off.
        border_mm: In-plane distance of its middle to the nearest edge of body or image.
    """

    shares: tuple[float, float, float]
    border_mm: float


@final
@dataclass(frozen=True, slots=True, eq=False)
class LesionSample:
    """One lesion in its surroundings, as figures, networks and searches see it.

    Attributes:
        case_id: Its case.
        patient_id: Pseudonym of its patient; of the host or donor where it is synthetic: the unit of resampling.
        class_name: Its class.
        image: (C, I, J, K) normalised units, the lesion with its surroundings; averaged down where it is large.
        mask: (I, J, K) True in this lesion; not empty.
        spacing_mm: Of the image.
        is_spacing_known: False where that is nominal.
        averaged: Voxels of the scan for one of this image, along I and J.
        figures: (F,) radiological features, see :func:`medaug.quality.features.lesion_features`; None: not yet measured.
        place: Where it lies in its case; None: nobody knows.
    """

    case_id: str
    patient_id: str
    class_name: str
    image: Image
    mask: Mask
    spacing_mm: tuple[float, float, float]
    is_spacing_known: bool = True
    averaged: int = 1
    figures: Float[np.ndarray, " F"] | None = None
    place: Place | None = None

    @property
    def is_flat(self) -> bool:
        """Whether the lesion lies on one slice."""
        return int(self.mask.any(axis=(0, 1)).sum()) == 1

    @property
    def largest_slice(self) -> int:
        """Index along K of the slice where the lesion is largest."""
        return int(np.argmax(self.mask.sum(axis=(0, 1))))

    def slice_at(self, k: int) -> LesionSample:
        """The lesion's section on one slice as a lesion of its own, not yet measured."""
        part = slice(k, k + 1)
        return replace(self, image=self.image[..., part], mask=self.mask[..., part], figures=None)

    @property
    def levels(self) -> Float[np.ndarray, " C"]:
        """Mean inside the lesion, a channel each, normalised units."""
        return np.asarray(self.image[:, self.mask].mean(axis=1), dtype=np.float64)


def figures_of(samples: Sequence[LesionSample]) -> Features:
    """Radiological features of lesions; those not yet measured are measured together.

    Args:
        samples: At least one.
    """
    missing = [sample for sample in samples if sample.figures is None]
    measured = iter(_measured([(s.image, s.mask, s.spacing_mm) for s in missing]))
    return np.stack([next(measured) if s.figures is None else s.figures for s in samples])


def _measured(parts: Sequence[Part]) -> Features:
    """Features of lesions, each cut down to its margin first: what lies beyond plays no part."""
    return lesion_features([_near(*part) for part in parts]) if parts else np.zeros((0, 0))


def _near(image: Image, mask: Mask, spacing_mm: tuple[float, float, float]) -> Part:
    box = Box.around(mask, (_MARGIN_VOXELS, _MARGIN_VOXELS, 1))
    return image[(slice(None), *box.slices)], mask[box.slices], spacing_mm


def cut_lesions(case: Case, edit_mask: Mask | None = None) -> list[LesionSample]:
    """Cut every lesion (26-connected component of one class) out of a labelled case.

    Args:
        case: The whole case, since the normalisation is computed on it.
        edit_mask: (I, J, K) of a synthetic case: only components that lie mostly in it count.

    Raises:
        DataError: If the case has no label map or holds voxels that are not finite.
    """
    if case.label_map is None:
        raise DataError("case has no label map", where=case.case_id, hint="assessment needs labelled lesions")
    if not np.isfinite(case.volume.image).all():
        count = int((~np.isfinite(case.volume.image)).sum())
        raise DataError(f"{count} voxels are not finite", where=case.case_id, hint="ingest the set again")
    image = IntensityScheme.for_volume(case.volume).case_scale(case.volume).normalise(case.volume.image)
    body = Body.of(case.volume)
    return [_cut(case, name, image, mask, body) for name, mask in lesion_masks(case.label_map, edit_mask)]


def lesion_masks(label_map: LabelMap, edit_mask: Mask | None = None) -> list[tuple[str, Mask]]:
    """Class and mask of every lesion, in the order in which :func:`cut_lesions` gives them: their numbers."""
    found: list[tuple[str, Mask]] = []
    for number, class_name in enumerate(label_map.class_names, start=1):
        chosen = np.asarray(label_map.labels == number)
        masks = _components(chosen) if edit_mask is None else _drawn(chosen, edit_mask)
        found += [(class_name, mask) for mask in masks if mask.sum() >= _SMALLEST_VOXELS]
    return found


def _components(chosen: Mask) -> list[Mask]:
    if not chosen.any():
        return []
    numbered, count = ndimage.label(chosen, NEIGHBOURS_26)
    return [np.asarray(numbered == number) for number in range(1, count + 1)]


def _drawn(chosen: Mask, edit_mask: Mask) -> list[Mask]:
    """The components that were drawn: those that lie mostly in the edit mask, not a host's lesion beside it."""
    inside = [(mask, mask & edit_mask) for mask in _components(chosen)]
    drawn = [part for mask, part in inside if 2 * int(part.sum()) >= int(mask.sum())]
    return drawn or _components(chosen & edit_mask)


def _cut(case: Case, class_name: str, image: Image, mask: Mask, body: Body) -> LesionSample:
    tight = Box.around(mask)
    margin = (max(_ROOM_VOXELS, tight.shape[0] // 2), max(_ROOM_VOXELS, tight.shape[1] // 2), 1)
    box = tight.grown(margin).clipped(mask.shape)
    crop, part, spacing = box.cut(image), mask[box.slices], case.volume.grid.spacing_mm
    figures = _measured([(crop, part, spacing)])[0]
    place = _place(case, mask, body)
    step = max(1, -(-max(tight.shape[:2]) // _LARGEST_IN_PLANE))
    return LesionSample(
        case.case_id, case.patient_id, class_name, *_averaged_down(crop, part, spacing, step),
        is_spacing_known=case.volume.spacing_known, averaged=step, figures=figures, place=place,
    )  # fmt: skip


def _place(case: Case, mask: Mask, body: Body) -> Place:
    """The middle of a lesion in the body."""
    middle = np.argwhere(mask).mean(axis=0)
    shape, spacing = mask.shape, case.volume.grid.spacing_mm
    found = body.place(middle[None])
    shares = [
        float((middle[axis] + 0.5) / shape[axis] if along is None else along[0])
        for axis, along in enumerate(found)
    ]
    to_image = min(min(middle[axis] + 0.5, shape[axis] - middle[axis] - 0.5) for axis in (0, 1))
    to_skin = float(body.edge[body.cells(np.rint(middle[None]).astype(int))][0])
    border_mm = min(to_image, to_skin) * float(np.sqrt(spacing[0] * spacing[1]))
    return Place((shares[0], shares[1], shares[2]), border_mm)


def _averaged_down(
    crop: Image, mask: Mask, spacing_mm: tuple[float, float, float], step: int
) -> tuple[Float[np.ndarray, "C P Q K"], Bool[np.ndarray, "P Q K"], tuple[float, float, float]]:
    """Average blocks in plane, so that a large lesion costs no more memory than a small one."""
    if step < 2:
        return crop, mask, spacing_mm
    rows, columns = (n // step * step for n in mask.shape[:2])
    blocks = (rows // step, step, columns // step, step)
    means = crop[:, :rows, :columns].reshape(crop.shape[0], *blocks, -1).mean(axis=(2, 4))
    shares = mask[:rows, :columns].reshape(*blocks, -1).mean(axis=(1, 3))
    spacing = (spacing_mm[0] * step, spacing_mm[1] * step, spacing_mm[2])
    return means.astype(np.float32), np.asarray(shares >= 0.5), spacing
