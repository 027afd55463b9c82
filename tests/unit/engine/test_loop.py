"""The loop: a resumed run is the same run, and divergence stops it."""

import json
from pathlib import Path
from typing import final

import pytest

from medaug.core.config import Frozen
from medaug.core.errors import CheckpointError, CollapsedError, DivergedError
from medaug.core.runs import NoProgress, RunDir, open_run
from medaug.core.seeding import SeedTree
from medaug.engine import loop
from medaug.engine.checkpoint import load_checkpoint, save_checkpoint
from medaug.engine.curves import CURVES
from medaug.engine.watch import VitalSigns


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
    assert logged(tmp_path / "parts") == logged(tmp_path / "whole")


def logged(path: Path) -> list[dict[str, object]]:
    """The log without its times."""
    lines = [json.loads(line) for line in (path / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "t"} for line in lines]


def test_steps_after_the_last_checkpoint_are_logged_once(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        in_run(tmp_path / "parts", Walk(stop_at=6))
    with (tmp_path / "parts/log.jsonl").open("a") as log:
        log.write('{"t": 1, "event": "st')  # killed in the middle of a line
    in_run(tmp_path / "parts", Walk())
    in_run(tmp_path / "whole", Walk())
    assert logged(tmp_path / "parts") == logged(tmp_path / "whole")
    assert [line["step"] for line in logged(tmp_path / "whole")] == list(range(10))


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="step 3"):
        in_run(tmp_path, Walk(bad_at=3))
    assert (tmp_path / CURVES).is_file()


@final
class Ill:
    """A learner whose lesions are all alike."""

    def __init__(self) -> None:
        self.examined: list[int] = []

    def train_step(self, step: int) -> dict[str, float]:
        return {"loss_of_it": 1.0}

    def vital_signs(self, step: int) -> VitalSigns:
        self.examined.append(step)
        return VitalSigns(variety=0.01)

    def state(self) -> dict[str, object]:
        return {}

    def restore(self, state: dict[str, object]) -> None:
        pass


def test_a_learner_that_collapses_is_warned_of_in_log_and_progress_and_stopped(tmp_path: Path) -> None:
    learner, heard = Ill(), Heard()
    with open_run(tmp_path, "test", Frozen(), {}) as run, pytest.raises(CollapsedError, match=r"0\.01 times"):
        loop.fit_loop(learner, steps=400, run=run, progress=heard, label="walk")
    assert learner.examined == list(range(9, 160, 10))
    warning = "warning: made lesions differ 0.01 times as much as real ones at step 129"
    assert heard.said == [warning]
    assert heard.note == "loss of it 1.00"
    events = logged(tmp_path)
    assert {"event": "warning", "step": 129, "said": warning} in events
    assert {"event": "signs", "step": 9, "variety": 0.01} in events
    assert (tmp_path / CURVES).is_file()


class Heard:
    """Progress that remembers."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.note = ""

    def start(self, label: str, total: int | None) -> None:
        pass

    def say(self, line: str) -> None:
        self.said.append(line)

    def advance(self, units: int = 1, note: str = "") -> None:
        self.note = note or self.note


def test_a_checkpoint_of_another_kind_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / loop.CHECKPOINT, {"something": 1})
    run = RunDir(tmp_path, None, resumed=True)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="another kind"):
        fit(Walk(), run, 3)
    save_checkpoint(tmp_path / loop.CHECKPOINT, {"step": 1, "learner": {"other": 2}})
    with pytest.raises(CheckpointError, match="does not fit"):
        fit(Walk(), run, 3)


def test_seconds_are_those_of_all_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(loop, "time", clock)
    run = RunDir(tmp_path, None, resumed=True)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        fit(Walk(stop_at=6), run, 10)
    first = load_checkpoint(tmp_path / loop.CHECKPOINT)["seconds"]
    assert first == 1440.0  # six steps, looked at twice each
    begun = clock.monotonic()
    seconds = loop.fit_loop(Walk(), steps=10, run=run, progress=NoProgress(), label="walk")
    spent = clock.monotonic() - begun
    assert first < seconds <= first + spent
