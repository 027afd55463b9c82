"""cases.csv: every column means what the format says, and a bad row refuses itself alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from medaug.core.errors import DataError, UnreadableError
from medaug.ingest.sources import Attribute, ClassId, Stated
from medaug.ingest.table import read_table
from tests.unit.ingest.material import ct_set, ct_values, row, save, write_table


def test_columns_are_read(tmp_path: Path) -> None:
    ct_set(tmp_path, ("a1",))
    cells = {
        "lesion_classes": "solid; gg",
        "label_ids": "1;3",
        "split": "test",
        "licence": "CC0",
        "modality": "ct",
    }
    table = write_table(
        tmp_path, [row("a1", **cells, spacing="nominal", terms="ask", age="61", sex="", site="north")]
    )
    (case,) = read_table(table, 2).cases
    assert (case.source, case.case_key, case.patient_key, case.ids_are_pseudonyms) == (2, "a1", "p_a1", True)
    assert case.images[0].files == (tmp_path / "images" / "a1.nii.gz",)
    assert case.label is not None
    assert case.label.files == (tmp_path / "labels" / "a1.nii.gz",)
    assert case.classes == (ClassId(1, "solid"), ClassId(3, "gg"))
    assert case.stated == Stated("CT", "nominal", "test", licence="CC0", terms="ask", classes=("solid", "gg"))
    assert case.attributes == (Attribute("age", "61"), Attribute("site", "north"))
    assert case.characteristics == (("site", "north"), ("age", "60-69"))
    assert case.problem == ""


def test_channel_columns_win_over_image(tmp_path: Path) -> None:
    ct_set(tmp_path, ("a1",))
    save(tmp_path / "t1.nii.gz", ct_values(9))
    table = write_table(tmp_path, [row("a1", image_FLAIR="images/a1.nii.gz", image_T1="t1.nii.gz")])
    (case,) = read_table(table, 0).cases
    assert [image.channel for image in case.images] == ["FLAIR", "T1"]


def test_a_table_elsewhere_finds_files_below_the_sources(tmp_path: Path) -> None:
    rows = ct_set(tmp_path / "scans", ("a1",))
    table = write_table(tmp_path / "lists", rows, "mine.csv")
    (case,) = read_table(table, 0, [tmp_path / "scans"]).cases
    assert case.problem == ""
    assert case.images[0].files[0].is_file()


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        ({"image": "gone.nii.gz"}, "file of column image does not exist"),
        ({"image": ""}, "row names no image"),
        ({"image": "cases.csv"}, "file of column image is neither DICOM nor of another format"),
        ({"label": "gone.nii.gz"}, "file of column label does not exist"),
        ({"lesion_classes": "solid;gg"}, "2 classes and 1 label ids"),
        ({"label_ids": "0"}, "above 0"),
        ({"label_ids": "one"}, "above 0"),
        ({"split": "validation"}, "neither train nor test"),
        ({"lesion_free": "perhaps"}, "neither yes nor no"),
        ({"spacing": "1mm"}, "neither known nor nominal"),
    ],
)
def test_a_bad_row_refuses_itself_and_no_other(tmp_path: Path, cells: dict[str, str], says: str) -> None:
    rows = ct_set(tmp_path, ("a1", "a2"))
    first, second = read_table(write_table(tmp_path, [rows[0] | cells, rows[1]]), 0).cases
    assert says in first.problem
    assert "gone" not in first.problem
    assert second.problem == ""


def test_tables_that_are_none_are_refused(tmp_path: Path) -> None:
    for text, says in (
        ("case_id,label\na,b\n", "no column image"),
        ("image\n", "no row"),
        ("image,image\na,b\n", "two columns"),
    ):
        (tmp_path / "cases.csv").write_text(text)
        with pytest.raises(DataError, match=says):
            read_table(tmp_path / "cases.csv", 0)
    (tmp_path / "cases.csv").write_bytes(b"image\n\xff\xfe\n")
    with pytest.raises(UnreadableError):
        read_table(tmp_path / "cases.csv", 0)


def test_a_byte_order_mark_and_short_rows_do_no_harm(tmp_path: Path) -> None:
    save(tmp_path / "x.nii.gz", ct_values(1))
    (tmp_path / "cases.csv").write_text("\ufeffcase_id,image,label\na,x.nii.gz\n\n", encoding="utf-8")
    (case,) = read_table(tmp_path / "cases.csv", 0).cases
    assert (case.case_key, case.label, case.problem) == ("a", None, "")
