"""The sizes that a class is known in; requests beyond them are clamped, since nothing was learnt there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

from medaug.core.errors import DataError
from medaug.core.findings import Code, Finding, finding
from medaug.core.plan import PlannedLesion
from medaug.lesions.bank import Bank

_BEYOND = 0.2  # a donor is drawn up to a fifth smaller or larger anyhow

Range = tuple[float, float]


def learnt_sizes(bank: Bank) -> dict[str, Range]:
    """Smallest and largest diameter (mm) of each class of the bank, a fifth beyond its lesions."""
    found: dict[str, Range] = {}
    for entry in bank.entries():
        low, high = found.get(entry.class_name, (entry.diameter_mm, entry.diameter_mm))
        found[entry.class_name] = (min(low, entry.diameter_mm), max(high, entry.diameter_mm))
    return {name: (low * (1.0 - _BEYOND), high * (1.0 + _BEYOND)) for name, (low, high) in found.items()}


@final
class SizeLimits:
    """Keeps requested sizes within what was learnt, and remembers what it changed.

    Args:
        learnt: Range of each class.
        strict: A request beyond is an error.
    """

    def __init__(self, learnt: Mapping[str, Range], *, strict: bool = False) -> None:
        self._learnt, self._strict = learnt, strict
        self._findings: dict[tuple[str, Range], Finding] = {}

    @property
    def findings(self) -> tuple[Finding, ...]:
        """One for each class and range that was clamped."""
        return tuple(self._findings.values())

    def clamp(self, class_name: str, wanted: Range) -> Range:
        """The part of a range that was learnt, or the end of what was learnt that is nearest to it.

        Raises:
            DataError: If a range reaches beyond what was learnt, under ``strict``.
        """
        low, high = self._learnt[class_name]
        slack = 1e-6 * high
        if low - slack <= wanted[0] and wanted[1] <= high + slack:
            return wanted
        kept = (min(max(wanted[0], low), high), max(min(wanted[1], high), low))
        asked = f"{class_name} was asked for at {_said(wanted)}"
        known = f"the bank knows {_said((low, high))}"
        if self._strict:
            raise DataError(
                f"{asked}; {known}",
                where="--strict",
                hint="ask for a size within the range",
                code=Code.SIZE_CLAMPED,
            )
        message = f"{asked}; {known}, so {_said(kept)} is drawn"
        self._findings[class_name, wanted] = finding(Code.SIZE_CLAMPED, "flagged", message)
        return kept

    def within(self, planned: Sequence[PlannedLesion]) -> tuple[PlannedLesion, ...]:
        """A plan whose sizes were learnt.

        Raises:
            DataError: If one was not, under ``strict``.
        """
        return tuple(self._lesion(lesion) for lesion in planned)

    def _lesion(self, lesion: PlannedLesion) -> PlannedLesion:
        if lesion.diameter_mm is None or lesion.use == "swap":
            return lesion
        kept = self.clamp(lesion.class_name, lesion.diameter_mm)
        return lesion if kept == lesion.diameter_mm else lesion.model_copy(update={"diameter_mm": kept})


def _said(sizes: Range) -> str:
    low, high = (f"{size:.3g}" for size in sizes)
    return f"{low} mm" if low == high else f"{low} to {high} mm"
