"""What every figure stands on: axes, text, and an SVG that is part of the page or a file of its own.

Colours come from ``palette.css`` by class name. On the page they follow its light and dark form; in a file they are
written out, in the light form, since programs that set papers read no variables.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files
from typing import final

import numpy as np

_MM_A_PIXEL = 25.4 / 96  # CSS Values and Units 4, section 6.2
_WIDEST_MM = 180.0  # two columns of a journal's page
_LETTER = 0.56  # mean width of a letter in a sans serif face, in font sizes


@final
@dataclass(frozen=True, slots=True)
class Scale:
    """A linear axis, across or up.

    Attributes:
        low: Value at the first end.
        high: Value at the other end.
        first: Pixel of ``low``.
        last: Pixel of ``high``.
    """

    low: float
    high: float
    first: float
    last: float

    def at(self, value: float) -> float:
        """Pixel of a value, kept on the axis."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.first + share * (self.last - self.first)

    def ticks(self, about: int = 4) -> list[float]:
        """Round values inside the axis."""
        raw = (self.high - self.low) / about
        unit = 10 ** np.floor(np.log10(raw))
        step = float(unit * min((1, 2, 5, 10), key=lambda m: abs(m * unit - raw)))
        first = int(np.ceil(self.low / step - 1e-9))
        last = int(np.floor(self.high / step + 1e-9))
        return [round(n * step, 10) for n in range(first, last + 1)]


@final
@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure before it is put anywhere.

    Attributes:
        kind: Class of the SVG, which styles it.
        width: In pixels.
        height: In pixels.
        label: What it shows, for those who do not see it.
        body: SVG elements.
    """

    kind: str
    width: float
    height: float
    label: str
    body: str

    def inline(self) -> str:
        """As part of the page: never wider than it is drawn."""
        size = f'width="{self.width:g}" height="{self.height:g}"'
        return f"<svg {size} {self._head()}>{self.body}</svg>"

    def file(self) -> str:
        """As a file of its own: at most 180 mm wide, with its style inside, on white."""
        scale = min(_MM_A_PIXEL, _WIDEST_MM / self.width)
        size = f'width="{self.width * scale:.1f}mm" height="{self.height * scale:.1f}mm"'
        paper = f'<rect width="{self.width:g}" height="{self.height:g}" fill="#fff"/>'
        style = f"<style>{_written_out()}</style>"
        return f"<svg {size} {self._head()}>{style}{paper}{self.body}</svg>\n"

    def _head(self) -> str:
        box = f'viewBox="0 0 {self.width:g} {self.height:g}"'
        label = escape(self.label)
        return f'class="{self.kind}" {box} role="img" aria-label="{label}" xmlns="http://www.w3.org/2000/svg"'


@cache
def _written_out() -> str:
    """The figures' style with the light colours in place of variables."""
    palette, style = (style_sheet(name) for name in ("palette.css", "figure.css"))
    light = dict(re.findall(r"--([\w-]+):\s*([^;]+);", palette.split("}")[0]))
    return " ".join(re.sub(r"var\(--([\w-]+)\)", lambda found: light[found[1]], style).split())


def style_sheet(name: str) -> str:
    """A style sheet of the page."""
    return files("medaug.report").joinpath("templates", name).read_text(encoding="utf-8")


def line(kind: str, start: tuple[float, float], end: tuple[float, float]) -> str:
    """A straight line."""
    (x1, y1), (x2, y2) = start, end
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def text(kind: str, x: float, y: float, words: str, anchor: str = "start") -> str:
    """One line of text; ``anchor`` is start, middle or end."""
    held = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}"{held}>{escape(words)}</text>'


def text_up(kind: str, x: float, y: float, words: str) -> str:
    """One line of text that runs upwards, its middle at (x, y)."""
    turned = f'transform="rotate(-90 {x:.1f} {y:.1f})"'
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="middle" {turned}>{escape(words)}</text>'
    )


def width_of(words: str, size: float = 12.0) -> float:
    """About how many pixels a line of text takes."""
    return _LETTER * size * len(words)
