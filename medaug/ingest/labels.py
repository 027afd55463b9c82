"""The label map of one case: read, put on the grid of its image, and named by the classes of the dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from medaug.core.errors import DataError, GeometryError, LabelError, UnreadableError
from medaug.core.findings import Code, Finding
from medaug.core.volume import LabelMap, Labels
from medaug.ingest import checks
from medaug.ingest.classes import present_ids, to_class_ids
from medaug.ingest.discover import Identified
from medaug.ingest.masks import read_label_files
from medaug.ingest.refusal import RefusedError, refuse, require_same_file, told
from medaug.ingest.sources import Choices, LabelSource, SourceCase
from medaug.io.annotations import Annotation, Segment, Target, combine
from medaug.io.drawings import Drawing
from medaug.io.formats import kind_of
from medaug.io.images import read_slicer_segments
from medaug.io.resample import require_kept, resample_labels
from medaug.io.segmentation import read_seg
from medaug.io.structures import read_structures


@final
@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """What became of the label of a case.

    Attributes:
        label_map: On the grid of the image; None where the case has no label.
        sha256: Of its files.
        findings: What was odd.
    """

    label_map: LabelMap | None
    sha256: tuple[str, ...]
    findings: tuple[Finding, ...]


def read_labels(
    found: Identified, target: Target, class_names: tuple[str, ...], choices: Choices
) -> Labelled:
    """The label map of a case on the grid of its image.

    Args:
        found: The case.
        target: Its image.
        class_names: The class table of the dataset.
        choices: How the command line wants labels to be read.

    Raises:
        RefusedError: If the label cannot be used.
        DataError: If a file cannot be read, or does not fit the image.
        DependencyError: If a file needs a package that is not installed.
    """
    case_id, label = found.case_id, found.source.label
    if label is None:
        return Labelled(None, (), ())
    if label.kind == "dicom" or label.drawings:
        read = _drawn(case_id, label, target, class_names, choices)
    else:
        read = _mapped(found, label, target, class_names, choices)
    empty = checks.check_lesion_free(read.labels, case_id, lesion_free=found.source.stated.lesion_free)
    refuse(empty)
    present = [class_names[number - 1] for number in present_ids(read.labels)]
    notes = [*read.findings, empty, _lost(found.source, present, case_id)]
    said = tuple(note.model_copy(update={"case_id": case_id}) for note in notes if note is not None)
    return Labelled(LabelMap(read.labels, target.grid, class_names), read.sha256, said)


def _lost(source: SourceCase, present: Sequence[str], case_id: str) -> Finding | None:
    # a row that lists every class of its source gives the table, and says nothing about its own case
    says_which = bool(present) and len(source.stated.classes) < len(source.classes)
    return checks.check_classes_found(source.stated.classes, present, case_id) if says_which else None


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """Label ids of the dataset on the grid of the image, the hashes of the files, and what was odd."""

    labels: Labels
    sha256: tuple[str, ...]
    findings: tuple[Finding, ...]


def _mapped(
    found: Identified, label: LabelSource, target: Target, class_names: Sequence[str], choices: Choices
) -> _Read:
    """A label map: ids of its own, on the grid of the image or put there if that was asked for."""
    case_id, frames = found.case_id, choices.frames
    frames = next((image.frame for image in found.source.images if image.frame is not None), frames)
    with told("label", UnreadableError, GeometryError):
        file = read_label_files(label, found.source.classes, frames, priority=choices.priority, where=case_id)
        require_same_file(label.sha256, file.sha256[0])
    named = [pair.label_id for pair in found.source.classes]
    refuse(checks.check_label_ids(present_ids(file.labels), named, case_id))
    array, odd = file.labels, file.findings
    if choices.resample_labels and not checks.same_grid(target.grid, file.grid):
        moved = resample_labels(file.labels, file.grid, target.grid)
        with told("label", GeometryError):
            require_kept(moved)
        array, odd = moved.labels, (*odd, checks.check_resampled(moved.outside, case_id))
    else:
        refuse(checks.check_label_grid(target.grid, file.grid, case_id))
    return _Read(to_class_ids(array, found.source.classes, class_names), file.sha256, odd)


def _drawn(
    case_id: str, label: LabelSource, target: Target, class_names: Sequence[str], choices: Choices
) -> _Read:
    """Segmentations and structure sets of one image as one label map."""
    if not label.drawings or len(label.drawings) != len(label.tables):
        raise LabelError("annotation declares no segments", code=Code.UNREADABLE)
    read: list[Annotation] = []
    segments: list[Segment] = []
    errors: list[DataError] = []
    for number, (drawing, table) in enumerate(zip(label.drawings, label.tables, strict=True), start=1):
        part = f"annotation {number} of {len(label.drawings)}" if len(label.drawings) > 1 else "annotation"
        names = {pair.label_id: pair.name for pair in table}
        try:
            one = _annotation(drawing, frozenset(names), target, choices)
        except DataError as error:
            errors.append(error.located(case_id, part=part))
            continue
        read.append(one)
        segments += [replace(segment, name=names[segment.number]) for segment in one.segments]
    if errors:
        raise RefusedError(*(checks.check_readable(error, case_id) for error in errors))
    digests, odd = tuple(item.sha256 for item in read), tuple(f for item in read for f in item.findings)
    if not segments:
        return _Read(np.zeros(target.grid.shape, dtype=np.uint8), digests, odd)
    whole = combine(segments, class_names, priority=choices.priority, where=case_id)
    return _Read(whole.labels, digests, (*odd, *whole.findings))


def _annotation(drawing: Drawing, numbers: frozenset[int], target: Target, choices: Choices) -> Annotation:
    if drawing.is_structure_set:
        return read_structures(drawing.path, target, numbers=numbers)
    if kind_of(drawing.path) == "nrrd":
        return read_slicer_segments(drawing.path, target.grid, numbers)
    return read_seg(drawing.path, target, numbers=numbers, fraction_threshold=choices.fraction_threshold)
