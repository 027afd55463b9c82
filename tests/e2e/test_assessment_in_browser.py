"""The page of an assessment as Chromium shows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from medaug.report.assessment import render_assessment
from medaug.report.html import Evidence, render
from tests.browser import CHROMIUM, WHY_SKIPPED, Page, browser
from tests.e2e.test_report_in_browser import A4, COLOURS, CUT, MET, OVERFLOW, SEEN, UNFOLD
from tests.unit.report.assessed import assessment, audit, quality
from tests.unit.report.sample import CONTEXT, RECORD, TILES, result

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=WHY_SKIPPED)
# pairs of intervals, bars of shares, the plot of scores
FIGURES = 3 * (12 + 5 + 2) + 4 + 1
PICTURES = "[...document.querySelectorAll('img')].filter(i => i.complete && i.naturalWidth > 20).length"


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser() as one:
        yield one


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("assessment") / "assessment.html"
    path.write_text(render_assessment(assessment(audit=audit("fail", "fail", copied=17))))
    return path


def test_every_figure_is_seen_and_nothing_is_loaded_or_complained_about(page: Page, written: Path) -> None:
    page.resize(1280)
    page.open(written)
    page.value(UNFOLD)
    assert page.value(SEEN) == FIGURES
    assert page.value(PICTURES) == 1
    assert page.complaints == []
    assert {url for url in page.requests if not url.startswith("data:image/png")} == {written.as_uri()}
    assert page.value(CUT) == []
    assert page.value(MET) == []


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_sticks_out(page: Page, written: Path, width: int) -> None:
    page.resize(width)
    page.open(written)
    page.value(UNFOLD)
    assert page.value(OVERFLOW) <= 0


def test_dark_and_print(page: Page, written: Path) -> None:
    page.resize(A4)
    page.open(written)
    page.dress(dark=True)
    assert page.value(COLOURS) == ["rgb(20, 22, 26)", "rgb(230, 230, 226)"]
    page.dress(printed=True)
    assert page.value(COLOURS) == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]
    assert page.value(SEEN) == FIGURES
    assert page.value(OVERFLOW) <= 0
    page.dress()


def test_the_evidence_report_shows_the_same_figures(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    with_it = Evidence(result(), RECORD, CONTEXT, TILES, quality=quality(), audit=audit())
    path.write_text(render(with_it))
    page.resize(1280)
    page.open(path)
    page.value(UNFOLD)
    assert page.value("document.querySelectorAll('#realism svg').length") == FIGURES
    assert page.value(OVERFLOW) <= 0
    assert page.value(CUT) == []
    assert page.complaints == []
