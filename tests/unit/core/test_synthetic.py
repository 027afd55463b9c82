"""A synthetic set goes with one dataset, and with the folds that cover it."""

from __future__ import annotations

from pathlib import Path

import pytest

from medaug.core.case import MANIFEST, RECIPES, CaseRecord, Manifest, Origin
from medaug.core.errors import DataError, LabelError, SplitLeakageError
from medaug.core.plan import Recipe, write_lines
from medaug.core.splits import Fold, Splits
from medaug.core.synthetic import read_synthetic
from medaug.core.volume import Unit

FOLD = Fold(index=1, train=("p1", "p2"), held_out=("p3",))


def manifest(*, classes: tuple[str, ...] = ("solid",), origin: Origin = Origin.SYNTHETIC) -> Manifest:
    record = CaseRecord(
        case_id="SYN_00001", patient_id="p1", modality="CT", unit=Unit.HU, channels=("CT",), origin=origin,
        shape=(2, 2, 2), spacing_mm=(1.0, 1.0, 1.0), images=(), label=None,
    )  # fmt: skip
    return Manifest(name="set", classes=classes, cases=(record,))


def write_set(folder: Path, donor: str, scope: str = FOLD.scope_sha256) -> Path:
    folder.mkdir()
    manifest().write(folder / MANIFEST)
    recipe = Recipe(
        case_id="SYN_00001", host_case_id="c1", host_patient_id="p1", donor_patient_ids=(donor,), generator="copy_paste",
        generator_sha256="0" * 64, bank_sha256="0" * 64, fold=1, training_scope_sha256=scope, class_name="solid",
        site_mm=(0, 0, 0), diameter_mm=3, seed=0, edit_mask="edits/SYN_00001.nii.gz",
    )  # fmt: skip
    write_lines(folder / RECIPES, (recipe,))
    return folder


def test_the_fold_that_covers_hosts_donors_and_scope_may_learn(tmp_path: Path) -> None:
    found = read_synthetic(write_set(tmp_path / "syn", "p2"), manifest(origin=Origin.REAL), where="--with")
    assert found.made_for == 1
    found.guard(FOLD)
    with pytest.raises(SplitLeakageError, match=r"fitted on other patients.*synthesize again with --fold 0"):
        found.guard(Fold(index=0, train=("p1", "p2", "p3"), held_out=("p4",)))


def test_learners_are_told_or_why_there_is_none(tmp_path: Path) -> None:
    other = Fold(index=0, train=("p2", "p3"), held_out=("p1",))
    splits = Splits(seed=0, dataset_sha256="x", folds=(other, FOLD))
    real = manifest(origin=Origin.REAL)
    assert read_synthetic(write_set(tmp_path / "good", "p2"), real, where="--with").learners(
        splits, where="--with"
    ) == {1}
    leaking = read_synthetic(write_set(tmp_path / "leak", "p3"), real, where="--with")
    with pytest.raises(
        SplitLeakageError,
        match=r"^--with: no fold may learn from .*leak; SYN_00001: 1 donor .*first: p3.* of fold 1; make",
    ):
        leaking.learners(splits, where="--with")


def test_a_donor_outside_is_a_leak(tmp_path: Path) -> None:
    found = read_synthetic(write_set(tmp_path / "syn", "p3"), manifest(origin=Origin.REAL), where="--with")
    with pytest.raises(SplitLeakageError, match="first: p3"):
        found.guard(FOLD)


@pytest.mark.parametrize(
    ("real", "error", "line"),
    [
        (
            manifest(classes=("solid", "cavity")),
            LabelError,
            "--with: .* classes solid; expected solid, cavity",
        ),
        (
            manifest().model_copy(
                update={"cases": (manifest().cases[0].model_copy(update={"channels": ("T1", "T2")}),)}
            ),
            DataError,
            "--with: .*SYN_00001 has channels CT; expected T1, T2",
        ),
    ],
)
def test_a_set_of_other_classes_or_channels_is_refused(
    tmp_path: Path, real: Manifest, error: type[DataError], line: str
) -> None:
    with pytest.raises(error, match=line):
        read_synthetic(write_set(tmp_path / "syn", "p2"), real, where="--with")


def test_a_set_without_recipes_says_no_fold(tmp_path: Path) -> None:
    manifest().write(tmp_path / MANIFEST)
    found = read_synthetic(tmp_path, manifest(origin=Origin.REAL), where="--with")
    assert found.made_for is None
    found.guard(FOLD)


def test_a_set_of_another_tool_is_told_how_to_go_with_the_dataset(tmp_path: Path) -> None:
    manifest().write(tmp_path / MANIFEST)
    found = read_synthetic(tmp_path, manifest(origin=Origin.REAL), where="--with")
    with pytest.raises(
        SplitLeakageError, match=r"^SYN_00001: patient p1 .*; say in cases.csv from whose scan"
    ):
        found.guard(Fold(index=0, train=("p2",), held_out=("p1",)))
    with pytest.raises(LabelError, match="expected solid, cavity; ingest it again with a --class-map"):
        read_synthetic(tmp_path, manifest(classes=("solid", "cavity")), where="--with")
