"""The one training loop: steps, losses, early warning, checkpoints, resume."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, final

from medaug.core.errors import CheckpointError
from medaug.core.runs import Progress, RunDir
from medaug.engine.checkpoint import State, load_checkpoint, save_checkpoint
from medaug.engine.launch import Team, averaged, shared, team
from medaug.engine.watch import LivingLearner, VitalSigns, Watch

CHECKPOINT = "checkpoint.pt"
SAVE_EVERY_S = 60.0

_LOGGED_STEPS = 50  # at least so many, where there are so many; at most every 20th
_SMOOTH = 0.1  # of the figures that are shown live


class Learner(Protocol):
    """Something that takes optimiser steps, and whose state can be saved and restored."""

    def train_step(self, step: int) -> dict[str, float]:
        """Take step number ``step`` (from 0); its randomness depends on the step alone. Returns named losses."""
        ...

    def state(self) -> State:
        """Everything that changes while training."""
        ...

    def restore(self, state: State) -> None:
        """Go on from a saved state."""
        ...


def fit_loop(learner: Learner, *, steps: int, run: RunDir, progress: Progress, label: str) -> float:
    """Train for a fixed number of steps; an interrupted run goes on from its last checkpoint.

    Leaves ``log.jsonl`` (figures of every 20th step, of more where there are few) and ``curves.png``, also where the
    training is stopped. A learner that is a :class:`~medaug.engine.watch.LivingLearner` is examined now and then.

    Returns:
        Seconds spent on the steps that count, in all calls.

    Raises:
        TrainingError: If a loss is not finite or explodes, or the learner's signs stay bad.
        CheckpointError: If the checkpoint does not fit the learner.
    """
    fitting = _Fitting(learner, Watch(steps), run, progress, team())
    first = fitting.resume()
    progress.start(label, steps)
    progress.advance(first)
    saved = time.monotonic()
    begun = saved - fitting.seconds
    try:
        for step in range(first, steps):
            fitting.step(step, steps)
            if time.monotonic() - saved > SAVE_EVERY_S:  # between steps only: a resumed run is the same run
                saved = time.monotonic()
                fitting.save(step + 1, saved - begun)
        seconds = time.monotonic() - begun
        fitting.save(steps, seconds)
    finally:
        fitting.draw()
    return seconds


@final
@dataclass(slots=True)
class _Fitting:
    """A training in progress."""

    learner: Learner
    watch: Watch
    run: RunDir
    progress: Progress
    team: Team
    shown: Mapping[str, float] | None = None
    seconds: float = 0.0

    @property
    def _path(self) -> Path:
        return self.run.path / CHECKPOINT

    def step(self, step: int, steps: int) -> None:
        """One step, judged, shown and logged."""
        losses = averaged(self.learner.train_step(step))
        self._warn(step, self.watch.losses(step, losses))
        self.shown = _smoothed(self.shown, losses)
        self.progress.advance(1, readable(self.shown))
        if step % max(1, min(20, steps // _LOGGED_STEPS)) == 0 or step == steps - 1:
            self.run.log("step", step=step, **losses)
        if isinstance(self.learner, LivingLearner) and (step + 1) % self.watch.every == 0:
            self._examine(step, self.learner.vital_signs(step))

    def _examine(self, step: int, signs: VitalSigns) -> None:
        try:
            self._warn(step, self.watch.signs(step, signs))
        finally:  # also where it ends the training
            if self.watch.figures:
                self.run.log("signs", step=step, **self.watch.figures)

    def save(self, next_step: int, seconds: float) -> None:
        """Write the checkpoint from which the next step can be taken."""
        if self.team.leads:
            learner, watch = self.learner.state(), self.watch.state()
            save_checkpoint(
                self._path, {"step": next_step, "learner": learner, "watch": watch, "seconds": seconds}
            )

    def resume(self) -> int:
        """Go on from the checkpoint, if there is one; returns the next step."""
        saved = shared(load_checkpoint(self._path) if self.team.leads and self._path.is_file() else None)
        if saved is None:
            self.run.forget_from(0)
            return 0
        step, state, watched, seconds = (saved.get(name) for name in ("step", "learner", "watch", "seconds"))
        if not isinstance(step, int) or not isinstance(state, dict):
            hint = "delete the run folder and train again"
            raise CheckpointError(f"{CHECKPOINT} is of another kind", hint=hint)
        try:
            self.learner.restore(state)
            if isinstance(watched, dict):
                self.watch.restore(watched)
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"{CHECKPOINT} does not fit this model", hint="delete the run folder"
            ) from error
        self.seconds = seconds if isinstance(seconds, float) else 0.0
        self.run.forget_from(step)
        return step

    def draw(self) -> None:
        """The curves of what was logged."""
        from medaug.engine.curves import write_curves

        if self.team.leads:
            write_curves(self.run.path, self.run.log_path)

    def _warn(self, step: int, warning: str | None) -> None:
        if warning is not None:
            self.progress.say(warning)
            self.run.log("warning", step=step, said=warning)


def readable(figures: Mapping[str, float]) -> str:
    """Named figures in one short line, three digits each."""
    return "  ".join(f"{name.replace('_', ' ')} {value:#.3g}" for name, value in figures.items())


def _smoothed(before: Mapping[str, float] | None, now: Mapping[str, float]) -> dict[str, float]:
    """A running mean; a loss that a step did not measure keeps its last."""
    old = before or {}
    fresh = {name: value + (1 - _SMOOTH) * (old.get(name, value) - value) for name, value in now.items()}
    return {**old, **fresh}
