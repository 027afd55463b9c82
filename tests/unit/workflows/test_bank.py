"""``medaug bank`` writes once, says what it holds, and stays inside its fold."""

from __future__ import annotations

import pytest

from medaug.core.case import SPLITS, CaseRecord, Manifest
from medaug.core.errors import ConfigError, DataError
from medaug.core.runs import NoProgress
from medaug.core.splits import Fold, Splits
from medaug.io.dataset import CaseFacts, finish_dataset, write_case
from medaug.lesions.bank import Bank
from medaug.workflows.bank import SHEET, BankOptions, bank
from tests.small_cases import CLASSES, chest


def dataset(folder, lesions):
    records: list[CaseRecord] = [
        write_case(folder, chest(n, names), CaseFacts(modality="CT")) for n, names in enumerate(lesions)
    ]
    manifest = Manifest(name="small", classes=CLASSES, cases=tuple(records))
    finish_dataset(folder, manifest, ())
    patients = manifest.patient_ids
    fold = Fold(index=0, train=patients[:-1], held_out=patients[-1:])
    Splits(seed=0, dataset_sha256=manifest.content_sha256, folds=(fold,)).write(folder / SPLITS)
    return folder


@pytest.fixture
def options(tmp_path):
    folder = dataset(tmp_path / "set", [("solid", "solid"), ("solid",), (), ("ground_glass",)])
    return BankOptions(dataset=folder, out=tmp_path / "bank")


def test_counts_by_class_and_size(options):
    summary = bank(options, NoProgress())
    solid, glass = summary.classes
    assert (solid.lesions, solid.patients) == (3, 2)
    assert solid.diameter_mm is not None
    assert 6 < solid.diameter_mm[0] <= solid.diameter_mm[1] <= solid.diameter_mm[2] < 12
    assert (glass.lesions, glass.diameter_mm) == (0, None)
    text = "\n".join(summary.lines())
    assert "solid: 3 lesions of 2 patients" in text
    assert "ground_glass has no lesion here" in text


def test_description_counts_by_size_and_draws_a_sheet(options):
    plain = bank(options, NoProgress())
    assert plain.sheet is None
    assert not (options.out / SHEET).exists()
    summary = bank(options.model_copy(update={"describe": True}), NoProgress())  # of the finished bank
    assert (options.out / SHEET).is_file()
    solid, glass = summary.classes
    assert sum(solid.by_size) == solid.lesions
    assert solid.by_size[0] == solid.by_size[4] == 0
    assert set(glass.by_size) == {0}
    lines = summary.lines()
    assert any(line.split()[:4] == ["diameter,", "mm", "<3", "3-6"] for line in lines)
    assert any(
        line.startswith("solid") and line.split()[1:] == [str(n) for n in solid.by_size] for line in lines
    )
    assert str(options.out / SHEET) in lines[-2]


def test_one_lesion_only_is_said(tmp_path):
    folder = dataset(tmp_path / "set", [("solid",), (), ("solid",)])
    summary = bank(BankOptions(dataset=folder, out=tmp_path / "bank"), NoProgress())
    assert "class solid has one lesion only: all its copies will look alike" in summary.notes


def test_held_out_patients_do_not_enter(options):
    bank(options, NoProgress())
    assert {e.patient_id for e in Bank.open(options.out).entries()} == {"patient_000", "patient_001"}


def test_the_same_call_is_skipped(options):
    first = bank(options, NoProgress())
    crops = sorted((options.out / "crops").iterdir())
    before = [path.stat().st_mtime_ns for path in crops]
    assert bank(options, NoProgress()) == first
    assert [path.stat().st_mtime_ns for path in crops] == before


def test_refusals(options, tmp_path):
    with pytest.raises(ConfigError, match="there is no fold 3"):
        bank(options.model_copy(update={"fold": 3}), NoProgress())
    with pytest.raises(DataError, match="no dataset folder"):
        bank(options.model_copy(update={"dataset": tmp_path}), NoProgress())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    with pytest.raises(ConfigError, match="is no run folder"):
        bank(options.model_copy(update={"out": tmp_path / "full"}), NoProgress())


def test_no_lesion_in_the_training_fold(tmp_path):
    folder = dataset(tmp_path / "set", [(), (), ("solid",)])
    with pytest.raises(DataError, match="no labelled lesion among the 2 training patients of fold 0"):
        bank(BankOptions(dataset=folder, out=tmp_path / "bank"), NoProgress())
