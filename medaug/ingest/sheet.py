"""A contact sheet: one row a case, a few slices with the outlines of its label map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Bool
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import ndimage

from medaug.core.case import Case
from medaug.core.storage import atomic_path
from medaug.core.volume import Unit

THUMB_PIXELS, COLUMNS = 160, 5
_ROW_INCHES, _NAME_INCHES = 1.3, 1.9
# Colour-blind safe (Okabe and Ito, 2008), as RGB in 0..1
_COLOURS = (
    (0.9, 0.6, 0.0),
    (0.34, 0.71, 0.91),
    (0.0, 0.62, 0.45),
    (0.94, 0.89, 0.26),
    (0.8, 0.47, 0.65),
    (0.84, 0.37, 0.0),
)


@final
@dataclass(frozen=True, slots=True, eq=False)
class SheetRow:
    """A case as it is drawn.

    Attributes:
        caption: Lines beside the pictures.
        strip: (THUMB_PIXELS, COLUMNS * THUMB_PIXELS, 3) float in 0..1.
    """

    caption: str
    strip: np.ndarray


def sheet_row(case: Case, classes: Sequence[str]) -> SheetRow:
    """The slices of a case that show most of its lesions (or evenly spread ones), first channel.

    Patients are seen from the feet, their right on the left side of the picture.
    """
    image = case.volume.image[0]
    labels = case.label_map.labels if case.label_map is not None else np.zeros(image.shape, np.uint8)
    # padding outside the scanner's field of view lies far below air and would wash the picture out
    seen = np.clip(image, -1024, 1500) if case.volume.unit is Unit.HU else image
    low, high = (float(v) for v in np.percentile(seen, (0.5, 99.5)))
    grey = np.clip((image - low) / max(high - low, 1e-6), 0, 1)
    spacing = case.volume.grid.spacing_mm
    pictures = [_thumb(grey[:, :, k], labels[:, :, k], spacing[0], spacing[1]) for k in _slices(labels)]
    empty = np.ones_like(pictures[0])
    strip = np.concatenate(pictures + [empty] * (COLUMNS - len(pictures)), axis=1)
    present = [name for n, name in enumerate(classes, start=1) if (labels == n).any()]
    held = ", ".join(present) or ("no lesion" if case.label_map is not None else "no label")
    shape = " x ".join(str(n) for n in image.shape)
    return SheetRow(f"{case.case_id}\n{case.patient_id}\n{held}\n{shape}", strip)


def _slices(labels: np.ndarray) -> list[int]:
    """Up to COLUMNS slices, among those with lesions where there are some."""
    drawn = np.flatnonzero(labels.any(axis=(0, 1)))
    candidates = drawn if drawn.size else np.arange(labels.shape[2])
    picks = np.linspace(0, candidates.size - 1, min(COLUMNS, candidates.size) + 2)[1:-1]
    return sorted({int(candidates[round(float(p))]) for p in picks})


def _thumb(grey: np.ndarray, labels: np.ndarray, width_mm: float, height_mm: float) -> np.ndarray:
    """One slice in a square of THUMB_PIXELS, proportions kept, with outlines of one pixel."""
    size_mm = np.array([grey.shape[0] * width_mm, grey.shape[1] * height_mm])
    pixels = np.maximum(1, np.round(THUMB_PIXELS * size_mm / size_mm.max())).astype(int)
    columns, rows = (
        np.minimum(np.arange(n) * m // n, m - 1) for n, m in zip(pixels, grey.shape, strict=True)
    )
    shown, drawn = (array[np.ix_(columns, rows)].T[::-1, ::-1] for array in (grey, labels))
    picture = np.repeat(shown[..., None], 3, axis=2)
    for number in np.unique(drawn[drawn > 0]):
        picture[_outline(drawn == number)] = _COLOURS[(int(number) - 1) % len(_COLOURS)]
    square = np.zeros((THUMB_PIXELS, THUMB_PIXELS, 3))
    top, left = (THUMB_PIXELS - picture.shape[0]) // 2, (THUMB_PIXELS - picture.shape[1]) // 2
    square[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return square


def _outline(mask: Bool[np.ndarray, "rows columns"]) -> Bool[np.ndarray, "rows columns"]:
    """The pixels around a mask, so that the lesion itself stays visible."""
    return np.asarray(ndimage.binary_dilation(mask) & ~mask)


def write_sheet(path: Path, rows: Sequence[SheetRow], classes: Sequence[str], title: str) -> None:
    """Draw rows into a PNG, written whole or not at all.

    Raises:
        StorageError: If it cannot be written.
    """
    pictures = np.concatenate([row.strip for row in rows], axis=0)
    width, height = _NAME_INCHES + COLUMNS * _ROW_INCHES, _ROW_INCHES * len(rows) + 0.7
    figure = Figure(figsize=(width, height), dpi=THUMB_PIXELS / _ROW_INCHES)
    FigureCanvasAgg(figure)
    share = _ROW_INCHES * len(rows) / height
    axes = figure.add_axes((_NAME_INCHES / width, 0.0, 1 - _NAME_INCHES / width, share))
    axes.imshow(pictures, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    for number, row in enumerate(rows):
        figure.text(
            0.08 / width, share * (1 - (number + 0.5) / len(rows)), row.caption, fontsize=6.5, va="center"
        )
    figure.text(0.08 / width, 1 - 0.15 / height, title, fontsize=9, va="top")
    handles = [
        Line2D([], [], color=_COLOURS[n % len(_COLOURS)], label=name) for n, name in enumerate(classes)
    ]
    if handles:
        columns = min(len(handles), 4)
        figure.legend(handles=handles, loc="upper right", ncols=columns, fontsize=7, frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")
