"""One source case read, checked and turned into a case of the dataset, or refused with its reasons."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, final

import numpy as np

from medaug.core.case import Case, Origin
from medaug.core.errors import DataError, DependencyError, GeometryError, UnreadableError
from medaug.core.findings import Code, Finding
from medaug.core.geometry import Grid
from medaug.core.storage import sha256_if_readable
from medaug.core.volume import Image, Mask, Unit, Volume
from medaug.core.wording import counted
from medaug.ingest import checks
from medaug.ingest.description import modality_of
from medaug.ingest.discover import Identified
from medaug.ingest.labels import Labelled, read_labels
from medaug.ingest.refusal import RefusedError, refuse, require_same_file, told
from medaug.ingest.sources import Choices, ImageSource, LabelSource, Policy, SourceCase
from medaug.ingest.stacks import only_stack
from medaug.io.annotations import Target, target_of
from medaug.io.dataset import CaseFacts
from medaug.io.dicom import SeriesVolume, Stack, read_stack
from medaug.io.images import read_image
from medaug.io.nifti import read_label

UNSTATED = "OT"
_HU_FLOOR = -500.0
_NONE_HASHED: Final[Mapping[Path, str]] = MappingProxyType({})


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
    """One channel as read; ``name`` is empty where nothing tells it, ``files`` are those without a ``sha256`` yet."""

    name: str
    image: np.ndarray
    grid: Grid
    spacing_known: bool
    sha256: tuple[str, ...]
    modality: str | None = None
    unit: Unit | None = None
    findings: tuple[Finding, ...] = ()
    series: SeriesVolume | None = None
    files: tuple[Path, ...] = ()


def convert(
    found: Identified,
    class_names: tuple[str, ...],
    policy: Policy,
    *,
    labels_expected: bool,
    digests: Mapping[Path, str] = _NONE_HASHED,
) -> Converted:
    """Read and check one case.

    Args:
        found: The case and its ids.
        class_names: The class table of the dataset.
        policy: What the command line says of all cases.
        labels_expected: Whether an image without a label is worth a finding.
        digests: SHA-256 of files that were hashed already; those of a series are not read for it again.

    Returns:
        The case, or the findings that refuse it; wrong data and missing packages raise nothing.
    """
    facts = CaseFacts(modality=UNSTATED)
    if any(finding.severity == "refused" for finding in found.findings):
        return Converted(None, facts, found.findings)
    try:
        refuse(checks.check_stated(found.source.problem, found.case_id, found.source.problem_code))
        return _convert(found, class_names, policy, digests, labels_expected=labels_expected)
    except RefusedError as refusal:
        return Converted(None, facts, (*found.findings, *refusal.findings))
    except DataError as error:
        return Converted(None, facts, (*found.findings, checks.check_readable(error, found.case_id)))
    except DependencyError as error:
        return Converted(None, facts, (*found.findings, checks.check_dependency(error, found.case_id)))


def _convert(
    found: Identified,
    class_names: tuple[str, ...],
    policy: Policy,
    digests: Mapping[Path, str],
    *,
    labels_expected: bool,
) -> Converted:
    source, case_id = found.source, found.case_id
    channels = [
        channel for image in source.images for channel in _read_channels(image, policy.choices, case_id)
    ]
    volume, modality, is_guessed = _volume(source, channels, case_id, policy)
    refuse(checks.check_size(volume.grid, case_id))
    refuse(checks.check_finite(volume, case_id))
    constant = checks.check_constant(volume, case_id, labelled=source.label is not None)
    refuse(constant)
    labelled = _labelled(found, channels[0], class_names, policy)
    if source.label is None and not source.stated.lesion_free and (labels_expected or policy.require_labels):
        note = checks.check_label_missing(case_id, required=policy.require_labels)
        refuse(note)
        labelled = Labelled(None, (), (note,))
    # positions in a DICOM header are those of the scanner; other files may carry a unit affine for want of a better one
    is_dicom = any(image.kind == "dicom" for image in source.images)
    stated = is_dicom or (policy.spacing or source.stated.spacing) is not None
    spacing = checks.check_spacing(volume.grid, case_id, known=volume.spacing_known, stated=stated)
    bare = source.label is None and constant is None and not is_dicom
    label_like = checks.check_label_like(volume, case_id) if bare else None
    findings = (
        *found.findings,
        *_odd(channels, source, case_id, policy),
        *labelled.findings,
        *(note for note in (constant, label_like, spacing) if note is not None),
    )
    facts = CaseFacts(
        modality=modality,
        split=source.stated.split,
        lesion_free=source.stated.lesion_free,
        licence=policy.licence or source.stated.licence,
        terms=policy.terms or source.stated.terms,
        source_sha256=source.stated.source_sha256 or _digests(channels, digests) + labelled.sha256,
        findings=tuple(dict.fromkeys(finding.code for finding in findings)),
        attributes=source.characteristics,
    )
    digest = hashlib.sha256(np.ascontiguousarray(volume.image).data).hexdigest()
    stated_origins = (policy.origin, source.stated.origin)
    origin = next((one for one in stated_origins if one not in (None, Origin.REAL)), None) or Origin.REAL
    case = Case(case_id, found.patient_id, volume, labelled.label_map, origin)
    edit = _edit_mask(source.edit_mask, volume.grid, case_id)
    return Converted(case, facts, findings, digest, is_guessed and _looks_like_hu(volume), is_guessed, edit)


def _labelled(found: Identified, image: _Channel, class_names: tuple[str, ...], policy: Policy) -> Labelled:
    target = target_of(image.series) if image.series is not None else Target(image.grid)
    return read_labels(found, target, class_names, policy.choices)


def _odd(channels: Sequence[_Channel], source: SourceCase, case_id: str, policy: Policy) -> list[Finding]:
    """What was odd about the images; where the command line says what they are, headers and folders are not asked."""
    notes = [note for channel in channels for note in channel.findings]
    if source.said_synthetic and all(note.code != Code.SYNTHETIC_DATA for note in notes):
        notes.append(checks.note_said_synthetic(source.said_synthetic))
    is_said = policy.origin is not None or source.stated.origin not in (None, Origin.REAL)
    return [
        note.model_copy(update={"case_id": case_id})
        for note in notes
        if not is_said or note.code != Code.SYNTHETIC_DATA
    ]


def _digests(channels: Sequence[_Channel], known: Mapping[Path, str]) -> tuple[str, ...]:
    """The hashes of all files, each once."""
    files = dict.fromkeys(path for channel in channels for path in channel.files)
    hashed = [known.get(path) or sha256_if_readable(path) for path in files]
    return tuple(dict.fromkeys([*(digest for channel in channels for digest in channel.sha256), *hashed]))


def _edit_mask(source: LabelSource | None, grid: Grid, case_id: str) -> Mask | None:
    if source is None:
        return None
    with told("edit mask", UnreadableError, GeometryError):
        file = read_label(source.files[0], where=case_id)
        require_same_file(source.sha256, file.sha256)
    refuse(checks.check_label_grid(grid, file.grid, case_id))
    return np.asarray(file.array > 0)


def _read_channels(source: ImageSource, choices: Choices, case_id: str) -> list[_Channel]:
    if source.kind == "dicom":
        return _read_stack(source.channel, source.stack or only_stack(source.files, choices), case_id)
    frames = choices.frames if source.frame is None else source.frame
    with told("image", UnreadableError):
        image = read_image(source.files[0], "channels" if source.frames else frames, where=case_id)
        require_same_file(source.sha256, image.sha256[0])
    count = len(image.image)
    if source.frames and len(source.frames) != count:
        expected = f"{counted(len(source.frames), 'channel')} as stated"
        raise GeometryError(f"image holds {counted(count, 'channel')}", where=case_id, expected=expected)
    with np.errstate(over="ignore"):
        # what float32 cannot hold becomes infinite, and is refused as such
        values = image.image.astype(np.float32, copy=False)
    first = _Channel(source.channel, values[0], image.grid, image.spacing_known, image.sha256)
    first = replace(first, findings=image.findings)
    if count == 1 and not source.frames:
        return [first]
    names = source.frames or tuple(f"{source.channel or 'channel'}_{n}" for n in range(1, count + 1))
    return [
        replace(first, name=name, image=value, findings=first.findings if n == 0 else ())
        for n, (name, value) in enumerate(zip(names, values, strict=True))
    ]


def _read_stack(channel: str, stack: Stack, case_id: str) -> list[_Channel]:
    read = read_stack(stack, where=case_id)
    names = stack.channels if len(stack.channels) > 1 else (channel,)
    return [
        _Channel(
            name,
            image,
            read.volume.grid,
            read.volume.spacing_known,
            (),
            read.modality,
            read.volume.unit,
            read.findings if n == 0 else (),
            read,
            stack.files,
        )
        for n, (name, image) in enumerate(zip(names, read.volume.image, strict=True))
    ]


def _volume(
    source: SourceCase, channels: list[_Channel], case_id: str, policy: Policy
) -> tuple[Volume, str, bool]:
    """The channels as one volume, its modality, and whether that is only a guess."""
    refuse(checks.check_channel_grids([channel.grid for channel in channels], case_id))
    names = tuple(channel.name for channel in channels)
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
    return (
        Volume(_joined(channels), channels[0].grid, unit, names, known),
        modality or UNSTATED,
        modality is None,
    )


def _joined(channels: Sequence[_Channel]) -> Image:
    """All channels as one array, without a copy where they are parts of one already."""
    whole = channels[0].image.base
    shape = (len(channels), *channels[0].image.shape)
    if (
        whole is not None
        and whole.shape == shape
        and all(channel.image.base is whole for channel in channels)
    ):
        return whole
    return channels[0].image[None] if len(channels) == 1 else np.stack([one.image for one in channels])


def _looks_like_hu(volume: Volume) -> bool:
    image = volume.image
    return (
        len(volume.channels) == 1
        and float(image.min()) <= _HU_FLOOR
        and bool((image == np.rint(image)).all())
    )
