"""One DICOM series as a volume: geometry from position and orientation alone, LPS+ turned to RAS+ once, here.

What is not supported, or does not hold together, is refused: a wrong volume is never returned.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from medaug.core.errors import DataError, DependencyError, GeometryError, UnreadableError
from medaug.core.geometry import Affine, Grid, Reorientation, lps_to_ras, to_ras
from medaug.core.results import Finding
from medaug.core.volume import Unit, Volume
from medaug.io.headers import PYDICOM_ERRORS, looks_like_dicom, patient_key, quiet_pydicom

_SINGLE_FRAME_CLASSES = {"1.2.840.10008.5.1.4.1.1.2": "CT", "1.2.840.10008.5.1.4.1.1.4": "MR"}
_MULTI_FRAME_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.2.1",
        "1.2.840.10008.5.1.4.1.1.2.2",
        "1.2.840.10008.5.1.4.1.1.4.1",
        "1.2.840.10008.5.1.4.1.1.4.4",
    }
)
_COSINE_TOLERANCE = 1e-3
_STEP_TOLERANCE = 0.02
_POSITION_TOLERANCE_MM = 0.02
_EXACT_FLOAT32 = 1 << 24
_TILT_TOLERANCE = 0.01


@final
@dataclass(frozen=True, slots=True, eq=False)
class SeriesVolume:
    """A series that was read.

    Attributes:
        volume: One channel, RAS+ order; HU for CT.
        modality: DICOM modality code.
        findings: What was odd; without case ids, which the caller knows.
        source_sha256: Of the files used, in slice order.
        affine_lps: 4 x 4, (column, row, slice) index as stored to LPS+ mm, for what refers to the series.
        turn: From (column, row, slice) order to that of ``volume``.
        frame_of_reference_uid: Of the series, or empty.
        instance_uids: SOPInstanceUIDs of the files used, in slice order.
    """

    volume: Volume
    modality: str
    findings: tuple[Finding, ...]
    source_sha256: tuple[str, ...]
    affine_lps: Affine
    turn: Reorientation
    frame_of_reference_uid: str
    instance_uids: tuple[str, ...] = ()


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Slice:
    """One instance: where it lies and what it shows, with the facts that must not change within a series."""

    instance_uid: str
    patient: tuple[str, ...]
    frame_of_reference_uid: str
    modality: str
    unit: Unit
    position: np.ndarray
    orientation: np.ndarray
    spacing: tuple[float, float]
    thickness_mm: float | None
    values: np.ndarray
    sha256: str
    notes: tuple[Finding, ...]


def read_series(files: Sequence[Path], *, where: str = "") -> SeriesVolume:
    """Read the single-frame CT or MR instances of one series into a volume.

    Values are stored value x RescaleSlope + RescaleIntercept of their own slice (PS3.3 C.7.6.16.2.9 and C.11.1),
    computed in float64 and rounded once to float32. Geometry follows PS3.3 C.7.6.2.1.1; slices are sorted along
    the normal. Exact copies of an instance are dropped with a finding.

    Args:
        files: All files of the series, in any order.
        where: Pseudonymous id for error lines.

    Raises:
        UnreadableError: If a file is damaged, or of a kind that is not supported (named in the line).
        GeometryError: If slices are missing, uneven, tilted, mixed or at one position, or say not where they lie.
        DataError: If two patients or two frames of reference stand under one series.
        DependencyError: If the transfer syntax needs a plugin that is not installed.
    """
    if not files:
        raise UnreadableError("series holds no file", where=where)
    try:
        slices = [_read_slice(path) for path in files]
        return _assemble(slices)
    except DataError as error:
        raise error.located(where) from error


def _finding(code: str, message: str, *, fixed: bool = False) -> Finding:
    return Finding(code=code, severity="fixed" if fixed else "flagged", case_id=None, message=message)


def _read_slice(path: Path) -> _Slice:
    if not looks_like_dicom(path):
        raise UnreadableError("file is no DICOM", hint="take it out of the series")
    try:
        content = path.read_bytes()
        with quiet_pydicom():
            dataset = pydicom.dcmread(io.BytesIO(content), force=content[128:132] != b"DICM")
            _require_supported(dataset)
            values, notes = _rescaled(dataset, decode_frame(dataset))
            return _slice(dataset, values, notes, hashlib.sha256(content).hexdigest())
    except PYDICOM_ERRORS as error:
        raise UnreadableError("DICOM file is cut short or damaged") from error


def _require_supported(dataset: Dataset) -> None:
    """Refuse by name what this reader does not read."""
    sop_class = str(dataset.get("SOPClassUID", ""))
    if sop_class in _MULTI_FRAME_CLASSES or int(dataset.get("NumberOfFrames") or 1) > 1:
        raise UnreadableError("enhanced multi-frame images are not supported", expected="one frame a file")
    if sop_class not in _SINGLE_FRAME_CLASSES:
        raise UnreadableError(f"{_class_name(sop_class)} is not supported", expected="CT or MR images")
    if "MOSAIC" in [str(part) for part in dataset.get("ImageType") or ()]:
        raise UnreadableError("Siemens mosaic (many slices tiled in one frame) is not supported")
    if "PixelData" not in dataset:
        raise UnreadableError("file has no pixel data")
    if int(dataset.get("SamplesPerPixel") or 1) != 1 or str(dataset.get("PhotometricInterpretation")) not in (
        "MONOCHROME1",
        "MONOCHROME2",
    ):
        raise UnreadableError("colour images are not supported", expected="MONOCHROME1 or MONOCHROME2")
    if "ModalityLUTSequence" in dataset:
        raise UnreadableError(
            "modality look-up tables are not supported", expected="rescale slope and intercept"
        )


def _class_name(sop_class: str) -> str:
    name = UID(sop_class).name
    return name if name != sop_class else "this kind of DICOM object"


def decode_frame(dataset: Dataset) -> np.ndarray:
    """The stored values of a single-frame instance, (rows, columns), signed as PixelRepresentation says.

    Raises:
        DependencyError: If no installed plugin reads the transfer syntax.
        UnreadableError: If the transfer syntax is missing or the pixel data do not fill the frame.
    """
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        raise UnreadableError("file names no transfer syntax")
    if UID(syntax).is_compressed and UID(syntax).is_encapsulated:
        _require_decoder(UID(syntax))
    frame = np.asarray(dataset.pixel_array)
    shape = (int(dataset.Rows), int(dataset.Columns))
    if frame.shape != shape:
        raise UnreadableError(f"pixel data are {frame.shape}", expected=f"{shape}")
    return frame


def _require_decoder(syntax: UID) -> None:
    try:
        available = bool(get_decoder(syntax).is_available)
    except NotImplementedError as error:
        raise UnreadableError(f"transfer syntax {syntax.name} is not supported") from error
    if not available:
        raise DependencyError(
            f"reading {syntax.name} needs a plugin", hint="install it with `pip install medaug[dicom]`"
        )


def _rescaled(dataset: Dataset, stored: np.ndarray) -> tuple[np.ndarray, tuple[Finding, ...]]:
    """Stored values turned into modality values, with what is odd about the way there."""
    notes = []
    modality = _SINGLE_FRAME_CLASSES[str(dataset.SOPClassUID)]
    values = stored
    if str(dataset.PhotometricInterpretation) == "MONOCHROME1":
        if modality == "CT":
            notes.append(_finding("monochrome1", "stored for inverted display; HU were kept as they are"))
        else:
            bits, signed = int(dataset.BitsStored), int(dataset.PixelRepresentation)
            # the darkest and the brightest stored value change places: white stays bright in arbitrary units
            values = (-1 if signed else (1 << bits) - 1) - stored.astype(np.int64)
            notes.append(
                _finding("monochrome1", "stored with white as 0; intensities were inverted", fixed=True)
            )
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    if modality == "CT" and (slope is None or intercept is None):
        notes.append(
            _finding("rescale-missing", "CT without rescale slope or intercept; stored values taken as HU")
        )
    factor = float(1 if slope is None else slope)
    offset = float(0 if intercept is None else intercept)
    if factor == 0 or not np.isfinite([factor, offset]).all():
        raise UnreadableError(f"rescale slope is {factor:g}", expected="a finite number other than 0")
    if modality == "CT" and _unit(dataset) is not Unit.HU:
        notes.append(
            _finding("rescale-not-hu", "CT whose RescaleType is not HU; values taken as arbitrary units")
        )
    return _linear(values, factor, offset), tuple(notes)


def _linear(values: np.ndarray, factor: float, offset: float) -> np.ndarray:
    """``values * factor + offset`` as float32, rounded once.

    Whole numbers that stay below 2**24 are exact in float32 at every step, which is five times faster than float64.
    """
    largest = max(abs(int(values.min())), abs(int(values.max())))
    whole = factor.is_integer() and offset.is_integer()
    if whole and (largest + 1) * abs(factor) + abs(offset) < _EXACT_FLOAT32:
        scaled = values.astype(np.float32)
        scaled *= np.float32(factor)
        scaled += np.float32(offset)
        return scaled
    with np.errstate(over="ignore"):
        # what float32 cannot hold becomes infinite: the caller's check of finite voxels sees it
        return (values.astype(np.float64) * factor + offset).astype(np.float32)


def _unit(dataset: Dataset) -> Unit:
    """HU for CT unless RescaleType (PS3.3 C.11.1.1.2) says otherwise."""
    kind = str(dataset.get("RescaleType") or "HU").strip().upper()
    is_hu = _SINGLE_FRAME_CLASSES[str(dataset.SOPClassUID)] == "CT" and kind in ("HU", "")
    return Unit.HU if is_hu else Unit.ARBITRARY


def _slice(dataset: Dataset, values: np.ndarray, notes: tuple[Finding, ...], sha256: str) -> _Slice:
    position = _numbers(dataset, "ImagePositionPatient", 3)
    orientation = _numbers(dataset, "ImageOrientationPatient", 6)
    spacing = _numbers(dataset, "PixelSpacing", 2)
    row, column = orientation[:3], orientation[3:]
    lengths = np.array([np.linalg.norm(row), np.linalg.norm(column)])
    if np.abs(lengths - 1).max() > _COSINE_TOLERANCE or abs(row @ column) > _COSINE_TOLERANCE:
        raise GeometryError("image orientation is no pair of perpendicular directions")
    if spacing.min() <= 0:
        raise GeometryError("pixel spacing is not positive")
    return _Slice(
        instance_uid=str(dataset.get("SOPInstanceUID") or ""),
        patient=(
            patient_key(dataset),
            str(dataset.get("PatientName") or ""),
            str(dataset.get("PatientBirthDate") or ""),
        ),
        frame_of_reference_uid=str(dataset.get("FrameOfReferenceUID") or ""),
        modality=_SINGLE_FRAME_CLASSES[str(dataset.SOPClassUID)],
        unit=_unit(dataset),
        position=position,
        orientation=orientation,
        spacing=(float(spacing[0]), float(spacing[1])),
        thickness_mm=_lone_thickness(dataset),
        values=values,
        sha256=sha256,
        notes=notes,
    )


def _numbers(dataset: Dataset, name: str, count: int) -> np.ndarray:
    value = dataset.get(name)
    if value is None or len(np.atleast_1d(value)) != count:
        raise GeometryError(
            f"{name} is missing", expected=f"{count} numbers", hint="export the original series again"
        )
    numbers = np.array([float(part) for part in value], dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise GeometryError(f"{name} is not finite")
    return numbers


def _lone_thickness(dataset: Dataset) -> float | None:
    """Slice spacing for a series of one slice, the only place where a header tag may give it."""
    for name in ("SpacingBetweenSlices", "SliceThickness"):
        value = dataset.get(name)
        if value is not None and str(value) and np.isfinite(float(value)) and float(value) > 0:
            return float(value)
    return None


def _assemble(slices: list[_Slice]) -> SeriesVolume:
    first = slices[0]
    _require_one_subject(slices)
    _require_one_plane(slices)
    normal = np.cross(first.orientation[:3], first.orientation[3:])
    ordered, dropped = _without_copies(
        sorted(slices, key=lambda s: (float(s.position @ normal), s.instance_uid)), normal
    )
    step, note = _slice_step(ordered, normal)
    affine = np.eye(4)
    affine[:3, 0] = first.orientation[:3] * first.spacing[1]
    affine[:3, 1] = first.orientation[3:] * first.spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = ordered[0].position
    # (slice, row, column) in memory; (column, row, slice) is the order of the affine
    stored = np.stack([s.values for s in ordered]).transpose(2, 1, 0)
    grid, turn = to_ras(Grid((stored.shape[0], stored.shape[1], stored.shape[2]), lps_to_ras(affine)))
    return SeriesVolume(
        volume=Volume(turn.apply(stored)[None], grid, first.unit, (first.modality,), len(ordered) > 1),
        modality=first.modality,
        findings=_merged([*(note for s in ordered for note in s.notes), *dropped, *note]),
        source_sha256=tuple(s.sha256 for s in ordered),
        affine_lps=affine,
        turn=turn,
        frame_of_reference_uid=first.frame_of_reference_uid,
        instance_uids=tuple(s.instance_uid for s in ordered),
    )


def _merged(notes: list[Finding]) -> tuple[Finding, ...]:
    """Each note once, however many slices it concerns."""
    return tuple(dict.fromkeys(notes))


def _require_one_subject(slices: list[_Slice]) -> None:
    if len({s.patient for s in slices}) > 1:
        raise DataError("several patients stand under one series UID", hint="separate them at the source")
    if len({s.frame_of_reference_uid for s in slices}) > 1:
        raise DataError(
            "several frames of reference stand under one series UID", hint="separate them at the source"
        )
    if len({(s.modality, s.unit) for s in slices}) > 1:
        raise DataError("several modalities or units stand under one series UID")


def _require_one_plane(slices: list[_Slice]) -> None:
    first = slices[0]
    for other in slices[1:]:
        if np.abs(other.orientation - first.orientation).max() > _COSINE_TOLERANCE:
            raise GeometryError(
                "slices have different orientations", hint="export scouts as series of their own"
            )
        if not np.allclose(other.spacing, first.spacing, rtol=1e-4, atol=0):
            raise GeometryError("slices have different pixel spacings")
        if other.values.shape != first.values.shape:
            raise GeometryError(
                f"slices are {other.values.shape} and {first.values.shape}", expected="one size"
            )


def _without_copies(ordered: list[_Slice], normal: np.ndarray) -> tuple[list[_Slice], list[Finding]]:
    """Drop exact copies; refuse two images that claim one place, or one instance UID."""
    kept: list[_Slice] = []
    for candidate in ordered:
        same_place = bool(kept) and abs(float((candidate.position - kept[-1].position) @ normal)) < 1e-3
        if not same_place:
            kept.append(candidate)
        elif not np.array_equal(candidate.values, kept[-1].values) or not np.allclose(
            candidate.position, kept[-1].position
        ):
            raise GeometryError(
                "different images stand at one slice position",
                hint="export each volume (time, echo, b-value) apart",
            )
    if len({s.instance_uid for s in kept}) < len(kept):
        raise DataError("different images carry one instance UID", hint="export the original series again")
    copies = len(ordered) - len(kept)
    message = f"{copies} exact copies of slices were left out"
    return kept, [_finding("duplicate-instance", message, fixed=True)] if copies else []


def _slice_step(ordered: list[_Slice], normal: np.ndarray) -> tuple[np.ndarray, list[Finding]]:
    """The vector from one slice to the next in LPS+ mm, or the reason why there is none."""
    if len(ordered) == 1:
        thickness = ordered[0].thickness_mm
        if thickness is None:
            raise GeometryError(
                "series has one slice and names no thickness", expected="two slices or SliceThickness"
            )
        return normal * thickness, [
            _finding("single-slice", "one slice; its thickness comes from the header")
        ]
    positions = np.array([s.position for s in ordered])
    step = (positions[-1] - positions[0]) / (len(ordered) - 1)
    _require_even(positions @ normal)
    length = float(np.linalg.norm(step))
    if float(np.linalg.norm(np.cross(step, normal))) > _TILT_TOLERANCE * length:
        angle_deg = np.degrees(np.arccos(np.clip(step @ normal / length, -1, 1)))
        raise GeometryError(
            f"gantry is tilted by {angle_deg:.1f} degrees",
            expected="slices stacked along their normal",
            hint="resample first",
        )
    strays = np.abs(positions - (positions[0] + np.outer(np.arange(len(ordered)), step))).max()
    if strays > max(_POSITION_TOLERANCE_MM, _STEP_TOLERANCE * length):
        raise GeometryError("slices do not lie on one straight line")
    return step, []


def _require_even(offsets: np.ndarray) -> None:
    gaps = np.diff(offsets)
    usual = float(np.median(gaps)) if len(gaps) > 2 else float(gaps.min())
    allowed = max(_POSITION_TOLERANCE_MM, _STEP_TOLERANCE * usual)
    if np.abs(gaps - usual).max() <= allowed:
        return
    lost = int(sum(round(gap / usual) - 1 for gap in gaps))
    ratios = gaps / usual
    if lost > 0 and np.abs(ratios - np.rint(ratios)).max() < 0.05:
        raise GeometryError(
            f"{lost} slices are missing between others", expected=f"a slice every {usual:.3g} mm"
        )
    raise GeometryError(f"slices lie {gaps.min():.3g} to {gaps.max():.3g} mm apart", expected="even spacing")
