"""Folds by patient: disjoint, balanced, and the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from medaug.core.case import CaseRecord, Manifest, Origin
from medaug.core.errors import ConfigError, DataError
from medaug.core.splits import Splits
from medaug.ingest.split import make_splits
from tests.unit.ingest.material import record


def _manifest(records: list[CaseRecord]) -> Manifest:
    return Manifest(name="toy", classes=("common", "rare"), cases=tuple(records))


def _cohort(patients: int = 40, rare: int = 7) -> list[CaseRecord]:
    rows = []
    for n in range(patients):
        classes = ("rare",) if n < rare else ("common",)
        rows += [record(f"c{n}_{k}", f"p{n:02d}", classes) for k in range(1 + n % 3)]
    return rows


def _held(splits: Splits, records: list[CaseRecord], name: str) -> list[int]:
    holders = {r.patient_id for r in records if name in r.classes}
    return [len(holders & set(fold.held_out)) for fold in splits.folds]


def test_every_patient_is_held_out_once_and_classes_are_balanced() -> None:
    records = _cohort()
    splits, notes = make_splits(_manifest(records), folds=5, seed=0)
    held_out = [p for fold in splits.folds for p in fold.held_out]
    assert sorted(held_out) == sorted({r.patient_id for r in records})
    assert all(not set(fold.train) & set(fold.held_out) for fold in splits.folds)
    assert sorted(_held(splits, records, "rare")) == [1, 1, 1, 2, 2]
    assert max(len(f.held_out) for f in splits.folds) - min(len(f.held_out) for f in splits.folds) <= 1
    assert notes == ()


def test_the_seed_decides_and_the_order_of_cases_does_not() -> None:
    records = _cohort()
    first, _ = make_splits(_manifest(records), folds=5, seed=3)
    again, _ = make_splits(_manifest(records[::-1]), folds=5, seed=3)
    other, _ = make_splits(_manifest(records), folds=5, seed=4)
    assert first.folds == again.folds
    assert first.folds != other.folds


def test_a_test_share_is_taken_off_first_and_balanced() -> None:
    records = _cohort(rare=10)
    splits, _ = make_splits(_manifest(records), folds=4, seed=0, test_share=0.2)
    assert len(splits.test) == 8
    assert sum(int(p[1:]) < 10 for p in splits.test) == 2
    assert not set(splits.test) & {p for f in splits.folds for p in (*f.train, *f.held_out)}
    assert splits.outer_folds[0].held_out == splits.test


def test_the_stated_split_wins_over_the_share() -> None:
    records = [record(f"c{n}", f"p{n}", ("common",), split="test" if n < 3 else "train") for n in range(9)]
    splits, notes = make_splits(_manifest(records), folds=3, seed=0, test_share=0.5)
    assert splits.test == ("p0", "p1", "p2")
    assert any("--test is ignored" in note for note in notes)


def test_a_patient_on_both_sides_is_refused() -> None:
    records = [record("a", "p", split="train"), record("b", "p", split="test"), *_cohort()]
    with pytest.raises(DataError, match="train and test"):
        make_splits(_manifest(records), folds=2, seed=0)


def test_patients_without_label_are_trained_on_and_never_scored() -> None:
    records = [*_cohort(), record("u", "unlabelled", labelled=False)]
    splits, notes = make_splits(_manifest(records), folds=5, seed=0, test_share=0.2)
    assert all("unlabelled" in fold.train for fold in splits.folds)
    assert "unlabelled" not in splits.test
    assert any("no label" in note for note in notes)


def test_unlabelled_patients_of_a_stated_test_set_are_not_trained_on() -> None:
    records = [
        *_cohort(),
        record("u", "hidden", labelled=False, split="test"),
        record("t", "tested", ("rare",), split="test"),
    ]
    splits, _ = make_splits(_manifest(records), folds=5, seed=0)
    assert splits.test == ("tested",)
    assert all("hidden" not in fold.train for fold in splits.folds)


def test_too_few_patients_is_an_error_and_a_rare_class_a_note() -> None:
    with pytest.raises(ConfigError, match="3 labelled patients for 5 folds"):
        make_splits(_manifest(_cohort(3)), folds=5, seed=0)
    with pytest.raises(ConfigError):
        make_splits(_manifest(_cohort(6)), folds=5, seed=0, test_share=0.5)
    _, notes = make_splits(_manifest(_cohort(rare=2)), folds=5, seed=0)
    assert notes == ("class rare is in 2 patients only: some of the 5 folds hold out none",)


@pytest.mark.parametrize("origin", [Origin.SYNTHETIC, Origin.AUGMENTED])
def test_a_set_of_other_than_scans_is_never_split(origin: Origin) -> None:
    with pytest.raises(DataError, match=f"{origin} cases are never split"):
        make_splits(_manifest([record("a", origin=origin), *_cohort()]), folds=2, seed=0)


def test_lesion_free_patients_are_spread_too() -> None:
    records = [*_cohort(), *(record(f"f{n}", f"free{n}") for n in range(10))]
    splits, _ = make_splits(_manifest(records), folds=5, seed=1)
    free = [sum(p.startswith("free") for p in fold.held_out) for fold in splits.folds]
    assert free == [2] * 5


def test_patients_with_several_classes_keep_both_balanced() -> None:
    rng = np.random.default_rng(5)
    picks = [tuple(name for name in ("common", "rare") if rng.random() < share) for share in [0.6] * 60]
    records = [record(f"c{n}", f"p{n}", classes) for n, classes in enumerate(picks)]
    splits, _ = make_splits(_manifest(records), folds=5, seed=0)
    for name in ("common", "rare"):
        held = _held(splits, records, name)
        assert max(held) - min(held) <= 2
