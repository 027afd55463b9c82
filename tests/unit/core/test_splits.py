"""Folds never share a patient, and the guard raises."""

import pytest
from pydantic import ValidationError

from medaug.core.case import CaseRecord, Origin
from medaug.core.errors import ConfigError, SplitLeakageError
from medaug.core.splits import Fold, Splits, guard_donors, guard_evaluation, guard_training
from medaug.core.volume import Unit

FOLD = Fold(index=0, train=("p1", "p2"), held_out=("p3",))


def record(patient_id: str, origin: Origin = Origin.REAL) -> CaseRecord:
    return CaseRecord(
        case_id=f"case_{patient_id}",
        patient_id=patient_id,
        modality="CT",
        unit=Unit.HU,
        channels=("CT",),
        origin=origin,
        shape=(2, 2, 2),
        spacing_mm=(1.0, 1.0, 1.0),
        images=(),
        label=None,
    )


def test_a_patient_on_both_sides_is_refused() -> None:
    with pytest.raises(ValidationError, match="both sides"):
        Fold(index=0, train=("p1",), held_out=("p1",))


def test_test_patients_stay_out_of_the_folds_and_make_the_one_outer_fold() -> None:
    splits = Splits(seed=0, dataset_sha256="x", folds=(FOLD,), test=("p9",))
    assert splits.outer_folds == (Fold(index=0, train=("p1", "p2", "p3"), held_out=("p9",)),)
    assert Splits(seed=0, dataset_sha256="x", folds=(FOLD,)).outer_folds == (FOLD,)
    with pytest.raises(ValidationError, match="test patients"):
        Splits(seed=0, dataset_sha256="x", folds=(FOLD,), test=("p3",))


def test_unknown_fold_names_the_range() -> None:
    with pytest.raises(ConfigError, match="0 to 0"):
        Splits(seed=0, dataset_sha256="x", folds=(FOLD,)).fold(3)


def test_guard_training() -> None:
    guard_training([record("p1")], FOLD)
    with pytest.raises(SplitLeakageError, match="p3"):
        guard_training([record("p1"), record("p3")], FOLD)


def test_guard_donors() -> None:
    guard_donors(("p1", "p2"), FOLD, where="syn")
    with pytest.raises(SplitLeakageError, match="p3"):
        guard_donors(("p1", "p3"), FOLD, where="syn")


def test_guard_evaluation() -> None:
    guard_evaluation([record("p3")], FOLD)
    for origin in (Origin.SYNTHETIC, Origin.AUGMENTED):
        with pytest.raises(SplitLeakageError, match=f"{origin} case is about to be scored"):
            guard_evaluation([record("p3", origin)], FOLD)
    with pytest.raises(SplitLeakageError, match="trained on"):
        guard_evaluation([record("p1")], FOLD)
