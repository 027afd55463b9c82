"""Is the set a copy? The search over lesions and backgrounds, and its pictures."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import Final, final

from medaug.copying.audit import CopyAudit, audit
from medaug.copying.search import CopySearch, Match
from medaug.core.assessment import AuditReport, MembershipResult, Part, PartVerdict
from medaug.core.config import Document
from medaug.core.runs import Progress
from medaug.quality.sheets import Pair, Panel, write_pairs
from medaug.workflows._assess.in_context import pasted, recall_in_context, with_pasted, with_recall
from medaug.workflows._assess.job import Job
from medaug.workflows._assess.look import Hosted, Reader

PAIR_SHEETS: Final[dict[Part, str]] = {
    "lesion": "closest_lesions.png",
    "background": "closest_backgrounds.png",
}


@final
class Copies(Document):
    """What the search found: the audit, membership left open, and how alike every judged case's lesion is."""

    audit: AuditReport
    scores: dict[str, float]


def search_copies(job: Job, reader: Reader, out: Path, progress: Progress) -> Copies:
    """Search all cases, draw the closest pairs, and say what was found."""
    seed = job.seeds.child("copying").seed
    search = CopySearch(reader.training(), reader.held_out(), seed, progress)
    found = audit(reader.synthetic(), search, progress)
    for part, name in PAIR_SHEETS.items():
        flagged = {flag.case_id for flag in found.flagged if flag.part == part}
        hosted = [_hosted(one, flagged) for one in reader.kept.hosted] if part == "background" else []
        write_pairs(out / name, [*hosted, *(_pair(match) for match in found.closest if match.part == part)])
    scores = {match.case_id: round(match.score, 4) for match in found.closest if match.part == "lesion"}
    report = with_recall(_report(job, reader, search, found), recall_in_context(job, search, progress))
    flags = pasted(job)
    # what is known to be pasted counts as at the threshold, whatever the search saw
    scores |= {flag.case_id: max(1.0, scores.get(flag.case_id, 0.0)) for flag in flags}
    return Copies(audit=with_pasted(report, flags), scores=scores)


def with_membership(audit: AuditReport, membership: MembershipResult | None) -> AuditReport:
    """The audit with the attack's result; lesions that tell who was trained on fail, though none is a copy by itself."""
    update: dict[str, object] = {"membership": membership}
    if membership is not None and membership.verdict == "fail":
        update["verdict"] = audit.verdict.model_copy(update={"lesion": "fail"})
        reason = (
            "lesion: the set as a whole tells which patients were trained on, as the membership attack shows"
        )
        update["reasons"] = (reason, *audit.reasons)
    return audit.model_copy(update=update)


def unsearched(job: Job, reason: str) -> Copies:
    """What a call finds that left the search out: it proves nothing."""
    audit = AuditReport(
        synthetic_sha256=job.made.content_sha256,
        dataset_sha256=job.real.content_sha256,
        fold=job.fold.index,
        verdict=PartVerdict(lesion="inconclusive", background="inconclusive"),
        reasons=(reason,),
        threshold=None,
        n_synthetic=0,
        n_training=0,
        n_held_out=0,
        detection_limit=1.0,
        flagged=(),
    )
    return Copies(audit=audit, scores={})


def _report(job: Job, reader: Reader, search: CopySearch, found: CopyAudit) -> AuditReport:
    lesions = next((share for share in found.shares if share.part == "lesion"), None)
    return AuditReport(
        synthetic_sha256=job.made.content_sha256,
        dataset_sha256=job.real.content_sha256,
        fold=job.fold.index,
        verdict=found.verdict,
        reasons=found.reasons,
        threshold=found.threshold,
        n_synthetic=0 if lesions is None else lesions.judged,
        n_training=len(reader.kept.training),
        n_held_out=search.n_held_out("lesion"),
        detection_limit=1.0 if lesions is None else lesions.detection_limit,
        recall=None if lesions is None else lesions.recall,
        flagged=found.flagged,
        shares=found.shares,
    )


def _pair(match: Match) -> Pair:
    is_flagged = match.score >= 1.0
    made = Panel(match.query_picture, None, f"{match.case_id}\nscore {match.score:.2f}", is_flagged)
    return made, Panel(match.source_picture, None, f"{match.source_case_id}\n{match.transform}")


def _hosted(one: Hosted, flagged: Set[str]) -> Pair:
    made = Panel(
        one.made, None, f"{one.case_id}\n{one.host.same_share:.0%} of it unchanged", one.case_id in flagged
    )
    return made, Panel(one.scan, None, f"{one.host.case_id}\nits host")
