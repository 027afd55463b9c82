"""An experiment on several processes: the same rows, one line for a failure, and nothing left running."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from medaug.core.claims import CLAIMS
from medaug.core.errors import DataError, TrainingError
from medaug.core.results import ExperimentResult
from medaug.experiments.run import RESULTS
from tests.unit.experiments.fakes import FakeBench, Lines, experiment, go, study

CONFIG = experiment(n_annotated=[2, None])  # 4 training subsets of 2 cells


@pytest.fixture(autouse=True)
def nobody_is_left() -> Iterator[None]:
    yield
    assert not multiprocessing.active_children()


def test_two_workers_give_the_rows_of_one(tmp_path: Path) -> None:
    lines = Lines()
    two = go(tmp_path / "two", FakeBench(seconds=0.2), study(CONFIG), lines, workers=2)
    one = go(tmp_path / "one", FakeBench(), study(CONFIG))
    assert two == one
    assert (tmp_path / "two" / RESULTS).read_bytes() == (tmp_path / "one" / RESULTS).read_bytes()
    assert any(line.startswith("8 of 8: ") for line in lines.said)
    assert any("with 2 workers" in line for line in lines.said)
    assert not (tmp_path / "two" / CLAIMS).exists()


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ("damaged", DataError, "p00_a: image is damaged"),
        ("killed", TrainingError, r"a worker was killed \(signal 9\); it may have lacked memory"),
        ("defect", TrainingError, "a worker failed with ValueError; run with --workers 1 --debug"),
    ],
)
def test_a_worker_that_fails_stops_the_run_which_goes_on_when_asked_again(
    tmp_path: Path, how: str, error: type[Exception], words: str
) -> None:
    trouble = ("real_n2_fold1_seed0", how)
    with pytest.raises(error, match=words):
        go(tmp_path / "run", FakeBench(trouble=trouble, seconds=0.2), study(CONFIG), workers=2)
    partial = ExperimentResult.read(tmp_path / "run" / RESULTS)
    assert 1 <= partial.cells_done < 8
    bench = FakeBench()
    assert go(tmp_path / "run", bench, study(CONFIG)).complete
    assert len(bench.trained) == 8 - partial.cells_done
    assert not (tmp_path / "run" / CLAIMS).exists()


def test_ctrl_c_stops_all_workers(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    results = tmp_path / "run" / RESULTS

    def press() -> None:
        while not results.is_file():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            go(tmp_path / "run", FakeBench(seconds=0.5), study(CONFIG), workers=2)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not multiprocessing.active_children()
    partial = ExperimentResult.read(results)
    assert not partial.complete
    assert not (tmp_path / "run" / CLAIMS).exists()
    assert go(tmp_path / "run", FakeBench(), study(CONFIG)).complete
