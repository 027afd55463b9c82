"""What every translator file offers, and how a configuration or a run folder becomes a translator.

A translator file ``medaug/translators/<kind>.py`` holds a ``Config`` whose ``kind`` literal is the file's name, and the
functions ``fit(config, cases, run, progress, seed)`` and ``load(run_path)``. A translator turns a whole case into a
whole case. Most change a patient's scan, which stays that patient's (origin ``augmented``). A :class:`Inventor` can
also make a case that is nobody's (origin ``synthetic``), from label maps alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, cast, final, runtime_checkable

import numpy as np
from pydantic import BaseModel, Field

from medaug.core.case import Case, CaseRecord
from medaug.core.config import Document, read_yaml
from medaug.core.errors import CheckpointError, DataError
from medaug.core.plugins import load_plugin, parse_config
from medaug.core.runs import Progress, RunDir
from medaug.core.seeding import SeedTree
from medaug.core.splits import Fold, guard_donors, training_scope
from medaug.core.storage import sha256_text
from medaug.core.volume import Unit

CARD, WEIGHTS = "translator.json", "model.pt"
HINT = "train again with `medaug fit`"


class TrainingCases(Protocol):
    """The real cases of a fold's training patients, read from disk one by one."""

    @property
    def records(self) -> tuple[CaseRecord, ...]:
        """What the manifest says of them, in its order."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """The dataset's class table."""
        ...

    @property
    def dataset_sha256(self) -> str:
        """Hash of the dataset."""
        ...

    @property
    def fold(self) -> Fold:
        """Whose training patients these are."""
        ...

    def load(self, record: CaseRecord) -> Case:
        """Read one case."""
        ...


@final
class TranslatorCard(Document):
    """``translator.json`` of a trained translator: what it is and what it has seen."""

    kind: str
    config: dict[str, object]
    classes: tuple[str, ...]
    unit: Unit
    channels: tuple[str, ...] = Field(min_length=1)
    training_patients: tuple[str, ...]
    training_scope_sha256: str = Field(description="hash of the training patients")
    dataset_sha256: str
    fold: int
    steps: int
    weights_sha256: str


class Translator(Protocol):
    """Turns a whole case into a whole case; one file each in ``medaug/translators``."""

    kind: str

    @property
    def card(self) -> TranslatorCard:
        """What it is and what it has seen."""
        ...

    @property
    def sha256(self) -> str:
        """Hash of the configuration and weights."""
        ...

    def translate(self, case: Case, rng: np.random.Generator) -> Case:
        """The case translated, on its own or a finer grid, labels with it; origin says what came out.

        Depends on the case and the ``rng`` alone.

        Raises:
            CheckpointError: If the case has another unit or other channels than the training cases.
        """
        ...


@runtime_checkable
class Inventor(Protocol):
    """A translator that can also make cases that are nobody's scan."""

    @property
    def lesions(self) -> tuple[str, ...]:
        """Classes whose lesions it draws."""
        ...

    def invent(self, source: Case, class_name: str, rng: np.random.Generator) -> Case:
        """A case with a new lesion of the class, laid out after a training patient's label map; none of its voxels.

        Raises:
            ConfigError: If the class is not in the translator's table.
            CheckpointError: If the source has another unit or other channels than the training cases.
            DataError: If the label map has no room for a lesion.
        """
        ...


class TranslatorConfig(Protocol):
    """The configuration of a translator: a frozen pydantic model in its file, named ``Config``."""

    @property
    def kind(self) -> str:
        """Name of the translator's file."""
        ...

    def model_dump_json(self) -> str:
        """The configuration as JSON, all defaults written out."""
        ...

    def model_dump(self, *, mode: str = "json") -> dict[str, object]:
        """The configuration as plain values, all defaults written out."""
        ...


def parse_translator(raw: Mapping[str, object]) -> TranslatorConfig:
    """The configuration that a mapping describes; its ``kind`` chooses the file.

    Raises:
        ConfigError: If ``kind`` is missing or unknown, or a key is unknown, missing or out of range.
    """
    return cast(TranslatorConfig, parse_config("translators", raw))


def read_translator_config(path: Path) -> TranslatorConfig:
    """Read the YAML file of a translator.

    Raises:
        ConfigError: If the file is missing, is not YAML, or does not describe a translator.
    """
    return parse_translator(read_yaml(path))


def train_translator(
    config: TranslatorConfig, cases: TrainingCases, run: RunDir, progress: Progress, seed: SeedTree
) -> Translator:
    """Train inside an open run folder (resuming what lies there) and leave what :func:`load_translator` reads.

    Raises:
        DataError: If the cases do not hold what the kind learns from.
        TrainingError: If training cannot go on.
    """
    return cast(Translator, load_plugin("translators", config.kind).fit(config, cases, run, progress, seed))


def load_translator(run_path: Path, fold: Fold | None = None) -> Translator:
    """The translator of a finished ``medaug fit`` run folder.

    Args:
        run_path: The run folder.
        fold: Where the cases will be used; the translator must have seen none but its training patients.

    Raises:
        CheckpointError: If the folder holds no finished translator, or a damaged one.
        SplitLeakageError: If it was trained on a patient outside the fold's training part.
    """
    card = read_card(run_path)
    if fold is not None:
        guard_donors(card.training_patients, fold, where=f"translator {run_path}")
    return cast(Translator, load_plugin("translators", card.kind).load(run_path))


def read_card(run_path: Path) -> TranslatorCard:
    """The card of a trained translator.

    Raises:
        CheckpointError: If the folder holds none, since training has not finished there, or it is damaged.
    """
    if not (run_path / CARD).is_file():
        hint = "name a folder in which `medaug fit` has trained a translator to the end"
        raise CheckpointError(f"{run_path} holds no finished translator", hint=hint)
    try:
        return TranslatorCard.read(run_path / CARD)
    except DataError as error:
        raise CheckpointError(f"{CARD} of {run_path} is damaged", hint=HINT) from error


def write_card(
    run: RunDir, config: TranslatorConfig, cases: TrainingCases, steps: int, weights_sha256: str
) -> TranslatorCard:
    """Write ``translator.json``, last, when everything it speaks of lies in the run folder.

    Args:
        run: Open run folder.
        config: Of the translator; a ``device`` in it is written as auto, since it changes no result on purpose.
        cases: All cases that were learnt from.
        steps: Optimiser steps taken.
        weights_sha256: Hash of the weights' values.
    """
    first, patients = cases.records[0], tuple(sorted({r.patient_id for r in cases.records}))
    settings = config.model_dump(mode="json")
    card = TranslatorCard(
        kind=config.kind,
        config={**settings, "device": "auto"} if "device" in settings else settings,
        classes=cases.classes,
        unit=first.unit,
        channels=first.channels,
        training_patients=patients,
        training_scope_sha256=training_scope(patients),
        dataset_sha256=cases.dataset_sha256,
        fold=cases.fold.index,
        steps=steps,
        weights_sha256=weights_sha256,
    )
    card.write(run.path / CARD)
    return card


def read_config(card: TranslatorCard) -> BaseModel:
    """The configuration that a card holds, as its kind's ``Config``.

    Raises:
        CheckpointError: If it is of another version.
    """
    model = cast(type[BaseModel], load_plugin("translators", card.kind).Config)
    try:
        return model.model_validate(card.config)
    except ValueError as error:
        raise CheckpointError(f"{CARD} holds a configuration of another version", hint=HINT) from error


def translator_sha256(card: TranslatorCard) -> str:
    """Hash of a translator: its configuration and its weights."""
    settings = ",".join(f"{key}={card.config[key]!r}" for key in sorted(card.config))
    return sha256_text(f"{card.kind}\n{settings}\n{card.weights_sha256}")


def require_like(case: Case, card: TranslatorCard) -> None:
    """Refuse a case that a translator was not trained for.

    Raises:
        CheckpointError: If its unit or channels are others than those of the training cases.
    """
    found = (case.volume.unit, case.volume.channels)
    if found != (card.unit, card.channels):
        raise CheckpointError(
            f"case holds {', '.join(case.volume.channels)} in {case.volume.unit}",
            where=case.case_id,
            expected=f"{', '.join(card.channels)} in {card.unit}, as in training",
        )
