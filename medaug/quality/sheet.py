"""The closest pairs side by side, for a person's eyes: a picture that shows patients and stays where it is made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy import ndimage

from medaug.core.storage import atomic_path
from medaug.quality.samples import LesionSample

_PAIRS, _COLUMNS = 24, 6

Pair = tuple[LesionSample, LesionSample, float]


def write_sheet(path: Path, pairs: Sequence[Pair]) -> None:
    """Draw up to 24 pairs: the synthetic lesion on the left, its nearest training lesion on the right.

    Args:
        path: PNG to write.
        pairs: (synthetic, training, score), closest first; with none, the sheet says so.
    """
    shown = pairs[:_PAIRS]
    rows = max(1, -(-len(shown) // _COLUMNS))
    figure = Figure(figsize=(2.6 * _COLUMNS, 1.75 * rows + 0.6), dpi=100)
    FigureCanvasAgg(figure)
    title = "Synthetic lesion (left) and nearest training lesion (right); score 1 and more is flagged"
    figure.suptitle(title if shown else "No synthetic lesion is large enough to be compared", fontsize=11)
    grid = figure.add_gridspec(
        rows, 3 * _COLUMNS, width_ratios=[1, 1, 0.08] * _COLUMNS, hspace=0.35, wspace=0.03
    )
    for number, (synthetic, training, score) in enumerate(shown):
        row, column = divmod(number, _COLUMNS)
        left = figure.add_subplot(grid[row, 3 * column])
        _draw(left, synthetic, f"{synthetic.case_id[-22:]}\n{score:.2f}", flagged=score >= 1.0)
        _draw(
            figure.add_subplot(grid[row, 3 * column + 1]),
            training,
            f"{training.case_id[-22:]}\n",
            flagged=False,
        )
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=1.0 - 0.75 / (1.75 * rows + 0.6))
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _draw(axes: Axes, sample: LesionSample, words: str, *, flagged: bool) -> None:
    k = sample.largest_slice
    plane, mask = sample.image[0, ..., k], sample.mask[..., k]
    # the window suits the lesion, since a bright chest wall beside it would leave it black
    near = ndimage.binary_dilation(mask, iterations=2)
    low, high = (float(v) for v in np.percentile(plane[near], (1, 99)))
    # radiological view: anterior on top, the patient's right on the left
    axes.imshow(
        plane[::-1, ::-1].T, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="nearest"
    )
    outline, colour = mask[::-1, ::-1].T.astype(float), "tab:red" if flagged else "tab:cyan"
    axes.contour(outline, levels=[0.5], colors=colour, linewidths=0.7)
    axes.set_title(words, fontsize=6, pad=2)
    axes.set_axis_off()
