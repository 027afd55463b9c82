"""Folders of DICOM files: a case a series, with the segmentations that refer to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from medaug.core.findings import Code
from medaug.core.wording import counted
from medaug.ingest.characteristics import characteristics
from medaug.ingest.sources import Choices, Discovery, LabelSource, SourceCase, Stated, Stray
from medaug.ingest.stacks import Opened, opened
from medaug.ingest.tying import Candidate, tie
from medaug.io.drawings import Drawing, drawing_of, is_structure_set
from medaug.io.headers import Header, Scan, Series, scan

_SCANS = ("CT", "MR", "PT", "US", "CR", "DX", "MG")
# They have pixels and show no patient
_NO_IMAGES = ("RTDOSE",)

_DEFAULT = Choices()


def pair_series(
    files: Sequence[Path],
    source: int,
    tick: Callable[[], None] = lambda: None,
    choices: Choices = _DEFAULT,
    workers: int = 1,
) -> Discovery:
    """Find the image series among files, and tie each segmentation to the images it was drawn on.

    A series makes a case for each of its stacks. A SEG or RT structure set belongs to the stack that holds most of the
    images it names (:func:`medaug.ingest.tying.tie`). Patients are told apart by PatientID.

    Args:
        files: Candidates of any name.
        source: Index of the SRC.
        tick: Called once a file.
        choices: How the command line wants series to be read.
        workers: Processes that parse headers.
    """
    found = scan(files, tick, workers)
    scans = [series for series in found.images if _is_scan(series)]
    stacks = [one for series in scans for one in opened(series, choices)]
    drawings, strays = _drawings(found)
    tied = tie(drawings, [_candidate(one) for one in stacks])
    strays = [*_left_over(found), *strays, *(_homeless(drawing) for drawing in tied.left)]
    cases = tuple(_case(one, drawn, source) for one, drawn in zip(stacks, tied.of, strict=True))
    return Discovery(cases, tuple(strays))


def _is_scan(series: Series) -> bool:
    return series.first.modality in _SCANS or series.first.is_own_capture


def _candidate(one: Opened) -> Candidate:
    first = one.series.first
    affine, slices = (one.stack.affine_lps, one.stack.shape[2]) if one.stack is not None else (None, 0)
    return Candidate(first.series_uid, first.frame_of_reference_uid, one.instance_uids, affine, slices)


def _drawings(found: Scan) -> tuple[list[Drawing], list[Stray]]:
    """What every annotation declares; structure sets without anything drawn are no labels."""
    drawings, strays = [], []
    for header in (*found.segmentations, *_structure_sets(found)):
        drawing = drawing_of(header)
        if drawing.is_structure_set and not drawing.declared:
            strays.append(_nothing_drawn(drawing))
        else:
            drawings.append(drawing)
    return drawings, strays


def _structure_sets(found: Scan) -> list[Header]:
    return [h for series in found.other_dicom for h in series.headers if is_structure_set(h)]


def _nothing_drawn(drawing: Drawing) -> Stray:
    if drawing.fault is not None:
        return Stray(drawing.fault.code or Code.UNREADABLE, "refused", drawing.fault.line(), (drawing.path,))
    message = "structure set without a closed contour was left out"
    return Stray(Code.SEGMENT_EMPTY, "flagged", message, (drawing.path,))


def _homeless(drawing: Drawing) -> Stray:
    what = (
        f"{counted(len(drawing.declared), 'segment')} of an annotation" if drawing.declared else "annotation"
    )
    message = f"{what} was drawn on no image series that was found; add the images it was drawn on"
    return Stray(Code.IMAGE_MISSING, "refused", message, (drawing.path,))


def _shown(modality: str) -> str:
    """A modality code as it may be shown: what is no code could be anything."""
    return f"modality {modality}" if re.fullmatch(r"[A-Z]{2,4}", modality) else "unknown modality"


def _left_over(found: Scan) -> list[Stray]:
    strays = []
    if found.not_dicom:
        message = f"{counted(len(found.not_dicom), 'file')} of no format that is read left out"
        strays.append(Stray(Code.NOT_AN_IMAGE, "flagged", message, found.not_dicom))
    for path in found.damaged:
        message = (
            "DICOM file is cut short or damaged, or names no class or no series; copy or export it again"
        )
        strays.append(Stray(Code.UNREADABLE, "refused", message, (path,)))
    for series in found.other_dicom:
        if any(is_structure_set(header) for header in series.headers):
            continue
        what = _shown(series.first.modality)
        strays.append(
            Stray(
                "not-an-image", "flagged", f"DICOM objects without image ({what}) were left out", series.files
            )
        )
    for series in found.images:
        if series.first.modality in _NO_IMAGES:
            message = f"{series.first.modality} objects hold no image and were left out"
            strays.append(Stray(Code.NOT_AN_IMAGE, "flagged", message, series.files))
        elif not _is_scan(series):
            message = (
                f"series of {_shown(series.first.modality)} is not supported; expected {' or '.join(_SCANS)}"
            )
            strays.append(Stray(Code.UNSUPPORTED_MODALITY, "refused", message, series.files))
    return strays


def _case(one: Opened, drawings: Sequence[Drawing], source: int) -> SourceCase:
    first = one.series.first
    problem, code = "", ""
    if any(drawing.patient_key != first.patient_key for drawing in drawings):
        problem, code = "annotation and image belong to different patients", Code.MIXED_PATIENTS.value
    for fault in (one.fault, *(drawing.fault for drawing in drawings)):
        if fault is not None and not problem:
            problem, code = fault.line(), fault.code
    drawn = LabelSource("dicom", tuple(d.path for d in drawings), drawings=tuple(drawings))
    return SourceCase(
        source=source,
        case_key=one.key,
        patient_key=first.patient_key or first.study_uid or first.series_uid,
        ids_are_pseudonyms=False,
        images=(one.image,),
        label=drawn if drawings else None,
        stated=Stated(modality=first.modality),
        problem=problem,
        problem_code=code,
        characteristics=characteristics(scanner=first.scanner, sex=first.sex, age=first.age),
    )
