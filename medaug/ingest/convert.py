"""One source case read, checked and turned into a case of the dataset, or refused with its reasons."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

import numpy as np

from medaug.core.case import Case, Origin
from medaug.core.errors import DataError, GeometryError, UnreadableError
from medaug.core.findings import Code
from medaug.core.geometry import Grid
from medaug.core.results import Finding
from medaug.core.storage import sha256_if_readable
from medaug.core.volume import LabelMap, Mask, Unit, Volume
from medaug.ingest import checks
from medaug.ingest.classes import present_ids, to_class_ids
from medaug.ingest.discover import Identified
from medaug.ingest.folders import modality_of
from medaug.ingest.sources import ImageSource, LabelSource, Policy, SourceCase
from medaug.io.annotations import combine, target_of
from medaug.io.dataset import CaseFacts
from medaug.io.dicom import SeriesVolume, read_series
from medaug.io.nifti import read_channels, read_label, read_nifti
from medaug.io.segmentation import read_seg

UNSTATED = "OT"
_HU_FLOOR = -500.0


@final
@dataclass(frozen=True, slots=True, eq=False)
class Converted:
    """What became of a source case.

    Attributes:
        case: None where it is refused.
        facts: For the manifest.
        findings: Everything odd, refusals too.
        edit_mask: (I, J, K), where a synthetic case differs from its host.
        pixels_sha256: Of the voxels, to find one image under two patients.
        looks_like_hu: Whole numbers that reach air in HU, in one channel.
        is_guessed: Nothing says what the intensities mean.
    """

    case: Case | None
    facts: CaseFacts
    findings: tuple[Finding, ...]
    pixels_sha256: str = ""
    looks_like_hu: bool = False
    is_guessed: bool = False
    edit_mask: Mask | None = None


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Channel:
    """One channel as read."""

    image: np.ndarray
    grid: Grid
    spacing_known: bool
    sha256: tuple[str, ...]
    modality: str | None = None
    unit: Unit | None = None
    findings: tuple[Finding, ...] = ()
    series: SeriesVolume | None = None


@final
class _RefusedError(Exception):
    """Carries the finding that ends a case; never leaves this file."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.code)
        self.finding = finding


def convert(
    found: Identified, class_names: tuple[str, ...], policy: Policy, *, labels_expected: bool
) -> Converted:
    """Read and check one case.

    Args:
        found: The case and its ids.
        class_names: The class table of the dataset.
        policy: What the command line says of all cases.
        labels_expected: Whether an image without a label is worth a finding.

    Returns:
        The case, or the findings that refuse it; wrong data raise nothing.

    Raises:
        DependencyError: If a file needs a package that is not installed.
    """
    facts = CaseFacts(modality=UNSTATED)
    if any(finding.severity == "refused" for finding in found.findings):
        return Converted(None, facts, found.findings)
    try:
        _refuse(checks.check_stated(found.source.problem, found.case_id, found.source.problem_code))
        return _convert(found, class_names, policy, labels_expected=labels_expected)
    except _RefusedError as refusal:
        return Converted(None, facts, (*found.findings, refusal.finding))
    except DataError as error:
        return Converted(None, facts, (*found.findings, checks.check_readable(error, found.case_id)))


@contextmanager
def _told(part: str, *kinds: type[DataError]) -> Iterator[None]:
    """Say which file of the case such an error is about; its name may identify the patient."""
    try:
        yield
    except kinds as error:
        raise error.located(error.where, part=part) from error


def _refuse(finding: Finding | None) -> None:
    if finding is not None and finding.severity == "refused":
        raise _RefusedError(finding)


def _convert(
    found: Identified, class_names: tuple[str, ...], policy: Policy, *, labels_expected: bool
) -> Converted:
    source, case_id = found.source, found.case_id
    channels = [channel for image in source.images for channel in _read_channels(image, case_id)]
    volume, modality, is_guessed = _volume(source, channels, case_id, policy)
    _refuse(checks.check_finite(volume, case_id))
    _refuse(checks.check_constant(volume, case_id))
    label_map, label_sha256, notes = _label(found, channels[0], class_names)
    if source.label is None and not source.stated.lesion_free and (labels_expected or policy.require_labels):
        notes.append(checks.check_label_missing(case_id, required=policy.require_labels))
        _refuse(notes[-1])
    stated = (policy.spacing or source.stated.spacing) is not None
    spacing = checks.check_spacing(volume.grid, case_id, known=volume.spacing_known, stated=stated)
    odd = [note.model_copy(update={"case_id": case_id}) for channel in channels for note in channel.findings]
    findings = (*found.findings, *odd, *notes, *([spacing] if spacing else []))
    facts = CaseFacts(
        modality=modality,
        split=source.stated.split,
        lesion_free=source.stated.lesion_free,
        licence=policy.licence or source.stated.licence,
        terms=policy.terms or source.stated.terms,
        source_sha256=source.stated.source_sha256 or _digests(channels) + label_sha256,
        findings=tuple(dict.fromkeys(finding.code for finding in findings)),
    )
    digest = hashlib.sha256(volume.image.tobytes()).hexdigest()
    synthetic = Origin.SYNTHETIC in (policy.origin, source.stated.origin)
    origin = Origin.SYNTHETIC if synthetic else Origin.REAL
    case = Case(case_id, found.patient_id, volume, label_map, origin)
    edit = _edit_mask(source.edit_mask, volume.grid, case_id)
    return Converted(case, facts, findings, digest, is_guessed and _looks_like_hu(volume), is_guessed, edit)


def _digests(channels: Sequence[_Channel]) -> tuple[str, ...]:
    """The hashes of all files, each once."""
    return tuple(dict.fromkeys(digest for channel in channels for digest in channel.sha256))


def _edit_mask(source: LabelSource | None, grid: Grid, case_id: str) -> Mask | None:
    if source is None:
        return None
    with _told("edit mask", UnreadableError, GeometryError):
        file = read_label(source.files[0], where=case_id)
        _require_same_file(source.sha256, file.sha256)
    _refuse(checks.check_label_grid(grid, file.grid, case_id))
    return np.asarray(file.array > 0)


def _require_same_file(stated: str, found: str) -> None:
    """Refuse a file that changed since its manifest was written."""
    if stated and stated != found:
        raise UnreadableError("file is not the one the manifest describes", code=Code.FILE_CHANGED)


def _read_channels(source: ImageSource, case_id: str) -> list[_Channel]:
    if source.frames:
        return _read_frames(source, case_id)
    return [_read_channel(source, case_id)]


def _read_frames(source: ImageSource, case_id: str) -> list[_Channel]:
    """The channels of one file whose source names them along its fourth axis."""
    with _told("image", UnreadableError, GeometryError):
        image = read_channels(source.files[0], len(source.frames), where=case_id)
        _require_same_file(source.sha256, image.sha256)
    with np.errstate(over="ignore"):
        values = image.array.astype(np.float32, copy=False)
    return [_Channel(channel, image.grid, image.spacing_known, (image.sha256,)) for channel in values]


def _read_channel(source: ImageSource, case_id: str) -> _Channel:
    if source.kind == "dicom":
        read = read_series(source.files, where=case_id)
        return _Channel(
            read.volume.image[0],
            read.volume.grid,
            read.volume.spacing_known,
            tuple(sha256_if_readable(path) for path in source.files),
            read.modality,
            read.volume.unit,
            read.findings,
            read,
        )
    with _told("image", UnreadableError):
        image = read_nifti(source.files[0], where=case_id)
        _require_same_file(source.sha256, image.sha256)
    with np.errstate(over="ignore"):
        # what float32 cannot hold becomes infinite, and is refused as such
        values = image.array.astype(np.float32, copy=False)
    return _Channel(values, image.grid, image.spacing_known, (image.sha256,))


def _volume(
    source: SourceCase, channels: list[_Channel], case_id: str, policy: Policy
) -> tuple[Volume, str, bool]:
    """The channels as one volume, its modality, and whether that is only a guess."""
    _refuse(checks.check_channel_grids([channel.grid for channel in channels], case_id))
    names = source.channels
    modality = policy.modality or source.stated.modality or channels[0].modality or modality_of(names)
    # a series says its own unit; a file of another kind means HU where its modality is CT
    unit = channels[0].unit or source.stated.unit if policy.modality is None else None
    if unit is None:
        unit = Unit.HU if modality == "CT" else Unit.ARBITRARY
    # one slice has no neighbour to measure a distance to
    known = all(channel.spacing_known for channel in channels) and min(channels[0].grid.shape) > 1
    spacing = policy.spacing or source.stated.spacing
    if spacing is not None:
        known = spacing == "known"
    image = np.stack([channel.image for channel in channels])
    return Volume(image, channels[0].grid, unit, names, known), modality or UNSTATED, modality is None


def _looks_like_hu(volume: Volume) -> bool:
    image = volume.image
    return (
        len(volume.channels) == 1
        and float(image.min()) <= _HU_FLOOR
        and bool((image == np.rint(image)).all())
    )


def _label(
    found: Identified, image: _Channel, class_names: tuple[str, ...]
) -> tuple[LabelMap | None, tuple[str, ...], list[Finding]]:
    """The label map on the image's grid, the hashes of its files, and what was odd."""
    source, case_id = found.source, found.case_id
    if source.label is None:
        return None, (), []
    if source.label.kind == "dicom":
        labels, digests = _segments(source, image, class_names, case_id)
    else:
        with _told("label", UnreadableError, GeometryError):
            file = read_label(source.label.files[0], where=case_id)
            _require_same_file(source.label.sha256, file.sha256)
        _refuse(checks.check_label_grid(image.grid, file.grid, case_id))
        named = [pair.label_id for pair in source.classes]
        _refuse(checks.check_label_ids(present_ids(file.array), named, case_id))
        labels, digests = to_class_ids(file.array, source.classes, class_names), (file.sha256,)
    empty = checks.check_lesion_free(labels, case_id, lesion_free=source.stated.lesion_free)
    _refuse(empty)
    present = [class_names[number - 1] for number in present_ids(labels)]
    # a row that lists every class of its source gives the table, and says nothing about its own case
    says_which = bool(present) and len(source.stated.classes) < len(source.classes)
    lost = checks.check_classes_found(source.stated.classes, present, case_id) if says_which else None
    return (
        LabelMap(labels, image.grid, class_names),
        digests,
        [note for note in (empty, lost) if note is not None],
    )


def _segments(
    source: SourceCase, image: _Channel, class_names: tuple[str, ...], case_id: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    if image.series is None:
        raise DataError(
            "a DICOM SEG is tied to an image that is no DICOM series", hint="use a NIfTI label map"
        )
    objects = [
        read_seg(path, target_of(image.series), where=case_id)
        for path in (source.label.files if source.label else ())
    ]
    labels = combine(
        [segment for item in objects for segment in item.segments], class_names, where=case_id
    ).labels
    return labels, tuple(item.sha256 for item in objects)
