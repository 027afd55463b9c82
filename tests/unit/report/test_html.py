"""The page is whole, offline, escaped, and says what has to be said."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from medaug.report.html import Evidence, render
from tests.unit.report.assessed import audit, quality
from tests.unit.report.big import big_result
from tests.unit.report.sample import CONTEXT, RECORD, TILES, result


class Balance(HTMLParser):
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
    parser = Balance()
    parser.feed(text)
    assert parser.stack == []
    assert "<script" not in text
    links = [one for one, _ in re.findall(r'(?:src|href)="([^"]{0,40})|url\(([^)]{0,40})|@import', text)]
    inside = [one.removeprefix("#") for one in links if one.startswith("#")]
    assert all(f'id="{name}"' in text for name in inside)
    pictures = [one for one in links if one.startswith("data:image/png;base64,")]
    assert len(pictures) == len(TILES) == len(links) - len(inside)


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
    whole = page(quality=quality(), audit=audit(), tiles=(), assessment_page="assessment/assessment.html")
    parser = Balance()
    parser.feed(whole)
    assert parser.stack == []
    text = re.sub(r"\s+", " ", whole)
    assert "Realism and copying" in text
    assert "None of 170 synthetic lesions looks like a training one; up to 1.8% could be copies" in text
    assert '<a href="assessment/assessment.html">' in text
    assert "data:image" not in text
    assert "keep it where" not in text


def test_half_an_assessment_is_left_out() -> None:
    assert "Realism and copying" not in page(quality=quality())


def test_steps_that_chose_an_augmentation_stand_beside_those_of_the_training() -> None:
    made = result()
    costs = tuple(
        cost.model_copy(update={"search_steps": 600 if cost.arm == "cgan" else 0}) for cost in made.costs
    )
    text = page(result=made.model_copy(update={"costs": costs}))
    assert text.count("1200 + 600 to choose the augmentation") == 1


def test_a_running_experiment_is_called_preliminary() -> None:
    assert "preliminary" in page(result=result(complete=False))


def test_a_large_experiment_shows_every_part() -> None:
    text = re.sub(r"\s+", " ", page(result=big_result(), tiles=(), files="report_files"))
    for said in (
        "Learning curves",
        "Annotations saved",
        "With 8 annotated patients classical_cgan reaches in ground_glass what classical reaches with 14",
        "Difference from classical_copy_paste",
        "named comparison",
        "panoptic<small>quality</small>",
        "tolerance 1.0 mm",
        "Every patch was 64 x 64 voxels.",
        "<code>report_files</code>",
        "All annotated training patients",
    ):
        assert said in text, said
    assert text.count('class="curve"') == 4
    assert text.count('class="dots"') == text.count('class="sizes"') == 4 * 3
    # the class under study stands first, and only the first of the folded parts is open
    assert text.index("<figcaption>ground_glass") < text.index("<figcaption>solid")
    assert text.index('<th class="num">ground_glass') < text.index('<th class="num">solid')


def test_beside_each_interval_stands_how_often_one_like_it_holds_the_truth() -> None:
    cells = re.findall(r'<span class="interval">([^<]+)</span>', page(result=big_result(), tiles=()))
    assert cells
    assert all(cell.endswith(" (94%)") for cell in cells)


def test_figures_that_nobody_has_take_no_column() -> None:
    text = page()
    assert "Class by class" in text
    for absent in ("HD95<small>", "panoptic<small>", 'class="sizes"', 'id="curves"', "tolerance"):
        assert absent not in text, absent


def test_without_any_score_the_page_says_so() -> None:
    nothing = {"rows": (), "scores": (), "comparisons": (), "costs": (), "cells_done": 0, "complete": False}
    text = page(result=result().model_copy(update=nothing), tiles=())
    assert "No training has been scored yet" in text
    assert "Preliminary: 0 of 3 trainings are done." in text
    assert "medaug experiment lungs" in text
    assert "Mean Dice by class" not in text


def test_one_arm_without_synthesis_is_shown_without_comparisons() -> None:
    made = result()
    alone = {
        "arms": ("classical",),
        "rows": tuple(row for row in made.rows if row.arm == "classical"),
        "scores": tuple(score for score in made.scores if score.arm == "classical"),
        "costs": tuple(cost for cost in made.costs if cost.arm == "classical"),
        "comparisons": (),
    }
    text = page(result=made.model_copy(update=alone), tiles=())
    assert "classical is the only arm that has been trained" in text
    assert "Mean Dice by class" in text
    assert "Difference from" not in text


def test_a_class_that_no_patient_carries_is_no_gap() -> None:
    made = result()
    rows = tuple(row.model_copy(update={"dice": None}) for row in made.rows)
    text = page(result=made.model_copy(update={"rows": rows, "scores": (), "comparisons": ()}), tiles=())
    assert "No scored patient carries any class" in text


def test_inner_folds_are_no_test() -> None:
    inner = RECORD.model_copy(update={"config": {**RECORD.config, "inner_folds": 3}})
    text = page(record=inner)
    assert (
        "Inner folds of the training patients were scored, to choose settings: no test patient was." in text
    )
    assert "inner fold</dd>" in text
    assert "Inner folds" not in page()
