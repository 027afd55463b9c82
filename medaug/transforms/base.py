"""What every augmentation file offers, and how settings become an augmentation.

A file ``medaug/transforms/<kind>.py`` holds a ``Config`` whose ``kind`` literal is the file's name and whose
``build(unit, modality)`` gives a :class:`~medaug.engine.augment.BatchAugment`. One that is learnt from training cases
(:class:`LearntConfig`) refuses to be built; what was learnt is another ``Config``, which can be.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import final

from pydantic import Field

from medaug.core.config import Frozen
from medaug.core.errors import ConfigError
from medaug.core.plugins import parse_config
from medaug.core.seeding import SeedTree
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


@final
class Tried(Frozen):
    """A trial of a search that ran to its end."""

    parameters: dict[str, float]
    score: float = Field(description="higher is better")


class LearntConfig(TransformConfig, ABC):
    """Settings of an augmentation that is chosen by short trainings inside the training patients.

    It proposes what to try and says what policy that is; whoever trains and scores the trials tells it the results.
    """

    trials: int = Field(default=8, ge=1, le=500, description="short trainings; the first one is the default")
    steps_share: float = Field(
        default=0.25, gt=0, le=1, description="steps of a trial, as a share of those of the task"
    )
    inner_share: float = Field(
        default=0.25, gt=0, le=0.5, description="share of the training patients that score the trials"
    )

    def build(self, unit: Unit, modality: str = "") -> BatchAugment:
        """Refuse.

        Raises:
            ConfigError: Always: there is no policy yet.
        """
        hint = "`medaug train` and `medaug experiment` learn it; paste the lines of policy.yaml to use it elsewhere"
        raise ConfigError(f"{self.kind} has not learnt a policy yet", where="transforms", hint=hint)

    @abstractmethod
    def check_packages(self) -> None:
        """Raise DependencyError where a package that the search needs is missing."""

    @abstractmethod
    def propose(self, tried: Sequence[Tried], unit: Unit, modality: str, seed: SeedTree) -> dict[str, float]:
        """The parameters of the next trial, the same for the same earlier trials and seed.

        Args:
            tried: The trials so far, in order.
            unit: Of the images.
            modality: Of the images, as in :meth:`build`.
            seed: Of the search.
        """

    @abstractmethod
    def policy(self, parameters: Mapping[str, float], unit: Unit, modality: str) -> TransformConfig:
        """The augmentation that these parameters stand for."""


def parse_transforms(raw: Mapping[str, object]) -> TransformConfig:
    """The settings that a mapping (a part of a YAML file) describes; its ``kind`` chooses the file.

    Raises:
        ConfigError: If ``kind`` is missing or unknown, or a key is unknown or out of range.
    """
    config = parse_config("transforms", raw)
    if not isinstance(config, TransformConfig):
        raise ConfigError(f"{raw['kind']} offers no augmentation", where="transforms")
    return config
