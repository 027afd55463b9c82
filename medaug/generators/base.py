"""What every generator file offers, and how a configuration, a kind or a run folder becomes a generator.

A generator file ``medaug/generators/<kind>.py`` holds a ``Config`` whose ``kind`` literal is the file's name and
whose ``build()`` gives a :class:`~medaug.core.lesion.Generator` (:class:`ReadyConfig`). One that has to be trained
knows no classes before: in place of ``build`` it has two module functions, ``fit(config, bank, run, progress, seed)``,
which resumes what lies in the run folder, and ``load(run_path)``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar, cast, runtime_checkable

import numpy as np
from pydantic import BaseModel, ValidationError

from medaug.core.budget import PrivacyRequest
from medaug.core.config import Frozen, explain, read_yaml
from medaug.core.errors import CheckpointError, ConfigError, DataError
from medaug.core.lesion import BankIndex, Generator, Lesion, LesionCrop, LesionEntry, LesionRequest
from medaug.core.plugins import load_plugin
from medaug.core.runs import Progress, RunDir
from medaug.core.seeding import SeedTree
from medaug.core.splits import Fold, guard_donors, training_scope
from medaug.core.storage import sha256_text
from medaug.generators._card import GeneratorCard, Learnt, check_classes, check_host

CARD, WEIGHTS = "generator.json", "model.pt"
FEW_LESIONS = 8  # below it a class is learnt with a warning, and a network is not trained at all

__all__ = [
    "CARD",
    "FEW_LESIONS",
    "WEIGHTS",
    "GeneratorCard",
    "GeneratorConfig",
    "Learnt",
    "LesionLibrary",
    "NetworkConfig",
    "PrivateConfig",
    "ReadyConfig",
    "TeachableConfig",
    "TrainedGenerator",
    "check_classes",
    "check_host",
    "generator_sha256",
    "is_private",
    "load_generator",
    "not_private",
    "on_device",
    "parse_generator",
    "read_card",
    "read_generator_config",
    "train_generator",
    "with_privacy",
]


class LesionLibrary(Protocol):
    """The part of a lesion bank that training reads; :class:`medaug.lesions.bank.Bank` is one."""

    @property
    def index(self) -> BankIndex:
        """Classes, intensity scheme and training patients."""
        ...

    @property
    def sha256(self) -> str:
        """Hash of the whole bank."""
        ...

    def entries(self, class_name: str | None = None) -> tuple[LesionEntry, ...]:
        """The lesions of a class, or all."""
        ...

    def crop(self, lesion_id: str) -> LesionCrop:
        """One lesion with its context."""
        ...


class GeneratorConfig(Protocol):
    """The configuration of a generator: a frozen pydantic model in its file, named ``Config``."""

    @property
    def kind(self) -> str:
        """Name of the generator's file."""
        ...

    def model_dump_json(self) -> str:
        """The configuration as JSON, all defaults written out."""
        ...

    def model_dump(self, *, mode: str = "json") -> dict[str, object]:
        """The configuration as plain values, all defaults written out."""
        ...


@runtime_checkable
class ReadyConfig(Protocol):
    """The configuration of a generator that needs no training."""

    def build(self) -> Generator:
        """The generator, ready for use."""
        ...


@runtime_checkable
class NetworkConfig(Protocol):
    """The configuration of a generator that trains a network, on a device; it needs dozens of lesions."""

    device: str


@runtime_checkable
class TeachableConfig(Protocol):
    """The configuration of a generator that can learn from a trained segmentation, too."""

    teacher: str | None


@runtime_checkable
class PrivateConfig(Protocol):
    """The configuration of a generator that can be trained with differential privacy."""

    @property
    def dp(self) -> PrivacyRequest | None:
        """What is promised; None where nothing is."""
        ...


C = TypeVar("C", bound=GeneratorConfig)


class TrainedGenerator(ABC, Generic[C]):
    """A generator that was trained: its configuration, and the card that its training left."""

    kind: str

    def __init__(self, config: C, card: GeneratorCard) -> None:
        self._config, self._card = config, card

    @property
    def sha256(self) -> str:
        """Hash of the configuration and of what was learnt."""
        return generator_sha256(self._config, self._card.weights_sha256)

    @property
    def card(self) -> GeneratorCard:
        """What it is, what it has seen, and what it has told of whom."""
        return self._card

    @abstractmethod
    def generate(
        self, requests: Sequence[LesionRequest], rngs: Sequence[np.random.Generator]
    ) -> list[Lesion]:
        """Answer every request, in order; each answer depends on its request and its ``rng`` alone, up to rounding.

        Raises:
            ConfigError: If a class is not in the generator's table.
            CheckpointError: If a host has another number of channels than the training images.
        """


def is_private(config: GeneratorConfig) -> bool:
    """Whether a configuration asks for differential privacy."""
    return isinstance(config, PrivateConfig) and config.dp is not None


def with_privacy(config: GeneratorConfig, asked: Mapping[str, object]) -> GeneratorConfig:
    """The variant of a configuration that keeps a promise.

    Args:
        config: Of the generator; of its own promise, keys that are not asked for anew stay.
        asked: Keys of :class:`~medaug.core.budget.PrivacyRequest`.

    Raises:
        ConfigError: If the kind cannot be trained with differential privacy, or a key that is set breaks the promise.
    """
    if not isinstance(config, PrivateConfig) or not isinstance(config, Frozen):
        raise not_private(config.kind)
    kept = config.model_dump(mode="json", exclude_unset=True)
    promised = config.dp.model_dump(exclude_unset=True) if config.dp is not None else {}
    return parse_generator({**kept, "kind": config.kind, "dp": {**promised, **asked}}, where="--dp")


def not_private(kind: str) -> ConfigError:
    """What is raised where a kind that cannot be trained with differential privacy is asked for it."""
    return ConfigError(
        f"{kind} has no training with differential privacy", where="--dp", expected="cgan or vae"
    )


def new_card(
    kind: str, settings: dict[str, object], bank: LesionLibrary, steps: int, weights_sha256: str
) -> GeneratorCard:
    """The card of a generator that has learnt from a bank.

    Args:
        kind: Name of the generator's file.
        settings: Its configuration as plain values.
        bank: What it learnt from.
        steps: Optimiser steps; 0 where there is no network.
        weights_sha256: Hash of what it learnt.
    """
    index = bank.index
    return GeneratorCard(
        kind=kind,
        config=settings,
        classes=index.classes,
        scheme=index.scheme,
        training_patients=index.training_patients,
        training_scope_sha256=training_scope(index.training_patients),
        bank_sha256=bank.sha256,
        dataset_sha256=index.dataset_sha256,
        fold=index.fold,
        steps=steps,
        weights_sha256=weights_sha256,
    )


def generator_sha256(config: GeneratorConfig, weights_sha256: str = "") -> str:
    """Hash of a generator: its configuration and, where it has any, its weights."""
    return sha256_text(f"{config.model_dump_json()}\n{weights_sha256}")


def parse_generator(raw: Mapping[str, object], *, where: str = "generator") -> GeneratorConfig:
    """The configuration that a mapping (a YAML file, or a part of one) describes; its ``kind`` chooses the file.

    Raises:
        ConfigError: If ``kind`` is missing or unknown, or a key is unknown, missing or out of range.
    """
    kind = raw.get("kind")
    if not isinstance(kind, str):
        raise ConfigError(
            "no kind is named", where=where, expected="kind: cgan, copy_paste or another generator"
        )
    model = cast(type[BaseModel], load_plugin("generators", kind).Config)
    try:
        return cast(GeneratorConfig, model.model_validate(raw))
    except ValidationError as error:
        raise ConfigError(explain(error, model), where=where) from error


def on_device(config: GeneratorConfig, device: str) -> GeneratorConfig:
    """The configuration with its network, if it has one, on that device."""
    if not isinstance(config, NetworkConfig):
        return config
    return parse_generator({**config.model_dump(mode="json"), "device": device})


def read_generator_config(path: Path) -> GeneratorConfig:
    """Read the YAML file of a generator.

    Raises:
        ConfigError: If the file is missing, is not YAML, or does not describe a generator.
    """
    return parse_generator(read_yaml(path), where=str(path))


def train_generator(
    config: GeneratorConfig, bank: LesionLibrary, run: RunDir, progress: Progress, seed: SeedTree
) -> Generator:
    """Train inside an open run folder (resuming what lies there) and leave what :func:`load_generator` reads.

    Raises:
        DataError: If the bank does not hold what the kind learns from.
        TrainingError: If training cannot go on.
    """
    return cast(Generator, load_plugin("generators", config.kind).fit(config, bank, run, progress, seed))


def load_generator(name_or_run: str, fold: Fold | None = None, device: str = "auto") -> Generator:
    """A ready generator: a run folder of ``medaug fit``, or the kind of one that needs no training.

    Args:
        name_or_run: The path of a run folder, or a kind such as ``copy_paste``.
        fold: Where the lesions will be used; a trained generator must have seen none but its training patients.
        device: Where its network draws, if it has one.

    Raises:
        CheckpointError: If the run folder holds no finished generator, or a damaged one.
        ConfigError: If it is neither a folder nor a kind, or the kind has to be trained first.
        SplitLeakageError: If the generator was trained on a patient outside the fold's training part.
    """
    folder = Path(name_or_run)
    if not folder.is_dir():
        return _of_kind(name_or_run)
    card = read_card(folder)
    if fold is not None:
        guard_donors(card.training_patients, fold, where=f"generator {folder}")
    where = (device,) if "device" in card.config else ()
    return cast(Generator, load_plugin("generators", card.kind).load(folder, *where))


def read_card(run_path: Path) -> GeneratorCard:
    """The card of a trained generator.

    Raises:
        CheckpointError: If the folder holds none, since training has not finished there, or a damaged or edited one.
    """
    if not (run_path / CARD).is_file():
        hint = "run the same `medaug fit` again; it goes on from where it stopped"
        raise CheckpointError(f"{run_path} holds no finished generator", hint=hint)
    hint = "train again with `medaug fit`"
    try:
        card = GeneratorCard.read(run_path / CARD)
    except DataError as error:
        raise CheckpointError(error.what, expected=error.expected, hint=hint) from error
    if not card.is_intact:
        raise CheckpointError(f"{CARD} was changed since the training", hint=hint)
    return card


def _of_kind(kind: str) -> Generator:
    if "/" in kind:
        raise ConfigError(f"no folder {kind}", where="--generator", expected="a run folder of `medaug fit`")
    config = parse_generator({"kind": kind}, where="--generator")
    if not isinstance(config, ReadyConfig):
        raise ConfigError(f"{kind} has to be trained first", hint="run `medaug fit` and name its folder")
    return config.build()
