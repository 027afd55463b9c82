"""The training image that a query resembles most, part by part, whatever was done to it on the way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float

from medaug.copying.imprint import Imprint
from medaug.core.assessment import Part
from medaug.core.runs import Progress


@final
@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """The training image whose part a query's part resembles most.

    Attributes:
        part: Of the query.
        case_id: The query.
        source_case_id: The training case.
        source_patient_id: Its patient.
        evidence: How strongly the two agree, ahead of the runners-up of other patients.
        score: The evidence in units of the threshold: 1 and more is flagged; 0 without a threshold.
        transform: What was done to the source, in words.
        query_picture: (P, P) the query's part, for a sheet.
        source_picture: (P, P) the source, moved onto the query.
    """

    part: Part
    case_id: str
    source_case_id: str
    source_patient_id: str
    evidence: float
    score: float
    transform: str
    query_picture: Float[np.ndarray, "P P"]
    source_picture: Float[np.ndarray, "P P"]


@final
class CopySearch:
    """Training images to search, and held-out ones that say what chance gives.

    Args:
        training: Real cases of the fold's training patients; at least one. Read once, case by case.
        held_out: Real cases of its held-out patients.
        seed: For what is drawn (windows that the whitening rests on, planted copies).
        progress: Told of every case.

    Raises:
        DataError: If there is no training case, or an image is not finite.
    """

    def __init__(
        self, training: Iterable[Imprint], held_out: Iterable[Imprint], seed: int, progress: Progress
    ) -> None:
        raise NotImplementedError

    def nearest(self, query: Imprint) -> tuple[Match, ...]:
        """The most alike training image of each part that is large enough to be judged: none, one or two."""
        raise NotImplementedError

    def n_held_out(self, part: Part) -> int:
        """Held-out patients that the threshold of a part rests on."""
        raise NotImplementedError

    def recall(self, part: Part) -> float | None:
        """Share of planted copies of training samples that are flagged; None without a threshold."""
        raise NotImplementedError
