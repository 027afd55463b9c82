"""The loop: a resumed run is the same run, and divergence stops it."""

from pathlib import Path

import pytest

from medaug.core.config import Frozen
from medaug.core.errors import CheckpointError, DivergedError
from medaug.core.runs import NoProgress, RunDir, open_run
from medaug.core.seeding import SeedTree
from medaug.engine import loop
from medaug.engine.checkpoint import save_checkpoint


class Walk:
    """A learner that is a random walk; stops itself or diverges on demand."""

    def __init__(self, stop_at: int = -1, bad_at: int = -1) -> None:
        self.place, self.stop_at, self.bad_at, self.steps = 0.0, stop_at, bad_at, 0

    def train_step(self, step: int) -> dict[str, float]:
        if step == self.stop_at:
            raise KeyboardInterrupt
        self.place += float(SeedTree(0).child(step).rng().normal())
        self.steps += 1
        return {"place": float("nan") if step == self.bad_at else self.place}

    def state(self) -> dict[str, object]:
        return {"place": self.place}

    def restore(self, state: dict[str, object]) -> None:
        self.place = float(state["place"])  # type: ignore[arg-type]


class Clock:
    """A clock on which every look is two minutes later, so that every step is saved."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 120
        return self.now


def in_run(path: Path, learner: Walk, steps: int = 10) -> None:
    with open_run(path, "test", Frozen(), {}) as run:
        fit(learner, run, steps)


def fit(learner: Walk, run: RunDir, steps: int) -> None:
    loop.fit_loop(learner, steps=steps, run=run, progress=NoProgress(), label="walk")


def test_an_interrupted_run_ends_where_an_undisturbed_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, first, second = Walk(), Walk(stop_at=6), Walk()
    in_run(tmp_path / "whole", whole)
    monkeypatch.setattr(loop, "time", Clock())
    with pytest.raises(KeyboardInterrupt):
        in_run(tmp_path / "parts", first)
    in_run(tmp_path / "parts", second)
    assert second.steps == 4
    assert second.place == whole.place


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="step 3"):
        in_run(tmp_path, Walk(bad_at=3))


def test_a_checkpoint_of_another_kind_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / loop.CHECKPOINT, {"something": 1})
    run = RunDir(tmp_path, None, resumed=True)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="another kind"):
        fit(Walk(), run, 3)
    save_checkpoint(tmp_path / loop.CHECKPOINT, {"step": 1, "learner": {"other": 2}})
    with pytest.raises(CheckpointError, match="does not fit"):
        fit(Walk(), run, 3)
