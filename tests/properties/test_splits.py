"""Splits of any cohort: no patient on both sides, everyone in, the same for the same seed."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from medaug.core.case import Manifest
from medaug.ingest.split import make_splits
from tests.unit.ingest.material import record

_CLASSES = ("a", "b", "c")
_PATIENT = st.lists(st.sets(st.sampled_from(_CLASSES)), min_size=1, max_size=3)


@settings(max_examples=40, deadline=None)
@given(
    cohort=st.lists(_PATIENT, min_size=6, max_size=30),
    seed=st.integers(0, 2**31),
    test=st.sampled_from([0.0, 0.2, 0.4]),
)
def test_folds_are_disjoint_complete_and_repeatable(
    cohort: list[list[set[str]]], seed: int, test: float
) -> None:
    records = [
        record(f"c{n}_{k}", f"p{n:03d}", tuple(sorted(classes)))
        for n, studies in enumerate(cohort)
        for k, classes in enumerate(studies)
    ]
    manifest = Manifest(name="toy", classes=_CLASSES, cases=tuple(records))
    splits, _ = make_splits(manifest, folds=2, seed=seed, test_share=test)
    everyone = {r.patient_id for r in records}
    held_out = [patient for fold in splits.folds for patient in fold.held_out]
    assert sorted([*held_out, *splits.test]) == sorted(everyone)
    for fold in splits.folds:
        assert not set(fold.train) & (set(fold.held_out) | set(splits.test))
        assert set(fold.train) | set(fold.held_out) | set(splits.test) == everyone
    assert make_splits(manifest, folds=2, seed=seed, test_share=test)[0] == splits
