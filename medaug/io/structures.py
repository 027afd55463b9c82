"""Regions of an RT structure set on the grid of the series they were drawn on, by an exact rasteriser."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import numpy as np
from jaxtyping import Bool
from pydicom.dataset import Dataset

from medaug.core.errors import DataError, GeometryError, UnreadableError
from medaug.core.findings import Code, Finding, finding
from medaug.core.geometry import Affine, lps_to_ras, ras_to_lps
from medaug.core.volume import Mask
from medaug.core.wording import counted
from medaug.io._dicom.contours import STRUCTURE_SET, Contour, Region, contours_of, images_of, regions
from medaug.io._dicom.placing import place_on
from medaug.io._dicom.polygons import Points, area, fill
from medaug.io.annotations import Annotation, Segment, Target, open_dicom, reference_note
from medaug.io.headers import PYDICOM_ERRORS, quiet_pydicom

Layer = Bool[np.ndarray, "rows columns"]

# How far a contour may lie from its slice, in slice distances: planning systems round to a tenth of a millimetre
_OFF_SLICE: Final = 0.1
# Coordinates this far from the image are no coordinates (and would overflow)
_FARTHEST: Final = 1e6
# Decimals of a pixel that the text of a header can hold: edges meant to lie on pixel centres do so again
_DECIMALS: Final = 6
_CROSSING_SHARE: Final = 0.05
_CROSSING_PIXELS: Final = 2
# Two contours apart may be two lesions; so many with never two in a row are a habit
_SEVERAL: Final = 3


def read_structures(
    path: Path, target: Target, *, numbers: Collection[int] | None = None, where: str = ""
) -> Annotation:
    """Put the regions of an RT structure set (PS3.3 A.19) on the grid of their image.

    A pixel belongs to a region where its centre lies inside an odd number of the region's contours on its slice: inner
    contours are holes, and islands within them belong to it again (PS3.3 C.8.8.6.3; keyholes need nothing more). Points
    and open curves enclose nothing. Nothing is drawn between slices.

    Args:
        path: The structure set.
        target: The image it was drawn on.
        numbers: Which ROIs to read; None reads all that have a closed contour.
        where: Pseudonymous id for error lines.

    Raises:
        UnreadableError: If the file is damaged or no structure set.
        GeometryError: If a region lies in another frame of reference, a contour on no slice of the image, on another
            than it names or on images that are not there, or contours of a region cross each other.
    """
    try:
        dataset, sha256 = open_dicom(path)
        with quiet_pydicom():
            if str(dataset.get("SOPClassUID") or "") != STRUCTURE_SET:
                raise UnreadableError("file is no RT structure set", code=Code.UNSUPPORTED_CLASS)
            found = regions(dataset)
            wanted = [r for r in found if r.closed and (numbers is None or r.number in numbers)]
            note = _tied(dataset, wanted, target)
            drawn = [_drawn(dataset, region, target) for region in wanted]
    except DataError as error:
        raise error.located(where) from error
    except PYDICOM_ERRORS as error:
        hint = "copy or export it again"
        raise UnreadableError(
            "RT structure set is cut short or damaged", where=where, hint=hint, code=Code.TRUNCATED_FILE
        ) from error
    odd = [note] if note else []
    odd += _left_out(found, numbers)
    odd += [finding for _, findings in drawn for finding in findings]
    return Annotation(tuple(segment for segment, _ in drawn), sha256, tuple(dict.fromkeys(odd)))


def _tied(dataset: Dataset, wanted: Sequence[Region], target: Target) -> Finding | None:
    """Refuse regions that are not of this image; what to say of images that are missing."""
    space = target.frame_of_reference_uid
    if space and any(r.frame_of_reference_uid not in ("", space) for r in wanted):
        raise GeometryError(
            "a region lies in another frame of reference than the image",
            hint="export images and structure set together again",
            code=Code.REFERENCE_MISSING,
        )
    listed = [uids for _, uids in images_of(dataset)]
    held = {*target.instance_uids, *target.other_uids}
    of_target = [uids for uids in listed if uids & held] or listed
    referred = {uid for uids in (*of_target, *(r.instance_uids for r in wanted)) for uid in uids}
    same = bool(space) and all(r.frame_of_reference_uid == space for r in wanted)
    return reference_note(referred, target, same_space=same)


def _left_out(found: Sequence[Region], numbers: Collection[int] | None) -> list[Finding]:
    notes = []
    curves = sum(r.left_out for r in found if numbers is None or r.number in numbers)
    if curves:
        message = f"{counted(curves, 'point or open contour', 'points or open contours')} enclose nothing and were left out"
        notes.append(finding(Code.CONTOUR_IGNORED, "flagged", message))
    empty = sum(not r.closed for r in found)
    if empty:
        message = f"{counted(empty, 'region')} of the structure set without a closed contour"
        notes.append(finding(Code.SEGMENT_EMPTY, "flagged", message))
    return notes


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Slices:
    """The stored slices of an image: (column, row, slice) index to LPS+ mm, and their number and size."""

    affine_lps: Affine
    columns: int
    rows: int
    count: int

    def index(self, points_mm: np.ndarray) -> np.ndarray:
        """(column, row, slice) of points in LPS+ mm."""
        inverse = np.linalg.inv(self.affine_lps)
        return np.round(points_mm @ inverse[:3, :3].T + inverse[:3, 3], _DECIMALS)


def _slices_of(target: Target, contours: Sequence[Contour]) -> _Slices:
    """The slices as stored; of a target that is no series, those on which the contours are flat."""
    if target.affine_lps is not None:
        to_index = np.abs(np.linalg.inv(target.grid.affine) @ lps_to_ras(target.affine_lps))[:3, :3]
        columns, rows, count = (target.grid.shape[int(axis)] for axis in to_index.argmax(axis=0))
        return _Slices(target.affine_lps, columns, rows, count)
    inverse = np.linalg.inv(ras_to_lps(target.grid.affine))[:3, :3]
    spread = np.sum([np.ptp(contour.points_mm @ inverse.T, axis=0) for contour in contours], axis=0)
    flat = int(np.argmin(spread))
    across, down = (axis for axis in range(3) if axis != flat)
    shape = target.grid.shape
    return _Slices(
        ras_to_lps(target.grid.affine)[:, [across, down, flat, 3]], shape[across], shape[down], shape[flat]
    )


def _drawn(dataset: Dataset, region: Region, target: Target) -> tuple[Segment, list[Finding]]:
    contours = list(contours_of(dataset, region.number))
    slices = _slices_of(target, contours)
    layers = _by_slice(contours, slices, target)
    mask: Mask = np.zeros(target.grid.shape, dtype=bool)
    notes: list[Finding] = []
    for number, flat in layers.items():
        layer, odd = _layer(flat, slices)
        notes += odd
        if layer.any():
            _put(layer, number, slices, mask, target)
    if len(layers) >= _SEVERAL and min(np.diff(sorted(layers))) > 1:
        message = "a region has contours on every other slice or fewer; nothing was drawn between: interpolate them at the source"
        notes.append(finding(Code.CONTOUR_GAPS, "flagged", message))
    segment = Segment.of(region.number, region.name, mask)
    if not segment.voxels:
        notes.append(
            finding(Code.SEGMENT_EMPTY, "flagged", "a region is so small that it holds no voxel centre")
        )
    return segment, notes


def _put(layer: Layer, number: int, slices: _Slices, mask: Mask, target: Target) -> None:
    """Write the part of a slice that is not empty into the mask."""
    rows, columns = np.flatnonzero(layer.any(axis=1)), np.flatnonzero(layer.any(axis=0))
    part = layer[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    affine = np.array(slices.affine_lps)
    affine[:, 3] = affine @ np.array([columns[0], rows[0], number, 1.0])
    place = place_on(target.grid, affine, (part.shape[1], part.shape[0]))
    if place is None:
        raise GeometryError("image is no grid of slices", code=Code.GEOMETRY)
    place.put(part, mask)


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Flat:
    """A contour on its slice, (column, row) a point."""

    points: Points
    is_xor: bool


def _by_slice(contours: Sequence[Contour], slices: _Slices, target: Target) -> dict[int, list[_Flat]]:
    layers: dict[int, list[_Flat]] = {}
    lost: list[Contour] = []
    for contour in contours:
        index = slices.index(contour.points_mm)
        if np.abs(index).max() > _FARTHEST:
            raise GeometryError("a contour lies far away from the image", code=Code.CONTOUR_OFF_SLICE)
        number = round(float(index[:, 2].mean()))
        if np.abs(index[:, 2] - number).max() > _OFF_SLICE or not 0 <= number < slices.count:
            lost.append(contour)
            continue
        _require_on_named_image(contour, target, number)
        layers.setdefault(number, []).append(_Flat(index[:, :2], contour.is_xor))
    if lost:
        _refuse_lost(lost, len(contours), target)
    return layers


def _refuse_lost(lost: Sequence[Contour], total: int, target: Target) -> None:
    images = {uid for contour in lost for uid in contour.instance_uids}
    missing = len(images - set(target.instance_uids) - target.other_uids) if target.instance_uids else 0
    what = f"{len(lost)} of the {counted(total, 'contour')} of a region lie on no slice of the image"
    if missing:
        raise GeometryError(
            f"{what}; {counted(missing, 'image')} they were drawn on {'is' if missing == 1 else 'are'} not there",
            hint="add the images the structure set was drawn on",
            code=Code.REFERENCE_MISSING,
        )
    raise GeometryError(
        what,
        hint="add the missing slices, or export the contours on the image's own slices",
        code=Code.CONTOUR_OFF_SLICE,
    )


def _require_on_named_image(contour: Contour, target: Target, number: int) -> None:
    """A contour drawn on one image lies where that image lies."""
    named = [n for n, uid in enumerate(target.instance_uids) if uid in contour.instance_uids]
    if len(named) == 1 and named[0] != number:
        raise GeometryError(
            "a contour lies elsewhere than the image it names",
            hint="export images and structure set together again",
            code=Code.CONTOUR_OFF_SLICE,
        )


def _layer(contours: Sequence[_Flat], slices: _Slices) -> tuple[Layer, list[Finding]]:
    """The contours of one slice combined by exclusive or, (rows, columns), and what was odd about them."""
    layer = np.zeros((slices.rows, slices.columns), dtype=bool)
    last = np.array([slices.columns, slices.rows]) - 0.5
    crossing = cut = 0
    kept = _without_copies(contours)
    # the largest first, so that what lies inside another is told from what crosses it
    for contour in sorted(kept, key=lambda c: -area(c.points)):
        filled = fill(contour.points, layer.shape)
        part = layer[filled.window]
        shared = int(np.count_nonzero(part & filled.inside))
        odd = min(shared, filled.pixels - shared)
        if not contour.is_xor and odd > max(_CROSSING_PIXELS, _CROSSING_SHARE * filled.pixels):
            raise GeometryError(
                f"contours of a region cross each other and share {counted(odd, 'pixel')} of a slice",
                hint="redraw them, or export the structure set as a segmentation",
                code=Code.CONTOURS_CROSS,
            )
        crossing += 0 if contour.is_xor else odd
        cut += bool((contour.points < -0.5).any() or (contour.points > last).any())
        part ^= filled.inside
    return layer, _layer_notes(len(contours) - len(kept), crossing, cut)


def _layer_notes(copies: int, crossing: int, cut: int) -> list[Finding]:
    notes = []
    if copies:
        message = "contours that stand twice on one slice were drawn once; clean up the structure set"
        notes.append(finding(Code.CONTOUR_IGNORED, "flagged", message))
    if crossing:
        message = "contours of a region cross each other a little; what they share was taken as a hole"
        notes.append(finding(Code.CONTOURS_CROSS, "flagged", message))
    if cut:
        message = "a contour reaches outside the image; what lies outside is cut off"
        notes.append(finding(Code.CONTOUR_CUT, "flagged", message))
    return notes


def _without_copies(contours: Sequence[_Flat]) -> list[_Flat]:
    """Contours without those that another one repeats point for point, which exclusive or would wipe out."""
    if len(contours) == 1:
        return list(contours)
    kept: dict[bytes, _Flat] = {}
    for number, contour in enumerate(contours):
        corners = np.unique(contour.points + 0.0, axis=0)
        kept.setdefault(corners.tobytes() if not contour.is_xor else str(number).encode(), contour)
    return list(kept.values())
