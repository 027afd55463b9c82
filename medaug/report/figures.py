"""Figures as inline SVG: drawn here stroke by stroke, so that the page needs no script and prints well.

Colours come from the page's style sheet by class name; the figures follow its light and dark form.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import final

import numpy as np
from skimage.measure import find_contours

from medaug.core.gallery import Picture, Tile

FOREST_WIDTH, FOREST_HEIGHT = 260, 26
_GOLDEN = 0.6180339887


@final
@dataclass(frozen=True, slots=True)
class Scale:
    """A linear axis.

    Attributes:
        low: Value at the left end.
        high: Value at the right end.
        left: Pixel of ``low``.
        right: Pixel of ``high``.
    """

    low: float
    high: float
    left: float
    right: float

    def x(self, value: float) -> float:
        """Pixel of a value, kept on the axis."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.left + share * (self.right - self.left)

    def ticks(self, about: int = 4) -> list[float]:
        """Round values inside the axis."""
        raw = (self.high - self.low) / about
        unit = 10 ** np.floor(np.log10(raw))
        step = float(unit * min((1, 2, 5, 10), key=lambda m: abs(m * unit - raw)))
        first = int(np.ceil(self.low / step - 1e-9))
        last = int(np.floor(self.high / step + 1e-9))
        return [round(n * step, 10) for n in range(first, last + 1)]


def forest_scale(limits: Sequence[tuple[float, float]]) -> Scale:
    """An axis around 0 that holds most intervals; the few that reach further end in arrows."""
    reach = sorted(max(abs(low), abs(high)) for low, high in limits)
    usual = reach[int(0.9 * (len(reach) - 1))] if reach else 0.1
    half = float(np.clip(1.15 * usual, 0.05, 1.0))
    return Scale(-half, half, 8.0, FOREST_WIDTH - 8.0)


def forest_mark(scale: Scale, mean: float, low: float, high: float, tone: str) -> str:
    """One row of a forest plot: interval, mean, the line of no difference."""
    middle, zero = FOREST_HEIGHT / 2, scale.x(0)
    parts = [f'<line class="zero" x1="{zero:.1f}" y1="0" x2="{zero:.1f}" y2="{FOREST_HEIGHT}"/>']
    a, b = scale.x(low), scale.x(high)
    parts.append(f'<line class="ci" x1="{a:.1f}" y1="{middle}" x2="{b:.1f}" y2="{middle}"/>')
    for value, x, turn in ((low, a, 1), (high, b, -1)):
        if scale.low <= value <= scale.high:
            parts.append(f'<line class="ci" x1="{x:.1f}" y1="{middle - 4}" x2="{x:.1f}" y2="{middle + 4}"/>')
        else:
            parts.append(
                f'<path class="ci" d="M{x + 6 * turn:.1f} {middle - 4} L{x:.1f} {middle} l{6 * turn} 4"/>'
            )
    x = scale.x(mean)
    parts.append(f'<rect class="mean" x="{x - 4:.1f}" y="{middle - 4}" width="8" height="8"/>')
    label = escape(f"difference {mean:+.3f}, 95% interval {low:+.3f} to {high:+.3f}")
    return _svg(FOREST_WIDTH, FOREST_HEIGHT, f"forest {tone}", label, "".join(parts))


def forest_axis(scale: Scale) -> str:
    """The axis under a forest plot."""
    parts = [f'<line class="axis" x1="{scale.left}" y1="1" x2="{scale.right}" y2="1"/>']
    for tick in scale.ticks():
        x = scale.x(tick)
        parts.append(f'<line class="axis" x1="{x:.1f}" y1="1" x2="{x:.1f}" y2="5"/>')
        text = "0" if tick == 0 else f"{tick:+g}".replace("-", "\N{MINUS SIGN}")
        parts.append(f'<text class="tick" x="{x:.1f}" y="16" text-anchor="middle">{text}</text>')
    return _svg(FOREST_WIDTH, 20, "forest-axis", "axis: difference in Dice", "".join(parts))


@final
@dataclass(frozen=True, slots=True)
class Strip:
    """One row of a dot plot: an arm's patients, its mean and interval."""

    name: str
    values: tuple[float, ...]
    mean: float
    low: float
    high: float
    is_baseline: bool


def dot_plot(strips: Sequence[Strip]) -> str:
    """Every patient a dot, arm by arm, on an axis from 0 to 1."""
    width, row, left = 680, 40, 132
    scale = Scale(0.0, 1.0, left, width - 16.0)
    bottom = row * len(strips) + 6
    parts = []
    for tick in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        x = scale.x(tick)
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="4" x2="{x:.1f}" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>')
    for number, strip in enumerate(strips):
        parts.append(_strip(strip, scale, 6 + row * (number + 0.5), row))
    axis = f'<text class="tick" x="{(left + width) / 2:.0f}" y="{bottom + 32}" text-anchor="middle">Dice of a patient</text>'
    return _svg(width, bottom + 38, "dots", "Dice of every patient by arm", "".join(parts) + axis)


def _strip(strip: Strip, scale: Scale, y: float, row: float) -> str:
    name = "label baseline" if strip.is_baseline else "label"
    parts = [
        f'<text class="{name}" x="{scale.left - 14}" y="{y + 4:.1f}" text-anchor="end">{escape(strip.name)}</text>'
    ]
    for number, value in enumerate(sorted(strip.values)):
        # a golden-ratio walk spreads equal values evenly and needs no random numbers
        offset = ((number * _GOLDEN) % 1.0 - 0.5) * 0.62 * row
        parts.append(f'<circle class="dot" cx="{scale.x(value):.1f}" cy="{y + offset:.1f}" r="2.8"/>')
    a, b, m = scale.x(strip.low), scale.x(strip.high), scale.x(strip.mean)
    parts.append(f'<line class="interval" x1="{a:.1f}" y1="{y:.1f}" x2="{b:.1f}" y2="{y:.1f}"/>')
    parts.append(f'<path class="mean" d="M{m:.1f} {y - 7:.1f} l5 7 l-5 7 l-5 -7 z"/>')
    return "".join(parts)


def overlay(tile: Tile) -> str:
    """A slice with the outlines of the reference and of the prediction."""
    rows, columns = tile.image.shape
    outlines = "".join(
        f'<path class="{name}" d="{outline(mask)}"/>'
        for name, mask in (("reference", tile.reference), ("prediction", tile.prediction))
        if mask.any()
    )
    label = f"{tile.facts.class_name} in {tile.facts.case_id}, reference and prediction outlined"
    return _svg(columns, rows, "tile", escape(label), picture(tile.image) + outlines)


def bracketed(tile: Tile) -> str:
    """A slice with four corners around the lesion, which is left uncovered."""
    rows, columns = tile.image.shape
    ys, xs = np.nonzero(tile.reference)
    margin = 0.06 * columns + 1
    left, right = max(float(xs.min()) - margin, 1), min(float(xs.max()) + 1 + margin, columns - 1)
    top, bottom = max(float(ys.min()) - margin, 1), min(float(ys.max()) + 1 + margin, rows - 1)
    arm = 0.06 * columns
    corners = "".join(
        f"M{x + arm * dx:.1f} {y:.1f} L{x:.1f} {y:.1f} L{x:.1f} {y + arm * dy:.1f} "
        for x, dx in ((left, 1), (right, -1))
        for y, dy in ((top, 1), (bottom, -1))
    )
    label = escape(f"{tile.facts.kind} lesion of class {tile.facts.class_name}")
    return _svg(columns, rows, "tile", label, picture(tile.image) + f'<path class="corner" d="{corners}"/>')


def outline(mask: Picture) -> str:
    """SVG path around the pixels of a mask; pixel (0, 0) covers the square from 0 to 1."""
    paths = []
    for contour in find_contours(np.pad(mask, 1).astype(np.float32), 0.5):
        points = " ".join(f"{x - 0.5:.1f},{y - 0.5:.1f}" for y, x in contour)
        paths.append(f"M{points} z")
    return " ".join(paths)


def picture(image: Picture) -> str:
    """An SVG image element that holds a grey PNG."""
    rows, columns = image.shape
    encoded = base64.b64encode(png(image)).decode("ascii")
    return f'<image width="{columns}" height="{rows}" href="data:image/png;base64,{encoded}"/>'


def png(image: Picture) -> bytes:
    """An 8-bit grey PNG (ISO/IEC 15948)."""
    rows, columns = image.shape
    lines = b"".join(b"\x00" + line.tobytes() for line in np.ascontiguousarray(image))
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def _svg(width: float, height: float, name: str, label: str, body: str) -> str:
    return (
        f'<svg class="{name}" viewBox="0 0 {width} {height}" role="img" aria-label="{label}" '
        f'xmlns="http://www.w3.org/2000/svg">{body}</svg>'
    )
