"""Folds by patient, balanced by class, the same for the same seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from medaug.core.case import CaseRecord, Manifest, Origin
from medaug.core.errors import ConfigError, DataError
from medaug.core.seeding import SeedTree
from medaug.core.splits import Fold, Splits
from medaug.core.strata import Patient, deal, labelled_patients


def make_splits(
    manifest: Manifest, *, folds: int, seed: int, test_share: float = 0.0
) -> tuple[Splits, tuple[str, ...]]:
    """Divide the patients of a dataset into folds, after a fixed test set where one is asked for or given.

    Patients are dealt out class by class (:func:`medaug.core.strata.deal`). Patients without any label can be trained on
    but not scored: they stand on the training side of every fold.

    Args:
        manifest: The dataset; a ``split`` that its sources state wins over ``test_share``.
        folds: At least 2.
        seed: Decides ties and order.
        test_share: Share of the labelled patients kept for a last test, 0 to below 1.

    Returns:
        The folds, and notes for a person.

    Raises:
        ConfigError: If there are fewer labelled patients than folds.
        DataError: If the dataset is synthetic or augmented, nobody has a label, or a patient is stated to be on both sides.
    """
    origin = next((record.origin for record in manifest.cases if record.origin is not Origin.REAL), None)
    if origin is not None:
        raise DataError(f"{origin} cases are never split", where=manifest.name, hint="split the real dataset")
    rng = SeedTree(seed).child("split").rng()
    patients, unlabelled = labelled_patients(manifest.cases)
    patients = [patients[n] for n in rng.permutation(len(patients))]
    if not patients:
        hint = "ingest the labels with the images; what has none can be neither learnt from nor scored"
        raise DataError("no patient has a label", where=manifest.name, hint=hint)
    stated = _stated_test(manifest.cases)
    notes = [f"{len(unlabelled)} patients have no label and are trained on only"] if unlabelled else []
    if stated:
        notes += (
            ["the stated split was kept; --test is ignored"] if test_share else ["the stated split was kept"]
        )
        test = [p for p in patients if p.patient_id in stated]
    else:
        test = deal(patients, [1 - test_share, test_share])[1] if test_share else []
    rest = [p for p in patients if p not in test and p.patient_id not in stated]
    if len(rest) < folds:
        hint = "ask for fewer folds, or a smaller --test"
        raise ConfigError(f"{len(rest)} labelled patients for {folds} folds", where="--folds", hint=hint)
    if test_share and not test:
        raise ConfigError("no patient falls into the test share", where="--test", expected="a larger share")
    notes += _rare_notes(rest, manifest.classes, folds)
    parts = deal(rest, [1.0] * folds)
    everyone = {p.patient_id for p in rest} | (unlabelled - stated)
    made = tuple(_fold(index, {p.patient_id for p in part}, everyone) for index, part in enumerate(parts))
    test_ids = tuple(sorted(p.patient_id for p in test))
    splits = Splits(seed=seed, dataset_sha256=manifest.content_sha256, folds=made, test=test_ids)
    return splits, tuple(notes)


def _fold(index: int, held_out: set[str], everyone: set[str]) -> Fold:
    return Fold(index=index, train=tuple(sorted(everyone - held_out)), held_out=tuple(sorted(held_out)))


def _stated_test(records: Sequence[CaseRecord]) -> frozenset[str]:
    """Patients that the sources put into the test set.

    Raises:
        DataError: If one of them is also stated to be trained on.
    """
    test = {record.patient_id for record in records if record.split == "test"}
    both = sorted({record.patient_id for record in records if record.split == "train"} & test)
    if both:
        raise DataError(
            f"{len(both)} patients stand in train and test", where=both[0], hint="correct the split column"
        )
    return frozenset(test)


def _rare_notes(patients: Sequence[Patient], classes: Sequence[str], folds: int) -> list[str]:
    counts = Counter(name for patient in patients for name in patient.strata)
    return [
        f"class {name} is in {counts[name]} patients only: some of the {folds} folds hold out none"
        for name in classes
        if counts[name] < folds
    ]
