"""Frames of a SEG object: what each one shows of which segment, where it lies, and its stored values (PS3.3 C.8.20)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from medaug.core.errors import DependencyError, GeometryError, UnreadableError
from medaug.core.findings import Code
from medaug.core.geometry import Affine

_AGAIN: Final = "copy or export it again"
_MOST_PIXELS: Final = 1 << 27


@final
@dataclass(frozen=True, slots=True, eq=False)
class SegFrame:
    """One frame.

    Attributes:
        index: Counted from 0.
        segment: Number of the segment it shows; None in a LABELMAP, whose values are numbers.
        affine_lps: (column, row, normal) index to LPS+ mm; None where the frame says not where it lies.
        instance_uids: The images it was drawn on; several for a frame between images.
    """

    index: int
    segment: int | None
    affine_lps: Affine | None
    instance_uids: frozenset[str]


@final
@dataclass(frozen=True, slots=True)
class SegLayout:
    """How the frames of a SEG are stored.

    Attributes:
        kind: BINARY, FRACTIONAL or LABELMAP.
        maximum: MaximumFractionalValue of a FRACTIONAL one; 1 otherwise.
        padding: PixelPaddingValue of a LABELMAP, which is background.
    """

    kind: str
    rows: int
    columns: int
    frames: int
    bits: int
    maximum: int
    padding: int | None
    transfer_syntax: UID


def read_layout(dataset: Dataset) -> SegLayout:
    """How a SEG is stored, held against the bytes that are there.

    Raises:
        UnreadableError: If it is no SEG of a kind that is read, is tiled (a slide), or claims more than the file holds.
        DependencyError: If no installed plugin reads the transfer syntax.
    """
    kind = str(dataset.get("SegmentationType") or "").strip()
    if kind not in ("BINARY", "FRACTIONAL", "LABELMAP"):
        raise UnreadableError(
            "file is no DICOM SEG",
            expected="a BINARY, FRACTIONAL or LABELMAP object",
            code=Code.UNSUPPORTED_CLASS,
        )
    tiled = str(dataset.get("DimensionOrganizationType") or "").startswith("TILED")
    if tiled or "TotalPixelMatrixRows" in dataset:
        raise UnreadableError(
            "segmentation is of a tiled image (a microscope slide)",
            expected="a radiological image",
            code=Code.UNSUPPORTED_CLASS,
        )
    padding = dataset.get("PixelPaddingValue")
    layout = SegLayout(
        kind=kind,
        rows=int(dataset.Rows),
        columns=int(dataset.Columns),
        frames=int(dataset.get("NumberOfFrames") or 1),
        bits=int(dataset.BitsAllocated),
        maximum=int(dataset.MaximumFractionalValue) if kind == "FRACTIONAL" else 1,
        padding=int(padding) if padding is not None and kind == "LABELMAP" else None,
        transfer_syntax=UID(dataset.file_meta.TransferSyntaxUID),
    )
    _require_format(layout)
    _require_pixels(dataset, layout)
    return layout


def _require_format(layout: SegLayout) -> None:
    allowed = {"BINARY": (1, 8), "FRACTIONAL": (8,), "LABELMAP": (8, 16)}[layout.kind]
    if layout.bits not in allowed or min(layout.rows, layout.columns, layout.frames, layout.maximum) < 1:
        raise UnreadableError(
            f"{layout.kind} segmentation of {layout.frames} x {layout.rows} x {layout.columns} with {layout.bits} bits",
            expected=f"at least one pixel and {' or '.join(str(bits) for bits in allowed)} bits",
            code=Code.BAD_PIXEL_FORMAT,
        )
    if layout.rows * layout.columns > _MOST_PIXELS:
        raise UnreadableError(f"frames are {layout.rows} x {layout.columns}", code=Code.ABSURD_SIZE)


def _require_pixels(dataset: Dataset, layout: SegLayout) -> None:
    pixels = dataset.get("PixelData")
    if not pixels:
        raise UnreadableError("segmentation has no pixel data", hint=_AGAIN, code=Code.NO_PIXEL_DATA)
    if len(dataset.get("PerFrameFunctionalGroupsSequence") or ()) != layout.frames:
        raise UnreadableError(
            "segmentation does not describe each of its frames", hint=_AGAIN, code=Code.TRUNCATED_FILE
        )
    _require_decoder(layout.transfer_syntax)
    native = not layout.transfer_syntax.is_encapsulated
    if native and len(pixels) * 8 < layout.frames * layout.rows * layout.columns * layout.bits:
        raise UnreadableError("segmentation is cut short", hint=_AGAIN, code=Code.TRUNCATED_FILE)


def _require_decoder(syntax: UID) -> None:
    try:
        # native ones have decoders, too
        available = get_decoder(syntax).is_available
    except (NotImplementedError, ValueError) as error:
        raise UnreadableError(
            "segmentation is in a transfer syntax that is not read",
            hint="export as Explicit VR Little Endian",
            code=Code.UNSUPPORTED_TRANSFER_SYNTAX,
        ) from error
    if not available:
        raise DependencyError(
            f"reading {syntax.name} needs a plugin",
            hint="install it with `pip install medaug[dicom]`",
            code=Code.DEPENDENCY_MISSING,
        )


def read_frame_list(dataset: Dataset, layout: SegLayout) -> tuple[SegFrame, ...]:
    """What the functional groups say of every frame (PS3.3 C.7.6.16).

    Raises:
        GeometryError: If a frame's position makes no sense.
        UnreadableError: If a frame of a BINARY or FRACTIONAL object names no segment.
    """
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    found = []
    for index, own in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        segment = _item(own, shared, "SegmentIdentificationSequence")
        number = None if segment is None else segment.get("ReferencedSegmentNumber")
        if number is None and layout.kind != "LABELMAP":
            raise UnreadableError("a frame names no segment", hint=_AGAIN, code=Code.UNREADABLE)
        uids = frozenset(
            str(source.get("ReferencedSOPInstanceUID") or "")
            for groups in (own, shared)
            for derived in groups.get("DerivationImageSequence") or ()
            for source in derived.get("SourceImageSequence") or ()
        )
        labelled = None if layout.kind == "LABELMAP" or number is None else int(number)
        found.append(SegFrame(index, labelled, _affine(own, shared), uids))
    return tuple(found)


def _item(own: Dataset, shared: Dataset, name: str) -> Dataset | None:
    items = own.get(name) or shared.get(name)
    return items[0] if items else None


def _affine(own: Dataset, shared: Dataset) -> Affine | None:
    position = _item(own, shared, "PlanePositionSequence")
    turned = _item(own, shared, "PlaneOrientationSequence")
    measures = _item(own, shared, "PixelMeasuresSequence")
    if position is None or turned is None or measures is None:
        return None
    origin = np.array([float(v) for v in position.ImagePositionPatient])
    cosines = np.array([float(v) for v in turned.ImageOrientationPatient])
    rows, columns = (float(v) for v in measures.PixelSpacing)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = cosines[:3] * columns, cosines[3:] * rows
    affine[:3, 2] = np.cross(cosines[:3], cosines[3:])
    affine[:3, 3] = origin
    if not np.isfinite(affine).all():
        raise GeometryError("a frame's position is not finite", code=Code.MISSING_POSITION)
    return affine


def read_values(
    dataset: Dataset, layout: SegLayout, indices: Sequence[int]
) -> Iterator[tuple[int, np.ndarray]]:
    """The stored values of some frames, (rows, columns), one at a time.

    Args:
        dataset: The SEG.
        layout: From :func:`read_layout`.
        indices: Which frames, growing.
    """
    if layout.transfer_syntax.is_encapsulated:
        yield from _encoded(dataset, layout, indices)
        return
    pixels, size = dataset.PixelData, layout.rows * layout.columns
    for index in indices:
        if layout.bits == 1:
            # frames follow one another without a gap, the first pixel in the lowest bit (PS3.5 8.1.1)
            start, stop = index * size, (index + 1) * size
            packed = np.frombuffer(pixels[start // 8 : -(-stop // 8)], dtype=np.uint8)
            values = np.unpackbits(packed, bitorder="little")[start % 8 :][:size]
        else:
            order = "<" if layout.transfer_syntax.is_little_endian else ">"
            kind = np.dtype(f"{order}u{layout.bits // 8}")
            values = np.frombuffer(pixels, dtype=kind, count=size, offset=index * size * kind.itemsize)
        yield index, values.reshape(layout.rows, layout.columns)


def _encoded(dataset: Dataset, layout: SegLayout, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    tables = (dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths"))
    fragments = generate_frames(
        dataset.PixelData,
        number_of_frames=layout.frames,
        extended_offsets=tables if all(tables) else None,
    )
    wanted = iter(indices)
    awaited = next(wanted, None)
    for index, encoded in enumerate(fragments):
        if index == awaited:
            yield index, _decoded(dataset, layout, encoded)
            awaited = next(wanted, None)
        if awaited is None:
            return
    raise UnreadableError("segmentation is cut short", hint=_AGAIN, code=Code.TRUNCATED_FILE)


def _decoded(dataset: Dataset, layout: SegLayout, encoded: bytes) -> np.ndarray:
    one = Dataset()
    one.Rows, one.Columns, one.SamplesPerPixel, one.PixelRepresentation = layout.rows, layout.columns, 1, 0
    one.BitsAllocated, one.BitsStored = layout.bits, int(dataset.get("BitsStored") or layout.bits)
    one.PhotometricInterpretation = str(dataset.get("PhotometricInterpretation") or "MONOCHROME2")
    one.PixelData = encapsulate([encoded], has_bot=False)
    values, _ = get_decoder(layout.transfer_syntax).as_array(one, index=0, raw=True)
    if values.shape != (layout.rows, layout.columns):
        raise UnreadableError("a frame has another size than its header says", code=Code.BAD_PIXEL_FORMAT)
    return values
