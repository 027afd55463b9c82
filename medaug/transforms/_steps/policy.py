"""Drawing steps: what a policy is, and the augmentation that carries one out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, final

import numpy as np
from pydantic import Field, field_validator

from medaug.core.config import Frozen
from medaug.core.errors import ConfigError
from medaug.engine.augment import PatchBatch
from medaug.engine.warp import Resampling
from medaug.transforms._steps.apply import Record, apply_records, facts_of
from medaug.transforms._steps.registry import step_kind
from medaug.transforms._steps.spatial import Crop
from medaug.transforms._steps.step import Facts, Step


class Policy(Protocol):
    """Chooses the steps of a patch."""

    @property
    def kinds(self) -> tuple[type[Step], ...]:
        """Every kind of step that may be drawn, each once."""
        ...

    def draw(self, facts: Facts, rng: np.random.Generator) -> Record:
        """The steps of one patch, from its own ``rng`` alone."""
        ...


@final
class Chance(Frozen):
    """One line of a policy: a step, how often it comes, and how strong."""

    step: str
    probability: float = Field(default=1.0, ge=0, le=1)
    magnitude: tuple[float, float] = Field(default=(0.0, 1.0), description="drawn uniformly, 0 to 1")

    @field_validator("magnitude")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        """A range within 0 to 1."""
        if not 0 <= value[0] <= value[1] <= 1:
            raise ValueError("magnitude is no range within 0 to 1")
        return value

    @field_validator("step")
    @classmethod
    def _known(cls, value: str) -> str:
        """A step that exists."""
        step_kind(value)
        return value

    def draw(self, facts: Facts, rng: np.random.Generator) -> Record:
        """The step, or nothing."""
        if rng.random() >= self.probability:
            return ()
        return (step_kind(self.step).draw(float(rng.uniform(*self.magnitude)), rng, facts),)


@final
class Each:
    """Every line of a policy on its own chance, one after the other."""

    def __init__(self, chances: Sequence[Chance]) -> None:
        self._chances = tuple(chances)

    @property
    def kinds(self) -> tuple[type[Step], ...]:
        """See :class:`Policy`."""
        return tuple(dict.fromkeys(step_kind(one.step) for one in self._chances if one.probability > 0))

    def draw(self, facts: Facts, rng: np.random.Generator) -> Record:
        """The steps that came up."""
        return tuple(step for chance in self._chances for step in chance.draw(facts, rng))


@final
class PolicyAugment:
    """Draws the steps of every patch by a policy and carries them out together.

    Args:
        policy: What to draw.
        how: Interpolation and padding.
        size: Patches are cropped, or padded, to this size, each at a place of its own; None keeps their size.
    """

    def __init__(self, policy: Policy, how: Resampling, size: tuple[int, ...] | None = None) -> None:
        self._policy, self.how, self._size = policy, how, size

    @property
    def kinds(self) -> tuple[type[Step], ...]:
        """Every kind of step that may be drawn, each once."""
        return self._policy.kinds

    @property
    def keeps_size(self) -> bool:
        """Whether patches keep their size."""
        return self._size is None

    def draw(self, batch: PatchBatch, rngs: Sequence[np.random.Generator]) -> tuple[Record, ...]:
        """The record of every patch; :func:`~medaug.transforms._steps.apply.apply_records` replays it."""
        return tuple(self._draw(facts, rng) for facts, rng in zip(facts_of(batch), rngs, strict=True))

    def _draw(self, facts: Facts, rng: np.random.Generator) -> Record:
        record = self._policy.draw(facts, rng)
        if self._size is None:
            return record
        if len(self._size) != facts.dims:
            said = " x ".join(str(n) for n in self._size)
            raise ConfigError(f"size {said}, patches of {facts.dims} dimensions", where="transforms: size")
        return (*record, Crop.anywhere(self._size, rng, facts))

    def __call__(self, batch: PatchBatch, rngs: Sequence[np.random.Generator]) -> PatchBatch:
        """Change a batch; see :class:`~medaug.engine.augment.BatchAugment`."""
        return apply_records(batch, self.draw(batch, rngs), self.how)
