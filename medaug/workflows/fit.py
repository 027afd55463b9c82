"""``medaug fit``: train a generator on the lesion bank of a fold, or a translator on its training cases."""

from __future__ import annotations

from pathlib import Path
from typing import final

from pydantic import Field

from medaug.core.case import read_manifest
from medaug.core.config import Frozen, read_yaml
from medaug.core.errors import ConfigError
from medaug.core.plugins import kinds
from medaug.core.results import Summary
from medaug.core.runs import RUN_FILE, Progress, RunRecord, finished, open_run
from medaug.core.seeding import SeedTree
from medaug.core.splits import Fold, read_splits
from medaug.core.storage import require_free_space
from medaug.engine.launch import pick_device
from medaug.generators.base import (
    FEW_LESIONS,
    GeneratorConfig,
    TrainableConfig,
    load_generator,
    parse_generator,
    read_card,
    read_generator_config,
)
from medaug.io.dataset import StoredCases
from medaug.lesions.bank import Bank
from medaug.synthesis.fit import fit_generator
from medaug.translators import base as translators

_NEEDED_BYTES = 512 << 20  # weights, optimiser states and the checkpoint that replaces them


@final
class FitOptions(Frozen):
    """What ``medaug fit`` is asked."""

    dataset: Path
    bank: Path | None = Field(
        default=None, description="lesion bank; a translator learns from cases, not lesions"
    )
    config: Path = Field(description="YAML file of a generator or translator, with its kind")
    out: Path
    fold: int = Field(default=0, ge=0)
    seed: int = Field(default=0, ge=0)
    device: str | None = Field(default=None, description="auto, cpu, cuda or cuda:N; null = as the file says")


@final
class FitSummary(Summary):
    """What came of a training."""

    out: str
    kind: str
    fold: int
    classes: tuple[str, ...]
    training_patients: int
    steps: int
    seconds: float
    sha256: str = Field(description="of configuration and weights")
    notes: tuple[str, ...] = ()

    def lines(self) -> tuple[str, ...]:
        """What was trained on what, how long, and what to beware of."""
        head = f"{self.kind} of fold {self.fold}: {self.steps} steps in {self.seconds:.0f} s, in {self.out}"
        seen = f"{self.training_patients} training patients, classes {', '.join(self.classes)}"
        return (head, seen, f"sha256 {self.sha256}", *self.notes)


@final
class _Settings(Frozen):
    """What makes a training this training; the device is left out, since it changes no result on purpose."""

    fold: int
    seed: int
    generator: dict[str, object]


def fit(options: FitOptions, progress: Progress) -> FitSummary:
    """Train a generator or translator, go on with an interrupted training, or say what the finished one is.

    Raises:
        ConfigError: If the configuration is wrong, the kind needs no training, a bank is missing or one too many, or
            ``out`` holds something else.
        SplitLeakageError: If the bank holds patients outside the fold's training part.
        DataError: If a class has no lesion in the bank.
        DivergedError: If a loss is not finite.
        StorageError: If the disk cannot hold it.
    """
    if read_yaml(options.config).get("kind") in kinds("translators"):
        return _fit_translator(options, progress)
    return _fit_generator(options, progress)


def _fit_generator(options: FitOptions, progress: Progress) -> FitSummary:
    config = read_generator_config(options.config)
    if not isinstance(config, TrainableConfig):
        raise ConfigError(
            f"{config.kind} needs no training",
            where=options.config.name,
            hint=f"use it as it is: medaug synthesize --generator {config.kind}",
        )
    if options.device is not None:
        pick_device(options.device)
        config = parse_generator({**config.model_dump(mode="json"), "device": options.device})
    if options.bank is None:
        hint = "cut the fold's lesions with `medaug bank`"
        raise ConfigError(f"{config.kind} learns from a lesion bank", where="--bank", hint=hint)
    manifest = read_manifest(options.dataset)
    fold = read_splits(options.dataset, manifest).fold(options.fold)
    bank = Bank.open(options.bank)
    bank.fold_check(fold)
    _same_dataset(bank, manifest.content_sha256)
    settings = _settings(config, options)
    inputs = {"dataset": manifest.content_sha256, "training_scope": fold.scope_sha256, "bank": bank.sha256}
    if not finished(options.out, "fit", settings, inputs):
        require_free_space(options.out, _NEEDED_BYTES)
        with open_run(options.out, "fit", settings, inputs) as run:
            fit_generator(config, bank, fold, run, progress, SeedTree(options.seed).child("fit"))
    return _summarise(options, bank, fold)


def _fit_translator(options: FitOptions, progress: Progress) -> FitSummary:
    config = translators.read_translator_config(options.config)
    if options.bank is not None:
        hint = "leave --bank out"
        raise ConfigError(
            f"{config.kind} learns from whole cases, not from a bank", where="--bank", hint=hint
        )
    settings = _settings(config, options)
    if options.device is not None:
        pick_device(options.device)
        if "device" in config.model_dump():
            config = translators.parse_translator({**config.model_dump(), "device": options.device})
    manifest = read_manifest(options.dataset)
    fold = read_splits(options.dataset, manifest).fold(options.fold)
    cases = StoredCases.of_fold(options.dataset, manifest, fold)
    inputs = {"dataset": manifest.content_sha256, "training_scope": fold.scope_sha256}
    if not finished(options.out, "fit", settings, inputs):
        require_free_space(options.out, _NEEDED_BYTES)
        with open_run(options.out, "fit", settings, inputs) as run:
            config.fit(cases, run, progress, SeedTree(options.seed).child("fit"))
    card = translators.read_card(options.out)
    return FitSummary(
        out=str(options.out),
        kind=card.kind,
        fold=fold.index,
        classes=card.classes,
        training_patients=len(card.training_patients),
        steps=card.steps,
        seconds=RunRecord.read(options.out / RUN_FILE).seconds or 0.0,
        sha256=translators.load_translator(options.out, fold).sha256,
    )


def _same_dataset(bank: Bank, dataset_sha256: str) -> None:
    if bank.index.dataset_sha256 != dataset_sha256:
        raise ConfigError(
            "the bank was cut from another state of the dataset",
            where="--bank",
            hint="run `medaug bank` again",
        )


def _settings(config: GeneratorConfig | translators.TranslatorConfig, options: FitOptions) -> _Settings:
    asked = {key: value for key, value in config.model_dump(mode="json").items() if key != "device"}
    return _Settings(fold=options.fold, seed=options.seed, generator=asked)


def _summarise(options: FitOptions, bank: Bank, fold: Fold) -> FitSummary:
    card = read_card(options.out)
    record = RunRecord.read(options.out / RUN_FILE)
    counts = {name: len(bank.entries(name)) for name in card.classes}
    return FitSummary(
        out=str(options.out),
        kind=card.kind,
        fold=fold.index,
        classes=card.classes,
        training_patients=len(card.training_patients),
        steps=card.steps,
        seconds=record.seconds or 0.0,
        sha256=load_generator(str(options.out), fold).sha256,
        notes=tuple(
            f"class {name} has only {count} lesions: expect little variety"
            for name, count in counts.items()
            if count < FEW_LESIONS
        ),
    )
