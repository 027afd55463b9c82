"""Curves of what a log holds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from matplotlib import image as png

from medaug.engine.curves import CURVES, read_curves, write_curves


def write_log(path: Path, steps: int) -> Path:
    lines = [
        {"t": 0.0, "event": "step", "step": n, "critic": 1 / (n + 1), "l1": n / steps} for n in range(steps)
    ]
    lines += [
        {"t": 0.0, "event": "signs", "step": 3, "diversity": 0.5},
        {"t": 0.0, "event": "warning", "said": "x"},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_every_figure_of_the_log_has_its_curve(tmp_path: Path) -> None:
    curves = read_curves(write_log(tmp_path / "log.jsonl", 4))
    assert set(curves) == {"critic", "l1", "diversity"}
    assert curves["l1"] == [(0, 0.0), (1, 0.25), (2, 0.5), (3, 0.75)]


def test_curves_are_drawn(tmp_path: Path) -> None:
    for steps in (1, 200):
        write_curves(tmp_path, write_log(tmp_path / "log.jsonl", steps))
        picture = np.asarray(png.imread(tmp_path / CURVES))
        assert picture.shape[1] > 600
        assert len(np.unique(picture)) > 10
    assert [p.name for p in tmp_path.iterdir() if ".partial." in p.name] == []


def test_nothing_logged_nothing_drawn(tmp_path: Path) -> None:
    write_curves(tmp_path, tmp_path / "log.jsonl")
    assert not (tmp_path / CURVES).exists()
