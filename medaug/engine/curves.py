"""The curves of a training: a small panel for every loss and sign in its log."""

from __future__ import annotations

import json
import math
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from medaug.core.storage import atomic_path

CURVES = "curves.png"

_COLUMNS = 3
_ROW_IN = 2.4
_SMOOTHED = 20  # points about which a line through many is averaged


def write_curves(folder: Path, log: Path) -> None:
    """Draw every figure of a run's log over the steps into ``curves.png``; nothing where nothing was logged.

    Raises:
        StorageError: If the disk is full or the folder cannot be written.
    """
    curves = read_curves(log)
    if not curves:
        return
    rows = math.ceil(len(curves) / _COLUMNS)
    height = _ROW_IN * rows
    figure = Figure(figsize=(4 * _COLUMNS, height))
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    # room for titles and numbers that is known: a layout that measures them draws the whole figure twice
    figure.subplots_adjust(
        left=0.05, right=0.99, top=1 - 0.3 / height, bottom=0.45 / height, hspace=0.45, wspace=0.2
    )
    for panel, (name, points) in zip(panels, curves.items(), strict=False):
        _draw(panel, name, points)
    for panel in panels[len(curves) :]:
        panel.set_axis_off()
    with atomic_path(folder / CURVES) as temporary:
        figure.savefig(temporary, format="png", dpi=80)


def read_curves(log: Path) -> dict[str, list[tuple[int, float]]]:
    """The figures of a log by name, as (step, value) in the order of the steps."""
    curves: dict[str, list[tuple[int, float]]] = {}
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    for line in lines:
        said = json.loads(line)
        if said["event"] not in {"step", "signs"}:
            continue
        for name, value in said.items():
            if name not in {"t", "event", "step"} and isinstance(value, int | float):
                curves.setdefault(name, []).append((said["step"], float(value)))
    return curves


def _draw(panel: Axes, name: str, points: list[tuple[int, float]]) -> None:
    steps, values = zip(*points, strict=True)
    many = len(points) > 2 * _SMOOTHED
    panel.plot(steps, values, color="0.7" if many else "C0", linewidth=0.8, marker="" if many else ".")
    if many:
        means = [_mean(values[max(0, n - _SMOOTHED) : n + 1]) for n in range(len(values))]
        panel.plot(steps, means, color="C0", linewidth=1.4)
    panel.set_title(name.replace("_", " "), fontsize=9)
    panel.tick_params(labelsize=7)
    panel.locator_params(nbins=4)  # most of the time goes into the numbers along the axes
    panel.set_xlabel("step", fontsize=7)


def _mean(values: tuple[float, ...]) -> float:
    return sum(values) / len(values)
