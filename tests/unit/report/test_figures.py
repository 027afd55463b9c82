"""Forest, patients and lesions by size: well-formed SVG with the right geometry."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from medaug.core.results import Comparison, SizeCount
from medaug.report.drawing import Drawing, Scale
from medaug.report.figures import (
    Strip,
    bin_text,
    dot_plot,
    forest,
    forest_axis,
    forest_mark,
    forest_scale,
    size_matrix,
)
from tests.unit.report.sample import comparison

SVG = "{http://www.w3.org/2000/svg}"


def parsed(drawing: Drawing) -> ET.Element:
    return ET.fromstring(drawing.inline())


def words(drawing: Drawing) -> list[str]:
    return [t.text or "" for t in parsed(drawing).iter(f"{SVG}text")]


def reaching(low: float, high: float) -> Comparison:
    return comparison("cgan", "solid", 0.02, "harm").model_copy(update={"ci_low": low, "ci_high": high})


def test_axis_keeps_zero_in_the_middle_and_ticks_are_round() -> None:
    scale = forest_scale([reaching(-0.02, 0.1), reaching(-0.3, 0.05)])
    assert scale.at(0) == pytest.approx((scale.first + scale.last) / 2)
    assert 0.0 in scale.ticks()
    assert scale.high >= 0.1
    assert forest_scale([]).high > 0


def test_an_axis_is_not_stretched_by_one_wide_interval() -> None:
    usual = [reaching(-0.1, 0.1)] * 9
    assert forest_scale([*usual, reaching(-0.9, 0.1)]).high < 0.2
    assert forest_scale([*usual, reaching(-0.19, 0.1)]).high > 0.19


def test_an_interval_beyond_the_axis_ends_in_an_arrow() -> None:
    scale = Scale(-0.1, 0.1, 0.0, 200.0)
    inside, beyond = (parsed(forest_mark(scale, reaching(low, 0.07))) for low in (-0.03, -1.0))
    assert len(inside.findall(f".//{SVG}path")) == 0
    assert len(beyond.findall(f".//{SVG}path")) == 1
    assert inside.find(f"{SVG}g[@class='harm']") is not None


def test_a_whole_forest_has_every_figure_of_every_comparison() -> None:
    rows = [comparison("cgan", "solid", 0.05, "gain"), comparison("real", "solid", -0.2, "harm")]
    drawing = forest([("solid", rows), ("part & solid", rows[:1])], "classical")
    seen = words(drawing)
    for said in ("part & solid", "+0.050 (+0.010 to +0.090)", "−0.200 (−0.240 to −0.160)", "8", "0.030", "0.061",
                 "gain", "harm", "difference in Dice from classical"):  # fmt: skip
        assert said in seen, said
    assert len(parsed(drawing).findall(f".//{SVG}rect[@class='mean']")) == 3
    known = rows[0].model_copy(update={"coverage": 0.934})
    assert "93%" in words(forest([("solid", [known])], "classical"))


def test_every_patient_is_a_dot_and_names_are_escaped() -> None:
    strip = Strip("a<b", (0.0, 0.5, 1.0, 0.5), 0.5, 0.2, 0.8, is_baseline=True)
    drawing = dot_plot([strip], "Dice of a patient, solid")
    assert len(parsed(drawing).findall(f"{SVG}circle")) == 4
    assert "a<b" in words(drawing)
    assert "Dice of a patient, solid" in words(drawing)
    xs = sorted(float(c.attrib["cx"]) for c in parsed(drawing).findall(f"{SVG}circle"))
    assert xs[1] - xs[0] == pytest.approx(xs[3] - xs[2], abs=0.2)


def test_lesions_by_size_say_share_and_count() -> None:
    small = SizeCount(low_mm=0, high_mm=6, reference=8, found=2)
    large = SizeCount(low_mm=20, high_mm=None, reference=0, found=0)
    drawing = size_matrix([("classical", (small, large)), ("cgan", (small,))], "classical", "solid")
    seen = words(drawing)
    assert seen.count("25%") == seen.count("2/8") == 2
    assert seen.count("none") == 2
    assert {"< 6 mm", "≥ 20 mm"} <= set(seen)
    assert bin_text(6, 10) == "6–10 mm"


def test_an_axis_is_well_formed() -> None:
    assert len(parsed(forest_axis(Scale(-0.1, 0.1, 8, 252))).findall(f"{SVG}text")) >= 3
