"""NIfTI files and their sidecars without what tells whose they are; voxels and geometry stay bit for bit.

Headers by nifti1.h and nifti2.h, gzip by RFC 1952, sidecars by the names of BIDS for how an image was taken.
"""

from __future__ import annotations

import gzip
import json
import math
import re
import struct
import zlib
from dataclasses import dataclass
from itertools import product
from typing import Final, final

from medaug.core.errors import IdentifierError, UnreadableError

_GZIP = b"\x1f\x8b"
_MOST_BYTES = 8 << 30
_CHUNK = 1 << 24


@final
@dataclass(frozen=True, slots=True)
class _Form:
    """Where a header keeps what.

    Attributes:
        size: Of the header; four bytes follow that announce extensions.
        magic: Of a file in one part, and where it stands.
        cleared: Start and length of what is set to 0: free texts, Analyze's unused fields, and the time of the first frame.
        dims: Start and type of the axes' lengths.
        kind: Start of the type of a voxel; its bits follow.
        offset: Start and type of the place of the first voxel.
        spacing: Start and type of the axes' spacing.
        parameters: Start and length of what goes with an intent.
    """

    size: int
    magic: tuple[int, bytes]
    cleared: tuple[tuple[int, int], ...]
    dims: tuple[int, str]
    kind: int
    offset: tuple[int, str]
    spacing: tuple[int, str]
    parameters: tuple[int, int]


_FORMS: Final = (
    _Form(
        348,
        (344, b"n+1\0"),
        # data_type, db_name, extents, session_error; toffset; glmax, glmin, descrip, aux_file; intent_name
        ((4, 34), (136, 4), (140, 8), (148, 80), (228, 24), (328, 16)),
        (40, "8h"),
        70,
        (108, "f"),
        (76, "8f"),
        (56, 12),
    ),
    _Form(
        540,
        (4, b"n+2\0\r\n\x1a\n"),
        # toffset; descrip, aux_file; intent_name; unused_str
        ((216, 8), (240, 80), (320, 24), (508, 16), (525, 15)),
        (16, "8q"),
        12,
        (168, "q"),
        (104, "8d"),
        (80, 24),
    ),
)
_INTENT = {348: 68, 540: 504}
_INTENTS_IN_EXTENSIONS = range(3000, 3100)  # CIFTI
# bits of a voxel by its type; one that claims more would bring along what stands behind the voxels
_TYPES: Final = {1: (1,), 8: (2, 256), 16: (4, 512), 24: (128,), 32: (8, 16, 768, 2304)} | {
    64: (32, 64, 1024, 1280),
    128: (1536, 1792),
    256: (2048,),
}
_BITS: Final = {kind: bits for bits, kinds in _TYPES.items() for kind in kinds}
_COLOURS = (128, 2304)
_PAIRS = ((344, b"ni1\0"), (4, b"ni2\0\r\n\x1a\n"))


def clean_nifti(content: bytes, *, packed: bool) -> bytes:
    """The same image with an empty header text, no extension, nothing between header and voxels and nothing after them.

    Its own output is given back unchanged.

    Args:
        content: A file in one part, packed by gzip or not.
        packed: Whether to pack the result, without name, comment or time.

    Raises:
        UnreadableError: If it is damaged, in two parts, or no NIfTI.
        IdentifierError: If it is CIFTI, whose extension is what it is, or in colour, as captures with writing are.
    """
    raw = _unpacked(content)
    form, order = _form(raw)
    start, end = _voxels(raw, form, order)
    header = bytearray(raw[: form.size])
    for place, length in form.cleared:
        header[place : place + length] = bytes(length)
    _clear_axes(header, form, order)
    if struct.unpack_from(order + "h", header, form.kind)[0] in _COLOURS:
        raise IdentifierError("a colour image may carry writing", code="burned-in-text-possible")
    intent = struct.unpack_from(order + ("h" if form.size == 348 else "i"), header, _INTENT[form.size])[0]
    if intent in _INTENTS_IN_EXTENSIONS:
        raise IdentifierError("its meaning stands in an extension", code="nifti-extension")
    if not intent:
        place, length = form.parameters
        header[place : place + length] = bytes(length)
    first = form.size + 4
    struct.pack_into(order + form.offset[1], header, form.offset[0], first)
    clean = bytes(header) + bytes(4) + raw[start:end]
    return gzip.compress(clean, compresslevel=6, mtime=0) if packed else clean


def _clear_axes(header: bytearray, form: _Form, order: str) -> None:
    """Lengths and spacing of axes that the image does not have become 1; the fourth spacing stays, which may be a repetition time."""
    (place, kind), (spot, sort) = form.dims, form.spacing
    sizes, spacing = (
        struct.unpack_from(order + kind, header, place),
        struct.unpack_from(order + sort, header, spot),
    )
    last = sizes[0]
    plain = [one if axis <= last or one in (0, 1) else 1 for axis, one in enumerate(sizes)]
    steps = [one if axis <= max(last, 4) or one in (0, 1) else 1 for axis, one in enumerate(spacing)]
    struct.pack_into(order + kind, header, place, *plain)
    struct.pack_into(order + sort, header, spot, *steps)


def _unpacked(content: bytes) -> bytes:
    """The bytes of the first gzip member, or the content itself.

    Raises:
        UnreadableError: If it is damaged, or unpacks to more than is held.
    """
    if content[:2] != _GZIP:
        return content
    stream, parts, size = zlib.decompressobj(wbits=31), [], 0
    feed = content
    try:
        while feed and not stream.eof:
            parts.append(stream.decompress(feed, _CHUNK))
            size += len(parts[-1])
            feed = stream.unconsumed_tail
            if size > _MOST_BYTES:
                raise UnreadableError("file unpacks to too much", code="too-large")
    except zlib.error as error:
        raise UnreadableError("gzip is damaged", code="damaged-file") from error
    if not stream.eof:
        raise UnreadableError("gzip is cut short", code="damaged-file")
    return b"".join(parts)


def _form(raw: bytes) -> tuple[_Form, str]:
    """Which header it is, and its byte order.

    Raises:
        UnreadableError: If it is none, or one of two parts.
    """
    for form, order in product(_FORMS, "<>"):
        place, magic = form.magic
        fits = len(raw) >= form.size and raw[place : place + len(magic)] == magic
        if fits and struct.unpack_from(order + "i", raw)[0] == form.size:
            return form, order
    if any(raw[place : place + len(magic)] == magic for place, magic in _PAIRS):
        raise UnreadableError("image and header are two files", hint="convert it to one", code="two-files")
    raise UnreadableError("file is no NIfTI image", code="not-nifti")


def _voxels(raw: bytes, form: _Form, order: str) -> tuple[int, int]:
    """Where the voxels begin and end."""
    count, *sizes = struct.unpack_from(order + form.dims[1], raw, form.dims[0])
    if not 1 <= count <= 7 or min(sizes[:count]) < 1:
        raise UnreadableError("NIfTI header is damaged", code="damaged-file")
    kind, bits = struct.unpack_from(order + "2h", raw, form.kind)
    start = struct.unpack_from(order + form.offset[1], raw, form.offset[0])[0]
    if _BITS.get(kind) != bits or not math.isfinite(start) or start < form.size:
        raise UnreadableError("NIfTI header is damaged", code="damaged-file")
    end = int(start) + (math.prod(sizes[:count]) * bits + 7) // 8
    if end > len(raw):
        raise UnreadableError("file is cut short", code="damaged-file")
    return int(start), end


# How an image was taken: numbers and words of the field that BIDS names (appendix of MRI metadata); all others go.
_NUMBERS: Final = frozenset(
    {
        "EchoTime",
        "EchoTime1",
        "EchoTime2",
        "RepetitionTime",
        "RepetitionTimeExcitation",
        "RepetitionTimePreparation",
        "InversionTime",
        "FlipAngle",
        "EchoNumber",
        "EchoTrainLength",
        "MagneticFieldStrength",
        "ImagingFrequency",
        "PixelBandwidth",
        "DwellTime",
        "TotalReadoutTime",
        "EffectiveEchoSpacing",
        "SliceThickness",
        "SpacingBetweenSlices",
        "SliceTiming",
        "NumberOfAverages",
        "PhaseEncodingSteps",
        "AcquisitionMatrixPE",
        "ReconMatrixPE",
        "PercentPhaseFOV",
        "PercentSampling",
        "ParallelReductionFactorInPlane",
        "ParallelReductionOutOfPlane",
        "MultibandAccelerationFactor",
        "PartialFourier",
        "MTState",
        "MTFlipAngle",
        "MTOffsetFrequency",
        "SpoilingState",
        "SpoilingRFPhaseIncrement",
        "NumberShots",
        "NumberOfVolumesDiscardedByScanner",
        "SAR",
        "FrameTimesStart",
        "FrameDuration",
        "ImageOrientationPatientDICOM",
    }
)
_WORDS: Final[dict[str, re.Pattern[str]]] = {
    "Modality": re.compile(r"MR|CT|PT|OT"),
    "Manufacturer": re.compile(r"(?i)siemens|ge|philips|hitachi|canon|toshiba|uih|bruker|hyperfine"),
    "MRAcquisitionType": re.compile(r"[123]D"),
    "ScanningSequence": re.compile(r"(?:SE|IR|GR|EP|RM)(?:[_\\](?:SE|IR|GR|EP|RM))*"),
    "SequenceVariant": re.compile(
        r"(?:SK|MTC|SS|TRSS|SP|MP|OSP|NONE)(?:[_\\](?:SK|MTC|SS|TRSS|SP|MP|OSP|NONE))*"
    ),
    "PhaseEncodingDirection": re.compile(r"[ijk]-?"),
    "SliceEncodingDirection": re.compile(r"[ijk]-?"),
    "PatientPosition": re.compile(r"[HF]F[SPDLR]{1,2}"),
    "BodyPartExamined": re.compile(
        r"BRAIN|HEAD|CHEST|ABDOMEN|PELVIS|SPINE|KNEE|PROSTATE|HEART|BREAST|LIVER|NECK"
    ),
    "Units": re.compile(r"HU|SUV|a\.u\.|arbitrary|rad|Hz|mm|s|Bq/mL"),
    "ContrastBolusIngredient": re.compile(r"GADOLINIUM|IODINE|BARIUM|NONE"),
}
_SMALLEST_ID: Final = 10_000_000
_BOOLEANS: Final = frozenset({"SkullStripped", "MTState", "SpoilingState", "NonlinearGradientCorrection"})


def clean_sidecar(text: str) -> tuple[str, tuple[str, ...]]:
    """A JSON sidecar with nothing but how the image was taken, and the names of the keys that went.

    A key stays if it is on the list and its value of the kind that the key has: numbers, one of a few words, or yes and no.

    Raises:
        UnreadableError: If it is no JSON object.
    """
    try:
        held = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableError("sidecar is no JSON", code="damaged-file") from error
    if not isinstance(held, dict):
        raise UnreadableError("sidecar is no JSON object", code="damaged-file")
    kept = {key: value for key, value in held.items() if _is_allowed(key, value)}
    return json.dumps(kept, indent=1, sort_keys=True) + "\n", tuple(sorted(held.keys() - kept.keys()))


def _is_allowed(key: str, value: object) -> bool:
    if isinstance(value, bool):
        return key in _BOOLEANS
    if isinstance(value, str):
        return key in _WORDS and _WORDS[key].fullmatch(value) is not None
    return key in _NUMBERS and _is_numeric(value)


def _is_numeric(value: object) -> bool:
    """A measured number, or a flat list of them; one of eight digits or more may be a date, a time or an id."""
    if isinstance(value, list):
        return all(not isinstance(one, list) and _is_numeric(one) for one in value)
    # what is no number is not smaller either
    return not isinstance(value, bool) and isinstance(value, int | float) and abs(value) < _SMALLEST_ID


_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)


def clean_gradients(text: str) -> str:
    """The b-values or gradient directions of an image, in FSL's form of one or three rows: numbers as they stand and nothing else.

    Raises:
        UnreadableError: If there is anything else, or a number that may be a date or an id.
    """
    rows = [line.split() for line in text.splitlines() if line.strip()]
    shape = {len(row) for row in rows}
    words = [word for row in rows for word in row]
    if not rows or len(shape) != 1 or not all(map(_is_small_number, words)):
        raise UnreadableError("gradients are no rows of numbers", code="damaged-file")
    return "".join(" ".join(row) + "\n" for row in rows)


def _is_small_number(word: str) -> bool:
    return _NUMBER.fullmatch(word) is not None and abs(float(word)) < _SMALLEST_ID
