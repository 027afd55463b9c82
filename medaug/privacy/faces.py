"""What becomes of a host's scan that may show a face: it may go as it is, without its face, or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

import numpy as np

from medaug.core.case import Case, CaseRecord
from medaug.core.volume import Mask, Volume
from medaug.io.dataset import load_case, load_edit_mask
from medaug.privacy.deface import Defaced, deface
from medaug.privacy.heads import look_for_head

Outcome = Literal["none", "said", "to be removed", "refused"]


@final
@dataclass(frozen=True, slots=True)
class FaceVerdict:
    """Whether a scan may be passed on as far as faces go.

    Attributes:
        case_id: Whose.
        path: Of its first image.
        outcome: ``none``, ``said`` to be none by a person, ``to be removed``, or ``refused``.
        reason: Why it is refused.
    """

    case_id: str
    path: str
    outcome: Outcome
    reason: str = ""


def judge_face(dataset: Path, record: CaseRecord, classes: tuple[str, ...], *, no_faces: bool) -> FaceVerdict:
    """Look for a head, and try to remove its face; a person may say that there is none, but of no CT with a skull.

    Raises:
        DataError: If a file cannot be read.
    """
    case = load_case(dataset, record, classes)
    outcome, why = _judge(dataset, record, case, no_faces=no_faces)
    return FaceVerdict(
        record.case_id, record.images[0].path, outcome, f"{record.case_id} {why}" if why else ""
    )


def _judge(dataset: Path, record: CaseRecord, case: Case, *, no_faces: bool) -> tuple[Outcome, str]:
    sight = look_for_head(case.volume)
    if sight == "head CT":
        return "refused", "is a CT that shows a head, and no defacing was tested on one"
    if sight == "no head":
        return "none", ""
    if no_faces:
        return "said", ""
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
    return deface(case.volume, _spared(dataset, record, case), modality=record.modality)


def _spared(dataset: Path, record: CaseRecord, case: Case) -> Mask:
    """Lesions and what was synthesised: the reason why the case exists."""
    spared = np.zeros(case.volume.grid.shape, dtype=bool)
    if case.label_map is not None:
        spared |= case.label_map.labels > 0
    if record.edit_mask is not None:
        spared |= load_edit_mask(dataset, record)
    return spared
