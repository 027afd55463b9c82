"""Slices with outlines."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET

import matplotlib.image
import numpy as np
import pytest

from medaug.report.tiles import bracketed, outline, overlay, png
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


def test_tiles_are_well_formed() -> None:
    shown = ET.fromstring(overlay(tile("test", "cgan", 0.5)))
    assert {p.get("class") for p in shown.findall(f"{SVG}path")} == {"reference", "prediction"}
    assert len(ET.fromstring(overlay(tile("synthetic", "cgan"))).findall(f"{SVG}path")) == 1
    assert ET.fromstring(bracketed(tile("real", ""))).find(f"{SVG}path") is not None
