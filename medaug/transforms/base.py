"""What every augmentation file offers, and how settings become an augmentation.

A file ``medaug/transforms/<kind>.py`` holds a ``Config`` whose ``kind`` literal is the file's name and whose
``build(unit)`` gives an :class:`~medaug.core.augment.Augment`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from medaug.core.augment import Augment
from medaug.core.config import Frozen
from medaug.core.errors import ConfigError
from medaug.core.plugins import parse_config
from medaug.core.volume import Unit


class TransformConfig(Frozen, ABC):
    """Settings of an augmentation."""

    kind: str

    @abstractmethod
    def build(self, unit: Unit) -> Augment:
        """The augmentation for images of that unit: Hounsfield units bear far less change than grey values."""


def parse_transforms(raw: Mapping[str, object]) -> TransformConfig:
    """The settings that a mapping (a part of a YAML file) describes; its ``kind`` chooses the file.

    Raises:
        ConfigError: If ``kind`` is missing or unknown, or a key is unknown or out of range.
    """
    config = parse_config("transforms", raw)
    if not isinstance(config, TransformConfig):
        raise ConfigError(f"{raw['kind']} offers no augmentation", where="transforms")
    return config
