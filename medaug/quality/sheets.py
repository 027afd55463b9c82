"""Lesions and pairs side by side, for a person's eyes: pictures that show patients and stay where they are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy import ndimage

from medaug.core.storage import atomic_path
from medaug.quality.samples import LesionSample

MOST_PAIRS: Final = 24
_COLUMNS = 12
_CELL, _HEAD = 1.45, 0.36  # inches
_SIDE = 0.93
_LONGEST = 24
_FLAGGED, _PLAIN = "tab:red", "tab:cyan"


@final
@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One slice of a sheet.

    Attributes:
        plane: (I, J) intensities.
        mask: (I, J) a lesion to outline; None for nothing.
        words: One or two lines above it.
        is_flagged: Whether it stands out in red.
    """

    plane: Float[np.ndarray, "I J"]
    mask: Bool[np.ndarray, "I J"] | None
    words: str
    is_flagged: bool = False


Pair = tuple[Panel, Panel]


def lesion_panel(sample: LesionSample, words: str, *, is_flagged: bool = False) -> Panel:
    """The largest slice of a lesion, first channel, with its outline."""
    k = sample.largest_slice
    return Panel(sample.image[0, ..., k], sample.mask[..., k], words, is_flagged)


def write_pairs(path: Path, pairs: Sequence[Pair]) -> None:
    """Draw up to 24 pairs, synthetic left and real right; with none, the sheet says so.

    Args:
        path: PNG to write.
        pairs: (synthetic, real), the one to look at first in front.
    """
    panels = [panel for pair in pairs[:MOST_PAIRS] for panel in pair]
    rows = max(1, -(-len(panels) // _COLUMNS))
    width, height = _COLUMNS * _CELL, rows * (_CELL + _HEAD)
    figure = Figure(figsize=(width, height), dpi=100)
    FigureCanvasAgg(figure)
    if not panels:
        figure.text(
            0.5, 0.5, "Nothing was large enough to be compared", ha="center", va="center", fontsize=11
        )
    for number, panel in enumerate(panels):
        row, column = divmod(number, _COLUMNS)
        # the two of a pair stand close together, pairs apart
        left = (column + (0.06 if column % 2 == 0 else -0.01)) * _CELL / width
        bottom = 1 - ((row + 1) * (_CELL + _HEAD)) / height
        _draw(figure.add_axes((left, bottom, _SIDE * _CELL / width, _SIDE * _CELL / height)), panel)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", facecolor="white")


def _draw(axes: Axes, panel: Panel) -> None:
    low, high = _window(panel)
    # radiological view: anterior on top, the patient's right on the left
    axes.imshow(
        panel.plane[::-1, ::-1].T, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="nearest"
    )
    colour = _FLAGGED if panel.is_flagged else _PLAIN
    if panel.mask is not None and panel.mask.any() and not panel.mask.all():
        axes.contour(panel.mask[::-1, ::-1].T.astype(float), levels=[0.5], colors=colour, linewidths=0.8)
    lines = [
        line if len(line) <= _LONGEST else f"...{line[3 - _LONGEST :]}" for line in panel.words.split("\n")
    ]
    axes.set_title(
        "\n".join(lines), fontsize=6.5, pad=2, color=_FLAGGED if panel.is_flagged else "black", loc="left"
    )
    axes.set_xticks([])
    axes.set_yticks([])


def _window(panel: Panel) -> tuple[float, float]:
    """The window suits the lesion, since a bright chest wall beside it would leave it black."""
    near = (
        panel.plane if panel.mask is None else panel.plane[ndimage.binary_dilation(panel.mask, iterations=2)]
    )
    low, high = (float(v) for v in np.percentile(near, (1, 99)))
    return low, high
