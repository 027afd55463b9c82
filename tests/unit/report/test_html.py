"""The page is whole, offline, escaped, and says what has to be said."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from medaug.core.results import (
    AuditReport,
    ClassQuality,
    PartVerdict,
    QualityReport,
)
from medaug.report.html import Evidence, render
from tests.unit.report.sample import CONTEXT, RECORD, TILES, result

QUALITY = QualityReport(
    synthetic_sha256="1" * 64,
    dataset_sha256="2" * 64,
    fold=0,
    classes=(
        ClassQuality(
            class_name="ground_glass",
            n_synthetic=9,
            n_real=3,
            feature_distance=None,
            real_floor=0.1,
            diversity=0.8,
        ),
    ),
)
AUDIT = AuditReport(
    synthetic_sha256="1" * 64,
    dataset_sha256="2" * 64,
    fold=0,
    verdict=PartVerdict(lesion="pass", background="inconclusive"),
    reasons=("hosts are training scans",),
    threshold=0.9,
    n_synthetic=9,
    n_training=20,
    n_held_out=8,
    detection_limit=0.283,
    flagged=(),
)


class _Balance(HTMLParser):
    """Counts open tags; void elements and self-closed SVG parts do not nest."""

    VOID = frozenset({"meta", "br", "hr", "link", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack, f"</{tag}> closes nothing"
        assert self.stack.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass


def page(**changes: object) -> str:
    parts: dict[str, object] = {"result": result(), "record": RECORD, "context": CONTEXT, "tiles": TILES}
    return render(Evidence(**(parts | changes)))  # type: ignore[arg-type]


def test_tags_are_balanced_and_nothing_is_loaded_from_elsewhere() -> None:
    text = page()
    parser = _Balance()
    parser.feed(text)
    assert parser.stack == []
    assert "<script" not in text
    links = re.findall(r'(?:src|href)="([^"]{0,40})|url\(([^)]{0,40})|@import', text)
    assert all(one.startswith("data:image/png;base64,") for one, _ in links)
    assert len(links) == len(TILES)


def test_names_from_the_data_are_escaped() -> None:
    text = page()
    assert "lungs &lt;A&amp;B&gt;" in text
    assert "<A&B>" not in text


def test_the_page_says_what_has_to_be_said() -> None:
    text = re.sub(r"\s+", " ", page())
    for said in (
        "No evidence of a gain",
        "Research use, not a medical device.",
        "keep it where the data may be",
        "CC BY 4.0",
        "no resale",
        "medaug experiment lungs --config trial.yaml --out trial",
        "flipped-axes",
        "Only held-out patients were scored.",
        "One seed: the spread",
        "class under study",
        "14 November 2023",
    ):
        assert said in text, said
    assert "Realism and copying" not in text


def test_worst_median_and_best_are_in_order() -> None:
    captions = re.findall(r"<figcaption>([\d.]+)</figcaption>", page())
    assert captions == ["0.10"] * 3 + ["0.50"] * 3 + ["0.90"] * 3


def test_assessment_and_missing_tiles() -> None:
    text = re.sub(r"\s+", " ", page(quality=QUALITY, audit=AUDIT, tiles=()))
    assert "Realism and copying" in text
    assert "too few" in text
    assert "up to 28.3% could have gone unseen" in text
    assert "data:image" not in text
    assert "keep it where" not in text


def test_steps_that_chose_an_augmentation_stand_beside_those_of_the_training() -> None:
    made = result()
    costs = tuple(
        cost.model_copy(update={"search_steps": 600 if cost.arm == "cgan" else 0}) for cost in made.costs
    )
    text = page(result=made.model_copy(update={"costs": costs}))
    assert text.count("1200 + 600 to choose the augmentation") == 1


def test_a_running_experiment_is_called_preliminary() -> None:
    assert "preliminary" in page(result=result(complete=False))
