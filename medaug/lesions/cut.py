"""Cutting lesions out of a case: each with its context, and its index line with size, place, surroundings and texture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import final

import numpy as np
from scipy import ndimage

from medaug.core.case import Case
from medaug.core.errors import DataError
from medaug.core.geometry import Box
from medaug.core.intensity import CaseScale, IntensityScheme
from medaug.core.lesion import LesionCrop, LesionEntry, Texture
from medaug.core.volume import Labels, Mask
from medaug.lesions.body import Body
from medaug.lesions.diameter import ball_diameter_mm
from medaug.lesions.parts import LesionPart, lesion_parts
from medaug.lesions.texture import describe_texture

_CROPS = "crops"
_SMALLEST_VOXELS = 3
_CONTEXT = 2
_IN_PLANE_VOXELS = 64
_RING_VOXELS = (2.0, 6.0)
_FARTHEST = 7  # voxels: the ring and one more


def cut_lesions(case: Case, scheme: IntensityScheme, fold: int = 0) -> Iterator[LesionCrop]:
    """Every lesion of a case: 26-connected components of one class, of at least three voxels.

    Args:
        case: A labelled case.
        scheme: How it is normalised.
        fold: Index of the fold in whose training part the patient is.

    Raises:
        DataError: If the case has another unit or other channels than the scheme.
    """
    if (case.volume.unit, case.volume.channels) != (scheme.unit, scheme.channels):
        raise DataError(
            f"holds {', '.join(case.volume.channels)} in {case.volume.unit}",
            where=case.case_id,
            expected=f"{', '.join(scheme.channels)} in {scheme.unit}",
            hint="put each modality in a dataset of its own",
        )
    if case.label_map is None or not case.label_map.labels.any():
        return
    cutter = _Cutter(case, scheme.case_scale(case.volume), Body.of(case.volume), fold)
    for part in lesion_parts(case.label_map):
        if part.voxels >= _SMALLEST_VOXELS:
            yield cutter.cut(part)


@final
class _Cutter:
    """Cuts lesions out of one case."""

    def __init__(self, case: Case, scale: CaseScale, body: Body, fold: int) -> None:
        self._case, self._scale, self._body, self._fold = case, scale, body, fold

    def cut(self, part: LesionPart) -> LesionCrop:
        """A lesion with its context."""
        box = self._context(part.box)
        mask = np.zeros(box.shape, dtype=bool)
        mask[part.box.index_in(box)] = part.mask
        image = np.ascontiguousarray(self._case.volume.image[(slice(None), *box.slices)])
        others = (self._labels()[box.slices] > 0) & ~mask
        return LesionCrop(self._describe(box, image, mask, others, part), image, mask, others, self._scale)

    def _labels(self) -> Labels:
        if self._case.label_map is None:
            raise DataError("has no labels", where=self._case.case_id)
        return self._case.label_map.labels

    def _context(self, found: Box) -> Box:
        """Twice the lesion's extent around it, and at least 64 voxels in plane, inside the image."""
        extent = found.shape
        in_plane = max(_IN_PLANE_VOXELS, _CONTEXT * max(extent[:2]))
        i, j, k = ((a + b) // 2 for a, b in zip(found.start, found.stop, strict=True))
        box = Box.centred((i, j, k), (in_plane, in_plane, _CONTEXT * extent[2]))
        return box.clipped(self._case.volume.grid.shape)

    def _describe(
        self, box: Box, image: np.ndarray, mask: Mask, others: Mask, part: LesionPart
    ) -> LesionEntry:
        grid = self._case.volume.grid
        inside = self._scale.normalise(image[:, mask])
        ring = self._scale.normalise(image[:, self._ring(box, mask, others)])
        low, median, high = np.percentile(ring, (25.0, 50.0, 75.0), axis=1)
        points = np.argwhere(mask) + np.array(box.start)
        centre, cells = points.mean(axis=0), self._body.cells(points)
        middle = self._body.cells(np.rint(centre).astype(int)[None])
        organ, name = self._body.organ, f"{self._case.case_id}_{part.name}"
        return LesionEntry(
            lesion_id=name,
            case_id=self._case.case_id,
            patient_id=self._case.patient_id,
            fold=self._fold,
            class_name=part.class_name,
            crop_path=f"{_CROPS}/{name}.npz",
            spacing_mm=grid.spacing_mm,
            spacing="known" if self._case.volume.spacing_known else "nominal",
            voxels=len(points),
            volume_mm3=len(points) * grid.voxel_mm3,
            diameter_mm=self._diameter_mm(len(points)),
            centre_index=_triple(centre),
            centre_relative=_triple((centre + 0.5) / np.array(grid.shape)),
            centre_in_body=self._in_body(centre),
            slices_relative=self._slices(box, mask),
            boundary_distance_mm=self._edge_mm(float(self._body.edge[middle][0])),
            edge_margin_mm=self._edge_mm(float(self._body.edge[cells].min())),
            organ_share=None if organ is None else round(float(organ[cells].mean()), 4),
            mean=_figures(inside.mean(axis=1)),
            std=_figures(inside.std(axis=1)),
            ring_mean=_figures(ring.mean(axis=1)),
            ring_std=_figures(ring.std(axis=1)),
            ring_low=_figures(low),
            ring_median=_figures(median),
            ring_high=_figures(high),
            texture=self._texture(self._scale.normalise(image), mask, (1.0,) * len(image)),
            texture_native=self._texture(image, mask, self._scale.factor),
        )

    def _texture(self, image: np.ndarray, mask: Mask, units: Sequence[float]) -> tuple[Texture, ...]:
        """A channel each; units are the intensities that make one normalised unit."""
        spacing = self._case.volume.grid.spacing_mm
        return tuple(
            describe_texture(channel, mask, spacing, unit) for channel, unit in zip(image, units, strict=True)
        )

    def _ring(self, box: Box, mask: Mask, others: Mask) -> Mask:
        """Tissue 2 to 6 in-plane voxels off the lesion, inside the body and off other lesions."""
        spacing = np.array(self._case.volume.grid.spacing_mm)
        near = Box.around(mask, (_FARTHEST, _FARTHEST, _FARTHEST)).slices
        distance = ndimage.distance_transform_edt(~mask[near], sampling=spacing / spacing[:2].min())
        around = np.zeros(mask.shape, dtype=bool)
        around[near] = (distance >= _RING_VOXELS[0]) & (distance <= _RING_VOXELS[1])
        body = self._body.fine(self._body.inside, box)
        for ring in (around & ~others & body, around, ~mask, mask):
            if ring.any():
                return np.asarray(ring)
        return mask

    def _diameter_mm(self, voxels: int) -> float:
        """Of the ball of the lesion's volume; of the disc of its area in an image of one slice."""
        grid = self._case.volume.grid
        if grid.shape[2] > 1:
            return ball_diameter_mm(voxels * grid.voxel_mm3)
        return float(np.sqrt(4.0 / np.pi * voxels * grid.spacing_mm[0] * grid.spacing_mm[1]))

    def _in_body(self, centre: np.ndarray) -> tuple[float, float, float] | None:
        """Where the lesion's centre is in the box around the body, along K in the image where that cuts the body off."""
        i, j, k = self._body.place(centre[None])
        if i is None or j is None:
            return None
        along = (centre[2] + 0.5) / self._case.volume.grid.shape[2] if k is None else k[0]
        return _triple(np.array([i[0], j[0], along]))

    def _slices(self, box: Box, mask: Mask) -> tuple[float, float]:
        """Where the lesion begins and ends along K, as shares of the image."""
        hits = np.flatnonzero(mask.any(axis=(0, 1))) + box.start[2]
        slices = self._case.volume.grid.shape[2]
        return (round(float(hits[0]) / slices, 4), round(float(hits[-1] + 1) / slices, 4))

    def _edge_mm(self, voxels: float) -> float | None:
        """A distance to the edge of the body; None where the slice shows none."""
        return round(voxels * min(self._case.volume.grid.spacing_mm[:2]), 4) if np.isfinite(voxels) else None


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    return (round(float(values[0]), 4), round(float(values[1]), 4), round(float(values[2]), 4))


def _figures(values: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value), 5) for value in values)
