"""The copying audit of a set: every sample searched, copies counted, a verdict on each part with its reasons."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import final

from scipy import stats

from medaug.copying.calibration import FALSE_POSITIVE_SHARE, FEWEST_HELD_OUT, Calibration
from medaug.copying.imprint import Imprint
from medaug.copying.search import PARTS, CopySearch, Match, Planted
from medaug.core.assessment import CopyFlag, CopyShare, Part, PartVerdict, Verdict
from medaug.core.runs import Progress

_FAMILY = 0.05  # how often chance alone may fail a set
_SAME_SHARE = 0.25
_WEAKEST_RECALL = 0.5


@final
@dataclass(frozen=True, slots=True, eq=False)
class CopyAudit:
    """The audit of a set.

    Attributes:
        verdict: On lesions and on backgrounds.
        reasons: Why, in words.
        flagged: The copies found, worst first.
        closest: The match of every judged part, worst first.
        shares: How many of the samples of each part are copies, with interval and detection limit.
        planted: By part, how the search did on planted copies; a part without a threshold is missing.
        threshold: 1.0, since scores are in its units; None where too few held-out patients allow none.
    """

    verdict: PartVerdict
    reasons: tuple[str, ...]
    flagged: tuple[CopyFlag, ...]
    closest: tuple[Match, ...]
    shares: tuple[CopyShare, ...]
    planted: dict[Part, Planted]
    threshold: float | None

    def share(self, part: Part) -> CopyShare:
        """Of one part."""
        return self.shares[PARTS.index(part)]


@final
@dataclass(frozen=True, slots=True)
class Evidence:
    """What the verdict on one part rests on.

    Attributes:
        samples: Synthetic cases.
        judged: Those that show enough of the part.
        flagged: Those that look like copies.
        of_hosts: Flagged backgrounds that are their host's, bit for bit.
        held_out: Patients the threshold rests on.
        recall: Of planted copies; None without a threshold.
        chance: Largest share that chance may flag.
        certain: Flagged ones that chance would not give once in 20 sets of this size.
    """

    samples: int
    judged: int
    flagged: int
    of_hosts: int
    held_out: int
    recall: float | None
    chance: float = FALSE_POSITIVE_SHARE
    certain: int = 0


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Searched:
    """What the search says of a set.

    Attributes:
        samples: Synthetic cases.
        matches: Of their parts; a background that is its host's has none.
        hosted: Those backgrounds.
    """

    samples: int
    matches: tuple[Match, ...]
    hosted: tuple[CopyFlag, ...]

    @property
    def flags(self) -> tuple[CopyFlag, ...]:
        """All copies found."""
        return (*self.hosted, *(_flag(match) for match in self.matches if match.score >= 1.0))


def audit(synthetic: Iterable[Imprint], search: CopySearch, progress: Progress) -> CopyAudit:
    """Search every synthetic case among the training cases and judge the set.

    Args:
        synthetic: The cases of the set, read once.
        search: Training and held-out cases.
        progress: Told of every case.

    Raises:
        DataError: If a case has other channels than the training cases, or voxels that are not finite.
    """
    planted = {part: one for part in PARTS if (one := search.plant(part, progress)) is not None}
    found = _search_all(synthetic, search, progress)
    rows = {
        part: _evidence(part, found, search, planted[part].recall if part in planted else None)
        for part in PARTS
    }
    lesion, why = judge("lesion", rows["lesion"])
    background, too = judge("background", rows["background"])
    return CopyAudit(
        verdict=PartVerdict(lesion=lesion, background=background),
        reasons=(*why, *too),
        flagged=tuple(sorted(found.flags, key=lambda flag: -flag.score)),
        closest=tuple(sorted(found.matches, key=lambda match: -match.score or -match.evidence)),
        shares=tuple(copy_share(part, rows[part]) for part in PARTS),
        planted=planted,
        threshold=1.0 if any(search.calibration(part) is not None for part in PARTS) else None,
    )


def _search_all(synthetic: Iterable[Imprint], search: CopySearch, progress: Progress) -> _Searched:
    progress.start("synthetic cases", None)
    matches: list[Match] = []
    hosted: list[CopyFlag] = []
    samples = 0
    for case, found in search.nearest_to_all(synthetic):
        samples += 1
        flag = _host_flag(case)
        if flag is not None:
            hosted.append(flag)
        matches += [match for match in found if flag is None or match.part != "background"]
        progress.advance()
    return _Searched(samples, tuple(matches), tuple(hosted))


def _evidence(part: Part, found: _Searched, search: CopySearch, recall: float | None) -> Evidence:
    of_hosts = len(found.hosted) if part == "background" else 0
    scores = [match.score for match in found.matches if match.part == part]
    law = search.calibration(part)
    return Evidence(
        samples=found.samples,
        judged=of_hosts + len(scores),
        flagged=sum(flag.part == part for flag in found.flags),
        of_hosts=of_hosts,
        held_out=search.n_held_out(part),
        recall=recall,
        chance=FALSE_POSITIVE_SHARE if law is None else law.chance,
        certain=0 if law is None else count_certain(scores, law),
    )


def _host_flag(case: Imprint) -> CopyFlag | None:
    """A background that is its host's, voxel by voxel: exact and cheap, and nothing can be nearer."""
    host = case.host
    if host is None or host.same_share < _SAME_SHARE:
        return None
    words = f"{host.same_share:.1%} of the voxels are identical"
    # as far above the threshold as a copy can be: the share itself says nothing on the scale of the search
    return CopyFlag(
        case_id=case.case_id, source_case_id=host.case_id, part="background", score=1.0 + host.same_share, transform=words
    )  # fmt: skip


def _flag(match: Match) -> CopyFlag:
    return CopyFlag(
        case_id=match.case_id, source_case_id=match.source_case_id, part=match.part, score=round(match.score, 4),
        transform=match.transform,
    )  # fmt: skip


def count_certain(scores: Sequence[float], law: Calibration) -> int:
    """How many scores lie where chance gives not one in 20 sets of this size (Bonferroni)."""
    least = law.score(law.beyond_chance(_FAMILY / max(1, len(scores))))
    return sum(score >= least for score in scores)


def copy_share(part: Part, evidence: Evidence) -> CopyShare:
    """The share of copies with its exact interval (Clopper and Pearson, Biometrika 26:404, 1934)."""
    n, k = evidence.judged, evidence.flagged
    low = float(stats.beta.ppf(0.025, k, n - k + 1)) if k else 0.0
    high = float(stats.beta.ppf(0.975, k + 1, n - k)) if k < n else 1.0
    limit = min(1.0, 3.0 / (n * evidence.recall)) if n and evidence.recall else 1.0
    return CopyShare(
        part=part, judged=n, flagged=k, share=k / n if n else 0.0, low=low, high=high, detection_limit=limit,
        recall=evidence.recall,
    )  # fmt: skip


def judge(part: Part, evidence: Evidence) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict on one part of a set, and why.

    One sample fails it whose lead chance does not give in 20 sets of this size, and so do many flags: when the lower 95%
    limit of their share lies above what chance may give. Nothing but evidence passes it.
    """
    what = f"{part}: {evidence.flagged} of {evidence.judged} synthetic samples look like copies"
    if evidence.of_hosts:
        shown = f"background: {evidence.of_hosts} of {evidence.samples} synthetic cases show the scan of a training"
        where = (
            "patient outside their lesions, as in-context synthesis does: treat them as that patient's data"
        )
        return "fail", (f"{shown} {where}",)
    k, n = evidence.flagged, evidence.judged
    lowest = float(stats.beta.ppf(0.05, k, n - k + 1)) if k else 0.0
    if evidence.certain:
        return "fail", (f"{what}, {evidence.certain} of them beyond all chance",)
    if lowest > evidence.chance:
        return "fail", (f"{what}: at least {lowest:.1%} where chance gives {evidence.chance:.1%} at most",)
    doubts = _doubts(part, evidence)
    if doubts:
        return "inconclusive", (what, *doubts)
    return "pass", (f"{what}, no more than chance; the search found {evidence.recall:.0%} of planted copies",)


def _doubts(part: Part, evidence: Evidence) -> Sequence[str]:
    doubts = []
    if evidence.held_out < FEWEST_HELD_OUT:
        doubts.append(
            f"{part}: {evidence.held_out} held-out patients to calibrate on, {FEWEST_HELD_OUT} are needed"
        )
    elif evidence.recall is None:
        doubts.append(f"{part}: no training sample is large enough to plant copies of")
    elif evidence.recall < _WEAKEST_RECALL:
        found = f"the search found {evidence.recall:.0%} of planted copies"
        doubts.append(f"{part}: {found}, {_WEAKEST_RECALL:.0%} are needed")
    missing = evidence.samples - evidence.judged
    if not evidence.judged:
        doubts.append(f"{part}: no synthetic case shows enough of it to be judged")
    elif 2 * evidence.judged < evidence.samples:
        doubts.append(
            f"{part}: {missing} of {evidence.samples} synthetic cases show too little of it to be judged"
        )
    return doubts
