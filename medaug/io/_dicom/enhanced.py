"""Frames of enhanced multi-frame objects (CT, MR, PET, and legacy converted ones), from their functional groups.

What a frame says stands in its item of PerFrameFunctionalGroupsSequence, or else in SharedFunctionalGroupsSequence (PS3.3
C.7.6.16). Private scaling stays out: values are stored value x RescaleSlope + RescaleIntercept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, final

from medaug.core.errors import UnreadableError
from medaug.core.findings import Code, Finding
from medaug.io._dicom import suv
from medaug.io._dicom.classic import Belonging, frame_of, plane_of, thickness_of, traits_of
from medaug.io._dicom.elements import Elements
from medaug.io._dicom.frame import Frame, Plane, Rescale, Trait
from medaug.io._dicom.parse import PixelElement

CLASSES: Final = {
    "1.2.840.10008.5.1.4.1.1.2.1": "CT",
    "1.2.840.10008.5.1.4.1.1.2.2": "CT",
    "1.2.840.10008.5.1.4.1.1.4.1": "MR",
    "1.2.840.10008.5.1.4.1.1.4.4": "MR",
    "1.2.840.10008.5.1.4.1.1.130": "PT",
    "1.2.840.10008.5.1.4.1.1.128.1": "PT",
}
_SHARED, _PER_FRAME, _DIMENSIONS = 0x52009229, 0x52009230, 0x00209222
_FRAMES, _IMAGE_TYPE, _COMPONENT = 0x00280008, 0x00080008, 0x00089208
TAGS: Final = (_SHARED, _PER_FRAME, _DIMENSIONS, _COMPONENT, *suv.TAGS)

_POSITION_GROUP, _ORIENTATION_GROUP, _MEASURES_GROUP = 0x00209113, 0x00209116, 0x00289110
_VALUES_GROUP, _REAL_WORLD_GROUP, _CONTENT_GROUP = 0x00289145, 0x00409096, 0x00209111
_TYPE_GROUPS: Final = (0x00189226, 0x00189329, 0x00189751)
_CONVERTED_GROUPS: Final = (0x00209171, 0x00209170)
_POSITION, _ORIENTATION, _PIXEL_SPACING = 0x00200032, 0x00200037, 0x00280030
_SLOPE, _INTERCEPT, _RESCALE_TYPE, _PET_UNITS = 0x00281053, 0x00281052, 0x00281054, 0x00541001
_UNITS_CODE, _CODE_VALUE = 0x004008EA, 0x00080100
_UCUM_UNITS: Final = {"Bq/ml": "BQML", "g/ml": "GML", "g/ml{SUVbw}": "GML", "{counts}": "CNTS"}
_FRAME_TYPE, _INDEX_VALUES, _POINTER = 0x00089007, 0x00209157, 0x00209165

# (name, functional group, sequence within it, element, VR): by which volumes of one object may differ, as in `classic`
_TRAITS: Final = (
    ("stack", _CONTENT_GROUP, None, 0x00209056, "SH"),
    ("echo_ms", 0x00189114, None, 0x00189082, "FD"),
    ("b", 0x00189117, None, 0x00189087, "FD"),
    ("direction", 0x00189117, 0x00189076, 0x00189089, "FD"),
    ("directionality", 0x00189117, None, 0x00189075, "CS"),
    ("inversion_ms", 0x00189115, None, 0x00189079, "FD"),
    ("flip", 0x00189112, None, 0x00181314, "DS"),
    ("time", _CONTENT_GROUP, None, 0x00209128, "UL"),
    ("phase", 0x00189118, None, 0x00209241, "FL"),
    ("trigger_ms", 0x00189118, None, 0x00209153, "FD"),
    ("kvp", 0x00189325, None, 0x00180060, "DS"),
    ("kernel", 0x00189314, None, 0x00189315, "CS"),
    ("repetition_ms", 0x00189112, None, 0x00180080, "DS"),
    ("acquisition", _CONTENT_GROUP, None, 0x00209156, "US"),
    ("component", 0x00189226, None, _COMPONENT, "CS"),
    ("acquired_at", _CONTENT_GROUP, None, 0x00189074, "DT"),
)
_TEXT: Final = frozenset({"SH", "CS", "DT"})
# Dimensions that count places, or what a trait above says already
_TOLD_POINTERS: Final = frozenset(
    {
        *(
            _POSITION,
            _ORIENTATION,
            _PIXEL_SPACING,
            0x00209057,
            0x00201041,
            0x00189327,
            0x00180050,
            0x00200013,
        ),
        *(element for _, _, _, element, _ in _TRAITS),
    }
)


_GROUPS: Final = frozenset(
    {
        *(_POSITION_GROUP, _ORIENTATION_GROUP, _MEASURES_GROUP, _VALUES_GROUP, _REAL_WORLD_GROUP),
        *(_CONTENT_GROUP, *_TYPE_GROUPS, *_CONVERTED_GROUPS),
        *(group for _, group, _, _, _ in _TRAITS),
    }
)

# The one item of each functional group of a frame
Groups = Mapping[int, Elements]


@final
@dataclass(frozen=True, slots=True)
class _Object:
    """What holds for all frames of an object."""

    header: Elements
    modality: str
    pointers: tuple[int, ...]


def frames_of(
    header: Elements, belonging: Belonging, path: Path, pixels: PixelElement | None
) -> tuple[Frame, ...]:
    """The frames of an enhanced object, in the order of the file; where one lies may be unknown.

    Args:
        header: Read for :data:`TAGS` at least.
        belonging: To what the object belongs.
        path: The file.
        pixels: Where the pixel data stand, None where they lie in a stream that is deflated.

    Raises:
        UnreadableError: If frames are not described, or fewer or more of them than the pixel data hold.
    """
    described = header.items(_PER_FRAME)
    claimed = header.whole(_FRAMES, "IS") or 1
    if len(described) != claimed:
        raise UnreadableError(
            f"header claims {claimed} frames and describes {len(described)}",
            hint="export the original series again",
            code=Code.BAD_PIXEL_FORMAT,
        )
    first = frame_of(header, belonging, path, pixels, claimed)
    shared = _groups(next(iter(header.items(_SHARED)), None))
    whole = _Object(header, belonging.modality, tuple(_pointer(item) for item in header.items(_DIMENSIONS)))
    return tuple(
        _described(replace(first, number=number), whole, {**shared, **_groups(own)})
        for number, own in enumerate(described)
    )


def _groups(item: Elements | None) -> Groups:
    if item is None:
        return {}
    found = {group: item.items(group) for group in _GROUPS if item.has(group)}
    return {group: items[0] for group, items in found.items() if items}


def _described(frame: Frame, whole: _Object, groups: Groups) -> Frame:
    measures = groups.get(_MEASURES_GROUP)
    kinds = _frame_type(whole, groups)
    rescale, notes = _rescale(whole, groups)
    return replace(
        frame,
        plane=_plane(groups, measures),
        thickness_mm=None if measures is None else thickness_of(measures),
        rescale=rescale,
        is_scout="LOCALIZER" in kinds,
        traits=_traits(whole, groups, kinds),
        notes=notes,
    )


def _plane(groups: Groups, measures: Elements | None) -> Plane:
    position, orientation = groups.get(_POSITION_GROUP), groups.get(_ORIENTATION_GROUP)
    return plane_of(
        () if position is None else position.numbers(_POSITION),
        () if orientation is None else orientation.numbers(_ORIENTATION),
        () if measures is None else measures.numbers(_PIXEL_SPACING),
    )


def _frame_type(whole: _Object, groups: Groups) -> tuple[str, ...]:
    for group in _TYPE_GROUPS:
        item = groups.get(group)
        if item is not None and item.texts(_FRAME_TYPE):
            return item.texts(_FRAME_TYPE)
    return whole.header.texts(_IMAGE_TYPE)


def _rescale(whole: _Object, groups: Groups) -> tuple[Rescale, tuple[Finding, ...]]:
    item = groups.get(_VALUES_GROUP) or whole.header
    slope, intercept = item.number(_SLOPE), item.number(_INTERCEPT)
    rescale = Rescale(
        slope=1.0 if slope is None else slope,
        intercept=0.0 if intercept is None else intercept,
        is_stated=slope is not None and intercept is not None,
        kind=item.text(_RESCALE_TYPE).upper(),
    )
    if whole.modality != "PT":
        return rescale, ()
    return suv.to_suv(whole.header, replace(rescale, kind=_pet_units(whole, groups) or rescale.kind))


def _pet_units(whole: _Object, groups: Groups) -> str:
    """Units of the object, or what its real world values are measured in (UCUM)."""
    stated = whole.header.text(_PET_UNITS).upper()
    if stated:
        return stated
    for group in _CONVERTED_GROUPS:
        item = groups.get(group)
        if item is not None and item.text(_PET_UNITS):
            return item.text(_PET_UNITS).upper()
    mapping = groups.get(_REAL_WORLD_GROUP)
    codes = () if mapping is None else mapping.items(_UNITS_CODE)
    return _UCUM_UNITS.get(codes[0].text(_CODE_VALUE), "") if codes else ""


def _traits(whole: _Object, groups: Groups, kinds: tuple[str, ...]) -> tuple[Trait, ...]:
    found: dict[str, str] = {}
    for name, group, sequence, element, kind in _TRAITS:
        item = groups.get(group)
        if item is not None and sequence is not None:
            item = next(iter(item.items(sequence)), None)
        value = "" if item is None else _value(item, element, kind)
        if value:
            found[name] = value
    for group in _CONVERTED_GROUPS:
        item = groups.get(group)
        # a converted object keeps the attributes of its slices as they were
        for trait in () if item is None else traits_of(item):
            found.setdefault(trait.name, trait.value)
    for place, part in enumerate(kinds[2:], start=3):
        found[f"type_{place}"] = part
    for place, value in _dimensions(whole, groups):
        found[f"dimension_{place}"] = value
    return tuple(Trait(name, value) for name, value in found.items())


def _value(item: Elements, element: int, kind: str) -> str:
    """A value as text that is the same for the same value, however it was written."""
    if kind in _TEXT:
        return "/".join(item.texts(element))
    return " ".join(f"{number:.6g}" for number in item.numbers(element, kind))


def _dimensions(whole: _Object, groups: Groups) -> list[tuple[int, str]]:
    """Indices of dimensions that mean neither a place nor what is told already, such as private ones."""
    content = groups.get(_CONTENT_GROUP)
    values = () if content is None else content.numbers(_INDEX_VALUES, "UL")
    if len(values) != len(whole.pointers):
        return []
    return [
        (place, f"{value:.6g}")
        for place, (pointer, value) in enumerate(zip(whole.pointers, values, strict=True), start=1)
        if pointer not in _TOLD_POINTERS
    ]


def _pointer(item: Elements) -> int:
    """The element that a dimension counts; an attribute tag is two whole numbers (PS3.5 6.2)."""
    parts = item.numbers(_POINTER, "AT")
    return int(parts[0]) << 16 | int(parts[1]) if len(parts) == 2 else 0
