"""Early warning of a training that goes wrong: losses that explode, lesions all alike, a discriminator that memorises.

A trouble that lasts for a few checks is said once, one that goes on ends the training with a TrainingError. All that
is kept from step to step is plain numbers, so that a resumed training is warned and stopped where an undisturbed one is.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Literal, Protocol, final, runtime_checkable

from medaug.core.errors import CollapsedError, DivergedError, OverfittedError, TrainingError
from medaug.engine.checkpoint import State

CHECKS = 40  # of the vital signs in a whole training

_SETTLED = 0.25  # share of the steps before which no sign is judged: classes are still faded in
_WINDOW = 300  # losses compared with
_RECENT = 10  # losses compared
_FEWEST = 100  # losses before anything is said
_LOUD, _EXPLODED, _ABSURD = 10.0, 100.0, 1e4
_WARN_AFTER, _STOP_AFTER = 3, 6  # checks in a row
_LEAST_VARIETY = 0.15
_MOST_OVERFIT = 0.8
_FADE = 0.8  # of the running means of the scores, since each check sees few lesions
_TELLING = 0.5  # gap of scores below which it says nothing of memory
_CONFIDENT = 1.0  # gap of scores from which memory stops a training

Trouble = Literal["exploding losses", "collapse", "overfitting"]


@final
@dataclass(frozen=True, slots=True)
class Scores:
    """Mean scores of a discriminator; higher is more real.

    Attributes:
        trained: Of real lesions that it learns from.
        unseen: Of real lesions of training patients that were held back from it.
        made: Of made lesions.
    """

    trained: float
    unseen: float
    made: float


@final
@dataclass(frozen=True, slots=True)
class VitalSigns:
    """Signs of a healthy training beside the losses; None where a learner does not measure them.

    Attributes:
        variety: Mean pairwise difference of lesions made for one place over that of real ones; 1 is as in life.
        scores: Of the discriminator.
    """

    variety: float | None = None
    scores: Scores | None = None


@runtime_checkable
class LivingLearner(Protocol):
    """A learner that can be examined."""

    def vital_signs(self, step: int) -> VitalSigns:
        """Its state of health; the same for the same weights and step, and without any effect on the training."""
        ...


@final
class Watch:
    """Judges losses and vital signs as they come.

    Args:
        steps: Of the whole training.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._losses: dict[str, deque[float]] = {}
        self._in_trouble: dict[str, int] = {}
        self._scores: list[float] = []
        self.figures: dict[str, float] = {}  # what the last look showed, by name

    @property
    def every(self) -> int:
        """Steps between two looks at the vital signs."""
        return max(1, self._steps // CHECKS)

    @property
    def overfit(self) -> float | None:
        """Of running means of the scores: (trained - unseen) / (trained - made).

        0 = no overfitting, 1 = unseen real lesions are judged as made ones are: r_v of Karras et al. (NeurIPS 2020).
        None where the discriminator hardly tells its own training lesions from made ones, so that there is no scale.
        """
        if self.score_gap < _TELLING:
            return None
        return (self._scores[0] - self._scores[1]) / self.score_gap

    @property
    def score_gap(self) -> float:
        """How much higher the discriminator scores its own lesions than made ones, a running mean; 0 if unknown."""
        return self._scores[0] - self._scores[2] if self._scores else 0.0

    def losses(self, step: int, losses: Mapping[str, float]) -> str | None:
        """Take in the losses of a step; returns a warning where one is due.

        Raises:
            DivergedError: If a loss is not finite, or stays many times its running median.
        """
        for name, value in losses.items():
            if not math.isfinite(value):
                hint = "lower the learning rate or check the intensities"
                raise DivergedError(f"loss {name} is {value} at step {step}", hint=hint)
            self._losses.setdefault(name, deque(maxlen=_WINDOW)).append(value)
        if (step + 1) % _RECENT:
            return None
        growth = {name: _growth(values) for name, values in self._losses.items()}
        worst = max(growth, key=lambda name: growth[name], default="")
        if not worst or growth[worst] < _LOUD:
            return self._judge("exploding losses", None)
        said = f"loss {worst} is {growth[worst]:.0f} times its running median at step {step}"
        if growth[worst] >= _EXPLODED:
            raise DivergedError(said, hint=_HINTS["exploding losses"])
        return self._judge("exploding losses", DivergedError(said), fatal=False)

    def signs(self, step: int, signs: VitalSigns) -> str | None:
        """Take in the vital signs; returns a warning where one is due.

        Raises:
            CollapsedError: If made lesions were all alike in several checks in a row.
            OverfittedError: If the discriminator had memorised its own lesions in several checks in a row, and now
                takes unseen real ones for made.
        """
        self._take(signs)
        if step < _SETTLED * self._steps:
            return None
        alike = None
        if signs.variety is not None and signs.variety < _LEAST_VARIETY:
            said = f"made lesions differ {signs.variety:.2f} times as much as real ones at step {step}"
            expected = f"at least {_LEAST_VARIETY}"
            alike = CollapsedError(said, expected=expected, hint=_HINTS["collapse"])
        whole = (self.overfit or 0.0) >= 1 and self.score_gap >= _CONFIDENT  # else it still teaches something
        by_heart = self._judge("overfitting", self._memorised(step), fatal=whole)
        warnings = [self._judge("collapse", alike), by_heart]
        return "; ".join(one for one in warnings if one) or None

    def _take(self, signs: VitalSigns) -> None:
        if signs.scores is not None:
            fresh = [signs.scores.trained, signs.scores.unseen, signs.scores.made]
            before = self._scores or fresh
            self._scores = [now + _FADE * (old - now) for old, now in zip(before, fresh, strict=True)]
        gap = self.score_gap if self._scores else None
        named = {"variety": signs.variety, "overfit": self.overfit, "score_gap": gap}
        self.figures = {name: round(value, 4) for name, value in named.items() if value is not None}

    def _memorised(self, step: int) -> TrainingError | None:
        found = self.overfit
        if found is None or found < _MOST_OVERFIT:
            return None
        said = (
            f"the discriminator knows its training lesions by heart: overfitting {found:.2f} at step {step}"
        )
        return OverfittedError(said, expected=f"below {_MOST_OVERFIT}", hint=_HINTS["overfitting"])

    def _judge(self, trouble: Trouble, error: TrainingError | None, *, fatal: bool = True) -> str | None:
        """Count how often in a row; the warning when it is due, and the error when it is time."""
        count = self._in_trouble[trouble] = self._in_trouble.get(trouble, 0) + 1 if error else 0
        if error and fatal and count >= _STOP_AFTER:
            raise error
        return f"warning: {error.what}" if error and count == _WARN_AFTER else None

    def state(self) -> State:
        """All that it remembers, as plain values."""
        return {
            "losses": {name: list(values) for name, values in self._losses.items()},
            "in_trouble": dict(self._in_trouble),
            "scores": list(self._scores),
        }

    def restore(self, state: State) -> None:
        """Remember what another watch did.

        Raises:
            ValueError: If the state is not a watch's.
        """
        losses, trouble, scores = (state.get(name) for name in ("losses", "in_trouble", "scores"))
        if not isinstance(losses, dict) or not isinstance(trouble, dict) or not isinstance(scores, list):
            raise ValueError("no state of a watch")  # noqa: TRY004 (told by the loop, like any state that does not fit)
        self._losses = {name: deque(values, maxlen=_WINDOW) for name, values in losses.items()}
        self._in_trouble = dict(trouble)
        self._scores = [float(value) for value in scores]


_HINTS: Mapping[Trouble, str] = {
    "exploding losses": "lower the learning rate, and train again in a new folder",
    "collapse": "train shorter, weigh diversity more, or give it more lesions; procedural needs few",
    "overfitting": "train shorter, lower the discriminator's learning rate or width, or add patients",
}


def _growth(values: deque[float]) -> float:
    """Recent loss over its running median; medians below 1 count as 1, since small losses fluctuate."""
    if len(values) <= _RECENT:
        return 0.0
    sizes = [abs(value) for value in values]
    recent = median(sizes[-_RECENT:])
    if recent >= _ABSURD:
        return max(_EXPLODED, recent / max(1.0, median(sizes)))
    return recent / max(1.0, median(sizes[:-_RECENT])) if len(values) >= _FEWEST else 0.0
