"""The estimate before the start, and the time left while it runs."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from medaug.experiments import estimate as module
from medaug.experiments.bench import Rates, Work
from medaug.experiments.design import scored_records
from medaug.experiments.estimate import Clock, estimate
from tests.unit.experiments.fakes import Lines, experiment, study

STUDY = study(experiment(n_annotated=[2, None]))  # 4 training subsets of 2 cells
RATES = Rates(
    {"real": Work(60, 120, 1 << 20), "copy_paste": Work(90, 180, 1 << 20)},
    {"copy_paste": Work(30, 60)},
    Work(1, 2),
)


def test_all_parts_are_added_and_shared_by_the_workers() -> None:
    alone = estimate(STUDY, STUDY.planned, RATES, 1)
    scored = 2 * 2 * sum(len(found) for found in _scored())
    seconds = 4 * 60 + 4 * 90 + 4 * 30 + scored
    assert (alone.trainings, alone.fits) == (8, 4)
    assert alone.minutes == pytest.approx(seconds / 60, abs=0.01)
    assert alone.cpu_hours == pytest.approx(2 * seconds / 3600, abs=1e-3)
    assert alone.disk_mib == 8.0
    two = estimate(STUDY, STUDY.planned, RATES, 2)
    assert two.minutes == pytest.approx(alone.minutes / 2, abs=0.01)
    assert two.cpu_hours == alone.cpu_hours
    assert "min with 2 workers" in two.line
    last = STUDY.planned[:1]
    assert estimate(STUDY, last, RATES, 8).minutes == pytest.approx((60 + len(_scored()[0])) / 60, abs=0.01)
    assert estimate(STUDY, last, RATES, 1).fits == 0


def test_one_generator_with_and_without_a_teacher_is_fitted_twice() -> None:
    real, pasted = (arm.model_dump() for arm in experiment().arms)
    taught = pasted | {"name": "taught", "teacher": {"kind": "segmentation"}}
    both = study(experiment(n_annotated=[2], arms=[real, pasted, taught]))
    rates = Rates(
        dict.fromkeys(("real", "copy_paste", "taught"), Work(1)),
        {"copy_paste": Work(30), "taught": Work(90)},
        Work(),
    )
    found = estimate(both, both.planned, rates, 1)
    assert found.fits == 2 * 2
    assert found.minutes == pytest.approx((2 * 3 + 2 * (30 + 90)) / 60, abs=0.01)


def _scored() -> list[tuple[object, ...]]:
    manifest = STUDY.dataset.manifest
    return [scored_records(manifest, fold) for fold in STUDY.dataset.outer_folds]


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    moment = [0.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: moment[0]))
    return lambda value: moment.__setitem__(0, value)


def test_the_clock_counts_what_others_finish_and_how_much_each_cell_is(now: Callable[[float], None]) -> None:
    lines = Lines()
    clock = Clock({"a": 1.0, "b": 1.0, "c": 3.0, "d": 5.0}, ["a"], lines)
    now(60)
    clock.tick("b", 55.0, ["a", "b", "elsewhere"])
    now(120)
    clock.tick("c", 58.0, ["a", "b", "c"])
    assert lines.said == [
        "2 of 4: b trained in 55 s; about 8.0 min left",
        "3 of 4: c trained in 58 s; about 2.5 min left",
    ]
