"""Figures and tables as files: whole, well-formed, and the numbers of the results."""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as ET

import pytest

from medaug.core.results import LesionCounts
from medaug.report.files import figure_files, table_files
from medaug.report.panels import Panels, file_name
from tests.unit.report.big import ARMS, CLASSES, SIZES, big_result
from tests.unit.report.sample import result


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_every_figure_of_a_large_experiment_is_a_file() -> None:
    made = figure_files(Panels(big_result()))
    per_class = ("patients", "found_by_size")
    wanted = {
        f"{kind}_{n}_{name}.svg" for kind in per_class for n in ("n4", "n8", "nall") for name in CLASSES
    }
    wanted |= {f"learning_curve_{name}.svg" for name in CLASSES}
    wanted |= {
        f"forest_{n}_vs_{b}.svg" for n in ("n4", "n8", "nall") for b in ("classical", "classical_copy_paste")
    }
    assert set(made) == wanted
    for name, content in made.items():
        assert float(ET.fromstring(content).attrib["width"].removesuffix("mm")) <= 180.0, name
        assert "<image" not in content


def test_tables_hold_one_observation_a_row() -> None:
    asked = big_result()
    made = {name: rows_of(text) for name, text in table_files(asked).items()}
    assert len(made["scores.csv"]) == len(ARMS) * len(CLASSES) * len(SIZES)
    assert len(made["sizes.csv"]) == 4 * len(made["scores.csv"])
    assert len(made["rows.csv"]) == len(asked.rows)
    first, said = asked.comparisons[0], made["comparisons.csv"][0]
    assert (said["arm"], said["class"], said["n_annotated"]) == (first.arm, first.class_name, "4")
    assert float(said["mean_difference"]) == first.mean_difference
    assert made["curves.csv"][-1]["n_annotated"] == "all"
    assert made["rows.csv"][0]["lesions_matched"] == "1"


def test_what_is_not_known_is_empty() -> None:
    made = result()
    counted = LesionCounts(reference=1, predicted=1, matched=1, iou_sum=0.4)
    rows = (made.rows[0], made.rows[1].model_copy(update={"lesions": counted}))
    table = rows_of(table_files(made.model_copy(update={"rows": rows}))["rows.csv"])
    assert [row["lesions_iou_sum"] for row in table] == ["", "0.4"]
    assert "lesions" not in table[0]
    assert table[0]["hd95_mm"] == ""


def test_shares_of_classes_are_columns() -> None:
    made = result()
    cost = made.costs[0].model_copy(update={"class_patch_shares": {"solid": 0.25}})
    (row,) = rows_of(table_files(made.model_copy(update={"costs": (cost,)}))["costs.csv"])
    assert row["class_patch_shares_solid"] == "0.25"
    assert row["optimiser_steps"] == "1200"


def test_nothing_makes_no_file() -> None:
    empty = result().model_copy(update={"rows": (), "scores": (), "comparisons": (), "costs": ()})
    assert figure_files(Panels(empty)) == {}
    assert table_files(empty) == {}


@pytest.mark.parametrize(("parts", "name"), [(("a b", 8), "a_b_n8"), (("x", None, "../y"), "x_nall_y")])
def test_names_of_files_are_plain(parts: tuple[str | int | None, ...], name: str) -> None:
    assert file_name(*parts) == name
