"""Figures of one training size: forest plot, patients, lesions found by size. SVG without a script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from medaug.core.results import Comparison, SizeCount
from medaug.report.drawing import Drawing, Scale, line, text, width_of
from medaug.report.verdict import MINUS, interval_text, p_text, share_text, signed, tone_of

MARK_WIDTH, MARK_HEIGHT = 250, 26
_GOLDEN = 0.6180339887
_ROW, _HEADING = 22.0, 26.0
# Columns of figures beside a forest plot: heading and width in pixels
_COLUMNS = (("n", 34), ("mean (95% CI)", 172), ("coverage", 62), ("p Holm", 58), ("MDE", 50), ("verdict", 92))
_CELL_WIDTH, _CELL_HEIGHT = 92.0, 30.0


def forest_scale(comparisons: Sequence[Comparison]) -> Scale:
    """An axis around 0 that holds all intervals, or most where a few reach twice as far: those end in arrows."""
    reach = sorted(max(abs(c.ci_low), abs(c.ci_high)) for c in comparisons) or [0.1]
    usual = reach[int(0.9 * (len(reach) - 1))]
    half = float(np.clip(1.1 * (reach[-1] if reach[-1] <= 2 * usual else usual), 0.05, 1.0))
    return Scale(-half, half, 8.0, MARK_WIDTH - 8.0)


def forest_mark(scale: Scale, comparison: Comparison) -> Drawing:
    """One row of a forest plot: interval, mean, the line of no difference."""
    body = line("zero", (scale.at(0), 0), (scale.at(0), MARK_HEIGHT)) + _interval(
        scale, comparison, MARK_HEIGHT / 2
    )
    low, high = comparison.ci_low, comparison.ci_high
    label = f"difference {comparison.mean_difference:+.3f}, 95% interval {low:+.3f} to {high:+.3f}"
    return Drawing("forest", MARK_WIDTH, MARK_HEIGHT, label, body)


def _interval(scale: Scale, c: Comparison, y: float) -> str:
    """Interval and mean at a height; an interval that leaves the axis ends in an arrow."""
    a, b = scale.at(c.ci_low), scale.at(c.ci_high)
    parts = [line("ci", (a, y), (b, y))]
    for value, x, turn in ((c.ci_low, a, 1), (c.ci_high, b, -1)):
        if scale.low <= value <= scale.high:
            parts.append(line("ci", (x, y - 4), (x, y + 4)))
        else:
            parts.append(
                f'<path class="ci" d="M{x + 6 * turn:.1f} {y - 4:.1f} L{x:.1f} {y:.1f} l{6 * turn} 4"/>'
            )
    parts.append(
        f'<rect class="mean" x="{scale.at(c.mean_difference) - 4:.1f}" y="{y - 4:.1f}" width="8" height="8"/>'
    )
    return f'<g class="{tone_of(c)}">{"".join(parts)}</g>'


def forest_axis(scale: Scale) -> Drawing:
    """The axis under the marks of a table."""
    return Drawing("forest", MARK_WIDTH, 20, "axis: difference in Dice", _difference_axis(scale, 1))


def _difference_axis(scale: Scale, y: float) -> str:
    parts = [line("axis", (scale.first, y), (scale.last, y))]
    for tick in scale.ticks():
        words = "0" if tick == 0 else f"{tick:+g}".replace("-", MINUS)
        parts.append(line("axis", (scale.at(tick), y), (scale.at(tick), y + 4)))
        parts.append(text("tick", scale.at(tick), y + 15, words, "middle"))
    return "".join(parts)


def forest(groups: Sequence[tuple[str, Sequence[Comparison]]], baseline: str) -> Drawing:
    """A whole forest plot, with its figures in columns, fit for a paper.

    Args:
        groups: Class and its comparisons with one arm.
        baseline: That arm.
    """
    every = [c for _, members in groups for c in members]
    left = 24 + max(width_of(name) for name in (*(c.arm for c in every), *(g[0] for g in groups)))
    inner = forest_scale(every)
    scale = Scale(inner.low, inner.high, left + 8, left + MARK_WIDTH - 8)
    y, parts = 18.0, [_forest_head(left + MARK_WIDTH)]
    for name, members in groups:
        y += _HEADING
        parts.append(text("label strong", 4, y, name))
        for comparison in members:
            y += _ROW
            parts.append(_forest_row(scale, comparison, y, left + MARK_WIDTH))
    bottom = y + 14
    zero = line("zero", (scale.at(0), 26), (scale.at(0), bottom))
    parts.append(_difference_axis(scale, bottom))
    parts.append(text("tick", scale.at(0), bottom + 32, f"difference in Dice from {baseline}", "middle"))
    parts.append(text("tick", scale.first, bottom + 46, "\N{LEFTWARDS ARROW} worse"))
    parts.append(text("tick", scale.last, bottom + 46, "better \N{RIGHTWARDS ARROW}", "end"))
    width = left + MARK_WIDTH + sum(w for _, w in _COLUMNS) + 16
    return Drawing(
        "forest", round(width), round(bottom + 54), f"forest plot against {baseline}", zero + "".join(parts)
    )


def _forest_head(x: float) -> str:
    parts = []
    for heading, width in _COLUMNS:
        x += width
        parts.append(text("tick strong", x, 18, heading, "end"))
    return "".join(parts)


def _forest_row(scale: Scale, c: Comparison, y: float, x: float) -> str:
    words = (
        str(c.n_patients),
        f"{signed(c.mean_difference)} ({interval_text(c)})",
        share_text(c.coverage),
        p_text(c.p_holm),
        "\N{EN DASH}" if c.mde is None else f"{c.mde:.3f}",
        c.verdict,
    )
    parts = [text("label", 16, y, c.arm), _interval(scale, c, y - 4)]
    for shown, (_, width) in zip(words, _COLUMNS, strict=True):
        x += width
        parts.append(text(f"figure {tone_of(c) if shown == c.verdict else ''}".strip(), x, y, shown, "end"))
    return "".join(parts)


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


def dot_plot(strips: Sequence[Strip], quantity: str) -> Drawing:
    """Every patient (or lesion) a dot, row by row, on an axis from 0 to 1."""
    row, left = 34.0, 24 + max(width_of(strip.name, 12.5) for strip in strips)
    width = left + 540
    scale = Scale(0.0, 1.0, left, width - 16.0)
    bottom = row * len(strips) + 8
    parts = []
    for tick in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        parts.append(line("grid", (scale.at(tick), 4), (scale.at(tick), bottom)))
        parts.append(text("tick", scale.at(tick), bottom + 16, f"{tick:g}", "middle"))
    for number, strip in enumerate(strips):
        parts.append(_strip(strip, scale, 6 + row * (number + 0.5), row))
    parts.append(text("tick", (scale.first + scale.last) / 2, bottom + 34, quantity, "middle"))
    return Drawing("dots", round(width), round(bottom + 42), quantity, "".join(parts))


def _strip(strip: Strip, scale: Scale, y: float, row: float) -> str:
    name = "label strong" if strip.is_baseline else "label"
    parts = [text(name, scale.first - 14, y + 4, strip.name, "end")]
    for number, value in enumerate(sorted(strip.values)):
        # a golden-ratio walk spreads equal values evenly and needs no random numbers
        offset = ((number * _GOLDEN) % 1.0 - 0.5) * 0.66 * row
        parts.append(f'<circle class="dot" cx="{scale.at(value):.1f}" cy="{y + offset:.1f}" r="2.6"/>')
    parts.append(line("interval", (scale.at(strip.low), y), (scale.at(strip.high), y)))
    parts.append(f'<path class="mean" d="M{scale.at(strip.mean):.1f} {y - 7:.1f} l5 7 l-5 7 l-5 -7 z"/>')
    return "".join(parts)


def size_matrix(arms: Sequence[tuple[str, Sequence[SizeCount]]], baseline: str, class_name: str) -> Drawing:
    """Share of the reference lesions that were found, by arm and size."""
    bins = sorted({(s.low_mm, s.high_mm) for _, sizes in arms for s in sizes}, key=lambda b: b[0])
    left = 24 + max(width_of(name, 12.5) for name, _ in arms)
    top = 44.0
    middle = left + len(bins) * _CELL_WIDTH / 2
    parts = [text("tick", middle, 14, f"diameter of a {class_name} lesion", "middle")]
    for number, one in enumerate(bins):
        parts.append(text("tick strong", left + (number + 0.5) * _CELL_WIDTH, 34, bin_text(*one), "middle"))
    for number, (name, sizes) in enumerate(arms):
        y = top + number * (_CELL_HEIGHT + 2)
        kind = "label strong" if name == baseline else "label"
        parts.append(text(kind, left - 12, y + _CELL_HEIGHT / 2 + 4, name, "end"))
        found = {(s.low_mm, s.high_mm): s for s in sizes}
        parts += [_cell(found.get(one), left + n * _CELL_WIDTH, y) for n, one in enumerate(bins)]
    width, height = left + len(bins) * _CELL_WIDTH + 8, top + len(arms) * (_CELL_HEIGHT + 2) + 8
    label = f"{class_name} lesions found, by arm and diameter"
    return Drawing("sizes", round(max(width, middle + 110)), round(height), label, "".join(parts))


def _cell(count: SizeCount | None, x: float, y: float) -> str:
    if count is None or count.reference == 0:
        return text("tick", x + _CELL_WIDTH / 2, y + _CELL_HEIGHT / 2 + 4, "none", "middle")
    share = count.found / count.reference
    shape = f'x="{x + 1:.1f}" y="{y:.1f}" width="{_CELL_WIDTH - 2:.1f}" height="{_CELL_HEIGHT:.1f}"'
    tint = f'<rect class="shade" {shape} fill-opacity="{0.06 + 0.6 * share:.2f}"/>'
    percent = text("value", x + _CELL_WIDTH / 2 - 4, y + _CELL_HEIGHT / 2 + 4.5, f"{share:.0%}", "end")
    counts = text(
        "count", x + _CELL_WIDTH / 2 + 2, y + _CELL_HEIGHT / 2 + 4.5, f"{count.found}/{count.reference}"
    )
    return tint + percent + counts


def bin_text(low_mm: float, high_mm: float | None) -> str:
    """A range of diameters in words."""
    if high_mm is None:
        return f"\N{GREATER-THAN OR EQUAL TO} {low_mm:g} mm"
    return f"< {high_mm:g} mm" if low_mm == 0 else f"{low_mm:g}\N{EN DASH}{high_mm:g} mm"
