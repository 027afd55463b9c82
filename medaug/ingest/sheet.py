"""A contact sheet to leaf through: pages of a few rows, one row a case, with the outlines of its label map."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from medaug.core.case import Case
from medaug.core.findings import Finding
from medaug.core.storage import atomic_path, write_text_atomic
from medaug.core.volume import Volume
from medaug.core.wording import counted
from medaug.io.thumbnails import COLOURS, THUMB_PIXELS, draw_thumb, grey_window

COLUMNS, ROWS = 5, 8
_DPI, _NAME_INCHES, _WORDS_INCHES, _HEAD_INCHES = 120, 1.75, 2.7, 0.4
_NAME_LETTERS, _WORDS_LETTERS, _WORDS_LINES = 28, 50, 11
_NAME_POINTS, _WORDS_POINTS = 7.0, 6.5


@final
@dataclass(frozen=True, slots=True, eq=False)
class SheetRow:
    """A case as it is drawn.

    Attributes:
        caption: Lines beside the pictures.
        words: Lines on what was found.
        strip: (THUMB_PIXELS, COLUMNS * THUMB_PIXELS, 3) from 0 to 255.
    """

    caption: tuple[str, ...]
    words: tuple[str, ...]
    strip: UInt8[np.ndarray, "rows columns 3"]


@final
@dataclass(frozen=True, slots=True)
class SheetTitle:
    """What stands above the rows of a page.

    Attributes:
        name: Of the dataset.
        page: Number of the page, from 1.
        pages: How many there are.
        classes: Names of label ids 1, 2, ...
    """

    name: str
    page: int
    pages: int
    classes: tuple[str, ...]


def sheet_row(case: Case, classes: Sequence[str], findings: Sequence[Finding]) -> SheetRow:
    """The axial slices of a case that show most of each of its classes (or evenly spread ones), first channel.

    Patients are seen from the feet, their right on the left side of the picture.
    """
    image = case.volume.image[0]
    labels = case.label_map.labels if case.label_map is not None else np.zeros(image.shape, np.uint8)
    low, high, window = grey_window(case.volume)
    spacing = case.volume.grid.spacing_mm
    chosen = _slices(labels)
    pictures = []
    for k in chosen:
        grey = np.clip((image[:, :, k] - low) / max(high - low, 1e-6), 0, 1)
        pictures.append(draw_thumb(grey, labels[:, :, k], spacing[0], spacing[1]))
    empty = np.full_like(pictures[0], 255)
    strip = np.concatenate(pictures + [empty] * (COLUMNS - len(pictures)), axis=1)
    present = [name for n, name in enumerate(classes, start=1) if (labels == n).any()]
    held = ", ".join(present) or ("no lesion" if case.label_map is not None else "no label")
    lines = (case.case_id, case.patient_id, held, *_sizes(case.volume), window, _slices_in_words(chosen))
    caption = tuple(part for line in lines for part in textwrap.wrap(_ascii(line), _NAME_LETTERS))
    return SheetRow(caption, _words(findings), strip)


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()


def _sizes(volume: Volume) -> tuple[str, ...]:
    shape, spacing = volume.grid.shape, volume.grid.spacing_mm
    voxels = " x ".join(str(n) for n in shape) + " voxels"
    if not volume.spacing_known:
        return voxels, "spacing unknown"
    extent = " x ".join(f"{n * s:.0f}" for n, s in zip(shape, spacing, strict=True))
    return voxels, f"{extent} mm"


def _slices_in_words(chosen: Sequence[int]) -> str:
    return ("slices " if len(chosen) > 1 else "slice ") + ", ".join(str(k + 1) for k in chosen)


def _words(findings: Sequence[Finding]) -> tuple[str, ...]:
    """What was found, worst first, in as many lines as fit a row."""
    worst_first = sorted(findings, key=lambda one: one.severity != "refused")
    lines = [
        part
        for one in worst_first
        for part in textwrap.wrap(
            _ascii(f"{one.severity} {one.code}: {one.message}"), _WORDS_LETTERS, subsequent_indent="  "
        )
    ]
    if len(lines) > _WORDS_LINES:
        lines = [*lines[: _WORDS_LINES - 1], "... more in inspection.json"]
    return tuple(lines)


def _slices(labels: np.ndarray) -> list[int]:
    """Up to COLUMNS slices: each class takes turns with the one that shows most of it, the others evenly spread."""
    areas = [np.count_nonzero(labels == number, axis=(0, 1)) for number in np.unique(labels[labels > 0])]
    chosen: list[int] = []
    for area in areas[:COLUMNS]:
        left = [k for k in np.argsort(-area, kind="stable").tolist() if area[k] and k not in chosen]
        chosen += left[:1]
    drawn = np.flatnonzero(labels.any(axis=(0, 1))) if areas else np.arange(labels.shape[2])
    spread = [int(k) for k in drawn if int(k) not in chosen]
    wanted = min(COLUMNS - len(chosen), len(spread))
    picks = np.linspace(0, len(spread) - 1, wanted + 2)[1:-1].round().astype(int).tolist()
    return sorted({*chosen, *(spread[pick] for pick in picks)})


def write_page(path: Path, rows: Sequence[SheetRow], title: SheetTitle) -> None:
    """Draw rows into a PNG, written whole or not at all.

    Raises:
        StorageError: If it cannot be written.
    """
    row_inches = THUMB_PIXELS / _DPI
    strips = COLUMNS * row_inches
    width = _NAME_INCHES + strips + _WORDS_INCHES
    height = row_inches * len(rows) + _HEAD_INCHES
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    # straight into the pixels: nothing is resampled
    strip = np.concatenate([row.strip for row in rows])
    figure.figimage(strip, xo=round(_NAME_INCHES * _DPI), yo=0, origin="upper")
    for number, row in enumerate(rows):
        _write_words(figure, row, 1 - (_HEAD_INCHES + number * row_inches) / height)
    heading = f"{_ascii(title.name)}, page {title.page} of {title.pages}"
    figure.text(
        0.1 / width, 1 - 0.12 / height, heading, fontsize=9, va="top", weight="bold", parse_math=False
    )
    _write_legend(figure, title.classes)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", pil_kwargs={"compress_level": 2})


def _write_words(figure: Figure, row: SheetRow, top: float) -> None:
    """Caption left and findings right of a strip whose upper edge is at a height from 0 to 1."""
    width, height = figure.get_size_inches()
    left, right = 0.1 / width, (_NAME_INCHES + COLUMNS * THUMB_PIXELS / _DPI + 0.1) / width
    upper = top - 0.06 / height
    _write(figure, (left, upper), row.caption[0], _NAME_POINTS, weight="bold")
    _write(figure, (left, upper - 0.15 / height), "\n".join(row.caption[1:]), _NAME_POINTS)
    _write(figure, (right, upper), "\n".join(row.words), _WORDS_POINTS)


def _write(
    figure: Figure, at: tuple[float, float], text: str, points: float, *, weight: str = "normal"
) -> None:
    """Text whose upper left corner is at a place from 0 to 1; a dollar sign begins no formula."""
    figure.text(*at, text, fontsize=points, va="top", weight=weight, linespacing=1.25, parse_math=False)


def _write_legend(figure: Figure, classes: Sequence[str]) -> None:
    """Which colour is which class."""
    # a leading space, since names that begin with _ are left out of legends
    handles = [
        Line2D([], [], linewidth=3, color=COLOURS[n % len(COLOURS)], label=f" {_ascii(name)}")
        for n, name in enumerate(classes)
    ]
    if not handles:
        return
    legend = figure.legend(
        handles=handles, loc="upper right", ncols=min(len(handles), 6), fontsize=7.5, frameon=False
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def write_index(path: Path, name: str, pages: Sequence[str], lines: Iterable[str]) -> None:
    """A page that leafs through the pictures: no script, nothing from elsewhere.

    Args:
        path: HTML file beside the pictures.
        name: Of the dataset.
        pages: File names of the pictures.
        lines: What stands above them.

    Raises:
        StorageError: If it cannot be written.
    """
    links = " ".join(f'<a href="#p{n}">{n}</a>' for n in range(1, len(pages) + 1))
    told = "".join(f"<li>{html.escape(line.strip())}</li>" for line in lines)
    figures = "".join(
        f'<figure id="p{n}"><figcaption><a href="#p{max(n - 1, 1)}">back</a> page {n} of {len(pages)} '
        f'<a href="#p{min(n + 1, len(pages))}">next</a> <a href="#top">top</a></figcaption>'
        f'<img src="{html.escape(page)}" loading="lazy" alt="page {n} of the contact sheet"></figure>\n'
        for n, page in enumerate(pages, start=1)
    )
    title = f"{html.escape(name)}: contact sheet of {counted(len(pages), 'page')}"
    write_text_atomic(
        path,
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>'
        "body{font:15px/1.5 system-ui,sans-serif;margin:1rem;background:#fff;color:#222}"
        "figure{margin:0 0 2rem}img{max-width:100%;border:1px solid #ccc}</style></head>\n"
        f'<body id="top"><h1>{title}</h1><ul>{told}</ul><p>{links}</p>\n{figures}</body></html>\n',
    )
