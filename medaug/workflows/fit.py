"""``medaug fit``: train a generator on the lesion bank of a fold, or a translator on its training cases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import cast, final

from pydantic import Field

from medaug.core.budget import PrivacyBudget
from medaug.core.case import read_manifest
from medaug.core.config import Frozen, read_yaml
from medaug.core.errors import ConfigError
from medaug.core.plugins import kinds
from medaug.core.runs import RUN_FILE, Progress, RunDir, RunRecord, finished, open_run
from medaug.core.seeding import SeedTree
from medaug.core.splits import Fold, read_splits
from medaug.core.storage import require_free_space
from medaug.core.summary import Summary
from medaug.engine.board import open_board, require_board
from medaug.engine.launch import joined, own_folder, pick_device, shared, team
from medaug.generators.base import (
    GeneratorConfig,
    Learnt,
    NetworkConfig,
    ReadyConfig,
    load_generator,
    not_private,
    on_device,
    read_card,
    read_generator_config,
    with_privacy,
)
from medaug.io.dataset import StoredCases
from medaug.lesions.bank import Bank
from medaug.synthesis.fit import fit_or_fall_back
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
    dp: dict[str, object] | None = Field(
        default=None, description="train with differential privacy: epsilon, and what else is asked"
    )
    tensorboard: bool = Field(default=False, description="write the figures for TensorBoard, too")


@final
class FitSummary(Summary):
    """What came of a training."""

    out: str
    kind: str
    instead_of: str | None = Field(
        default=None, description="the kind that was asked for, where there was too little to train it"
    )
    fold: int
    classes: tuple[str, ...]
    learnt: Learnt | None = Field(default=None, description="null for a translator, which learns from cases")
    training_patients: int
    steps: int
    seconds: float
    sha256: str = Field(description="of configuration and weights")
    privacy: PrivacyBudget | None = Field(default=None, description="null: no differential privacy")
    notes: tuple[str, ...] = ()
    next_step: str = Field(default="", description="the command that uses it")

    def lines(self) -> tuple[str, ...]:
        """What was trained on what, how long, what to beware of, and how to go on."""
        steps = f"{self.steps} steps in " if self.steps else ""
        head = f"{self.kind} of fold {self.fold}: {steps}{self.seconds:.0f} s, in {self.out}"
        seen = f"{self.training_patients} training patients, classes {', '.join(self.classes)}"
        next_step = [f"next: {self.next_step}"] if self.next_step else []
        return (head, seen, *self._learnt_lines(), *self.notes, f"sha256 {self.sha256}", *next_step)

    def _learnt_lines(self) -> tuple[str, ...]:
        if self.learnt is None:
            return ()
        learnt = self.learnt
        return tuple(
            f"  {name}: {count} lesions of {learnt.patients[name]} patients, "
            f"{learnt.diameter_mm[name][0]:.1f} to {learnt.diameter_mm[name][1]:.1f} mm"
            for name, count in learnt.lesions.items()
        )


@final
class _Settings(Frozen):
    """What makes a training this training; the device is left out, since it changes no result on purpose."""

    fold: int
    seed: int
    generator: dict[str, object]


def fit(options: FitOptions, progress: Progress) -> FitSummary:
    """Train a generator or translator, go on with an interrupted training, or say what the finished one is.

    Raises:
        ConfigError: If the configuration is wrong, the kind needs no training, a bank is missing or one too many,
            ``out`` holds something else, or differential privacy cannot be kept.
        SplitLeakageError: If the bank holds patients outside the fold's training part.
        DataError: If a class has no lesion in the bank.
        TrainingError: If losses explode, made lesions are all alike, or the discriminator memorises.
        DependencyError: If TensorBoard or differential privacy is wanted and not installed.
        StorageError: If the disk cannot hold it.
    """
    chosen = _fit_generator
    if read_yaml(options.config).get("kind") in kinds("translators"):
        chosen = _fit_translator
    if options.tensorboard:
        require_board()
    with joined() as team, own_folder(options.out, team) as folder:
        summarise = chosen(options.model_copy(update={"out": folder}), progress)
        return cast(FitSummary, shared(summarise() if team.leads else None))


@contextmanager
def _training(options: FitOptions, settings: _Settings, inputs: dict[str, str]) -> Iterator[RunDir | None]:
    """The open run folder, heard by a board where one is wanted; None where the training is finished."""
    if shared(finished(options.out, "fit", settings, inputs)):
        yield None
        return
    require_free_space(options.out, _NEEDED_BYTES)
    with open_run(options.out, "fit", settings, inputs) as run, ExitStack() as stack:
        if options.tensorboard and team().leads:
            run.listener = stack.enter_context(open_board(run.path))
        yield run


def _fit_generator(options: FitOptions, progress: Progress) -> Callable[[], FitSummary]:
    """Train; returns what tells the summary."""
    config = _asked(options)
    if options.bank is None:
        hint = "cut the fold's lesions with `medaug bank`"
        raise ConfigError(f"{config.kind} learns from a lesion bank", where="--bank", hint=hint)
    manifest = read_manifest(options.dataset)
    fold = read_splits(options.dataset, manifest).fold(options.fold)
    bank = Bank.open(options.bank)
    bank.fold_check(fold)
    _same_dataset(bank, manifest.content_sha256)
    inputs = {"dataset": manifest.content_sha256, "training_scope": fold.scope_sha256, "bank": bank.sha256}
    with _training(options, _settings(config, options), inputs) as run:
        if run is not None:
            fit_or_fall_back(config, bank, fold, run, progress, SeedTree(options.seed).child("fit"))
    return partial(_summarise, options, fold)


def _asked(options: FitOptions) -> GeneratorConfig:
    """The configuration of the file, on the device that is wanted."""
    config = read_generator_config(options.config)
    if options.dp is not None:
        config = with_privacy(config, options.dp)
    if isinstance(config, ReadyConfig):
        raise ConfigError(
            f"{config.kind} needs no training",
            where=str(options.config),
            hint=f"use it as it is: medaug synthesize --generator {config.kind}",
        )
    if options.device is None:
        if isinstance(config, NetworkConfig):
            pick_device(config.device)  # a wrong one is told before there is a run folder
        return config
    if not isinstance(config, NetworkConfig):
        hint = "leave --device out"
        raise ConfigError(f"{config.kind} has no network to put on a device", where="--device", hint=hint)
    pick_device(options.device)
    return on_device(config, options.device)


def _fit_translator(options: FitOptions, progress: Progress) -> Callable[[], FitSummary]:
    """Train; returns what tells the summary."""
    config = translators.read_translator_config(options.config)
    if options.bank is not None:
        hint = "leave --bank out"
        raise ConfigError(
            f"{config.kind} learns from whole cases, not from a bank", where="--bank", hint=hint
        )
    if options.dp is not None:
        raise not_private(config.kind)
    settings = _settings(config, options)
    if options.device is not None:
        pick_device(options.device)
        if "device" in config.model_dump():
            config = translators.parse_translator({**config.model_dump(), "device": options.device})
    manifest = read_manifest(options.dataset)
    fold = read_splits(options.dataset, manifest).fold(options.fold)
    cases = StoredCases.of_fold(options.dataset, manifest, fold)
    inputs = {"dataset": manifest.content_sha256, "training_scope": fold.scope_sha256}
    with _training(options, settings, inputs) as run:
        if run is not None:
            seed = SeedTree(options.seed).child("fit")
            translators.train_translator(config, cases, run, progress, seed)
    return partial(_summarise_translator, options, fold)


def _summarise_translator(options: FitOptions, fold: Fold) -> FitSummary:
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
        next_step=f"medaug translate {options.dataset} --with {options.out} --fold {fold.index} --out DIR",
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


def _summarise(options: FitOptions, fold: Fold) -> FitSummary:
    card = read_card(options.out)
    asked = f"--bank {options.bank} --generator {options.out} --per-class {card.classes[-1]}=50"
    return FitSummary(
        out=str(options.out),
        kind=card.kind,
        instead_of=card.instead_of,
        fold=fold.index,
        classes=card.classes,
        learnt=card.learnt,
        training_patients=len(card.training_patients),
        steps=card.steps,
        seconds=RunRecord.read(options.out / RUN_FILE).seconds or 0.0,
        sha256=load_generator(str(options.out), fold).sha256,
        privacy=card.privacy,
        notes=card.notes,
        next_step=f"medaug synthesize {options.dataset} {asked} --fold {fold.index} --out DIR",
    )
