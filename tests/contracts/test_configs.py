"""Every YAML that the project ships is valid for what it configures, down to each plugin's settings."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from medaug.core.config import load_yaml
from medaug.core.plugins import kinds
from medaug.experiments.design import ExperimentConfig
from medaug.generators.base import read_generator_config
from medaug.tasks.base import parse_task
from medaug.transforms.base import parse_transforms
from medaug.translators.base import read_translator_config
from medaug.workflows.arms import resolved
from medaug.workflows.train import TrainConfig

ROOT = Path(__file__).parents[2]
CONFIGS = sorted([*(ROOT / "configs").glob("**/*.yaml"), *(ROOT / "medaug/phantom").glob("*.yaml")])


def test_there_are_configurations() -> None:
    assert {"demo.yaml", "lidc_quick.yaml", "lgg_quick.yaml"} <= {path.name for path in CONFIGS}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_configuration_is_valid(path: Path) -> None:
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    if "arms" in raw:
        config = resolved(load_yaml(path, ExperimentConfig))
        assert resolved(config) == config
        assert config.baseline == "classical"
    elif "task" in raw:
        training = load_yaml(path, TrainConfig)
        assert parse_task(training.task).kind in kinds("tasks")
        assert parse_transforms(training.transforms).kind in kinds("transforms")
    elif raw["kind"] in kinds("translators"):
        assert read_translator_config(path).kind == raw["kind"]
    else:
        assert read_generator_config(path).kind in kinds("generators")


@pytest.mark.parametrize(
    "path", [p for p in CONFIGS if "generator:" in p.read_text(encoding="utf-8")], ids=lambda path: path.name
)
def test_experiments_compare_with_and_without_learned_lesions_on_equal_terms(path: Path) -> None:
    config = load_yaml(path, ExperimentConfig)
    generators = {arm.name: arm.generator and arm.generator["kind"] for arm in config.arms}
    assert generators[config.baseline] is None
    assert {"copy_paste", "cgan"} <= set(generators.values())
    stacked = next(arm for arm in config.arms if arm.name == "classical_cgan")
    classical = next(arm for arm in config.arms if arm.name == "classical")
    assert stacked.transforms == classical.transforms


@pytest.mark.parametrize("name", ["augmentation_quick.yaml", "lidc_augmentation.yaml"])
def test_experiments_on_augmentation_compare_every_way_of_it_without_generators(name: str) -> None:
    config = load_yaml(ROOT / "configs" / name, ExperimentConfig)
    kinds_of_arms = {arm.transforms["kind"] for arm in config.arms}
    assert kinds_of_arms >= {"classical", "randaugment", "trivialaugment", "adaptive", "cutmix", "carvemix"}
    assert not any(arm.generator for arm in config.arms)


def test_the_demo_runs_the_configuration_that_stands_among_the_others() -> None:
    packaged = (ROOT / "medaug/phantom/experiment.yaml").read_text(encoding="utf-8")
    assert packaged == (ROOT / "configs/demo.yaml").read_text(encoding="utf-8")
