"""The verdict in plain words: a gain, no evidence of one, harm, or too little to tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

from medaug.core.results import Comparison, ExperimentResult

Tone = Literal["gain", "harm", "none"]
MINUS = "\N{MINUS SIGN}"
_SMALL = 0.01  # a difference in Dice that nobody would notice, however sure it is


@final
@dataclass(frozen=True, slots=True)
class Verdict:
    """What the experiment showed.

    Attributes:
        tone: Colours the sentence; harm wins over gain.
        sentence: The answer for the class under study.
        warning: Harm anywhere, or that not all trainings are done; empty where there is neither.
    """

    tone: Tone
    sentence: str
    warning: str


def signed(value: float) -> str:
    """A difference with its sign, e.g. +0.032."""
    return f"{value:+.3f}".replace("-", MINUS)


def verdict(result: ExperimentResult) -> Verdict:
    """Judge the arms with synthetic patches against the baseline, in the class under study; all arms where none has any."""
    synthetic = {cost.arm for cost in result.costs if cost.synthetic_patch_share > 0}
    only_real = result.complete and not synthetic
    studied = [c for c in result.comparisons if only_real or c.arm in synthetic]
    primary = [c for c in studied if result.limit_class in (None, c.class_name)]
    harmed = [c for c in studied if c.verdict == "harm"]
    gained = [c for c in primary if c.verdict == "gain"]
    tone: Tone = "harm" if harmed and not gained else "gain" if gained else "none"
    return Verdict(tone, _sentence(result, primary, gained), _warning(result, harmed))


def _sentence(result: ExperimentResult, primary: Sequence[Comparison], gained: Sequence[Comparison]) -> str:
    if not primary:
        return "Nothing can be said yet: no arm with synthetic lesions has been compared with the baseline."
    best = max(gained or primary, key=lambda c: c.mean_difference)
    if gained:
        rest = "" if len(gained) == 1 else f" It is the largest of {len(gained)} gains."
        small = ", though of less than a hundredth" if best.mean_difference < _SMALL else ""
        return f"A gain{small}: {_words(best)}.{rest}"
    if best.verdict == "inconclusive":
        return f"Inconclusive: n = {best.n_patients} pairs are too few to judge the largest difference, {_words(best)}."
    if all(c.verdict == "harm" for c in primary):
        return f"Harm: none of the arms under study reached {result.baseline}; the least bad: {_words(best)}."
    missed = best.mde is not None and best.mean_difference < best.mde
    seen = f" Only a difference of {best.mde:.3f} or more would likely have been seen." if missed else ""
    return f"No evidence of a gain: at best, {_words(best)}.{seen}"


def _words(c: Comparison) -> str:
    at = "" if c.n_annotated is None else f" with {c.n_annotated} annotated patients"
    return (
        f"{c.arm} changed the mean Dice of {c.class_name} by {signed(c.mean_difference)} against {c.baseline}{at} "
        f"(95% CI {signed(c.ci_low)} to {signed(c.ci_high)}, n = {c.n_patients} patients, corrected p = {p_text(c.p_holm)})"
    )


def p_text(p: float) -> str:
    """A p value as journals print it."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _warning(result: ExperimentResult, harmed: Sequence[Comparison]) -> str:
    parts = []
    if not result.complete:
        parts.append(f"Preliminary: {result.cells_done} of {result.cells_planned} trainings are done.")
    if harmed:
        named = ", ".join(f"{c.arm} ({c.class_name}, {signed(c.mean_difference)})" for c in harmed[:6])
        more = f" and {len(harmed) - 6} more" if len(harmed) > 6 else ""
        parts.append(f"Intervals wholly below zero: {named}{more}.")
    return " ".join(parts)
