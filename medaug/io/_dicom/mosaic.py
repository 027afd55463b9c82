"""Siemens mosaics: the slices of a volume as tiles of one picture, placed by the maker's private (CSA) headers.

The header of such a file describes one big slice. How many tiles are used, and which way they go, stands in the CSA image
header, or in the protocol of the CSA series header; a mosaic with neither is refused. ImagePositionPatient is that of the
big slice around the centre of the first tile, and is moved to the corner of the tile
(https://nipy.org/nibabel/dicom/dicom_mosaic.html).
"""

from __future__ import annotations

import math
import re
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np

from medaug.core.errors import GeometryError
from medaug.core.findings import Code, Finding, finding
from medaug.io._dicom.elements import Elements
from medaug.io._dicom.frame import Frame, Trait

with warnings.catch_warnings():
    # nibabel calls its wrappers of whole series experimental, which are not used here
    warnings.simplefilter("ignore", UserWarning)
    from nibabel.nicom import csareader

_BETWEEN = 0x00180088
_CREATOR = "SIEMENS CSA HEADER"
_BLOCKS: Final = (0x10, 0x11, 0x12)
_IMAGE_HEADER, _SERIES_HEADER = 0x10, 0x20
TAGS: Final = (
    _BETWEEN,
    *(0x00290000 | block for block in _BLOCKS),
    *(0x00290000 | block << 8 | part for block in _BLOCKS for part in (_IMAGE_HEADER, _SERIES_HEADER)),
)
_PARSE_ERRORS = (
    AssertionError,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
    csareader.CSAError,
    struct.error,
)

_COUNT = re.compile(r"^sSliceArray\.lSize\s*=\s*(\d+)", re.MULTILINE)
_CENTRE = re.compile(
    r"^sSliceArray\.asSlice\[(\d+)\]\.sPosition\.d(Sag|Cor|Tra)\s*=\s*([-+.\deE]+)", re.MULTILINE
)
_AXES: Final = {"Sag": 0, "Cor": 1, "Tra": 2}
_MOST_TILES = 1024
_PARALLEL = 0.999
_SAME_STEP = 0.02


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Layout:
    """What the private headers say.

    Attributes:
        count: Tiles in use.
        step_mm: From a slice to the next, LPS+.
        is_reversed: The last tile is the first slice: the scanner numbered images against its protocol.
    """

    count: int
    step_mm: np.ndarray
    is_reversed: bool


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Corner:
    """The first tile: corner and size, LPS+ mm, with the normal of its plane."""

    position_mm: np.ndarray
    middle_mm: np.ndarray
    normal: np.ndarray


def tiles_of(whole: Frame, elements: Elements) -> tuple[Frame, ...]:
    """The slices of a mosaic as frames.

    Args:
        whole: The picture as its header describes it.
        elements: Of the header, read for :data:`TAGS` at least.

    Raises:
        GeometryError: If the private headers are missing or damaged, or do not fit the picture.
    """
    image, protocol = _csa(elements, _IMAGE_HEADER), _csa(elements, _SERIES_HEADER)
    text = _protocol(protocol)
    count = _tile_count(image, text)
    across, rows, columns = _tiling(whole, count)
    corner = _corner(whole, rows, columns)
    layout = _layout(count, corner, image, text, elements.number(_BETWEEN))
    traits = (*whole.traits, *_diffusion(whole, image))
    pixels = replace(whole.pixels, rows=rows, columns=columns)
    notes = (*whole.notes, *([_reversed_note(layout)] if layout.is_reversed else []))
    return tuple(
        replace(
            whole,
            tile=(number, across, across),
            pixels=pixels,
            plane=replace(whole.plane, position_mm=_position(corner, layout, number)),
            thickness_mm=float(np.linalg.norm(layout.step_mm)),
            traits=traits,
            notes=notes,
        )
        for number in range(count)
    )


def _tiling(whole: Frame, count: int) -> tuple[int, int, int]:
    """Tiles a row, and rows and columns of a tile: tiles fill a square, row by row."""
    across = math.isqrt(count - 1) + 1
    rows, rest = divmod(whole.pixels.rows, across)
    columns, rest_across = divmod(whole.pixels.columns, across)
    if min(rows, columns) < 1 or rest or rest_across:
        size = f"{whole.pixels.rows} x {whole.pixels.columns}"
        raise _undescribed(f"{count} slices do not tile a picture of {size}")
    return across, rows, columns


def _undescribed(what: str) -> GeometryError:
    return GeometryError(
        f"mosaic cannot be taken apart: {what}",
        expected="the maker's private (CSA) headers",
        hint="export it with private tags, or as single slices",
        code=Code.MOSAIC_UNDESCRIBED,
    )


def _csa(elements: Elements, part: int) -> Mapping[str, Any]:
    """The tags of a CSA header with their values; nothing where there is none."""
    named = [block for block in _BLOCKS if elements.text(0x00290000 | block).upper() == _CREATOR]
    # anonymisation may take the name of the block away and leave its contents
    for block in (*named, _BLOCKS[0]):
        content = elements.content(0x00290000 | block << 8 | part)
        if content:
            try:
                tags = csareader.read(content)["tags"]
            except _PARSE_ERRORS as error:
                raise _undescribed("a private header is damaged") from error
            return {name: tag["items"] for name, tag in tags.items() if tag.get("items")}
    return {}


def _protocol(series: Mapping[str, Any]) -> str:
    """The part of the protocol that lists slices, between the marks of its writer."""
    for name in ("MrPhoenixProtocol", "MrProtocol"):
        text = str(series[name][0]) if name in series else ""
        begin = text.find("### ASCCONV BEGIN")
        if begin >= 0:
            return text[begin : text.find("### ASCCONV END", begin)]
    return ""


def _tile_count(image: Mapping[str, Any], protocol: str) -> int:
    stated = image.get("NumberOfImagesInMosaic")
    listed = _COUNT.search(protocol)
    count = int(stated[0]) if stated else int(listed[1]) if listed else 0
    if not 0 < count <= _MOST_TILES:
        raise _undescribed("nothing says how many slices it holds")
    return count


def _corner(whole: Frame, rows: int, columns: int) -> _Corner:
    """From the corner of the big slice to that of a tile around the same centre."""
    plane = whole.plane
    if plane.position_mm is None:
        raise _missing("ImagePositionPatient", Code.MISSING_POSITION)
    if plane.row is None or plane.column is None:
        raise _missing("ImageOrientationPatient", Code.MISSING_ORIENTATION)
    if plane.spacing_mm is None:
        raise _missing("PixelSpacing", Code.MISSING_PIXEL_SPACING)
    row, column = np.array(plane.row), np.array(plane.column)
    right, down = row * plane.spacing_mm[1], column * plane.spacing_mm[0]
    position = np.array(plane.position_mm)
    position = (
        position + right * ((whole.pixels.columns - columns) / 2) + down * ((whole.pixels.rows - rows) / 2)
    )
    return _Corner(position, position + right * (columns / 2) + down * (rows / 2), np.cross(row, column))


def _missing(name: str, code: Code) -> GeometryError:
    return GeometryError(f"{name} is missing", hint="export the original series again", code=code)


def _layout(
    count: int, corner: _Corner, image: Mapping[str, Any], protocol: str, between_mm: float | None
) -> _Layout:
    centres = _centres(protocol)
    if count > 1 and len(centres) == count:
        return _by_protocol(corner, centres)
    vector = image.get("SliceNormalVector")
    if not vector or len(vector) != 3 or between_mm is None or not 0 < between_mm < math.inf:
        raise _undescribed("nothing says which way its slices go, or how far apart they lie")
    if [int(number) for number in image.get("ProtocolSliceNumber", [0])][:1] != [0]:
        raise _undescribed("its slices are numbered backwards, and no protocol lists where they lie")
    cosine = float(np.array(vector, dtype=np.float64) @ corner.normal)
    if abs(cosine) < _PARALLEL:
        raise _undescribed("its slice normal is not that of its image orientation")
    return _Layout(count, math.copysign(between_mm, cosine) * corner.normal, is_reversed=False)


def _centres(protocol: str) -> np.ndarray:
    """(slices, 3) LPS+ mm, the centre of each slice of the protocol; the writer leaves zeros out."""
    found: dict[int, list[float]] = {}
    for number, axis, value in _CENTRE.findall(protocol):
        found.setdefault(int(number), [0.0, 0.0, 0.0])[_AXES[axis]] = float(value)
    if sorted(found) != list(range(len(found))):
        return np.empty((0, 3))
    return np.array([found[number] for number in range(len(found))]).reshape(-1, 3)


def _by_protocol(corner: _Corner, centres: np.ndarray) -> _Layout:
    """The first tile stands at one end of the listed slices; the others follow to the other end."""
    step = (centres[-1] - centres[0]) / (len(centres) - 1)
    length = float(np.linalg.norm(step))
    even = centres[0] + np.outer(np.arange(len(centres)), step)
    if not length or abs(float(step @ corner.normal)) < _PARALLEL * length:
        raise _undescribed("the slices of its protocol do not follow the normal of its image orientation")
    if np.abs(even - centres).max() > _SAME_STEP * length:
        raise _undescribed("the slices of its protocol do not lie at even distances")
    ends = np.abs((centres[[0, -1]] - corner.middle_mm) @ corner.normal)
    step = math.copysign(length, float(step @ corner.normal)) * corner.normal
    return _Layout(len(centres), step, is_reversed=bool(ends[1] < ends[0]))


def _position(corner: _Corner, layout: _Layout, tile: int) -> tuple[float, float, float]:
    """The corner of a tile: the stated position belongs to the first slice, and the others follow along the protocol."""
    place = layout.count - 1 - tile if layout.is_reversed else tile
    x, y, z = (float(value) for value in corner.position_mm + place * layout.step_mm)
    return x, y, z


def _reversed_note(layout: _Layout) -> Finding:
    """Where numbering is turned round, position and protocol of the file contradict each other."""
    apart_mm = (layout.count - 1) * float(np.linalg.norm(layout.step_mm))
    message = (
        "images of the mosaic are numbered against its protocol; slices start at ImagePositionPatient, which the protocol"
        f" puts {apart_mm:.1f} mm away: check the position before other series or contours are laid over it"
    )
    return finding(Code.MOSAIC_REVERSED, "flagged", message)


def _diffusion(whole: Frame, image: Mapping[str, Any]) -> tuple[Trait, ...]:
    """b-value and gradient direction of the private header, where the frame has none."""
    told = {trait.name for trait in whole.traits}
    values = {"b": image.get("B_value"), "direction": image.get("DiffusionGradientDirection")}
    return tuple(
        Trait(name, " ".join(f"{float(number):.6g}" for number in numbers))
        for name, numbers in values.items()
        if numbers and name not in told
    )
