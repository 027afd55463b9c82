from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from medaug.core.errors import CheckpointError, ConfigError, DataError, DivergedError
from medaug.core.lesion import LesionCrop
from medaug.core.runs import NoProgress, Progress, open_run
from medaug.core.seeding import SeedTree
from medaug.core.volume import Unit
from medaug.generators._patches.pictures import SAMPLES
from medaug.generators.base import CARD, WEIGHTS, read_card
from medaug.generators.vae import ATTRIBUTES, VAE, Config, fit, load
from medaug.lesions.bank import Bank
from tests import made_lesions
from tests.trained import DAMAGES, NoSettings, Said, damaged_generator

BANK = made_lesions.bank()


def tiny(**changes: object) -> Config:
    plain = {"size": (16, 16), "base": 4, "z_size": 4, "batch_size": 4, "steps": 3, "device": "cpu"}
    return Config.model_validate({**plain, **changes})


def train(path: Path, config: Config, bank: Bank, progress: Progress | None = None) -> VAE:
    with open_run(path, "fit", NoSettings(), {}) as run:
        return fit(config, bank, run, progress or NoProgress(), SeedTree(0))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vae") / "run"
    train(path, tiny(), BANK)
    return path


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> VAE:
    path = tmp_path_factory.mktemp("vae") / "learnt"
    return train(path, tiny(steps=120, learning_rate=4e-3, batch_size=8), BANK)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def crops(class_name: str) -> list[LesionCrop]:
    return [BANK.crop(entry.lesion_id) for entry in BANK.entries(class_name)]


def test_run_folder_holds_weights_card_samples_and_losses(run: Path) -> None:
    assert {WEIGHTS, CARD, SAMPLES, "log.jsonl", "run.json"} <= {p.name for p in run.iterdir()}
    assert read_card(run).classes == ("faint", "bright")
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert {"l1", "gradient", "kl"} <= set(lines[0])
    assert not [p for p in run.iterdir() if ".partial." in p.name]


def test_weights_hold_no_code_of_a_single_lesion(run: Path) -> None:
    state = torch.load(run / WEIGHTS, weights_only=True)
    shapes = {name: tuple(value.shape) for name, value in state.items() if name != "net"}
    prior = {
        "prior_means": (2, 4),
        "prior_roots": (2, 4, 4),
        "prior_growth": (4,),
        "prior_sizes": (2, 2),
    }
    assert shapes == {**prior, "changes": (3, 4), "explained": (3,), "deviations": (3,), "grain": (2, 1)}


def test_beta_rises_to_its_value_and_stays() -> None:
    config = tiny(steps=100, warm_up=0.5, beta=0.01)
    assert [config.beta_at(step) for step in (0, 25, 50, 99)] == [0, 0.005, 0.01, 0.01]
    assert tiny(warm_up=0.0, beta=0.01).beta_at(0) == 0.01


def test_training_depends_on_the_seed_alone(run: Path, tmp_path: Path) -> None:
    again = train(tmp_path / "again", tiny(), BANK)
    assert again.sha256 == load(run).sha256
    with open_run(tmp_path / "other", "fit", NoSettings(), {}) as other:
        assert fit(tiny(), BANK, other, NoProgress(), SeedTree(1)).sha256 != again.sha256


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


def test_bad_banks_and_losses_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no lesion of class bright"):
        train(tmp_path / "run", tiny(), made_lesions.bank(2, 0))
    with pytest.raises(DivergedError):
        train(tmp_path / "hot", tiny(steps=30, learning_rate=1e9), BANK)


def test_eight_lesions_are_enough_and_fewer_are_told(tmp_path: Path) -> None:
    said = Said()
    train(tmp_path / "enough", tiny(steps=1), BANK, said)
    assert said.lines == []
    train(tmp_path / "scarce", tiny(steps=1), made_lesions.bank(8, 3), said)
    assert "class bright has only 3 lesions" in said.lines[0]
    assert "lean on the others" in said.lines[1]


def test_unknown_class_and_other_channels_are_refused(run: Path) -> None:
    generator, asked = load(run), made_lesions.request()
    with pytest.raises(ConfigError, match="knows no class 'odd'"):
        generator.generate([dataclasses.replace(asked, class_name="odd")], [rng()])
    host, texture = (np.repeat(image, 2, axis=0) for image in (asked.host, asked.texture))
    with pytest.raises(CheckpointError, match="2 channels"):
        generator.generate([dataclasses.replace(asked, host=host, texture=texture)], [rng()])


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_checkpoints_are_refused(run: Path, tmp_path: Path, damage: str) -> None:
    damaged_generator(run, tmp_path, damage)
    with pytest.raises(CheckpointError):
        load(tmp_path)


@pytest.mark.parametrize(
    "config", [tiny(dims=3, size=(16, 16, 4), batch_size=2), tiny(grain=0.0)], ids=["3d", "no grain"]
)
def test_variants_train_answer_and_walk(tmp_path: Path, config: Config) -> None:
    generator = train(tmp_path / "run", config, made_lesions.bank(3, 3, unit=Unit.ARBITRARY))
    asked = [made_lesions.request(), made_lesions.request(radius=15, seed=1)]
    for lesion in generator.generate(asked, [rng(0), rng(1)]):
        assert np.isfinite(lesion.image).all()
    scene = generator.scene(crops("faint")[0])
    for name in ATTRIBUTES:
        walk = generator.along(scene, name, 3)
        assert walk.images.shape == (3, 1, *config.size)
        assert torch.isfinite(walk.measured).all()


def test_far_voxels_are_the_hosts_bit_for_bit(run: Path) -> None:
    asked = made_lesions.request(radius=4)
    image = load(run).generate([asked], [rng()])[0].image
    far = ndimage.distance_transform_edt(~asked.mask, sampling=(1, 1, 3)) > 6
    np.testing.assert_array_equal(image[0][far], asked.host[0][far])


def test_classes_are_told_apart_and_codes_change_the_lesion(learnt: VAE) -> None:
    means = {}
    for name in ("faint", "bright"):
        asked = made_lesions.request(name)
        drawn = learnt.generate([asked] * 4, [rng(n) for n in range(4)])
        means[name] = float(np.mean([lesion.image[0][asked.mask].mean() for lesion in drawn]))
        assert not np.array_equal(drawn[0].image, drawn[1].image)
    assert means["faint"] < means["bright"] - 300


def test_denoising_keeps_the_level_and_calms_the_noise(learnt: VAE) -> None:
    crop = crops("bright")[0]
    denoised = learnt.denoise([crop])[0]
    core = ndimage.binary_erosion(crop.mask, iterations=2)
    assert denoised.image[0][core].std() < crop.image[0][core].std()
    assert abs(denoised.image[0][core].mean() - crop.image[0][core].mean()) < 150
    np.testing.assert_array_equal(denoised.mask, crop.mask)


def test_interpolation_begins_and_ends_with_the_two_lesions(learnt: VAE) -> None:
    first, second = learnt.scene(crops("faint")[0]), learnt.scene(crops("bright")[1])
    walk, back = learnt.interpolate(first, second, 5), learnt.interpolate(second, first, 5)
    torch.testing.assert_close(walk.images, back.images.flip(0), atol=1e-4, rtol=0)
    assert (walk.measured[:, 1].diff() > 0).all()  # contrast rises from the faint to the bright one
    assert float(walk.measured[0, 1]) < 1 < float(walk.measured[-1, 1])


def test_size_moves_the_outline(learnt: VAE) -> None:
    walk = learnt.along(learnt.scene(crops("bright")[0]), "size", 5)
    sizes = walk.measured[:, 0]  # whole voxels: neighbours may be equal
    assert (sizes.diff() >= 0).all()
    assert sizes[0] < sizes[2] < sizes[-1]


def test_samples_of_a_place_can_be_of_another_class(learnt: VAE) -> None:
    crop = crops("bright")[0]
    own, other = (learnt.sample(learnt.scene(crop, name), [rng(1)]) for name in ("bright", "faint"))
    assert float(own.measured[0, 1]) > float(other.measured[0, 1])


def test_size_must_fit_the_dims() -> None:
    with pytest.raises(ValueError, match="2 numbers for 3 dims"):
        Config(dims=3)
    with pytest.raises(ValueError, match="multiple of 4"):
        Config(size=(18, 18))
