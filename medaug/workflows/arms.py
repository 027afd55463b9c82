"""What the arms of an experiment ask of the plugins, with every default written out."""

from __future__ import annotations

from typing import cast

from pydantic import JsonValue

from medaug.core.config import Frozen
from medaug.core.errors import ConfigError
from medaug.experiments.design import Arm, ExperimentConfig, Settings
from medaug.generators.base import GeneratorConfig, parse_generator
from medaug.tasks.base import TaskConfig, parse_task, require_label_maps
from medaug.transforms.base import TransformConfig, parse_transforms

SHARES = ("synthetic_share", "null_share", "real_only_tail")  # each arm has its own


def resolved(config: ExperimentConfig) -> ExperimentConfig:
    """The configuration with every plugin's defaults written out, so that a run folder says all it did.

    Raises:
        ConfigError: If the settings of a plugin are wrong.
    """
    arms = []
    for arm in config.arms:
        task_of(config.task, arm)
        transforms = settings_of(parse_transforms(arm.transforms))
        generator = None if arm.generator is None else settings_of(generator_of(arm))
        arms.append(arm.model_copy(update={"transforms": transforms, "generator": generator}))
    task = settings_of(task_of(config.task, config.arms[0]))
    for key in SHARES:
        task.pop(key, None)
    return config.model_copy(update={"task": task, "arms": tuple(arms)})


def settings_of(config: TaskConfig | TransformConfig | GeneratorConfig) -> dict[str, JsonValue]:
    """All settings of a plugin as plain values."""
    return cast("dict[str, JsonValue]", cast(Frozen, config).model_dump(mode="json"))


def task_of(settings: Settings, arm: Arm) -> TaskConfig:
    """The task with the arm's shares of synthetic patches.

    Raises:
        ConfigError: If the task's settings are wrong, hold what belongs to the arms, or are of one without a Dice.
    """
    require_label_maps(settings, "an experiment")
    for key in SHARES:
        if key in settings:
            raise ConfigError(
                f"{key} belongs to the arms", where="task", hint="set it in each arm with a generator"
            )
    own = arm.model_dump(include=set(SHARES))
    return parse_task({**settings, **own})


def generator_of(arm: Arm) -> GeneratorConfig:
    """The generator of an arm that has one.

    Raises:
        ConfigError: If it has none, or its settings are wrong.
    """
    if arm.generator is None:
        raise ConfigError("has no generator", where=f"arm {arm.name}")
    return parse_generator(arm.generator, where=f"arm {arm.name}")
