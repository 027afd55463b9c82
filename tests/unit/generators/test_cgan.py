from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from medaug.core.errors import CheckpointError, ConfigError, DataError
from medaug.core.runs import NoProgress, Progress, open_run
from medaug.core.seeding import SeedTree
from medaug.core.volume import Unit
from medaug.generators._cgan.noise import Noise
from medaug.generators._patches.pictures import SAMPLES
from medaug.generators.base import CARD, WEIGHTS, read_card
from medaug.generators.cgan import CGAN, Config, fit, load
from medaug.lesions.bank import Bank
from tests import made_lesions
from tests.trained import DAMAGES, NoSettings, Said, damaged_generator


def tiny(**changes: object) -> Config:
    plain = {"size": (16, 16), "base": 4, "critic_base": 4, "batch_size": 4, "steps": 3, "device": "cpu"}
    return Config.model_validate({**plain, **changes})


def train(path: Path, config: Config, bank: Bank, progress: Progress | None = None) -> CGAN:
    with open_run(path, "fit", NoSettings(), {}) as run:
        made = fit(config, bank, run, progress or NoProgress(), SeedTree(0))
    assert isinstance(made, CGAN)
    return made


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cgan") / "run"
    train(path, tiny(), made_lesions.bank())
    return path


def test_run_folder_holds_weights_card_samples_and_losses(run: Path) -> None:
    assert {WEIGHTS, CARD, SAMPLES, "log.jsonl", "run.json"} <= {p.name for p in run.iterdir()}
    card = read_card(run)
    assert card.classes == ("faint", "bright")
    assert card.steps == 3
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert {"critic", "adversarial", "blurred_l1", "features", "histogram", "grain", "diversity"} <= set(
        lines[0]
    )
    assert not [p for p in run.iterdir() if ".partial." in p.name]


def test_loading_gives_the_same_generator(run: Path) -> None:
    asked = made_lesions.request()
    images = [load(run).generate([asked], [np.random.default_rng(3)])[0].image for _ in range(2)]
    np.testing.assert_array_equal(images[0], images[1])
    assert load(run).sha256 == load(run).sha256


def test_training_depends_on_the_seed_alone(run: Path, tmp_path: Path) -> None:
    state = torch.get_rng_state()
    torch.randn(5)
    again = train(tmp_path / "again", tiny(), made_lesions.bank())
    assert again.sha256 == load(run).sha256
    torch.set_rng_state(state)
    with open_run(tmp_path / "other", "fit", NoSettings(), {}) as other:
        assert fit(tiny(), made_lesions.bank(), other, NoProgress(), SeedTree(1)).sha256 != again.sha256


def test_interrupted_training_goes_on_to_the_same_weights(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medaug.engine.loop.time.monotonic", _hours())  # a checkpoint after every step
    path = tmp_path / "resumed"
    with pytest.raises(KeyboardInterrupt):
        train(path, tiny(), made_lesions.bank(), Said(stop_after=3))
    assert not (path / CARD).exists()
    assert train(path, tiny(), made_lesions.bank()).sha256 == load(run).sha256


@pytest.mark.parametrize(
    "config",
    [
        tiny(coarse="texture"),
        tiny(backbone="dcgan", objective="minimax"),
        tiny(bottleneck="transformer", conditional=False),
    ],
    ids=["texture", "dcgan", "transformer"],
)
def test_losses_after_a_kill_are_those_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: Config
) -> None:
    whole = train(tmp_path / "whole", config, made_lesions.bank(3, 3))
    monkeypatch.setattr("medaug.engine.loop.time.monotonic", _hours())
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", config, made_lesions.bank(3, 3), Said(stop_after=2))
    resumed = train(tmp_path / "killed", config, made_lesions.bank(3, 3))
    assert resumed.sha256 == whole.sha256
    ends = [_losses(tmp_path / name)[config.steps - 1] for name in ("whole", "killed")]
    assert ends[0] == ends[1]


def _losses(path: Path) -> dict[int, dict[str, float]]:
    """What was logged of each step; of one that was taken twice, the last."""
    lines = [json.loads(line) for line in (path / "log.jsonl").read_text().splitlines()]
    return {
        line["step"]: {key: value for key, value in line.items() if key != "t"}
        for line in lines
        if line["event"] == "step"
    }


def test_z_alone_makes_another_lesion(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator, asked = load(run), made_lesions.request(radius=4)
    drawn, plain = [], Noise.draw_slices
    for seed in (1, 2):
        z = torch.from_numpy(np.random.default_rng(seed).standard_normal((1, 16), dtype=np.float32))

        def with_z(net, count, rng, factors, z=z):
            return plain(net, count, rng, factors).with_z(z.expand(count, -1))

        monkeypatch.setattr(Noise, "draw_slices", staticmethod(with_z))
        drawn.append(generator.generate([asked], [np.random.default_rng(0)])[0].image[0])
    apart = np.abs(drawn[0] - drawn[1])
    assert apart[asked.mask].mean() > 5
    far = ndimage.distance_transform_edt(~asked.mask, sampling=(1, 1, 3)) > 6
    assert apart[far].max() == 0


class _Teacher:
    """Wants lesions near 0."""

    def __init__(self, path: Path, *_: object) -> None:
        assert path.is_absolute()

    def loss(self, made: torch.Tensor, _: object) -> torch.Tensor:
        return made.abs().mean()


def test_a_teacher_is_listened_to_and_its_place_is_not_told(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medaug.generators.cgan.Teacher", _Teacher)
    taught = train(tmp_path / "run", tiny(teacher="/somewhere/of/mine/segmenter"), made_lesions.bank())
    assert read_card(tmp_path / "run").config["teacher"] == "segmenter"
    assert "teacher" in _losses(tmp_path / "run")[0]
    assert taught.card.weights_sha256 != read_card(run).weights_sha256


def _hours():
    now = [0.0]

    def monotonic() -> float:
        now[0] += 3600
        return now[0]

    return monotonic


def test_class_without_lesion_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no lesion of class bright"):
        train(tmp_path / "run", tiny(), made_lesions.bank(2, 0))


def test_scarce_class_is_trained_with_a_line(tmp_path: Path) -> None:
    said = Said()
    train(tmp_path / "run", tiny(steps=1), made_lesions.bank(8, 3), said)
    assert said.lines == ["class bright has only 3 lesions: expect little variety"]


def test_unknown_class_and_other_channels_are_refused(run: Path) -> None:
    generator = load(run)
    asked = made_lesions.request()
    rng = [np.random.default_rng(0)]
    with pytest.raises(ConfigError, match="knows no class 'odd'"):
        generator.generate([_replaced(asked, class_name="odd")], rng)
    host, texture = (np.repeat(image, 2, axis=0) for image in (asked.host, asked.texture))
    with pytest.raises(CheckpointError, match="2 channels"):
        generator.generate([_replaced(asked, host=host, texture=texture)], rng)


def _replaced(asked, **changes):
    return dataclasses.replace(asked, **changes)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_checkpoints_are_refused(run: Path, tmp_path: Path, damage: str) -> None:
    damaged_generator(run, tmp_path, damage)
    with pytest.raises(CheckpointError):
        load(tmp_path)


@pytest.mark.parametrize(
    "config",
    [
        tiny(dims=3, size=(16, 16, 4), batch_size=2),
        tiny(coarse="texture"),
        tiny(swap_share=0.0, weights={"lecam": 0}),
        tiny(objective="minimax", distort=False, ema=0.0),
        tiny(objective="non_saturating", conditional=False),
        tiny(backbone="dcgan"),
        tiny(bottleneck="transformer", fresh_share=0.0),
        tiny(dims=3, size=(16, 16, 4), batch_size=2, backbone="dcgan"),
        tiny(dims=3, size=(16, 16, 4), batch_size=2, bottleneck="transformer"),
    ],
    ids=[
        "3d",
        "texture",
        "no swaps",
        "minimax",
        "unconditional",
        "dcgan",
        "transformer",
        "dcgan 3d",
        "transformer 3d",
    ],
)
def test_variants_train_and_answer(tmp_path: Path, config: Config) -> None:
    generator = train(tmp_path / "run", config, made_lesions.bank(3, 3))
    asked = [made_lesions.request(), made_lesions.request(radius=15, seed=1)]
    for lesion in generator.generate(asked, [np.random.default_rng(n) for n in (0, 1)]):
        assert np.isfinite(lesion.image).all()


def test_contrast_is_carried_where_units_mean_nothing(tmp_path: Path) -> None:
    generator = train(tmp_path / "run", tiny(), made_lesions.bank(3, 3, unit=Unit.ARBITRARY))
    assert np.isfinite(
        generator.generate([made_lesions.request()], [np.random.default_rng(0)])[0].image
    ).all()


def test_one_class_alone_is_enough(tmp_path: Path) -> None:
    generator = train(tmp_path / "run", tiny(), made_lesions.bank(4, 0, classes=("faint",)))
    assert read_card(tmp_path / "run").classes == ("faint",)
    assert generator.generate([made_lesions.request("faint")], [np.random.default_rng(0)])


def test_far_voxels_are_the_hosts_bit_for_bit(run: Path) -> None:
    asked = made_lesions.request(radius=4)
    image = load(run).generate([asked], [np.random.default_rng(0)])[0].image
    far = ndimage.distance_transform_edt(~asked.mask, sampling=(1, 1, 3)) > 6
    np.testing.assert_array_equal(image[0][far], asked.host[0][far])
    assert (image[0][asked.mask] != asked.host[0][asked.mask]).mean() > 0.9


def test_size_must_fit_the_dims() -> None:
    with pytest.raises(ValueError, match="2 numbers for 3 dims"):
        Config(dims=3)
    with pytest.raises(ValueError, match="multiple of 4"):
        Config(size=(18, 18))


def test_slices_of_one_lesion_share_z_and_level(run: Path) -> None:
    image = load(run).generate([made_lesions.request(radius=10)], [np.random.default_rng(0)])[0].image
    core = made_lesions.ball(made_lesions.SHAPE, 4)
    slices = [k for k in range(6) if core[..., k].any()]
    means = [float(image[0, ..., k][core[..., k]].mean()) for k in slices]
    assert np.ptp(means) < 250
