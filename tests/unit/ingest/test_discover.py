"""Sources of every kind, and the ids that their cases get."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from medaug.core.errors import ConfigError, DataError
from medaug.core.runs import WORKING
from medaug.ingest.discover import discover, identify
from medaug.ingest.sources import ImageSource, SourceCase
from medaug.ingest.unpack import Opened
from tests.unit.ingest.material import ct_set, ct_values, row, save, write_table
from tests.unit.io.series import stored_values, write_dicomdir, write_series


def _case(key: str, patient: str, *, pseudonyms: bool, source: int = 0) -> SourceCase:
    return SourceCase(source, key, patient, pseudonyms, (ImageSource("nifti", (Path("x"),)),), None)


def test_a_table_at_the_top_stands_for_its_folder(tmp_path: Path) -> None:
    rows = ct_set(tmp_path, ("a1", "a2"))
    write_table(tmp_path, rows[:1])
    assert [case.case_key for case in discover([tmp_path], None).cases] == ["a1"]


def test_a_table_given_by_hand_stands_for_all_sources(tmp_path: Path) -> None:
    rows = ct_set(tmp_path / "scans", ("a1", "a2"))
    table = write_table(tmp_path / "lists", rows[1:], "mine.csv")
    found = discover([tmp_path / "scans"], table)
    assert [(case.case_key, case.problem) for case in found.cases] == [("a2", "")]


def test_mixtures_of_kinds_in_one_folder(tmp_path: Path) -> None:
    write_series(tmp_path / "dicom" / "s1", stored_values(3))
    save(tmp_path / "loose.nii.gz", ct_values(1))
    rows = ct_set(tmp_path / "listed", ("a1",))
    write_table(tmp_path / "listed", rows)
    ct_set(tmp_path / "unlisted", ("u1",))
    found = discover([tmp_path], None)
    assert sorted(case.images[0].kind for case in found.cases) == ["dicom", "nifti", "nifti", "nifti"]
    assert sum(case.label is not None for case in found.cases) == 2
    assert [case.case_key for case in found.cases if case.ids_are_pseudonyms] == ["a1"]


def test_single_files_and_several_sources(tmp_path: Path) -> None:
    one = save(tmp_path / "one" / "x.nii.gz", ct_values(1))
    dicom = write_series(tmp_path / "two", stored_values(1))[0]
    found = discover([one, dicom], None)
    assert [(case.source, case.images[0].kind) for case in found.cases] == [(0, "nifti"), (1, "dicom")]


def test_the_dataset_to_be_hidden_files_and_archives_of_a_mac_are_not_sources(tmp_path: Path) -> None:
    save(tmp_path / "x.nii.gz", ct_values(1))
    save(tmp_path / "out" / "imagesTr" / "y_0000.nii.gz", ct_values(2))
    (tmp_path / "out" / "dataset.json").write_text(json.dumps({"labels": {"background": 0}}))
    save(tmp_path / "deep" / "v.nii.gz", ct_values(5))
    save(tmp_path / "deep" / "out" / "w.nii.gz", ct_values(4))
    save(tmp_path / "__MACOSX" / "z.nii.gz", ct_values(3))
    (tmp_path / ".DS_Store").write_text("x")
    assert len(discover([tmp_path], None, opened=Opened(tmp_path / "out" / WORKING)).cases) == 3
    found = discover([tmp_path / "deep"], None, opened=Opened(tmp_path / "deep" / "out" / WORKING))
    assert (len(found.cases), found.strays) == (1, ())


def test_missing_and_empty_sources_are_refused_without_their_names(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="source 1 does not exist") as caught:
        discover([tmp_path / "Meier_Anna"], None)
    assert "Meier" not in caught.value.line()
    with pytest.raises(DataError, match="hold no file"):
        discover([tmp_path], None)


def test_every_file_is_told_to_the_progress(tmp_path: Path) -> None:
    write_series(tmp_path, stored_values(3))
    save(tmp_path / "x.nii.gz", ct_values(1))
    ticks: list[int] = []
    discover([tmp_path], None, lambda: ticks.append(1))
    assert len(ticks) == 4


def test_ids_of_a_table_are_kept_and_others_numbered(tmp_path: Path) -> None:
    cases = [
        _case("case_0001", "p7", pseudonyms=True),
        _case("/home/Meier/ct.nii.gz", "Meier", pseudonyms=False),
        _case("1.2.3", "Meier", pseudonyms=False),
    ]
    found = identify(cases)
    assert [f.case_id for f in found] == ["case_0001", "case_0002", "case_0003"]
    assert [f.patient_id for f in found] == ["p7", "patient_0001", "patient_0001"]


def test_a_patient_of_a_table_and_a_folder_is_one_patient() -> None:
    found = identify(
        [_case("1.2.3", "PAT-1", pseudonyms=False, source=1), _case("a", "PAT-1", pseudonyms=True)]
    )
    assert {f.patient_id for f in found} == {"PAT-1"}


def test_odd_ids_are_cleaned_with_a_finding_and_patients_stay_apart() -> None:
    found = identify([_case("a b/1", "M ü", pseudonyms=True), _case("c2", "M_?", pseudonyms=True)])
    assert found[0].case_id == "a_b_1"
    assert [f.code for f in found[0].findings] == ["id-changed"]
    assert "a b/1" not in found[0].findings[0].message
    assert found[0].patient_id != found[1].patient_id


def test_the_second_of_two_cases_of_one_id_is_refused() -> None:
    found = identify([_case("a", "p1", pseudonyms=True), _case("a", "p2", pseudonyms=True)])
    assert [[(f.code, f.severity) for f in case.findings] for case in found] == [
        [],
        [("duplicate-case-id", "refused")],
    ]


def test_row_problems_do_not_stop_discovery(tmp_path: Path) -> None:
    write_table(tmp_path, [row("a1")])
    (case,) = discover([tmp_path], None).cases
    assert "does not exist" in case.problem


def test_a_dicomdir_is_checked_beside_its_files_and_narrows_them_where_it_is_the_source(
    tmp_path: Path,
) -> None:
    files = write_series(tmp_path / "disc" / "A", stored_values(3))
    beside = write_series(tmp_path / "disc" / "B", stored_values(2), uid="1.2.3")
    write_dicomdir(tmp_path / "disc" / "DICOMDIR", [("A", path.name) for path in files] + [("A", "GONE")])
    found = discover([tmp_path / "disc"], None)
    assert sorted(len(case.files) for case in found.cases) == [2, 3]
    assert [(s.code, s.severity, s.message) for s in found.strays] == [
        (
            "dicomdir-reference",
            "flagged",
            "DICOMDIR names 1 file that is not there; copy the whole medium again",
        )
    ]
    named = discover([tmp_path / "disc" / "DICOMDIR"], None)
    assert [case.files for case in named.cases] == [tuple(sorted(files, key=named.cases[0].files.index))]
    assert not set(beside) & {path for case in named.cases for path in case.files}
    (tmp_path / "disc" / "DICOMDIR").write_bytes(b"junk")
    found = discover([tmp_path / "disc"], None)
    assert (len(found.cases), [s.code for s in found.strays]) == (2, ["dicomdir-reference"])
    with pytest.raises(DataError, match="DICOMDIR is damaged"):
        discover([tmp_path / "disc" / "DICOMDIR"], None)


def test_a_pipe_is_no_source(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "Meier")
    with pytest.raises(DataError, match="no file and no folder"):
        discover([tmp_path / "Meier"], None)


def test_the_work_for_ids_grows_as_the_patients_do() -> None:
    def calls(patients: int) -> int:
        cases = [_case(f"1.2.{n}", f"Meier {n}", pseudonyms=False) for n in range(patients)]
        events: list[str] = []
        sys.setprofile(lambda frame, event, argument: events.append(event))
        try:
            found = identify(cases)
        finally:
            sys.setprofile(None)
        assert len({f.patient_id for f in found}) == patients
        return len(events)

    assert calls(1600) < 5 * calls(400)


@pytest.mark.parametrize(("name", "codes"), [("deidentification.json", []), ("x.json", ["not-an-image"])])
def test_what_medaug_deidentify_leaves_beside_files_is_nothing_odd(
    tmp_path: Path, name: str, codes: list[str]
) -> None:
    save(tmp_path / "a.nii.gz", ct_values(1))
    (tmp_path / name).write_text("{}")
    ticks: list[int] = []
    found = discover([tmp_path], None, lambda: ticks.append(1))
    assert ([stray.code for stray in found.strays], len(found.cases), len(ticks)) == (codes, 1, 2)
