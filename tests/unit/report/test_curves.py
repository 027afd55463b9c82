"""Learning curves on a logarithmic axis, with a legend that can be read."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from medaug.core.results import CurvePoint
from medaug.report.curves import COLOURS, MARKS, Line, learning_curve, spread

SVG = "{http://www.w3.org/2000/svg}"


def point(patients: float, mean: float, n_annotated: int | None = 8) -> CurvePoint:
    return CurvePoint(
        arm="a",
        n_annotated=n_annotated,
        patients=patients,
        class_name="solid",
        mean=mean,
        ci_low=mean - 0.05,
        ci_high=mean + 0.05,
    )


def drawn(*lines: Line) -> ET.Element:
    return ET.fromstring(learning_curve(lines, "solid", "annotated patients").inline())


def test_doubling_is_one_step_to_the_right() -> None:
    root = drawn(Line("classical", 0, (point(4, 0.3), point(8, 0.4), point(16, 0.5))))
    bars = [float(bar.attrib["x1"]) for bar in root.findall(f".//{SVG}line[@class='bar']")]
    assert bars[1] - bars[0] == pytest.approx(bars[2] - bars[1], abs=0.2)
    words = {t.text for t in root.iter(f"{SVG}text")}
    assert {"4", "8", "16", "mean Dice, solid", "annotated patients (log scale)", "classical"} <= words


def test_all_patients_are_called_so() -> None:
    root = drawn(Line("classical", 0, (point(8, 0.3), point(33.6, 0.4, None))))
    assert "all (33.6)" in {t.text for t in root.iter(f"{SVG}text")}


def test_every_arm_has_its_line_intervals_and_name_inside_the_figure() -> None:
    lines = [Line(f"arm_{n}", n, (point(4, 0.5), point(8, 0.5 + n / 1000))) for n in range(12)]
    root = drawn(*lines)
    assert len(root.findall(f".//{SVG}path[@class='line']")) == 12
    assert len(root.findall(f".//{SVG}line[@class='bar']")) == 24
    names = [t for t in root.iter(f"{SVG}text") if (t.text or "").startswith("arm_")]
    heights = sorted(float(t.attrib["y"]) for t in names)
    assert all(b - a >= 16.9 for a, b in pairwise(heights))
    assert heights[-1] < float(root.attrib["viewBox"].split()[3])
    looks = {(n % COLOURS, n % len(MARKS)) for n in range(60)}
    assert len(looks) == 60


def test_one_point_is_drawn_too() -> None:
    assert drawn(Line("classical", 0, (point(8, 0.3),))) is not None


def test_places_are_moved_apart_only_where_they_must_be() -> None:
    assert spread([10, 50, 90], 15, 0, 100) == [10, 50, 90]
    assert spread([90, 95, 99], 15, 0, 100) == [70, 85, 100]
