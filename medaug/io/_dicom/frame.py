"""One frame of a DICOM image: where it lies, how its pixels are stored, and what tells it from its neighbours.

Every kind of DICOM image (classic slice, frame of an enhanced object, tile of a mosaic, planar radiograph) becomes
frames first; what follows (:mod:`medaug.io._dicom.stack`, :mod:`medaug.io._dicom.pixels`) knows frames only. Nothing of
it holds pixels, so that thousands of frames are cheap to keep and to send between processes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import final

from medaug.core.findings import Finding

Vector = tuple[float, float, float]


@final
@dataclass(frozen=True, slots=True)
class Plane:
    """Where a frame lies, LPS+ (PS3.3 C.7.6.2.1.1). None where the header is silent: never guessed from other tags.

    Attributes:
        position_mm: Centre of the first pixel (ImagePositionPatient).
        row: Unit vector along a row, to growing columns (first half of ImageOrientationPatient).
        column: Unit vector along a column, to growing rows (second half).
        spacing_mm: Distance between rows, distance between columns (PixelSpacing).
    """

    position_mm: Vector | None
    row: Vector | None
    column: Vector | None
    spacing_mm: tuple[float, float] | None

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by position, which is several times quicker than by name."""
        return (Plane, (self.position_mm, self.row, self.column, self.spacing_mm))


@final
@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How stored values are laid out (PS3.3 C.7.6.3).

    Attributes:
        rows: Of the frame; of one tile for a mosaic.
        columns: Of the frame; of one tile for a mosaic.
        high_bit: HighBit: what stands above it is no part of the value.
        photometric: MONOCHROME1, MONOCHROME2, RGB, YBR_FULL, PALETTE COLOR, ...
    """

    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool
    photometric: str
    transfer_syntax: str


@final
@dataclass(frozen=True, slots=True)
class Rescale:
    """Stored value to modality value: ``value * slope + intercept`` (PS3.3 C.11.1), of this frame alone.

    Attributes:
        is_stated: Whether the header gives slope and intercept; 1 and 0 where it does not.
        kind: RescaleType, or Units for PET (``SUV`` where slope and intercept lead to SUVbw); upper case, empty where
            the header is silent.
    """

    slope: float
    intercept: float
    is_stated: bool
    kind: str


@final
@dataclass(frozen=True, slots=True)
class Trait:
    """Something by which volumes of one series may differ, such as ``echo_ms`` = ``"4.6"`` or ``b`` = ``"1000"``."""

    name: str
    value: str


@final
@dataclass(frozen=True, slots=True)
class Frame:
    """One two-dimensional image. Holds identifiers (path, UIDs): stays in memory, enters no message.

    Attributes:
        path: The file it is in.
        number: Which frame of the file, counted from 0.
        frames_in_file: How many the file holds.
        tile: For a mosaic: (tile number, tiles a row, tiles a column); None otherwise.
        instance_uid: SOPInstanceUID of the file.
        patient: What tells patients apart: id, name, birth date (private).
        frame_of_reference_uid: Or empty.
        modality: DICOM modality code.
        plane: Where it lies.
        thickness_mm: SpacingBetweenSlices or SliceThickness, used for a lone slice only.
        pixels: Layout of the stored values.
        rescale: Stored to modality values.
        is_scout: Whether ImageType says LOCALIZER.
        traits: By which it may differ from frames at the same place, the most telling first.
        pixel_offset: Byte at which the uncompressed, little-endian pixel data of the file begin; None where they must be
            decoded (another syntax, colour, a look-up table, odd bytes).
        notes: What was odd in the header of the frame, for the findings of its case.
    """

    path: Path
    number: int
    frames_in_file: int
    tile: tuple[int, int, int] | None
    instance_uid: str
    patient: tuple[str, str, str]
    frame_of_reference_uid: str
    modality: str
    plane: Plane
    thickness_mm: float | None
    pixels: PixelFormat
    rescale: Rescale
    is_scout: bool
    traits: tuple[Trait, ...]
    pixel_offset: int | None
    notes: tuple[Finding, ...] = ()

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by position, which is several times quicker than by name."""
        return (Frame, tuple([getattr(self, name) for name in _FRAME]))


_FRAME = tuple(field.name for field in fields(Frame))
