"""Axes, and figures as files of their own."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from medaug.report.drawing import Drawing, Scale, text_up

SVG = "{http://www.w3.org/2000/svg}"


def test_ticks_are_round_and_an_axis_may_run_upwards() -> None:
    assert Scale(0.0, 1.0, 0.0, 100.0).ticks(5) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    up = Scale(0.0, 1.0, 300.0, 0.0)
    assert (up.at(0.0), up.at(0.5), up.at(9.0)) == (300.0, 150.0, 0.0)


@pytest.mark.parametrize(("width", "millimetres"), [(340, 89.96), (2000, 180.0)])
def test_a_file_has_its_own_style_and_fits_a_page(width: float, millimetres: float) -> None:
    drawing = Drawing("dots", width, 100, 'a "title" & more', text_up("tick", 1, 2, "x < y"))
    root = ET.fromstring(drawing.file())
    assert float(root.attrib["width"].removesuffix("mm")) == pytest.approx(millimetres, abs=0.05)
    assert root.attrib["viewBox"] == f"0 0 {width} 100"
    style = root.findtext(f"{SVG}style") or ""
    assert ".dots .dot { fill: #1f5673;" in style
    assert "var(" not in style
    assert "http" not in style
    assert "<style" not in drawing.inline()
    assert root.attrib["aria-label"] == 'a "title" & more'
