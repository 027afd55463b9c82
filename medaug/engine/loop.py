"""The one training loop: steps, losses, checkpoints, resume."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Protocol

from medaug.core.errors import CheckpointError, DivergedError
from medaug.core.runs import Progress, RunDir
from medaug.engine.checkpoint import State, load_checkpoint, save_checkpoint

CHECKPOINT = "checkpoint.pt"


class Learner(Protocol):
    """Something that can take one optimiser step and be put aside and taken up again."""

    def train_step(self, step: int) -> dict[str, float]:
        """Take step number ``step`` (from 0); its randomness depends on the step alone. Returns named losses."""
        ...

    def state(self) -> State:
        """Everything that changes while training."""
        ...

    def restore(self, state: State) -> None:
        """Undo nothing, go on from there."""
        ...


def fit_loop(learner: Learner, *, steps: int, run: RunDir, progress: Progress, label: str) -> float:
    """Train for a fixed number of steps; an interrupted run goes on from its last checkpoint.

    Returns:
        Seconds spent in this call.

    Raises:
        DivergedError: If a loss is not finite.
        CheckpointError: If the checkpoint does not fit the learner.
    """
    path = run.path / CHECKPOINT
    first = _resume(learner, path) if path.is_file() else 0
    progress.start(label, steps)
    progress.advance(first)
    begun = saved = time.monotonic()
    for step in range(first, steps):
        losses = learner.train_step(step)
        _check(losses, step)
        progress.advance(1, " ".join(f"{name} {value:.3f}" for name, value in losses.items()))
        if step % 20 == 0 or step == steps - 1:
            run.log("step", step=step, **losses)
        if time.monotonic() - saved > 60:  # between steps only, so that a resumed run is the same run
            save_checkpoint(path, {"step": step + 1, "learner": learner.state()})
            saved = time.monotonic()
    save_checkpoint(path, {"step": steps, "learner": learner.state()})
    return time.monotonic() - begun


def _resume(learner: Learner, path: Path) -> int:
    """Restore the learner; returns the next step."""
    saved = load_checkpoint(path)
    step, state = saved.get("step"), saved.get("learner")
    if not isinstance(step, int) or not isinstance(state, dict):
        raise CheckpointError(f"{path.name} is of another kind", hint="delete the run folder and train again")
    try:
        learner.restore(state)
    except (KeyError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path.name} does not fit this model", hint="delete the run folder") from error
    return step


def _check(losses: dict[str, float], step: int) -> None:
    for name, value in losses.items():
        if not math.isfinite(value):
            raise DivergedError(
                f"loss {name} is {value} at step {step}",
                hint="lower the learning rate or check the intensities",
            )
