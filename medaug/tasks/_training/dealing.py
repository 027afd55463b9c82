"""What each patch of a batch shows: a lesion of which class, real or synthetic, or a place drawn at random.

Lesion patches are dealt to the classes in turn, so that each class has its share of them whatever is synthetic: a
synthetic patch takes the place of a real one of its own class. Arms of an experiment then differ in where the patches
of a class come from, and in nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float, Integer


@final
@dataclass(frozen=True, slots=True)
class Shares:
    """What the patches of a batch are.

    Attributes:
        batch_size: Patches a step.
        lesion: Share of patches that are cut around a lesion; the same for every arm of an experiment.
        synthetic: For each class, the share of its lesion patches that come from synthetic cases.
        null: Share of the other patches that show healthy tissue, pasted as a synthetic lesion is.
        real_only_tail: Last share of the steps that sees real cases alone; what is synthetic falls linearly to zero
            over as many steps before it.
        weights: How often lesions of each class are dealt, compared to the others; None = equally often.
    """

    batch_size: int
    lesion: float
    synthetic: tuple[float, ...]
    null: float = 0.0
    real_only_tail: float = 0.0
    weights: tuple[float, ...] | None = None


@final
@dataclass(frozen=True, slots=True)
class Place:
    """One patch of a batch.

    Attributes:
        class_index: Of the lesion it is cut around, from 0; None for a patch from anywhere.
        synthetic: Whether it comes from a synthetic case; from anywhere, that is pasted healthy tissue.
    """

    class_index: int | None
    synthetic: bool


@final
class Dealing:
    """The places of a whole training.

    The running sums of all kinds follow their shares within one patch.
    """

    def __init__(self, shares: Shares, steps: int) -> None:
        classes = len(shares.synthetic)
        self._batch_size = shares.batch_size
        upto = _running(np.full(steps, shares.lesion * shares.batch_size))
        self._lesions = np.diff(upto, prepend=0)
        self._order = _dealt(shares.weights or (1.0,) * classes, int(upto[-1]))
        self._first = upto - self._lesions
        of_class = np.zeros((steps, classes), np.int64)
        np.add.at(of_class, (np.repeat(np.arange(steps), self._lesions), self._order), 1)
        fade = _fade(steps, shares.real_only_tail)
        self._synthetic = _steps(of_class * np.asarray(shares.synthetic) * fade[:, None], of_class)
        anywhere = shares.batch_size - self._lesions
        self._null = _steps((anywhere * shares.null * fade)[:, None], anywhere[:, None])[:, 0]

    def places(self, step: int) -> tuple[Place, ...]:
        """The places of a step, lesions first; of a class, the synthetic ones come before the real ones."""
        left = self._synthetic[step].copy()
        found = []
        for turn in range(int(self._lesions[step])):
            number = int(self._order[self._first[step] + turn])
            found.append(Place(number, bool(left[number] > 0)))
            left[number] -= 1
        null = int(self._null[step])
        found += [Place(None, turn < null) for turn in range(self._batch_size - len(found))]
        return tuple(found)


def _dealt(weights: tuple[float, ...], count: int) -> Integer[np.ndarray, "count"]:
    """A class for every lesion patch: in turns where all weigh alike, else whichever lags behind most."""
    if len(set(weights)) == 1:
        return np.arange(count) % len(weights)
    share, had = np.asarray(weights) / sum(weights), np.zeros(len(weights))
    order = np.empty(count, np.int64)
    for n in range(count):
        order[n] = np.argmax(share * (n + 1) - had)
        had[order[n]] += 1
    return order


def _fade(steps: int, real_only_tail: float) -> Float[np.ndarray, "steps"]:
    """1, then down to 0 over as many steps as the tail has, then 0."""
    if not real_only_tail:
        return np.ones(steps)
    place = (np.arange(steps) + 0.5) / max(steps, 1)
    return np.asarray(np.clip((1 - real_only_tail - place) / real_only_tail, 0, 1))


def _running(wanted: Float[np.ndarray, "steps *N"]) -> Integer[np.ndarray, "steps *N"]:
    """Whole patches up to and with each step."""
    return np.floor(np.cumsum(wanted, axis=0) + 1e-6).astype(np.int64)


def _steps(
    wanted: Float[np.ndarray, "steps N"], most: Integer[np.ndarray, "steps N"]
) -> Integer[np.ndarray, "steps N"]:
    """Whole patches of each step, never more than there are."""
    upto = _running(wanted)
    return np.asarray(np.minimum(np.diff(upto, axis=0, prepend=np.zeros_like(upto[:1])), most))
