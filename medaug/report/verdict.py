"""The verdict in plain words: a gain, no evidence of one, harm, or too little to tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

from medaug.core.results import Comparison, ExperimentResult

Tone = Literal["gain", "harm", "none"]
MINUS = "\N{MINUS SIGN}"
_SMALL = 0.01  # a difference in Dice that nobody would notice, however sure it is
_NAMED = 6


@final
@dataclass(frozen=True, slots=True)
class Verdict:
    """What the experiment showed.

    Attributes:
        tone: Colours the sentence; where there are both, harm has a sentence of its own beside the gain's.
        sentence: The answer for the class under study, against the baseline.
        harm: Every interval wholly below zero, in any class; empty where there is none.
        caution: That not all trainings are done, or that no test patient was scored; else empty.
        others: The comparisons with other arms than the baseline, in the class under study.
    """

    tone: Tone
    sentence: str
    harm: str
    caution: str
    others: tuple[str, ...]

    @property
    def warning(self) -> str:
        """Harm and caution in one line."""
        return " ".join(part for part in (self.caution, self.harm) if part)


def verdict(result: ExperimentResult, *, is_inner: bool = False) -> Verdict:
    """Judge the arms with synthetic patches, in the class under study; all arms where none has any.

    Args:
        result: All figures, or as many as there are.
        is_inner: Inner folds of training patients were scored.
    """
    synthetic = {cost.arm for cost in result.costs if cost.synthetic_patch_share > 0}
    only_real = result.complete and not synthetic
    studied = [c for c in result.comparisons if only_real or c.arm in synthetic]
    primary = [c for c in studied if c.baseline == result.baseline and _is_studied(result, c)]
    harmed = [c for c in studied if c.verdict == "harm"]
    gained = [c for c in primary if c.verdict == "gain"]
    tone: Tone = "gain" if gained else "harm" if harmed else "none"
    others = [c for c in result.comparisons if c.baseline != result.baseline and _is_studied(result, c)]
    return Verdict(
        tone=tone,
        sentence=_sentence(result, primary, gained),
        harm=_harm(result, harmed),
        caution=_caution(result, is_inner=is_inner),
        others=tuple(_other(c) for c in others),
    )


def _caution(result: ExperimentResult, *, is_inner: bool) -> str:
    parts = []
    if not result.complete:
        parts.append(f"Preliminary: {result.cells_done} of {result.cells_planned} trainings are done.")
    if is_inner:
        parts.append(
            "Inner folds of the training patients were scored, to choose settings: no test patient was."
        )
    return " ".join(parts)


def _is_studied(result: ExperimentResult, c: Comparison) -> bool:
    return result.limit_class in (None, c.class_name)


def _sentence(result: ExperimentResult, primary: Sequence[Comparison], gained: Sequence[Comparison]) -> str:
    if not primary:
        return _nothing(result)
    best = max(gained or primary, key=lambda c: c.mean_difference)
    if gained:
        rest = "" if len(gained) == 1 else f", the largest of {len(gained)} gains"
        small = ", though of less than a hundredth" if best.mean_difference < _SMALL else ""
        return f"A gain{small}: {_words(best)}{rest}."
    if best.verdict == "inconclusive":
        return f"Inconclusive: n = {best.n_patients} pairs are too few to judge the largest difference, {_words(best)}."
    if all(c.verdict == "harm" for c in primary):
        return f"Harm: none of the arms under study reached {result.baseline}; the least bad: {_words(best)}."
    missed = best.mde is not None and best.mean_difference < best.mde
    seen = f"; only a difference of {best.mde:.3f} or more would likely have been seen" if missed else ""
    return f"No evidence of a gain: at best, {_words(best)}{seen}."


def _nothing(result: ExperimentResult) -> str:
    """Why there is no answer."""
    if not result.rows:
        return "Nothing can be said yet: no training has been scored."
    if len({row.arm for row in result.rows}) == 1:
        return f"Nothing can be compared: {result.rows[0].arm} is the only arm that has been trained."
    has_synthetic = any(cost.synthetic_patch_share > 0 for cost in result.costs)
    kind = "no arm with synthetic lesions" if has_synthetic or not result.complete else "no arm"
    yet = "" if result.complete else " yet"
    return (
        f"Nothing can be said{yet}: {kind} has been compared with {result.baseline} in the class under study."
    )


def _words(c: Comparison) -> str:
    at = "" if c.n_annotated is None else f" with {c.n_annotated} annotated patients"
    return (
        f"{c.arm} changed the mean Dice of {c.class_name} by {signed(c.mean_difference)} against {c.baseline}{at} "
        f"(95% CI {interval_text(c)}, n = {c.n_patients} patients, corrected p = {p_text(c.p_holm)})"
    )


def _other(c: Comparison) -> str:
    said = {"gain": "A gain", "harm": "Harm", "inconclusive": "Inconclusive"}.get(
        c.verdict, "No evidence of a gain"
    )
    mde = (
        f"; minimum detectable effect {c.mde:.3f}" if c.verdict == "no evidence" and c.mde is not None else ""
    )
    return f"{said}: {_words(c)}{mde}."


def _harm(result: ExperimentResult, harmed: Sequence[Comparison]) -> str:
    if not harmed:
        return ""
    worst = sorted(harmed, key=lambda c: c.mean_difference)
    named = "; ".join(_harmed(result, c) for c in worst[:_NAMED])
    more = f"; and {len(harmed) - _NAMED} more" if len(harmed) > _NAMED else ""
    return f"Harm: intervals lie wholly below zero for {named}{more}."


def _harmed(result: ExperimentResult, c: Comparison) -> str:
    against = "" if c.baseline == result.baseline else f" against {c.baseline}"
    at = "" if c.n_annotated is None else f" with {c.n_annotated} patients"
    return f"{c.arm} in {c.class_name}{against}{at} ({signed(c.mean_difference)}, 95% CI {interval_text(c)})"


def tone_of(c: Comparison) -> Tone:
    """How one comparison is coloured."""
    return "gain" if c.verdict == "gain" else "harm" if c.verdict == "harm" else "none"


def signed(value: float) -> str:
    """A difference with its sign, e.g. +0.032."""
    return f"{value:+.3f}".replace("-", MINUS)


def interval_text(c: Comparison) -> str:
    """An interval with its signs."""
    return f"{signed(c.ci_low)} to {signed(c.ci_high)}"


def share_text(share: float | None) -> str:
    """A share in per cent; a dash where nobody knows it."""
    return "\N{EN DASH}" if share is None else f"{share:.0%}"


def p_text(p: float) -> str:
    """A p value as journals print it."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"
