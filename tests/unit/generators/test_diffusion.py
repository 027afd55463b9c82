from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from medaug.core.errors import CheckpointError, ConfigError, DataError, DivergedError
from medaug.core.runs import NoProgress, Progress, open_run
from medaug.core.seeding import SeedTree
from medaug.core.volume import Unit
from medaug.generators._patches.pictures import SAMPLES
from medaug.generators.base import CARD, WEIGHTS, read_card
from medaug.generators.diffusion import Config, Diffusion, fit, load
from medaug.lesions.bank import Bank
from tests import made_lesions
from tests.trained import DAMAGES, NoSettings, Said, damaged_generator

BANK = made_lesions.bank()


def tiny(**changes: object) -> Config:
    plain = {
        "size": (16, 16),
        "base": 4,
        "batch_size": 4,
        "steps": 3,
        "sampling_steps": 4,
        "device": "cpu",
    }
    return Config.model_validate({**plain, **changes})


def train(path: Path, config: Config, bank: Bank, progress: Progress | None = None) -> Diffusion:
    with open_run(path, "fit", NoSettings(), {}) as run:
        return fit(config, bank, run, progress or NoProgress(), SeedTree(0))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("diffusion") / "run"
    train(path, tiny(), BANK)
    return path


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_run_folder_holds_weights_card_samples_and_losses(run: Path) -> None:
    assert {WEIGHTS, CARD, SAMPLES, "log.jsonl", "run.json"} <= {p.name for p in run.iterdir()}
    card = read_card(run)
    assert (card.kind, card.classes, card.steps) == ("diffusion", ("faint", "bright"), 3)
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert "velocity" in lines[0]


def test_training_depends_on_the_seed_alone(run: Path, tmp_path: Path) -> None:
    assert train(tmp_path / "again", tiny(), BANK).sha256 == load(run).sha256
    with open_run(tmp_path / "other", "fit", NoSettings(), {}) as other:
        assert fit(tiny(), BANK, other, NoProgress(), SeedTree(1)).sha256 != load(run).sha256


def test_interrupted_training_goes_on_to_the_same_weights(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = iter(range(0, 10**6, 3600))  # a checkpoint after every step
    monkeypatch.setattr("medaug.engine.loop.time.monotonic", lambda: float(next(hours)))
    path = tmp_path / "resumed"
    with pytest.raises(KeyboardInterrupt):
        train(path, tiny(), BANK, Said(stop_after=3))
    assert not (path / CARD).exists()
    assert train(path, tiny(), BANK).sha256 == load(run).sha256


def test_classes_are_told_apart_and_noise_changes_the_lesion(tmp_path: Path) -> None:
    learnt = train(
        tmp_path, tiny(steps=150, learning_rate=4e-3, batch_size=8, base=8, sampling_steps=8), BANK
    )
    means = {}
    for name in ("faint", "bright"):
        asked = made_lesions.request(name)
        drawn = learnt.generate([asked] * 4, [rng(n) for n in range(4)])
        means[name] = float(np.mean([lesion.image[0][asked.mask].mean() for lesion in drawn]))
        assert not np.array_equal(drawn[0].image, drawn[1].image)
    assert means["faint"] < means["bright"] - 300


def test_slices_of_a_lesion_begin_with_common_noise(tmp_path: Path) -> None:
    asked = made_lesions.request()
    column = np.repeat(asked.mask[:, :, 3:4], 6, axis=2)
    asked = dataclasses.replace(asked, mask=column, host=np.full_like(asked.host, -850.0))
    apart = {}
    for share in (0.0, 0.8, 1.0):
        generator = train(tmp_path / str(share), tiny(alike=share), BANK)
        image = generator.generate([asked], [rng()])[0].image[0]
        apart[share] = float(np.abs(np.diff(image, axis=2)).mean())
    assert apart[0.0] > apart[0.8] > apart[1.0]
    assert apart[1.0] == pytest.approx(0, abs=1e-2)


def test_voxels_outside_the_zone_are_the_hosts_bit_for_bit(run: Path) -> None:
    asked = made_lesions.request(radius=4)
    image = load(run).generate([asked], [rng()])[0].image
    far = ndimage.distance_transform_edt(~asked.mask, sampling=(1, 1, 3)) > 5
    np.testing.assert_array_equal(image[0][far], asked.host[0][far])


def test_more_passes_are_another_generator(run: Path, tmp_path: Path) -> None:
    more = train(tmp_path, tiny(sampling_steps=6), BANK)
    assert more.card.weights_sha256 == load(run).card.weights_sha256
    assert more.sha256 != load(run).sha256


@pytest.mark.parametrize("channels", [1, 2])
def test_volumes_and_several_channels(tmp_path: Path, channels: int) -> None:
    bank = made_lesions.bank(3, 3, unit=Unit.ARBITRARY)
    generator = train(tmp_path, tiny(dims=3, size=(16, 16, 4), batch_size=2), bank)
    asked = made_lesions.request(radius=15)
    host, texture = (np.repeat(image, channels, axis=0) for image in (asked.host, asked.texture))
    asked = dataclasses.replace(asked, host=host, texture=texture)
    if channels == 1:
        assert np.isfinite(generator.generate([asked], [rng()])[0].image).all()
    else:
        with pytest.raises(CheckpointError, match="2 channels"):
            generator.generate([asked], [rng()])


def test_unknown_classes_scarce_banks_and_wild_rates_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="knows no class 'odd'"):
        load(run).generate([dataclasses.replace(made_lesions.request(), class_name="odd")], [rng()])
    with pytest.raises(DataError, match="no lesion of class bright"):
        train(tmp_path / "run", tiny(), made_lesions.bank(2, 0))
    with pytest.raises(DivergedError):
        train(tmp_path / "hot", tiny(steps=30, learning_rate=1e12), BANK)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_checkpoints_are_refused(run: Path, tmp_path: Path, damage: str) -> None:
    damaged_generator(run, tmp_path, damage)
    with pytest.raises(CheckpointError):
        load(tmp_path)


def test_sizes_must_fit() -> None:
    for wrong, words in (
        ({"dims": 3}, "2 numbers for 3 dims"),
        ({"size": (18, 18)}, "multiple of 4 in plane"),
        ({"size": (8, 8)}, "16 to 256"),
        ({"base": 6}, "base must be a multiple of 4"),
    ):
        with pytest.raises(ValueError, match=words):
            tiny(**wrong)
