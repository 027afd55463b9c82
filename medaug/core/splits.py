"""Folds by patient, and the guard that keeps training and evaluation apart."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import final

from pydantic import Field, model_validator

from medaug.core.case import SPLITS, CaseRecord, Manifest, Origin
from medaug.core.config import Document, Frozen
from medaug.core.errors import ConfigError, DataError, SplitLeakageError
from medaug.core.storage import sha256_text


@final
class Fold(Frozen):
    """One division of patients; everything fitted is fitted on ``train`` alone."""

    index: int = Field(ge=0)
    train: tuple[str, ...] = Field(min_length=1)
    held_out: tuple[str, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _disjoint(self) -> Fold:
        both = set(self.train) & set(self.held_out)
        if both:
            raise ValueError(f"{len(both)} patients stand on both sides of fold {self.index}")
        return self

    @property
    def scope_sha256(self) -> str:
        """Hash of the training patients: what a bank or a generator was allowed to see."""
        return training_scope(self.train)


def training_scope(patient_ids: Iterable[str]) -> str:
    """Hash of a set of training patients: what a bank, a generator or a model was allowed to see."""
    return sha256_text("\n".join(sorted(patient_ids)))


@final
class Splits(Document):
    """``splits.json``: k folds over the non-test patients, and the fixed test patients, if any.

    With test patients the folds are inner folds (for choosing) and the one outer fold is all the rest
    against the test patients; without, the folds themselves are the outer ones.
    """

    seed: int
    dataset_sha256: str
    folds: tuple[Fold, ...] = Field(min_length=1)
    test: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _covers(self) -> Splits:
        for fold in self.folds:
            if set(self.test) & (set(fold.train) | set(fold.held_out)):
                raise ValueError(f"fold {fold.index} holds test patients")
        return self

    def fold(self, index: int) -> Fold:
        """The fold of that number.

        Raises:
            ConfigError: If there is none.
        """
        if not 0 <= index < len(self.folds):
            raise ConfigError(
                f"there is no fold {index}", where="--fold", expected=f"0 to {len(self.folds) - 1}"
            )
        return self.folds[index]

    @property
    def outer_folds(self) -> tuple[Fold, ...]:
        """The folds whose held-out patients may be scored in an experiment."""
        if not self.test:
            return self.folds
        rest = tuple(sorted({p for fold in self.folds for p in (*fold.train, *fold.held_out)}))
        return (Fold(index=0, train=rest, held_out=self.test),)


def read_splits(dataset: Path, manifest: Manifest) -> Splits:
    """The folds of a dataset folder.

    Raises:
        DataError: If there are none yet, or the dataset changed since they were made.
    """
    if not (dataset / SPLITS).is_file():
        raise DataError(f"{dataset.name} has no {SPLITS}", hint="run `medaug split DATASET` first")
    splits = Splits.read(dataset / SPLITS)
    if splits.dataset_sha256 != manifest.content_sha256:
        raise DataError(
            f"{SPLITS} belongs to another state of {dataset.name}",
            hint="delete it and run `medaug split DATASET` again",
        )
    return splits


def guard_training(records: Iterable[CaseRecord], fold: Fold) -> None:
    """Raise SplitLeakageError unless every case belongs to a training patient of the fold."""
    allowed = set(fold.train)
    for record in records:
        if record.patient_id not in allowed:
            raise SplitLeakageError(
                f"patient {record.patient_id} is not in the training part of fold {fold.index}",
                where=record.case_id,
                hint="make the split, bank and synthetic set again for this fold",
            )


def guard_donors(patient_ids: Iterable[str], fold: Fold, *, where: str) -> None:
    """Raise SplitLeakageError unless every host or donor is a training patient of the fold."""
    outside = sorted(set(patient_ids) - set(fold.train))
    if outside:
        raise SplitLeakageError(
            f"{len(outside)} donor or host patients (first: {outside[0]}) are not in the training part of fold {fold.index}",
            where=where,
            hint="make the bank and the generator again for this fold",
        )


def guard_evaluation(records: Iterable[CaseRecord], fold: Fold) -> None:
    """Raise SplitLeakageError if a synthetic or augmented case, or a training patient, is about to be scored."""
    trained = set(fold.train)
    for record in records:
        if record.origin is not Origin.REAL:
            what = f"{record.origin} case is about to be scored"
            raise SplitLeakageError(what, where=record.case_id, expected="real cases only")
        if record.patient_id in trained:
            raise SplitLeakageError(
                f"patient {record.patient_id} is both trained on and scored in fold {fold.index}",
                where=record.case_id,
            )
