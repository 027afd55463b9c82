"""What every augmentation file offers, and how settings become an augmentation.

A file ``medaug/transforms/<kind>.py`` holds a ``Config`` whose ``kind`` literal is the file's name and whose
``build(unit, modality)`` gives a :class:`~medaug.engine.augment.BatchAugment`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from medaug.core.config import Frozen
from medaug.core.errors import ConfigError
from medaug.core.plugins import parse_config
from medaug.core.volume import Unit
from medaug.engine.augment import BatchAugment


class TransformConfig(Frozen, ABC):
    """Settings of an augmentation."""

    kind: str

    @abstractmethod
    def build(self, unit: Unit, modality: str = "") -> BatchAugment:
        """The augmentation for images of that unit and DICOM modality (empty where unknown).

        Hounsfield units bear far less change than arbitrary grey values, and each scanner has artefacts of its own.
        """


def parse_transforms(raw: Mapping[str, object]) -> TransformConfig:
    """The settings that a mapping (a part of a YAML file) describes; its ``kind`` chooses the file.

    Raises:
        ConfigError: If ``kind`` is missing or unknown, or a key is unknown or out of range.
    """
    config = parse_config("transforms", raw)
    if not isinstance(config, TransformConfig):
        raise ConfigError(f"{raw['kind']} offers no augmentation", where="transforms")
    return config
