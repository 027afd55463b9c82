"""Figures of the log on a TensorBoard."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from medaug.core.config import Frozen
from medaug.core.errors import DependencyError
from medaug.core.runs import open_run
from medaug.engine.board import BOARD, open_board, require_board


def test_what_a_run_logs_is_on_its_board(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    with open_run(tmp_path, "fit", Frozen(), {}) as run, open_board(run.path) as board:
        run.listener = board
        run.log("step", step=3, critic=0.5)
        run.log("warning", step=3, said="look out")
    (events,) = (tmp_path / BOARD).iterdir()
    content = events.read_bytes()
    assert b"step/critic" in content
    assert b"look out" not in content
    assert '"critic": 0.5' in run.log_path.read_text()


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(
        DependencyError, match=r"needs tensorboard; install it with `pip install medaug\[tensor"
    ):
        require_board()
