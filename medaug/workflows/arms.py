"""What the arms of an experiment ask of the plugins, with every default written out."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from pydantic import JsonValue, ValidationError

from medaug.core.config import Frozen, explain
from medaug.core.errors import ConfigError
from medaug.experiments.design import Arm, ExperimentConfig, Settings
from medaug.generators.base import GeneratorConfig, TeachableConfig, parse_generator
from medaug.tasks.base import TaskConfig, parse_task, require_label_maps
from medaug.transforms.base import TransformConfig, parse_transforms

SHARES = ("synthetic_share", "null_share", "real_only_tail")  # each arm has its own


def resolved(config: ExperimentConfig) -> ExperimentConfig:
    """The configuration with every plugin's defaults written out, so that a run folder says all it did.

    Raises:
        ConfigError: If the settings of a plugin are wrong, or two arms would do the same.
    """
    task = _without_shares(settings_of(task_of(config.task, config.arms[0])))
    arms = [_resolved(arm, config.task).model_dump() for arm in config.arms]
    try:
        return ExperimentConfig.model_validate(config.model_dump() | {"task": task, "arms": arms})
    except ValidationError as error:
        raise ConfigError(explain(error), hint="defaults are written out before arms are compared") from error


def _resolved(arm: Arm, task: Settings) -> Arm:
    task_of(task, arm)
    written: dict[str, object] = {"transforms": settings_of(parse_transforms(arm.transforms))}
    if arm.generator is not None:
        written["generator"] = settings_of(generator_of(arm))
    if arm.teacher is not None:
        written["teacher"] = _without_shares(settings_of(teacher_of(arm)))
    return arm.model_copy(update=written)


def _without_shares(task: Settings) -> Settings:
    return {key: value for key, value in task.items() if key not in SHARES}


def settings_of(config: TaskConfig | TransformConfig | GeneratorConfig) -> dict[str, JsonValue]:
    """All settings of a plugin as plain values."""
    return cast("dict[str, JsonValue]", cast(Frozen, config).model_dump(mode="json"))


def task_of(settings: Settings, arm: Arm) -> TaskConfig:
    """The task with the arm's shares of synthetic patches.

    Raises:
        ConfigError: If the task's settings are wrong, hold what belongs to the arms, or are of one without a Dice.
    """
    require_label_maps(settings, "an experiment")
    _refuse_shares(settings, "task")
    own = arm.model_dump(include=set(SHARES))
    return parse_task({**settings, **own})


def generator_of(arm: Arm) -> GeneratorConfig:
    """The generator of an arm that has one.

    Raises:
        ConfigError: If it has none, its settings are wrong, or it names a teacher that was trained elsewhere.
    """
    if arm.generator is None:
        raise ConfigError("has no generator", where=f"arm {arm.name}")
    if arm.generator.get("teacher") is not None:
        raise ConfigError(
            "a teacher from elsewhere may have seen more than a training subset",
            where=f"arm {arm.name}: generator.teacher",
            hint="give the arm a teacher, settings of a segmentation: it is trained in every subset anew",
        )
    return parse_generator(arm.generator, where=f"arm {arm.name}")


def teacher_of(arm: Arm) -> TaskConfig:
    """The task that the teacher of an arm's generator is trained for.

    Raises:
        ConfigError: If its settings are wrong, or the generator listens to none.
    """
    where = f"arm {arm.name}: teacher"
    if arm.teacher is None or arm.teacher.get("kind") != "segmentation":
        raise ConfigError("is no segmentation", where=where, expected="kind: segmentation and its settings")
    _refuse_shares(arm.teacher, where)
    taught_by(generator_of(arm), Path("teacher"), where)
    return parse_task(arm.teacher)


def _refuse_shares(task: Settings, where: str) -> None:
    for key in SHARES:
        if key in task:
            hint = "set it in each arm with a generator"
            raise ConfigError(f"{key} belongs to the arms", where=where, hint=hint)


def taught_by(config: GeneratorConfig, teacher: Path, where: str = "teacher") -> GeneratorConfig:
    """The configuration of a generator that learns from the teacher in a run folder.

    Raises:
        ConfigError: If the kind listens to none.
    """
    if not isinstance(config, TeachableConfig):
        raise ConfigError(f"{config.kind} listens to no teacher", where=where, expected="kind: cgan")
    return parse_generator(config.model_dump(mode="json") | {"teacher": str(teacher)}, where=where)
