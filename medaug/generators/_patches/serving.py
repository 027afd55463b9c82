"""What trained generators on patches share: the card they leave, the files they are read from, how they answer."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from jaxtyping import Float
from pydantic import ValidationError
from torch import Tensor, nn

from medaug.core.config import Frozen
from medaug.core.errors import CheckpointError, ConfigError
from medaug.core.intensity import CaseScale
from medaug.core.volume import Image
from medaug.engine.checkpoint import State, load_checkpoint
from medaug.engine.weights import state_sha256
from medaug.generators._patches.window import Window
from medaug.generators.base import (
    CARD,
    WEIGHTS,
    GeneratorCard,
    LesionLibrary,
    new_card,
    read_card,
)

HINT = "train again with `medaug fit`"

C = TypeVar("C", bound=Frozen)


class TrainedConfig(Protocol):
    """The configuration of a generator that was trained for a number of steps."""

    @property
    def kind(self) -> str:
        """Name of the generator's file."""
        ...

    @property
    def steps(self) -> int:
        """Optimiser steps."""
        ...

    def model_dump(self, *, mode: str = "json") -> dict[str, object]:
        """The configuration as plain values."""
        ...


def card_of(config: TrainedConfig, bank: LesionLibrary, weights: State) -> GeneratorCard:
    """The card of a generator that was trained on a bank; the device it ran on is left out."""
    settings = {**config.model_dump(mode="json"), "device": "auto"}
    return new_card(config.kind, settings, bank, config.steps, state_sha256(weights))


def read_run(run_path: Path, model: type[C]) -> tuple[C, GeneratorCard, State]:
    """Configuration, card and saved state of a finished run folder.

    Raises:
        CheckpointError: If one is missing, damaged or of another version.
    """
    card = read_card(run_path)
    try:
        config = model.model_validate(card.config)
    except ValidationError as error:
        raise CheckpointError(f"{CARD} holds a configuration of another version", hint=HINT) from error
    return config, card, load_checkpoint(run_path / WEIGHTS)


def fill_net(net: nn.Module, state: State, card: GeneratorCard) -> None:
    """Load the weights that a card names into a network.

    Raises:
        CheckpointError: If they are another generator's, or were changed.
    """
    weights = state.get("net")
    if not isinstance(weights, dict):
        raise CheckpointError(f"{WEIGHTS} holds no {card.kind}", hint=HINT)
    try:
        net.load_state_dict(weights)
    except (RuntimeError, KeyError) as error:
        message = f"{WEIGHTS} belongs to another class table, channels or size than {CARD}"
        raise CheckpointError(message, hint=HINT) from error
    if state_sha256(weights) != card.weights_sha256:
        raise CheckpointError(f"{WEIGHTS} is not the one that {CARD} names", hint=HINT)


def class_number(card: GeneratorCard, class_name: str) -> int:
    """Index of a class in a generator's table.

    Raises:
        ConfigError: If it is not there.
    """
    if class_name not in card.classes:
        known = ", ".join(card.classes)
        raise ConfigError(f"the generator knows no class {class_name!r}", expected=known)
    return card.classes.index(class_name)


def check_channels(card: GeneratorCard, image: Image) -> None:
    """Refuse an image of other channels than the training images.

    Raises:
        CheckpointError: If their number differs.
    """
    channels = len(card.scheme.channels)
    if image.shape[0] != channels:
        message = f"the host has {image.shape[0]} channels"
        raise CheckpointError(message, expected=f"{channels} channels", hint=HINT)


def changed(host: Image, scale: CaseScale, window: Window, change: Float[Tensor, "B C *S"]) -> Image:
    """A host patch in its own units, with a change of the network's frames; its own values where nothing changes."""
    native = window.back(change, (host.shape[1], host.shape[2], host.shape[3]))
    drawn = scale.restore(scale.normalise(host) + native)
    return np.where(native != 0, drawn, host).astype(np.float32)
