"""The page as Chromium shows it: nothing loaded, nothing complained about, every figure seen, nothing sticks out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from medaug.report.files import figure_files
from medaug.report.html import Evidence, render
from medaug.report.panels import Panels
from tests.browser import CHROMIUM, WHY_SKIPPED, Page, browser
from tests.unit.report.big import big_result, big_tiles
from tests.unit.report.sample import CONTEXT, RECORD, TILES, result

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=WHY_SKIPPED)

# 9 arms x 4 classes x 3 sizes: curves, forest marks and axes, patients, lesions by size, tiles
FIGURES = 4 + 3 * (8 * 4 + 1 + 4 + 1) + 3 * 4 + 3 * 4 + 3 * 3 * 9 * 3 + 3 * 6 * 2
SEEN = """[...document.querySelectorAll('svg')].filter(svg => {
  const box = svg.getBoundingClientRect();
  return svg.checkVisibility() && box.width > 20 && box.height > 9;
}).length"""
OVERFLOW = "document.documentElement.scrollWidth - window.innerWidth"
# texts that reach out of their figure, with half a letter of tolerance
CUT = """[...document.querySelectorAll('svg:not(.tile)')].flatMap(svg => [...svg.querySelectorAll('text')].filter(text => {
  const box = text.getBoundingClientRect(), paper = svg.getBoundingClientRect();
  return box.left < paper.left - 4 || box.right > paper.right + 4 || box.top < paper.top - 4 || box.bottom > paper.bottom + 4;
}).map(text => svg.getAttribute('class') + ': ' + text.textContent))"""
# texts of one figure that lie on each other
MET = """[...document.querySelectorAll('svg:not(.tile)')].flatMap(svg => {
  const boxes = [...svg.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
  return boxes.flatMap(([a, p], n) => boxes.slice(n + 1).filter(([b, q]) =>
    p.left < q.right - 1 && q.left < p.right - 1 && p.top < q.bottom - 4 && q.top < p.bottom - 4).map(([b]) => a + ' on ' + b));
})"""
A4 = 680  # pixels between the margins of an upright page
COLOURS = "(() => { const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]; })()"
UNFOLD = "document.querySelectorAll('details').forEach(d => d.open = true)"


@pytest.fixture(scope="module")
def opened() -> Iterator[Page]:
    with browser() as one:
        yield one


@pytest.fixture
def page(opened: Page) -> Page:
    opened.dress()
    opened.complaints.clear()
    opened.requests.clear()
    return opened


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(Evidence(big_result(), RECORD, CONTEXT, big_tiles(), files="report_files")))
    return path


def test_every_figure_is_seen_and_nothing_is_loaded_or_complained_about(page: Page, large: Path) -> None:
    page.resize(1280)
    page.open(large)
    page.value(UNFOLD)
    assert page.value(SEEN) == FIGURES
    assert page.complaints == []
    assert {url for url in page.requests if not url.startswith("data:image/png")} == {large.as_uri()}
    assert page.value(CUT) == []
    assert page.value(MET) == []


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_sticks_out(page: Page, large: Path, width: int) -> None:
    page.resize(width)
    page.open(large)
    assert page.value(OVERFLOW) <= 0
    page.value(UNFOLD)
    assert page.value(OVERFLOW) <= 0


def test_paper_is_wide_enough(page: Page, large: Path) -> None:
    page.resize(A4)
    page.open(large)
    page.dress(printed=True)
    assert page.value(OVERFLOW) <= 0


def test_the_dark_form_is_dark_and_paper_shows_what_is_folded(page: Page, large: Path) -> None:
    page.resize(1280)
    page.open(large)
    paper, ink = page.value(COLOURS)
    page.dress(dark=True)
    assert page.value(COLOURS) == ["rgb(20, 22, 26)", "rgb(230, 230, 226)"]
    assert (paper, ink) == ("rgb(253, 253, 251)", "rgb(27, 29, 33)")
    folded = page.value(SEEN)
    page.dress(printed=True)
    assert page.value(COLOURS) == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]
    assert folded < page.value(SEEN) == FIGURES


def test_small_and_empty_experiments_are_pages_too(page: Page, tmp_path: Path) -> None:
    nothing = {"rows": (), "scores": (), "comparisons": (), "costs": (), "cells_done": 0, "complete": False}
    page.resize(360)
    for name, made, tiles in (
        ("small", result(), TILES),
        ("running", result(complete=False), ()),
        ("none", result().model_copy(update=nothing), ()),
    ):
        path = tmp_path / f"{name}.html"
        path.write_text(render(Evidence(made, RECORD, CONTEXT, tiles)))
        page.open(path)
        page.value(UNFOLD)
        assert page.value(OVERFLOW) <= 0, name
        assert page.value(CUT) == [], name
        assert page.value(SEEN) == page.value("document.querySelectorAll('svg').length"), name
    assert page.complaints == []


def test_every_svg_file_stands_alone(page: Page, tmp_path: Path) -> None:
    made = figure_files(Panels(big_result()))
    page.resize(1280)
    for name in (
        "forest_n8_vs_classical",
        "learning_curve_ground_glass",
        "patients_n8_solid",
        "found_by_size_n8_solid",
    ):
        path = tmp_path / f"{name}.svg"
        path.write_text(made[f"{name}.svg"])
        page.open(path)
        assert page.value("document.documentElement.getBoundingClientRect().width") > 300, name
        assert page.value("document.documentElement.getBoundingClientRect().width") < 681, name
        assert page.value("getComputedStyle(document.querySelector('.label')).fill") == "rgb(27, 29, 33)", (
            name
        )
        assert page.value(CUT) == [], name
        assert page.value(MET) == [], name
    assert page.complaints == []
