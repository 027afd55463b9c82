"""Learning curves: mean Dice against the number of annotated patients, on a logarithmic axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, log2
from typing import Final, final

from medaug.core.results import CurvePoint
from medaug.report.drawing import Drawing, Scale, line, text, text_up, width_of

_LEFT, _TOP, _BOTTOM, _PLOT = 52.0, 12.0, 300.0, 310.0
_LEGEND_GAP = 17.0
# Shapes around (0, 0): arms differ in more than colour
MARKS: Final = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
    "M-3.6 -3.6h7.2v7.2h-7.2z",
    "M0 -5l5 5l-5 5l-5 -5z",
    "M0 -5l4.8 8.4h-9.6z",
    "M0 5l-4.8 -8.4h9.6z",
    "M-4.8 0l2.4 -4.2h4.8l2.4 4.2l-2.4 4.2h-4.8z",
    "M-1.5 -4.8h3v3.3h3.3v3h-3.3v3.3h-3v-3.3h-3.3v-3h3.3z",
)
COLOURS: Final = 10


@final
@dataclass(frozen=True, slots=True)
class Line:
    """An arm's curve.

    Attributes:
        name: The arm.
        number: Chooses its colour and mark; 0 is the baseline.
        points: Ordered by patients.
    """

    name: str
    number: int
    points: tuple[CurvePoint, ...]


def learning_curve(lines: Sequence[Line], class_name: str, counted: str) -> Drawing:
    """The curves of one class.

    Args:
        lines: At least one, each with at least one point.
        class_name: The class scored.
        counted: What is counted along the axis, e.g. "annotated patients with nodule".
    """
    points = [p for one in lines for p in one.points]
    across, up = _across(points), _up(points)
    parts = [_grid(across, up, points)]
    parts.append(
        text("tick", (across.first + across.last) / 2, _BOTTOM + 40, f"{counted} (log scale)", "middle")
    )
    parts.append(text_up("tick", 14, (_TOP + _BOTTOM) / 2, f"mean Dice, {class_name}"))
    parts += [_curve(one, across, up, _dodge(n, len(lines), across, points)) for n, one in enumerate(lines)]
    parts.append(_legend(lines, across, up))
    width = across.last + 54 + max(width_of(one.name, 12) for one in lines)
    return Drawing(
        "curve", round(width), round(_BOTTOM + 50), f"learning curves of {class_name}", "".join(parts)
    )


def _across(points: Sequence[CurvePoint]) -> Scale:
    counts = [log2(p.patients) for p in points]
    room = 0.1 * (max(counts) - min(counts)) or 0.5
    return Scale(min(counts) - room, max(counts) + room, _LEFT, _LEFT + _PLOT)


def _up(points: Sequence[CurvePoint]) -> Scale:
    """From tenth to tenth around all intervals."""
    low, high = min(p.ci_low for p in points), max(p.ci_high for p in points)
    return Scale(max(floor(10 * low), 0) / 10, min(ceil(10 * high + 1e-9), 10) / 10, _BOTTOM, _TOP)


def _grid(across: Scale, up: Scale, points: Sequence[CurvePoint]) -> str:
    parts = []
    for tick in up.ticks(6):
        parts.append(line("grid", (across.first, up.at(tick)), (across.last, up.at(tick))))
        parts.append(text("tick", across.first - 8, up.at(tick) + 4, f"{tick:g}", "end"))
    parts.append(line("axis", (across.first, _BOTTOM), (across.last, _BOTTOM)))
    taken = float("-inf")
    for patients, words in sorted({p.patients: _count(p) for p in points}.items()):
        x = across.at(log2(patients))
        parts.append(line("axis", (x, _BOTTOM), (x, _BOTTOM + 5)))
        if x - width_of(words, 11) / 2 > taken:
            parts.append(text("tick", x, _BOTTOM + 19, words, "middle"))
            taken = x + width_of(words, 11) / 2
    return "".join(parts)


def _count(point: CurvePoint) -> str:
    return f"all ({point.patients:g})" if point.n_annotated is None else f"{point.patients:.3g}"


def _dodge(number: int, count: int, across: Scale, points: Sequence[CurvePoint]) -> float:
    """Pixels that an arm is moved aside, so that intervals do not cover each other."""
    places = sorted({across.at(log2(p.patients)) for p in points})
    gap = min((b - a for a, b in pairwise(places)), default=60.0)
    return (number - (count - 1) / 2) * min(5.0, 0.6 * gap / count, 0.16 * _PLOT / count)


def _curve(one: Line, across: Scale, up: Scale, aside: float) -> str:
    at = [(across.at(log2(p.patients)) + aside, up.at(p.mean)) for p in one.points]
    bars = [
        line("bar", (x, up.at(p.ci_low)), (x, up.at(p.ci_high)))
        for (x, _), p in zip(at, one.points, strict=True)
    ]
    path = " L".join(f"{x:.1f} {y:.1f}" for x, y in at)
    marks = [_mark(one.number, x, y) for x, y in at]
    return f'<g class="{_colour(one.number)}">{"".join(bars)}<path class="line" d="M{path}"/>{"".join(marks)}</g>'


def _legend(lines: Sequence[Line], across: Scale, up: Scale) -> str:
    """Names beside the right ends of their curves, moved apart where they would meet."""
    ordered = sorted(lines, key=lambda one: up.at(one.points[-1].mean))
    heights = spread([up.at(one.points[-1].mean) for one in ordered], _LEGEND_GAP, _TOP + 4, _BOTTOM)
    parts, x = [], across.last + 22
    for one, y in zip(ordered, heights, strict=True):
        end = up.at(one.points[-1].mean)
        parts.append(line("leader", (across.last + 2, end), (x - 8, y)))
        kind = "label strong" if one.number == 0 else "label"
        parts.append(f'<g class="{_colour(one.number)}">{_mark(one.number, x, y)}</g>')
        parts.append(text(kind, x + 11, y + 4, one.name))
    return "".join(parts)


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Sorted places moved apart to at least ``gap``, kept above ``high`` where there is room."""
    places: list[float] = []
    for place in wanted:
        places.append(max(place, places[-1] + gap if places else low))
    for n in range(len(places) - 1, -1, -1):
        places[n] = min(places[n], high if n == len(places) - 1 else places[n + 1] - gap)
    return places


def _mark(number: int, x: float, y: float) -> str:
    return f'<path class="mark" transform="translate({x:.1f} {y:.1f})" d="{MARKS[number % len(MARKS)]}"/>'


def _colour(number: int) -> str:
    return f"arm{number % COLOURS}"
