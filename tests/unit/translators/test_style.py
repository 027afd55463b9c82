from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from medaug.core.case import Origin
from medaug.core.config import Frozen
from medaug.core.errors import CheckpointError, ConfigError
from medaug.core.runs import NoProgress, Progress, open_run
from medaug.core.seeding import SeedTree
from medaug.core.volume import Unit
from medaug.translators._style.slices import body_mask, view
from medaug.translators.base import CARD, WEIGHTS, read_card
from medaug.translators.style import Config, Style, fit, load
from tests.made_scans import MadeCases, scan

CASES = MadeCases.of([scan(n, channels=("FLAIR", "T1")) for n in range(2)])
SCANNER = {"source": {"look": {"gamma": 2.0}}}
CONTRAST = {"source": {"channel": "FLAIR"}, "target": {"channel": "T1"}}


class _Empty(Frozen):
    pass


class _Killed:
    """Stops a training after some steps."""

    def __init__(self, after: int) -> None:
        self.left = after

    def start(self, label: str, total: int | None) -> None:
        pass

    def say(self, line: str) -> None:
        pass

    def advance(self, units: int = 1, note: str = "") -> None:
        self.left -= units if note else 0
        if self.left <= 0:
            raise KeyboardInterrupt


def tiny(domains: Mapping[str, object], **changes: object) -> Config:
    plain = {"base": 4, "blocks": 1, "patch": 16, "slices": 8, "batch_size": 2, "steps": 3, "device": "cpu"}
    return Config.model_validate({**plain, **domains, **changes})


def train(path: Path, config: Config, progress: Progress | None = None) -> Style:
    with open_run(path, "fit", _Empty(), {}) as run:
        return fit(config, CASES, run, progress or NoProgress(), SeedTree(0))


@pytest.fixture(scope="module")
def scanner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("style") / "scanner"
    train(path, tiny(SCANNER))
    return path


@pytest.fixture(scope="module")
def contrast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("style") / "contrast"
    train(path, tiny(CONTRAST))
    return path


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_another_scanner_changes_the_body_alone_and_labels_stay(scanner: Path) -> None:
    case = scan(5, channels=("FLAIR", "T1"), shape=(21, 17, 6))
    made = load(scanner).translate(case, rng())
    body = body_mask(case.volume)
    np.testing.assert_array_equal(made.volume.image[:, ~body], case.volume.image[:, ~body])
    assert (made.volume.image[:, body] != case.volume.image[:, body]).mean() > 0.5
    assert made.label_map is case.label_map
    assert made.volume.grid is case.volume.grid
    assert made.origin is Origin.AUGMENTED


def test_another_contrast_is_the_new_channel_on_its_own_background(contrast: Path) -> None:
    case = scan(5, channels=("FLAIR", "T1"))
    made = load(contrast).translate(case, rng())
    body = body_mask(view(case, "FLAIR"))
    assert made.volume.channels == ("T1",)
    assert not made.volume.image[0][~body].any(), "the background of T1 is 0"
    tissue = case.volume.image[0] > 0
    assert made.volume.image[0][tissue].mean() == pytest.approx(400, rel=0.2)
    only = dataclasses.replace(case, volume=view(case, "FLAIR"))
    np.testing.assert_array_equal(load(contrast).translate(only, rng()).volume.image, made.volume.image)


def test_one_volume_has_one_style_and_volumes_differ_in_it(scanner: Path) -> None:
    net = load(scanner)
    net._learnt.codes[1] += 3.0
    case = scan(5, channels=("FLAIR", "T1"))
    made = [net.translate(case, rng(seed)).volume.image for seed in range(6)]
    assert len({one.tobytes() for one in made}) == 2
    np.testing.assert_array_equal(net.translate(case, rng(0)).volume.image, made[0])


def test_other_channels_and_units_are_refused(scanner: Path, contrast: Path) -> None:
    with pytest.raises(CheckpointError, match=r"case_001: case holds T2.*expected FLAIR, T1"):
        load(scanner).translate(scan(1, channels=("T2",)), rng())
    with pytest.raises(CheckpointError, match=r"case holds T1.*expected FLAIR"):
        load(contrast).translate(scan(1, channels=("T1",)), rng())
    case = scan(1, channels=("FLAIR", "T1"))
    hounsfield = dataclasses.replace(case, volume=dataclasses.replace(case.volume, unit=Unit.HU))
    for run in (scanner, contrast):
        with pytest.raises(CheckpointError, match="in HU"):
            load(run).translate(hounsfield, rng())


def test_a_domain_that_nobody_belongs_to_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="target"):
        train(tmp_path / "run", tiny({"target": {"modality": "CT"}}))


def test_a_killed_training_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(tmp_path / "whole", tiny(SCANNER, steps=4))
    now = iter(range(0, 10**6, 120))
    monkeypatch.setattr("medaug.engine.loop.time.monotonic", lambda: float(next(now)))
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", tiny(SCANNER, steps=4), _Killed(3))
    assert train(tmp_path / "killed", tiny(SCANNER, steps=4)).sha256 == whole.sha256


def test_damaged_run_folders_are_refused(scanner: Path, tmp_path: Path) -> None:
    for name in (CARD, WEIGHTS):
        (tmp_path / name).write_bytes((scanner / name).read_bytes())
    weights = torch.load(tmp_path / WEIGHTS, weights_only=True)
    weights["net"]["codes"] += 1
    torch.save(weights, tmp_path / WEIGHTS)
    with pytest.raises(CheckpointError, match="not the one"):
        load(tmp_path)
    torch.save({"net": {}}, tmp_path / WEIGHTS)
    with pytest.raises(CheckpointError, match="no style"):
        load(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"")
    with pytest.raises(CheckpointError, match="damaged"):
        load(tmp_path)
    config = {**read_card(scanner).config, "base": 8}
    read_card(scanner).model_copy(update={"config": config}).write(tmp_path / CARD)
    (tmp_path / WEIGHTS).write_bytes((scanner / WEIGHTS).read_bytes())
    with pytest.raises(CheckpointError, match="another size"):
        load(tmp_path)
