"""Lesions cut out of cases for assessment: a crop in normalised units, its figures and a small picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from medaug.core.case import Case
from medaug.core.errors import DataError
from medaug.core.geometry import Box
from medaug.core.intensity import IntensityScheme
from medaug.core.volume import Image, Mask
from medaug.quality.features import lesion_features

PATCH_VOXELS = 32
_CONNECTED = np.ones((3, 3, 3), dtype=bool)
_LARGEST_IN_PLANE = 64
_MARGIN_VOXELS = 4
_SMALLEST_VOXELS = 3


@final
@dataclass(frozen=True, slots=True, eq=False)
class LesionSample:
    """One lesion as the assessment sees it.

    Attributes:
        case_id: Its case.
        patient_id: Pseudonym of its patient; of the host where it is synthetic.
        class_name: Its class.
        image: (C, I, J, K) normalised units, the lesion with its surroundings, averaged down where it is large.
        mask: (I, J, K) True in this lesion.
        spacing_mm: Of the crop.
        figures: (F,) radiological features, see :data:`medaug.quality.features.feature_names`.
        patch: (32, 32) of the first channel around the lesion's largest slice, 1.5 radii to each side.
    """

    case_id: str
    patient_id: str
    class_name: str
    image: Image
    mask: Mask
    spacing_mm: tuple[float, float, float]
    figures: Float[np.ndarray, " F"]
    patch: Float[np.ndarray, "32 32"]

    @property
    def is_flat(self) -> bool:
        """Whether the lesion lies on one slice."""
        return int(self.mask.any(axis=(0, 1)).sum()) == 1

    @property
    def largest_slice(self) -> int:
        """Index along K of the slice where the lesion is largest."""
        return int(np.argmax(self.mask.sum(axis=(0, 1))))

    def slice_at(self, k: int) -> LesionSample:
        """The lesion's section on one slice as a sample of its own; figures and patch stay those of the whole."""
        part = slice(k, k + 1)
        return LesionSample(
            self.case_id, self.patient_id, self.class_name, self.image[..., part], self.mask[..., part],
            self.spacing_mm, self.figures, self.patch,
        )  # fmt: skip


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
    samples = []
    for number, class_name in enumerate(case.label_map.class_names, start=1):
        chosen = np.asarray(case.label_map.labels == number)
        masks = _components(chosen) if edit_mask is None else _drawn(chosen, edit_mask)
        samples += [_cut(case, class_name, image, mask) for mask in masks if mask.sum() >= _SMALLEST_VOXELS]
    return samples


def _components(chosen: Mask) -> list[Mask]:
    if not chosen.any():
        return []
    numbered, count = ndimage.label(chosen, _CONNECTED)
    return [np.asarray(numbered == number) for number in range(1, count + 1)]


def _drawn(chosen: Mask, edit_mask: Mask) -> list[Mask]:
    """The components that were drawn: those that lie mostly in the edit mask, not a host's lesion beside it."""
    inside = [(mask, mask & edit_mask) for mask in _components(chosen)]
    drawn = [part for mask, part in inside if 2 * int(part.sum()) >= int(mask.sum())]
    return drawn or _components(chosen & edit_mask)


def _cut(case: Case, class_name: str, image: Image, mask: Mask) -> LesionSample:
    tight = Box.around(mask)
    margin = [max(_MARGIN_VOXELS, n // 2) for n in tight.shape[:2]] + [1]
    box = Box(
        (tight.start[0] - margin[0], tight.start[1] - margin[1], tight.start[2] - margin[2]),
        (tight.stop[0] + margin[0], tight.stop[1] + margin[1], tight.stop[2] + margin[2]),
    ).clipped(mask.shape)
    crop, part = box.cut(image), mask[box.slices]
    spacing = case.volume.grid.spacing_mm
    figures = lesion_features(crop, part, spacing)
    patch = _patch(crop, part, spacing)
    crop, part, spacing = _averaged_down(crop, part, spacing)
    return LesionSample(case.case_id, case.patient_id, class_name, crop, part, spacing, figures, patch)


def _averaged_down(
    crop: Image, mask: Mask, spacing_mm: tuple[float, float, float]
) -> tuple[Float[np.ndarray, "C P Q K"], Bool[np.ndarray, "P Q K"], tuple[float, float, float]]:
    """Average blocks in plane, so that a large lesion costs no more memory than a small one."""
    step = -(-max(Box.around(mask).shape[:2]) // _LARGEST_IN_PLANE)
    if step < 2:
        return crop, mask, spacing_mm
    rows, columns = (n // step * step for n in mask.shape[:2])
    blocks = (rows // step, step, columns // step, step)
    means = crop[:, :rows, :columns].reshape(crop.shape[0], *blocks, -1).mean(axis=(2, 4))
    shares = mask[:rows, :columns].reshape(*blocks, -1).mean(axis=(1, 3))
    spacing = (spacing_mm[0] * step, spacing_mm[1] * step, spacing_mm[2])
    return means.astype(np.float32), np.asarray(shares >= 0.5), spacing


def _patch(crop: Image, mask: Mask, spacing_mm: tuple[float, float, float]) -> Float[np.ndarray, "32 32"]:
    """The largest slice around the lesion's middle, resampled so that lesions of all sizes look alike."""
    k = int(np.argmax(mask.sum(axis=(0, 1))))
    middle = np.argwhere(mask[..., k]).mean(axis=0)
    radius_mm = np.sqrt(mask[..., k].sum() * spacing_mm[0] * spacing_mm[1] / np.pi)
    steps = np.linspace(-1.5, 1.5, PATCH_VOXELS) * radius_mm
    rows, columns = np.meshgrid(
        steps / spacing_mm[0] + middle[0], steps / spacing_mm[1] + middle[1], indexing="ij"
    )
    patch = ndimage.map_coordinates(crop[0, ..., k], (rows, columns), order=1, mode="nearest")
    return np.asarray(patch, dtype=np.float32)
