"""A sheet of what augmentation does to one case: a row a step, stronger from left to right.

The sheet shows a patient: it stays where it is made.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, final

import numpy as np
import torch
from jaxtyping import Float, UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from medaug.core.case import Case
from medaug.core.geometry import Box
from medaug.core.intensity import CaseScale, IntensityScheme
from medaug.core.seeding import SeedTree
from medaug.core.storage import atomic_path
from medaug.core.volume import LabelMap, Volume
from medaug.engine.warp import Resampling, warp_images
from medaug.io.thumbnails import THUMB_PIXELS, draw_thumb, grey_window
from medaug.transforms import Dims, Facts, SpatialStep, Step, change_case, compose, in_words

MAGNITUDES: Final = (0.3, 0.6, 1.0)
_DPI, _NAME_INCHES, _CAPTION_INCHES, _HEAD_INCHES = 120, 2.0, 0.42, 0.55
_NAME_LETTERS, _CAPTION_LETTERS, _CAPTION_LINES = 34, 34, 4
# Slices on either side of the shown one that a step out of plane may bring into it
_SLICES = 24
# Draws of which the one that changes most at full magnitude is shown
_TRIES = 3
_GRID_CELLS = 10

Picture = UInt8[np.ndarray, "rows columns 3"]


@final
@dataclass(frozen=True, slots=True, eq=False)
class StepRow:
    """A step as it is drawn.

    Attributes:
        name: Of the step.
        meaning: What it does and what magnitude 1 means.
        pictures: Before, after at each magnitude, and what changed.
        captions: One a picture.
    """

    name: str
    meaning: str
    pictures: tuple[Picture, ...]
    captions: tuple[str, ...]


@final
class Preview:
    """Draws steps on one slice of a case, the one with most of its label.

    Args:
        case: Native units.
        dims: 3 to change the volume around the slice, 2 for the slice alone.
        seed: Where parameters come from.
        side: Pixels of a picture.
    """

    def __init__(self, case: Case, dims: Dims, seed: SeedTree, side: int = THUMB_PIXELS) -> None:
        self._dims, self._seed, self._side = dims, seed, side
        low, high, self.window = grey_window(case.volume)
        self._low, self._size = low, max(high - low, 1e-6)
        self.slice = _fullest_slice(case)
        start = max(0, self.slice - _SLICES) if dims == 3 else self.slice
        stop = self.slice + (_SLICES if dims == 3 else 0) + 1
        self._case, self._k = _cut(case, start, stop), self.slice - start

    def row(self, kind: type[Step], how: Resampling) -> StepRow:
        """Draw a step at each magnitude, its direction and place the same."""
        before = self._picture(self._case)
        draw = self._strongest(kind, how)
        pictures, captions = [before], ["before"]
        steps = [draw(magnitude) for magnitude in MAGNITUDES]
        for magnitude, step in zip(MAGNITUDES, steps, strict=True):
            pictures.append(self._picture(self._changed(step, how)))
            captions.append(f"{magnitude:g}: {in_words(step, self._dims)}")
        last = steps[-1]
        if isinstance(last, SpatialStep):
            pictures.append(self._grid(last))
            captions.append("a straight grid, moved as at 1")
        else:
            picture, caption = self._difference(self._changed(last, how))
            pictures.append(picture)
            captions.append(caption)
        meaning = " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())
        name = str(kind.model_fields["kind"].default)
        return StepRow(name, meaning, tuple(pictures), tuple(captions))

    def _strongest(self, kind: type[Step], how: Resampling) -> Callable[[float], Step]:
        """The one of a few draws that changes most at full magnitude: a uniform draw may be next to nothing."""
        facts = self._facts()
        seeds = [self._seed.child(kind.__name__, n) for n in range(_TRIES)]
        plain = self._case.volume.image[..., self._k]
        changes = [
            float(
                np.abs(
                    self._changed(kind.draw(1.0, s.rng(), facts), how).volume.image[..., self._k] - plain
                ).mean()
            )
            for s in seeds
        ]
        chosen = seeds[int(np.argmax(changes))]
        return lambda magnitude: kind.draw(magnitude, chosen.rng(), facts)

    def _facts(self) -> Facts:
        grid = self._case.volume.grid
        return Facts(grid.shape[: self._dims], grid.spacing_mm[: self._dims], self._case.volume.unit)

    def _changed(self, step: Step, how: Resampling) -> Case:
        return change_case(self._case, [(step,)], how, self._dims)

    def _picture(self, case: Case) -> Picture:
        grey = np.clip((case.volume.image[0, :, :, self._k] - self._low) / self._size, 0, 1)
        return self._thumb(grey, _labels(case)[:, :, self._k])

    def _difference(self, case: Case) -> tuple[Picture, str]:
        """Grey where nothing changed; the range is that of the changes, since those of HU are small in any window."""
        change = (case.volume.image - self._case.volume.image)[0, :, :, self._k]
        most = max(float(np.percentile(np.abs(change), 99.5)), 1e-6)
        picture = self._thumb(np.clip(0.5 + 0.5 * change / most, 0, 1), np.zeros(change.shape, np.uint8))
        return picture, f"change at 1: black {-most:.3g}, white {most:+.3g} {case.volume.unit}"

    def _grid(self, step: SpatialStep) -> Picture:
        """Lines at equal distances, moved by the step; smooth where the step is."""
        facts = self._facts()
        lines = _lines(facts)
        warp = compose((step,), facts)
        moved = warp_images(torch.from_numpy(lines)[None, None], [warp], Resampling(padding="zeros"))[
            0, 0
        ].numpy()
        plane = moved[..., self._k] if self._dims == 3 else moved
        return self._thumb(np.clip(plane, 0, 1), np.zeros(plane.shape, np.uint8))

    def _thumb(self, grey: Float[np.ndarray, "I J"], labels: np.ndarray) -> Picture:
        spacing = self._case.volume.grid.spacing_mm
        return draw_thumb(grey, labels, spacing[0], spacing[1], self._side)


def _labels(case: Case) -> np.ndarray:
    return np.zeros(case.volume.grid.shape, np.uint8) if case.label_map is None else case.label_map.labels


def _fullest_slice(case: Case) -> int:
    """The slice with most labelled voxels; the middle one where there is none."""
    areas = np.count_nonzero(_labels(case), axis=(0, 1))
    return int(np.argmax(areas)) if areas.any() else case.volume.grid.shape[2] // 2


def _cut(case: Case, start: int, stop: int) -> Case:
    """Some slices of a case, its first channel alone, which keeps the scale that it has in the whole."""
    shape = case.volume.grid.shape
    box = Box((0, 0, start), (shape[0], shape[1], min(stop, shape[2])))
    labels: LabelMap | None = None if case.label_map is None else case.label_map.crop(box)
    scale = case.scale or IntensityScheme.for_volume(case.volume).case_scale(case.volume)
    first = CaseScale(scale.offset[:1], scale.factor[:1], scale.low[:1], scale.high[:1])
    part = case.volume.crop(box)
    volume = Volume(part.image[:1], part.grid, part.unit, part.channels[:1], part.spacing_known)
    return replace(case, volume=volume, label_map=labels, scale=first)


def _lines(facts: Facts) -> Float[np.ndarray, "*S"]:
    """White lines on black across I and J, two thumbnail pixels wide at least."""
    extent = [n * s for n, s in zip(facts.shape[:2], facts.spacing_mm[:2], strict=True)]
    cell, width = max(extent) / _GRID_CELLS, max(2.5 * max(extent) / THUMB_PIXELS, *facts.spacing_mm[:2])
    on = [
        (np.arange(n) * s) % cell < width for n, s in zip(facts.shape[:2], facts.spacing_mm[:2], strict=True)
    ]
    plane = (on[0][:, None] | on[1][None, :]).astype(np.float32)
    return plane if len(facts.shape) == 2 else np.repeat(plane[..., None], facts.shape[2], axis=2)


def write_preview(path: Path, rows: Sequence[StepRow], title: str) -> None:
    """Draw rows into a PNG, written whole or not at all.

    Raises:
        StorageError: If it cannot be written.
    """
    thumb = THUMB_PIXELS / _DPI
    row_inches, columns = thumb + _CAPTION_INCHES, len(MAGNITUDES) + 2
    width, height = _NAME_INCHES + columns * thumb, _HEAD_INCHES + len(rows) * row_inches
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    heading = "\n".join(textwrap.wrap(title, 130))
    figure.text(0.1 / width, 1 - 0.1 / height, heading, fontsize=8, va="top", weight="bold", parse_math=False)
    for number, row in enumerate(rows):
        top = height - _HEAD_INCHES - number * row_inches
        strip = np.concatenate(row.pictures, axis=1)
        # straight into the pixels: nothing is resampled
        figure.figimage(strip, xo=round(_NAME_INCHES * _DPI), yo=round((top - thumb) * _DPI), origin="upper")
        _write(figure, (0.1, top - 0.05), row.name.replace("_", " "), 8.0, weight="bold")
        _write(figure, (0.1, top - 0.24), "\n".join(textwrap.wrap(row.meaning, _NAME_LETTERS)), 6.0)
        for column, caption in enumerate(row.captions):
            lines = textwrap.wrap(caption, _CAPTION_LETTERS)[:_CAPTION_LINES]
            _write(figure, (_NAME_INCHES + column * thumb + 0.04, top - thumb - 0.04), "\n".join(lines), 5.5)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", pil_kwargs={"compress_level": 6})


def _write(
    figure: Figure, at: tuple[float, float], text: str, points: float, *, weight: str = "normal"
) -> None:
    """Text whose upper left corner is at a place in inches."""
    width, height = figure.get_size_inches()
    figure.text(
        at[0] / width,
        at[1] / height,
        text,
        fontsize=points,
        va="top",
        weight=weight,
        linespacing=1.2,
        parse_math=False,
    )
