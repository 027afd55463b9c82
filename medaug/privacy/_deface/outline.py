"""What of a scan is head and what is air, and how large the head is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float32
from scipy import ndimage
from skimage.filters import threshold_otsu

from medaug.privacy._deface.frame import ADULT_BREADTH_MM, Frame, Levels, Voxels, make_frame

_SMOOTH_MM = 1.5
_NOISE_SIGMAS = 5.0
_LOWEST_SHARE, _HIGHEST_SHARE = 0.06, 0.25  # of tissue, where skin begins
_CLOSED_MM = 10.0  # nostrils and ears
_LEAST_AIR = 0.03
_IN_SECTION = ndimage.generate_binary_structure(3, 1) & np.array([[[0, 1, 0]]], dtype=bool)
_PLAIN = 0.98
_BELIEVED = 0.4  # of the height of an ellipsoid's top
_CALVARIUM = 0.55  # from the widest level to the vertex, in breadths
# levels at which a half ellipsoid has these shares of its largest section
_UPPER, _LOWER = 0.3, 0.75
_LEAST_TAPER = 0.6
_THINNEST_MM, _THICK_MM, _THICKEST_MM = 1.0, 4.0, 8.0


@final
@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """A body in air.

    Attributes:
        frame: In adult millimetres: the breadth is that of an adult.
        smooth: Its image, less noise.
        body: All that is not air, holes filled.
        depth_mm: Of each voxel below the skin.
        threshold: Of ``smooth``: what is above is no air.
        breadth_mm: As the scan's spacing has it.
        spacing_believed: Whether lengths follow from the scan's spacing.
    """

    frame: Frame
    smooth: Levels
    body: Voxels
    depth_mm: Float32[np.ndarray, "I J K"]
    threshold: float
    breadth_mm: float
    spacing_believed: bool

    @property
    def air_is_plain(self) -> bool:
        """Whether a mask was applied: nearly all voxels outside the body hold one value."""
        air = self.frame.image[ndimage.binary_dilation(self.body, iterations=3) == 0]
        if not air.size:
            return False
        return bool(np.mean(np.abs(air - np.median(air)) < 1e-6) >= _PLAIN)


def find_outline(
    image: Levels, spacing_mm: tuple[float, float, float], *, spacing_known: bool
) -> Outline | None:
    """The body in a scan, scaled to the breadth of an adult head; None where no air surrounds anything.

    Where the spacing is nominal, or would make the head far too flat, the distance of slices follows from how fast sections grow below the vertex, as those of half
    an ellipsoid do.
    """
    rows, columns, slices = spacing_mm
    frame = make_frame(image, (rows, columns, _THICK_MM * rows))  # every slice counts
    body, _, _ = _body(frame)
    breadth = 0.0 if body is None else _breadth_mm(body, frame.spacing_mm)
    if body is None or breadth <= 0:
        return None
    scale = ADULT_BREADTH_MM / breadth
    i, j, k = rows * scale, columns * scale, slices * scale
    guessed = _slice_mm(body)
    believed = spacing_known and (guessed is None or k >= _BELIEVED * guessed)
    if not believed:
        k = float(np.clip(guessed or _THICK_MM, _THINNEST_MM, _THICKEST_MM))
    frame = make_frame(image, (i, j, k))
    body, threshold, smooth = _body(frame)
    if body is None:
        return None
    depth = ndimage.distance_transform_edt(body, sampling=frame.spacing_mm).astype(np.float32)
    return Outline(frame, smooth, body, depth, threshold, breadth, believed)


def sigmas(size_mm: float, frame: Frame) -> list[float]:
    """A length in voxels; 0 along axes whose voxels are longer."""
    return [size_mm / one if one <= 2 * size_mm else 0.0 for one in frame.spacing_mm]


def skin_threshold(smooth: Levels) -> float:
    """What lies above is no air: well above the noise, well below tissue."""
    capped = np.minimum(smooth, np.percentile(smooth, 99))
    if capped.min() == capped.max():
        return float("inf")
    tissue = float(np.median(capped[capped > threshold_otsu(capped)]))
    air = smooth[smooth < _HIGHEST_SHARE * tissue]
    if not air.size:
        return _LOWEST_SHARE * tissue
    middle = float(np.median(air))
    spread = 1.48 * float(np.median(np.abs(air - middle)))
    return float(np.clip(middle + _NOISE_SIGMAS * spread, _LOWEST_SHARE * tissue, _HIGHEST_SHARE * tissue))


def close_sections(mask: Voxels, spacing_mm: tuple[float, float, float]) -> Voxels:
    """Every axial section with its openings closed and its holes filled."""
    reach = [max(round(_CLOSED_MM / 2 / one), 1) for one in spacing_mm[:2]]
    closed = np.pad(mask, [(one, one) for one in reach] + [(0, 0)])
    for step in (ndimage.maximum_filter1d, ndimage.minimum_filter1d):
        for axis, one in enumerate(reach):
            closed = step(closed, 2 * one + 1, axis=axis, mode="constant")
    inner = closed[reach[0] : -reach[0], reach[1] : -reach[1]]
    return fill_sections(inner | mask)


def fill_sections(mask: Voxels) -> Voxels:
    """Every axial section with its holes filled: what no way within the section leads out of."""
    numbers, _ = ndimage.label(~np.pad(mask, [(1, 1), (1, 1), (0, 0)]), structure=_IN_SECTION)
    outside = np.isin(numbers, np.unique(numbers[0]))
    return np.asarray(~outside[1:-1, 1:-1])


def largest_part(mask: Voxels) -> Voxels:
    """The largest 6-connected component; nothing where there is none."""
    numbers, count = ndimage.label(mask)
    if count == 0:
        return mask
    sizes = np.bincount(numbers.ravel())
    sizes[0] = 0
    return np.asarray(numbers == sizes.argmax())


def _body(frame: Frame) -> tuple[Voxels | None, float, Levels]:
    smooth = ndimage.gaussian_filter(frame.image, sigmas(_SMOOTH_MM, frame))
    threshold = skin_threshold(smooth)
    body = largest_part(close_sections(largest_part(smooth > threshold), frame.spacing_mm))
    air = 1 - body.mean()
    return (None if air < _LEAST_AIR or not body.any() else body), threshold, smooth


def _breadth_mm(body: Voxels, spacing_mm: tuple[float, float, float]) -> float:
    """Of the widest levels, without ears."""
    areas = body.sum(axis=(0, 1))
    widths = []
    for k in np.flatnonzero(areas >= areas.max() / 2):
        columns = body[:, :, k].sum(axis=1) * spacing_mm[1]
        # an ear is no longer than this from front to back
        wide = columns > 45.0 * columns.max() / 200.0
        widths.append(int(np.count_nonzero(wide)) * spacing_mm[0])
    return float(np.percentile(widths, 80)) if widths else 0.0


def _slice_mm(body: Voxels) -> float | None:
    """Distance of the slices in adult millimetres, were the top of the body a half ellipsoid; None where it does not taper."""
    areas = body.sum(axis=(0, 1)).astype(np.float64)
    largest = float(np.sort(areas)[-max(len(areas) // 4, 1) :].mean())
    upper = max(_UPPER, float(areas[-1]) / largest)
    if upper > _LEAST_TAPER:
        return None
    between = max(_level_of(areas, upper * largest) - _level_of(areas, _LOWER * largest), 0.5)
    apart = float(np.sqrt(1 - upper) - np.sqrt(1 - _LOWER))
    return ADULT_BREADTH_MM * _CALVARIUM * apart / between


def _level_of(areas: np.ndarray, wanted: float) -> float:
    """The uppermost level, in slices, at which a section has this area."""
    last = int(np.flatnonzero(areas >= wanted)[-1])
    above = areas[last + 1] if last + 1 < len(areas) else 0.0
    return last + float(areas[last] - wanted) / max(float(areas[last] - above), 1.0)
