"""What an assessment found, in one sentence a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from medaug.core.assessment import AuditReport, CopyShare, Figure, MembershipResult, Part, QualityReport
from medaug.report.verdict import MINUS

Tone = Literal["gain", "harm", "none"]
Reading = Literal["as real", "unclear", "worse", "better", "not judged"]
_TONES: dict[str, Tone] = {"pass": "gain", "fail": "harm", "inconclusive": "none"}


@final
@dataclass(frozen=True, slots=True)
class Sentence:
    """A verdict: its title, its colour, and what was seen."""

    title: str
    tone: Tone
    words: str


def number(value: float) -> str:
    """A figure with about three digits that mean something, and a true minus sign."""
    size = abs(value)
    form = ".0f" if size >= 100 else ".1f" if size >= 10 else ".2f" if size >= 2 else ".3f"
    text = format(value, form)
    return ("0" if float(text) == 0 else text).replace("-", MINUS)


def percent(share: float) -> str:
    """A share with one decimal, whole where that is exact."""
    text = f"{100 * share:.1f}"
    return f"{text.removesuffix('.0')}%"


def interval(figure: Figure) -> str:
    """The interval of a figure."""
    return f"{number(figure.low)} to {number(figure.high)}"


def reading(figure: Figure, floor: Figure | None, *, low_is_good: bool) -> Reading:
    """Worse or better than real lesions only where the two intervals lie apart; unclear where they nearly do."""
    if floor is None:
        return "not judged"
    above, below = figure.low > floor.high, figure.high < floor.low
    if above or below:
        return "worse" if above == low_is_good else "better"
    return "as real" if figure.low <= floor.value <= figure.high else "unclear"


def verdicts(quality: QualityReport, audit: AuditReport) -> tuple[Sentence, ...]:
    """Copying of lesions and of backgrounds, membership, realism and bias: one sentence each."""
    membership = [] if audit.membership is None else [_membership(audit.membership)]
    return (
        _copied(audit, "lesion"),
        _copied(audit, "background"),
        *membership,
        _realism(quality),
        _bias(quality),
    )


def share_of(audit: AuditReport, part: Part) -> CopyShare | None:
    """The copy share of a part, where it was searched."""
    return next((share for share in audit.shares if share.part == part), None)


def _copied(audit: AuditReport, part: Part) -> Sentence:
    verdict = audit.verdict.lesion if part == "lesion" else audit.verdict.background
    title = f"{part.capitalize()} copies: {verdict}"
    share = share_of(audit, part)
    if share is None or not share.judged:
        return Sentence(title, _TONES[verdict], f"No {part} was searched for copies.")
    if verdict == "inconclusive" and share.recall is None and not share.flagged:
        words = f"{share.judged} synthetic {part}s were compared, but nothing says how alike chance makes them: any may be a copy."
        return Sentence(title, _TONES[verdict], words)
    limit = f"up to {percent(share.detection_limit)} could be copies that went unseen (95%)"
    if share.flagged:
        words = (
            f"{share.flagged} of {share.judged} synthetic {part}s look like a training one "
            f"({percent(share.share)}, 95% {percent(share.low)} to {percent(share.high)})"
        )
        return Sentence(title, _TONES[verdict], f"{words}; {limit}.")
    return Sentence(
        title,
        _TONES[verdict],
        f"None of {share.judged} synthetic {part}s looks like a training one; {limit}.",
    )


def _membership(found: MembershipResult) -> Sentence:
    title = f"Membership: {found.verdict}"
    if found.auc is None:
        return Sentence(title, _TONES[found.verdict], _first(found.reasons, "It was not measured."))
    tells = {"fail": "The set tells", "pass": "The set does not tell"}.get(
        found.verdict, "It is open whether the set tells"
    )
    control = "" if found.control_auc is None else f"; of the control {number(found.control_auc.value)}"
    words = (
        f"{tells} who was trained on: area under the curve {number(found.auc.value)} "
        f"(95% {interval(found.auc)}{control}; 0.5 is a guess)."
    )
    return Sentence(title, _TONES[found.verdict], words)


def _first(reasons: tuple[str, ...], otherwise: str) -> str:
    return f"{reasons[0].rstrip('.').capitalize()}." if reasons else otherwise


def _realism(quality: QualityReport) -> Sentence:
    judged = [
        (c.class_name, reading(s.kernel, s.kernel_floor, low_is_good=True))
        for c in quality.classes
        for s in c.spaces
        if s.space == "figures" and s.kernel is not None and s.kernel_floor is not None
    ]
    if not judged:
        return Sentence("Realism", "none", "No class was compared: too few lesions, or it was left out.")
    far = [name for name, said in judged if said == "worse"]
    if not far:
        open_ones = [name for name, said in judged if said == "unclear"]
        rest = (
            f"; it is unclear in {len(open_ones)} of {len(judged)} ({', '.join(open_ones)})"
            if open_ones
            else ""
        )
        words = f"In no class are synthetic lesions sure to lie farther from unseen real ones than real lesions do{rest}."
        return Sentence("Realism", "none", words)
    of = f"{len(far)} of {len(judged)} classes" if len(judged) > 1 else "the one class"
    words = f"In {of} ({', '.join(far)}) synthetic lesions lie farther from unseen real ones than real lesions do."
    return Sentence("Realism", "harm", words)


def _bias(quality: QualityReport) -> Sentence:
    flagged = [group for group in quality.bias if group.flag]
    if not quality.bias:
        return Sentence("Bias", "none", "It was not measured.")
    if not flagged:
        return Sentence("Bias", "none", f"None of {len(quality.bias)} groups is flagged.")
    named = ", ".join(dict.fromkeys(group.attribute for group in flagged))
    return Sentence("Bias", "harm", f"{len(flagged)} of {len(quality.bias)} groups are flagged ({named}).")
