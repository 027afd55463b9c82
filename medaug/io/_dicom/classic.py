"""Frames of classic single-frame objects (CT, MR and PET Image Storage), out of one parsed header each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, TypeVar, final

from medaug.core.errors import UnreadableError
from medaug.core.findings import Code, Finding
from medaug.core.wording import counted
from medaug.io._dicom.elements import Elements
from medaug.io._dicom.frame import Frame, PixelFormat, Plane, Rescale, Trait, Vector
from medaug.io._dicom.parse import PixelElement
from medaug.io._dicom.suv import TAGS as PET_TAGS
from medaug.io._dicom.suv import to_suv

Shared = TypeVar("Shared")

CLASSES: Final = {
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.4": "MR",
    "1.2.840.10008.5.1.4.1.1.128": "PT",
}
_NATIVE_SYNTAXES: Final = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1"})
_UNDEFINED = 0xFFFFFFFF
# Odd lengths are padded to even ones, and some writers round up further
_SLACK_BYTES = 16

_ROWS, _COLUMNS, _SAMPLES, _PHOTOMETRIC = 0x00280010, 0x00280011, 0x00280002, 0x00280004
_ALLOCATED, _STORED, _HIGH, _SIGNED = 0x00280100, 0x00280101, 0x00280102, 0x00280103
_POSITION, _ORIENTATION, _PIXEL_SPACING = 0x00200032, 0x00200037, 0x00280030
_SLOPE, _INTERCEPT, _RESCALE_TYPE, _PET_UNITS = 0x00281053, 0x00281052, 0x00281054, 0x00541001
_BETWEEN, _THICKNESS, _IMAGE_TYPE = 0x00180088, 0x00180050, 0x00080008
_MODALITY_LUT, _TABLE_TYPE = 0x00283000, 0x00283004
_INSTANCE_NUMBER = 0x00200013

# (name, tag, VR): by which volumes of one series may differ, the most telling first
_TRAITS: Final = (
    ("echo_ms", 0x00180081, "DS"),
    ("echo", 0x00180086, "IS"),
    ("b", 0x00189087, "FD"),
    ("direction", 0x00189089, "FD"),
    ("inversion_ms", 0x00180082, "DS"),
    ("flip", 0x00181314, "DS"),
    ("time", 0x00200100, "IS"),
    ("reference_ms", 0x00541300, "DS"),
    ("phase", 0x00209241, "FL"),
    ("kvp", 0x00180060, "DS"),
    ("kernel", 0x00181210, "SH"),
    ("repetition_ms", 0x00180080, "DS"),
    ("sequence", 0x00180024, "SH"),
    ("acquisition", 0x00200012, "IS"),
    ("contrast", 0x00180010, "LO"),
    ("trigger_ms", 0x00181060, "DS"),
    ("acquired_at", 0x0008002A, "DT"),
    ("acquisition_time", 0x00080032, "TM"),
    ("content_time", 0x00080033, "TM"),
)
_DATES: Final = {"acquisition_time": 0x00080022, "content_time": 0x00080023}
# (private creator element, its text, element, VR) of b-values and gradient directions outside the standard's own tags
_PRIVATE: Final = (
    ("b", 0x00190010, "SIEMENS MR HEADER", 0x0019100C, "IS"),
    ("direction", 0x00190010, "SIEMENS MR HEADER", 0x0019100E, "FD"),
    ("b", 0x20010010, "Philips Imaging DD 001", 0x20011003, "FL"),
    ("direction", 0x20010010, "Philips Imaging DD 001", 0x20011004, "CS"),
    ("b", 0x00430010, "GEMS_PARM_01", 0x00431039, "IS"),
)
_GE_B, _GE_B_MODULUS = 0x00431039, 100_000
_TEXT: Final = frozenset({"SH", "LO", "CS", "DT", "TM"})

TAGS: Final = (
    *(_ROWS, _COLUMNS, _SAMPLES, _PHOTOMETRIC, _ALLOCATED, _STORED, _HIGH, _SIGNED),
    *(_POSITION, _ORIENTATION, _PIXEL_SPACING, _SLOPE, _INTERCEPT, _RESCALE_TYPE, _PET_UNITS),
    *(_BETWEEN, _THICKNESS, _IMAGE_TYPE, _MODALITY_LUT, _INSTANCE_NUMBER, *_DATES.values()),
    *(tag for _, tag, _ in _TRAITS),
    *PET_TAGS,
    *(tag for _, creator, _, element, _ in _PRIVATE for tag in (creator, element)),
)


@final
@dataclass(frozen=True, slots=True)
class Belonging:
    """To what a frame belongs; identifiers."""

    instance_uid: str
    patient: tuple[str, str, str]
    frame_of_reference_uid: str
    modality: str
    transfer_syntax: str


def is_mosaic(elements: Elements) -> bool:
    """Whether many slices are tiled in one frame (Siemens)."""
    return "MOSAIC" in elements.texts(_IMAGE_TYPE)


def frame_of(
    elements: Elements,
    belonging: Belonging,
    path: Path,
    element: PixelElement | None,
    frames_in_file: int = 1,
) -> Frame:
    """The first frame of an object that describes all its frames at once; what it claims is checked when it is stacked.

    Args:
        elements: Of the header, read for :data:`TAGS`.
        belonging: To what it belongs.
        path: The file.
        element: Where the pixel data stand, None where they lie in a stream that is deflated.
        frames_in_file: NumberOfFrames.

    Raises:
        UnreadableError: If fewer or more bytes are there than the header says.
    """
    pixels = pixel_format(elements, belonging.transfer_syntax)
    offset = None if element is None else native_offset(pixels, element, frames_in_file)
    rescale, notes = rescale_of(elements, belonging.modality)
    return Frame(
        path=path,
        number=0,
        frames_in_file=frames_in_file,
        tile=None,
        instance_uid=belonging.instance_uid,
        patient=_one(belonging.patient),
        frame_of_reference_uid=belonging.frame_of_reference_uid,
        modality=belonging.modality,
        plane=plane_of(
            elements.numbers(_POSITION), elements.numbers(_ORIENTATION), elements.numbers(_PIXEL_SPACING)
        ),
        thickness_mm=thickness_of(elements),
        pixels=_one(pixels),
        rescale=_one(rescale),
        is_scout="LOCALIZER" in elements.texts(_IMAGE_TYPE),
        traits=traits_of(elements),
        pixel_offset=None if elements.items(_MODALITY_LUT) else offset,
        notes=notes,
    )


def pixel_format(elements: Elements, transfer_syntax: str) -> PixelFormat:
    """How the header says that pixels are stored; what is missing is 0, and refused before pixels are read."""
    allocated = elements.whole(_ALLOCATED) or 0
    stored = elements.whole(_STORED) or allocated
    high = elements.whole(_HIGH)
    return PixelFormat(
        rows=elements.whole(_ROWS) or 0,
        columns=elements.whole(_COLUMNS) or 0,
        samples=elements.whole(_SAMPLES) or 1,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=stored - 1 if high is None else high,
        is_signed=elements.whole(_SIGNED) == 1,
        photometric=elements.text(_PHOTOMETRIC).upper(),
        transfer_syntax=transfer_syntax,
    )


def native_offset(pixels: PixelFormat, element: PixelElement, frames: int = 1) -> int | None:
    """Where the values can be read as they lie, or None where they are encoded in some way.

    Raises:
        UnreadableError: If fewer or more bytes are there than ``frames`` pictures take.
    """
    if pixels.transfer_syntax not in _NATIVE_SYNTAXES or element.is_float:
        return None
    expected = frames * pixels.rows * pixels.columns * pixels.samples * pixels.bits_allocated // 8
    if pixels.photometric == "YBR_FULL_422":
        expected = expected * 2 // 3
    held = min(element.length, element.file_bytes - element.start)
    if held < expected:
        what = f"pixel data are cut short: {held} bytes are there"
        hint = "copy or export the file again"
        raise UnreadableError(what, expected=f"{expected}", hint=hint, code=Code.TRUNCATED_FILE)
    if element.length > expected + _SLACK_BYTES:
        what = f"pixel data are too long for {counted(frames, 'frame')} of {pixels.rows} x {pixels.columns} pixels"
        hint = "export the original series again"
        raise UnreadableError(what, expected=f"{expected} bytes", hint=hint, code=Code.BAD_PIXEL_FORMAT)
    plain = pixels.samples == 1 and pixels.bits_allocated in (8, 16, 32)
    return element.start if plain and pixels.photometric in ("MONOCHROME1", "MONOCHROME2") else None


def plane_of(
    position: tuple[float, ...], orientation: tuple[float, ...], spacing: tuple[float, ...]
) -> Plane:
    """Where a frame lies; what has not the right count of numbers is unknown."""
    return Plane(
        position_mm=_vector(position),
        row=_vector(orientation[:3]) if len(orientation) == 6 else None,
        column=_vector(orientation[3:]) if len(orientation) == 6 else None,
        spacing_mm=(spacing[0], spacing[1]) if len(spacing) == 2 else None,
    )


def _vector(numbers: tuple[float, ...]) -> Vector | None:
    return (numbers[0], numbers[1], numbers[2]) if len(numbers) == 3 else None


def thickness_of(elements: Elements) -> float | None:
    """Distance between slices, or their thickness, where the header gives either."""
    for tag in (_BETWEEN, _THICKNESS):
        value = elements.number(tag)
        if value is not None and 0 < value < float("inf"):
            return value
    return None


def rescale_of(elements: Elements, modality: str) -> tuple[Rescale, tuple[Finding, ...]]:
    """Stored to modality values, SUV for PET where the header allows; and what to report."""
    tables = elements.items(_MODALITY_LUT)
    if tables:
        # the table is applied where the pixels are decoded
        return Rescale(1.0, 0.0, is_stated=True, kind=tables[0].text(_TABLE_TYPE).upper()), ()
    slope, intercept = elements.number(_SLOPE), elements.number(_INTERCEPT)
    stated = Rescale(
        slope=1.0 if slope is None else slope,
        intercept=0.0 if intercept is None else intercept,
        is_stated=slope is not None and intercept is not None,
        kind=elements.text(_PET_UNITS if modality == "PT" else _RESCALE_TYPE).upper(),
    )
    return to_suv(elements, stated) if modality == "PT" else (stated, ())


def traits_of(elements: Elements) -> tuple[Trait, ...]:
    """By what the frame may differ from others at its place; InstanceNumber comes last, and is the last resort."""
    found: dict[str, str] = {}
    for name, tag, kind in _TRAITS:
        value = _value(elements, tag, kind)
        if value:
            found[name] = elements.text(_DATES[name]) + value if name in _DATES else value
    for name, creator, text, tag, kind in _PRIVATE:
        if name not in found and elements.text(creator).upper() == text.upper():
            value = _value(elements, tag, kind)
            if value:
                found[name] = value
    for place, part in enumerate(elements.texts(_IMAGE_TYPE)[2:], start=3):
        found[f"type_{place}"] = part
    number = elements.text(_INSTANCE_NUMBER)
    return tuple(_one(Trait(name, value)) for name, value in (*found.items(), ("instance", number)) if value)


def _value(elements: Elements, tag: int, kind: str) -> str:
    """A value as text that is the same for the same value, however it was written."""
    if kind in _TEXT:
        return "/".join(elements.texts(tag))
    numbers = elements.numbers(tag, kind)
    if tag == _GE_B:
        # the scanner adds flags above the b-value
        numbers = tuple(number % _GE_B_MODULUS for number in numbers[:1])
    return " ".join(f"{number:.6g}" for number in numbers)


@lru_cache(maxsize=4096)
def _one(value: Shared) -> Shared:
    """The same object for equal values: thousands of frames share them in memory and on the way between processes."""
    return value
