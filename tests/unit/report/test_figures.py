"""Figures are well-formed SVG with the right geometry."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET

import matplotlib.image
import numpy as np
import pytest

from medaug.report.figures import (
    Scale,
    Strip,
    bracketed,
    dot_plot,
    forest_axis,
    forest_mark,
    forest_scale,
    outline,
    overlay,
    png,
)
from tests.unit.report.sample import tile

SVG = "{http://www.w3.org/2000/svg}"


def test_png_holds_the_very_pixels() -> None:
    image = np.arange(35, dtype=np.uint8).reshape(5, 7)
    back = matplotlib.image.imread(io.BytesIO(png(image)), format="png")
    assert np.array_equal(np.rint(back * 255).astype(np.uint8), image)


def test_outline_runs_along_the_pixel_edges() -> None:
    mask = np.zeros((4, 4), dtype=np.uint8)
    mask[1:3, 1:3] = 1
    numbers = [float(n) for n in outline(mask).replace("M", " ").replace("z", " ").replace(",", " ").split()]
    assert min(numbers) == pytest.approx(1.0)
    assert max(numbers) == pytest.approx(3.0)


def test_axis_keeps_zero_in_the_middle_and_ticks_are_round() -> None:
    scale = forest_scale([(-0.02, 0.1), (-0.3, 0.05)])
    assert scale.x(0) == pytest.approx((scale.left + scale.right) / 2)
    assert 0.0 in scale.ticks()
    assert Scale(0.0, 1.0, 0.0, 100.0).ticks(5) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert forest_scale([]).high > 0


def test_an_interval_beyond_the_axis_ends_in_an_arrow() -> None:
    scale = Scale(-0.1, 0.1, 0.0, 200.0)
    inside = ET.fromstring(forest_mark(scale, 0.02, -0.03, 0.07, "none"))
    beyond = ET.fromstring(forest_mark(scale, 0.02, -1.0, 0.07, "harm"))
    assert len(inside.findall(f"{SVG}path")) == 0
    assert len(beyond.findall(f"{SVG}path")) == 1


def test_every_patient_is_a_dot_and_names_are_escaped() -> None:
    drawn = ET.fromstring(dot_plot([Strip("a<b", (0.0, 0.5, 1.0, 0.5), 0.5, 0.2, 0.8, is_baseline=True)]))
    assert len(drawn.findall(f"{SVG}circle")) == 4
    assert "a<b" in [t.text for t in drawn.findall(f"{SVG}text")]


def test_tiles_and_axis_are_well_formed() -> None:
    shown = ET.fromstring(overlay(tile("test", "cgan", 0.5)))
    assert {p.get("class") for p in shown.findall(f"{SVG}path")} == {"reference", "prediction"}
    assert len(ET.fromstring(overlay(tile("synthetic", "cgan"))).findall(f"{SVG}path")) == 1
    assert ET.fromstring(bracketed(tile("real", ""))).find(f"{SVG}path") is not None
    assert len(ET.fromstring(forest_axis(Scale(-0.1, 0.1, 8, 252))).findall(f"{SVG}text")) >= 3
