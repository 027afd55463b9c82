"""What becomes of a host's scan that may show a face: it may go as it is, without its face, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

import numpy as np

from medaug.core.case import Case, CaseRecord
from medaug.core.volume import Mask, Volume
from medaug.io.dataset import load_case, load_edit_mask
from medaug.privacy.deface import Defaced, DefaceReport, deface
from medaug.privacy.defaced import Images
from medaug.privacy.heads import look_for_head

Outcome = Literal["none", "said", "removed before", "to be removed", "refused"]


@final
@dataclass(frozen=True, slots=True)
class FaceVerdict:
    """Whether a scan may be passed on as far as faces go.

    Attributes:
        case_id: Whose.
        path: Of its first image.
        outcome: ``none``, ``said`` to be none by a person, ``removed before`` as a record tells, ``to be removed``, or ``refused``.
        reason: Why it is refused.
    """

    case_id: str
    path: str
    outcome: Outcome
    reason: str = ""


def judge_face(
    dataset: Path,
    record: CaseRecord,
    classes: tuple[str, ...],
    *,
    no_faces: bool,
    recorded: Mapping[Images, DefaceReport],
) -> FaceVerdict:
    """Look for a head, and try to remove its face; a person may say that there is none, but of no CT with a skull.

    Args:
        dataset: The dataset folder.
        record: Of the case; its images are what it says.
        classes: Of the dataset.
        no_faces: Whether a person says that there is no face.
        recorded: What was told of these images when they were defaced.

    Raises:
        DataError: If a file cannot be read.
    """
    case = load_case(dataset, record, classes)
    told = recorded.get(tuple(file.sha256 for file in record.images))
    outcome, why = _look(case) or _told(told, no_faces=no_faces) or _judge(dataset, record, case)
    return FaceVerdict(
        record.case_id, record.images[0].path, outcome, f"{record.case_id} {why}" if why else ""
    )


def _look(case: Case) -> tuple[Outcome, str] | None:
    """What needs no more than a look."""
    sight = look_for_head(case.volume)
    if sight == "head CT":
        return "refused", "is a CT that shows a head, and no defacing was tested on one"
    return ("none", "") if sight == "no head" else None


def _told(told: DefaceReport | None, *, no_faces: bool) -> tuple[Outcome, str] | None:
    """What is believed of an image that may show a head."""
    if told is not None and told.outcome == "defaced":
        return "removed before", ""
    is_said = no_faces or (told is not None and told.reason == "said-to-be-no-head")
    return ("said", "") if is_said else None


def _judge(dataset: Path, record: CaseRecord, case: Case) -> tuple[Outcome, str]:
    report = _defaced(dataset, record, case).report
    if report.outcome == "quarantined":
        return (
            "refused",
            f"may show a face that was not removed ({report.reason}); say --no-faces only after a look at every case",
        )
    return ("to be removed" if report.outcome == "defaced" else "none"), ""


def without_face(dataset: Path, record: CaseRecord, classes: tuple[str, ...]) -> Volume | None:
    """The scan without its face; None where it cannot be removed.

    Raises:
        DataError: If a file cannot be read.
    """
    defaced = _defaced(dataset, record, load_case(dataset, record, classes))
    return defaced.volume if defaced.report.outcome == "defaced" else None


def _defaced(dataset: Path, record: CaseRecord, case: Case) -> Defaced:
    return deface(case.volume, spared_voxels(dataset, record, case), modality=record.modality)


def spared_voxels(dataset: Path, record: CaseRecord, case: Case) -> Mask:
    """What no defacing may remove: lesions and what was synthesised, the reason why the case exists.

    Raises:
        UnreadableError: If the edit mask is missing, damaged or not the one the manifest describes.
    """
    spared = np.zeros(case.volume.grid.shape, dtype=bool)
    if case.label_map is not None:
        spared |= case.label_map.labels > 0
    if record.edit_mask is not None:
        spared |= load_edit_mask(dataset, record)
    return spared
