"""Lesions drawn into scans: what recipes tell of their origin, and how well the search sees them at all.

Such a lesion shows itself only inside its edit mask, where there is much less to go by than in a copied scan. So what
the search finds of planted copies there is measured apart, and bounds what its silence can mean.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy import ndimage

from medaug.copying.audit import Evidence, copy_share
from medaug.copying.imprint import Imprint
from medaug.copying.search import CopySearch
from medaug.core.assessment import AuditReport, CopyFlag, CopyShare
from medaug.core.case import CaseRecord
from medaug.core.intensity import IntensityScheme
from medaug.core.plan import Recipe
from medaug.core.runs import Progress
from medaug.io.dataset import load_case
from medaug.workflows._assess.job import Job

PASTING: Final = frozenset({"copy_paste", "carvemix"})  # generators whose texture is a donor's own
_PLANTED: Final = 24
_RIM_VOXELS: Final = 2
_WEAKEST: Final = 0.5


def pasted(job: Job) -> tuple[CopyFlag, ...]:
    """Lesions that are a training patient's voxels by their recipe, whatever a search sees of them."""
    return tuple(
        _flag(job, recipe)
        for recipe in job.recipes.values()
        if recipe.generator in PASTING and recipe.use != "null"
    )


def _flag(job: Job, recipe: Recipe) -> CopyFlag:
    """The donor's case with a lesion of the class stands for the donor."""
    donors = job.real.of_patients(frozenset(recipe.donor_patient_ids))
    named = sorted(donors, key=lambda record: (recipe.class_name not in record.classes, record.case_id))
    source = named[0].case_id if named else recipe.host_case_id
    words = f"{recipe.generator} of a donor's voxels, as its recipe says"
    return CopyFlag(case_id=recipe.case_id, source_case_id=source, part="lesion", score=1.0, transform=words)


def with_pasted(audit: AuditReport, flags: tuple[CopyFlag, ...]) -> AuditReport:
    """The audit with these lesions flagged, too; any fails the set."""
    if not flags:
        return audit
    known = {flag.case_id for flag in audit.flagged if flag.part == "lesion"}
    more = [flag for flag in flags if flag.case_id not in known]
    count = len(known) + len(more)
    shares = tuple(_counted(share, count) if share.part == "lesion" else share for share in audit.shares)
    reason = f"lesion: {len(flags)} synthetic lesions are voxels of training patients, as their recipes say"
    return audit.model_copy(
        update={
            "verdict": audit.verdict.model_copy(update={"lesion": "fail"}),
            "reasons": (reason, *audit.reasons),
            "flagged": (*audit.flagged, *more),
            "shares": shares,
        }
    )


def _counted(share: CopyShare, flagged: int) -> CopyShare:
    judged = max(share.judged, flagged)
    found = copy_share("lesion", Evidence(judged, judged, flagged, 0, 0, share.recall))
    return found.model_copy(update={"detection_limit": share.detection_limit})


def recall_in_context(job: Job, search: CopySearch, progress: Progress) -> float | None:
    """Share of training lesions that are flagged when they are shown unchanged, but only inside an edit mask.

    None where the set has no edit masks, there is no threshold, or no lesion is large enough.
    """
    if search.calibration("lesion") is None or not any(record.edit_mask for record in job.made.cases):
        return None
    records = [record for record in job.training() if record.lesions]
    chosen = records[:: max(1, len(records) // _PLANTED)][:_PLANTED]
    progress.start("copies in context", len(chosen))
    hits = []
    for case, matches in search.nearest_to_all(_shown(job, record) for record in chosen):
        found = [match for match in matches if match.part == "lesion"]
        hits += [match.score >= 1.0 and match.source_patient_id == case.patient_id for match in found]
        progress.advance()
    return float(np.mean(hits)) if hits else None


def _shown(job: Job, record: CaseRecord) -> Imprint:
    """A training case as if its lesions had been drawn into it."""
    case = load_case(job.options.against, record, job.real.classes)
    image = IntensityScheme.for_volume(case.volume).case_scale(case.volume).normalise(case.volume.image)
    lesion = np.zeros(case.volume.grid.shape, dtype=bool)
    if case.label_map is not None:
        lesion = np.asarray(case.label_map.labels > 0)
    edit = ndimage.binary_dilation(lesion, np.ones((3, 3, 1), dtype=bool), _RIM_VOXELS)
    return Imprint(case.case_id, case.patient_id, image, lesion, case.volume.grid.spacing_mm, edit)


def with_recall(audit: AuditReport, recall: float | None) -> AuditReport:
    """The audit where the search sees no more of lesions than this; a pass that rests on too little is none."""
    share = next((one for one in audit.shares if one.part == "lesion"), None)
    if recall is None or share is None or (share.recall is not None and share.recall <= recall):
        return audit
    limit = min(1.0, 3.0 / (share.judged * recall)) if share.judged and recall else 1.0
    lower = share.model_copy(update={"recall": recall, "detection_limit": limit})
    shares = tuple(lower if one.part == "lesion" else one for one in audit.shares)
    update: dict[str, object] = {"shares": shares, "recall": recall, "detection_limit": limit}
    if audit.verdict.lesion == "pass" and recall < _WEAKEST:
        reason = f"lesion: inside edit masks the search found {recall:.0%} of unchanged copies, {_WEAKEST:.0%} are needed"
        update["verdict"] = audit.verdict.model_copy(update={"lesion": "inconclusive"})
        update["reasons"] = (*audit.reasons, reason)
    return audit.model_copy(update=update)
