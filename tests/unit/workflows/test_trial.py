"""What a few timed steps say of the whole."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from medaug.experiments.bench import Work
from medaug.workflows import trial
from medaug.workflows.trial import EnoughError, Laps, Mark, left_in, trial_run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that the test sets; two processors are busy all the time."""
    now = [0.0]
    watches = SimpleNamespace(monotonic=lambda: now[0], process_time=lambda: 2 * now[0])
    monkeypatch.setattr(trial, "time", watches)
    return now


def test_steps_are_multiplied_and_what_is_needed_once_is_not(clock: list[float]) -> None:
    laps = Laps()
    clock[0] = 10.0  # read the cases
    laps.start("train", 20)
    laps.advance(0)
    clock[0] += 5.0  # the first step is slow
    laps.advance()
    for _ in range(19):
        clock[0] += 1.0
        laps.advance()
    clock[0] += 3.0  # write the weights
    assert laps.whole(900) == Work(10 + 5 + 899 * 1.0 + 3, 2 * 917.0)


def test_a_long_training_is_broken_off_and_a_short_one_is_not(clock: list[float]) -> None:
    laps = Laps(5)
    laps.start("reading", 3)
    for _ in range(3):
        laps.advance()
    laps.start("train", 100)
    for _ in range(4):
        clock[0] += 2.0
        laps.advance()
    clock[0] += 2.0
    with pytest.raises(EnoughError):
        laps.advance()
    assert laps.whole(100).seconds == 200.0
    laps.start("train", 5)
    for _ in range(5):
        laps.advance()


def test_one_step_is_all_there_is_to_say(clock: list[float]) -> None:
    laps = Laps()
    laps.start("train", 1)
    clock[0] = 4.0
    laps.advance()
    assert laps.whole(1) == Work(4.0, 8.0)


def test_what_is_left_is_counted_and_thrown_away() -> None:
    with trial_run() as run:
        (run.path / "cells").mkdir()
        (run.path / "cells" / "weights").write_bytes(b"12345")
        assert left_in(run) == Work(disk_bytes=5)
    assert not run.path.exists()


def test_a_moment_later(clock: list[float]) -> None:
    begun = Mark.now()
    clock[0] = 1.5
    assert begun.since == Work(1.5, 3.0)
