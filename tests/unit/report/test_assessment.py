"""The page of an assessment is whole, offline, escaped, and shows everything or says what is missing."""

from __future__ import annotations

import re

from medaug.core.assessment import QualityReport
from medaug.report.assessment import render_assessment
from tests.unit.report.assessed import HASHES, assessment, audit, quality
from tests.unit.report.test_html import Balance


def words(page: str) -> str:
    return re.sub(r"\s+", " ", page)


def test_the_page_is_whole_and_offline():
    text = render_assessment(assessment())
    parser = Balance()
    parser.feed(text)
    assert parser.stack == []
    assert "<script" not in text
    links = re.findall(r'(?:src|href)="([^"]{0,40})|url\(|@import', text)
    inside = [one for one in links if one.startswith("#")]
    assert all(f'id="{name[1:]}"' in text for name in inside)
    assert [one for one in links if one not in inside] == ["data:image/png;base64,iVBORw0KGgoAAAANSU"]


def test_the_page_says_what_has_to_be_said():
    text = words(render_assessment(assessment(audit=audit("fail", "fail", copied=17))))
    for said in (
        "Is made &lt;A&amp;B&gt; realistic, and is it a copy?",
        "Lesion copies: fail",
        "Lesions that look like copies: 17",
        "Backgrounds that look like copies: 90",
        "70 more stand in <code>audit.json</code>",
        "rotated by 90",
        "the interval holds the control",
        "hosts are training scans",
        "No synthetic lesion of: calcified.",
        "half as frequent as among real lesions<small>as asked</small>",
        "&lt;A &amp; B&gt;",
        "gone_0, gone_1, gone_2",
        "label Dice was not measured: no --segmenter",
        "medaug assess made --against lungs --fold 0 --out assessment",
        "The pictures below show patients",
        "keep it where the data may be",
        "CC BY 4.0",
        "14 November 2023",
    ):
        assert said in text, said
    # 2 spaces of 6 figures (one without floor), 5 of labels and 2 of spreads, in 3 classes
    assert text.count('class="pair"') == 3 * (12 + 5 + 2)
    assert text.count('class="shares"') == 4
    assert text.count("<circle") == 180


def test_the_worst_come_first():
    table = render_assessment(assessment()).split("lowest scores</summary>")[1]
    scores = [
        float(one) for one in re.findall(r'</td><td class="num">(\d\.\d\d)</td><td class="num">0\.50', table)
    ]
    worst = sorted(round(sample.score, 2) for sample in quality().samples)[:20]
    assert scores == worst


def test_an_assessment_of_nothing_is_a_page_too():
    bare = QualityReport.model_validate(HASHES | {"classes": ()})
    empty = audit("inconclusive", "inconclusive").model_copy(
        update={"shares": (), "membership": None, "flagged": ()}
    )
    text = words(render_assessment(assessment(quality=bare, audit=empty, sheets=(), licences=())))
    for said in (
        "Nothing was searched for copies.",
        "No labelled synthetic lesion was measured.",
        "Nothing was rejected before, and everything was measured.",
        "not stated",
    ):
        assert said in text, said
    assert "keep it where" not in text
    assert 'id="samples"' not in text
