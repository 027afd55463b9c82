"""The copying audit of a set: every sample searched, copies counted, a verdict on each part with its reasons."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

from medaug.copying.imprint import Imprint
from medaug.copying.search import CopySearch, Match
from medaug.core.assessment import CopyFlag, CopyShare, PartVerdict
from medaug.core.runs import Progress

FALSE_POSITIVE_SHARE = 0.01
FEWEST_HELD_OUT = 20


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
        threshold: 1.0, since scores are in its units; None where too few held-out patients allow none.
    """

    verdict: PartVerdict
    reasons: tuple[str, ...]
    flagged: tuple[CopyFlag, ...]
    closest: tuple[Match, ...]
    shares: tuple[CopyShare, ...]
    threshold: float | None


def audit(synthetic: Iterable[Imprint], search: CopySearch, progress: Progress) -> CopyAudit:
    """Search every synthetic case among the training cases and judge the set.

    Args:
        synthetic: The cases of the set, read once.
        search: Training and held-out cases.
        progress: Told of every case.
    """
    raise NotImplementedError
