"""What every generator promises, whatever its kind."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from medaug.core.errors import CheckpointError, ConfigError
from medaug.core.lesion import Generator, LesionRequest
from medaug.core.plugins import kinds, load_plugin
from medaug.core.runs import NoProgress, open_run
from medaug.core.seeding import SeedTree
from medaug.core.splits import Fold
from medaug.generators.base import CARD, WEIGHTS, ReadyConfig, load_generator, parse_generator, read_card
from medaug.synthesis.fit import fit_generator
from tests import made_lesions

# the smallest training of each kind that learns
TINY: dict[str, dict[str, object]] = {
    "cgan": {"size": [16, 16], "base": 4, "critic_base": 4, "batch_size": 2, "steps": 2, "device": "cpu"},
    "diffusion": {
        "size": [16, 16],
        "base": 4,
        "sampling_steps": 3,
        "batch_size": 2,
        "steps": 2,
        "device": "cpu",
    },
    "vae": {"size": [16, 16], "base": 4, "z_size": 4, "batch_size": 2, "steps": 2, "device": "cpu"},
}


@pytest.fixture(scope="module", params=kinds("generators"))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def generator(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Generator:
    config = parse_generator({"kind": kind, **TINY.get(kind, {})})
    if isinstance(config, ReadyConfig):
        return config.build()
    path: Path = tmp_path_factory.mktemp(kind) / "run"
    with open_run(path, "fit", load_plugin("generators", kind).Config(), {}) as run:
        bank = made_lesions.bank(3, 3)
        fold = Fold(index=0, train=bank.index.training_patients, held_out=("patient_999",))
        return fit_generator(config, bank, fold, run, NoProgress(), SeedTree(0))


@pytest.fixture(scope="module")
def run_folder(kind: str, generator: Generator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run folder of a trained kind."""
    if isinstance(parse_generator({"kind": kind}), ReadyConfig):
        pytest.skip(f"{kind} is not trained")
    (trained,) = tmp_path_factory.getbasetemp().glob(f"{kind}[0-9]*/run")
    folder: Path = tmp_path_factory.mktemp("copy") / "run"
    shutil.copytree(trained, folder)
    return folder


def test_card_tells_what_was_learnt(run_folder: Path, generator: Generator) -> None:
    card = read_card(run_folder)
    assert card.learnt is not None
    assert card.learnt.lesions == {"faint": 3, "bright": 3}
    assert card.learnt.finest_mm == pytest.approx((0.7, 0.7, 2.0))
    assert card.notes == tuple(
        f"class {name} has only 3 lesions: expect little variety" for name in ("faint", "bright")
    )
    assert load_generator(str(run_folder)).sha256 == generator.sha256


def test_edited_and_damaged_cards_are_refused(run_folder: Path) -> None:
    text = (run_folder / CARD).read_text()
    for wrong, words in (
        (text.replace("faint", "feint"), "was changed since the training"),
        (text[:200], "not valid JSON"),
        (text.replace('"fold"', '"fald"'), "breaks its schema"),
    ):
        (run_folder / CARD).write_text(wrong)
        with pytest.raises(CheckpointError, match=words):
            load_generator(str(run_folder))
    (run_folder / CARD).write_text(text)
    assert load_generator(str(run_folder)).sha256


def test_damaged_files_of_a_trained_kind_are_refused(run_folder: Path) -> None:
    learnt = next(run_folder / name for name in (WEIGHTS, "laws.json") if (run_folder / name).is_file())
    content = learnt.read_bytes()
    for wrong in (content[: len(content) // 2], b"", content[:-50] + bytes(50)):
        learnt.write_bytes(wrong)
        with pytest.raises(CheckpointError):
            load_generator(str(run_folder))
    learnt.unlink()
    with pytest.raises(CheckpointError):
        load_generator(str(run_folder))
    learnt.write_bytes(content)


def rngs(*seeds: int) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in seeds]


def test_kind_is_the_file_name(kind: str, generator: Generator) -> None:
    assert parse_generator({"kind": kind}).kind == kind
    assert generator.kind == kind


def test_unknown_keys_are_refused(kind: str) -> None:
    with pytest.raises(ConfigError, match="no_such_key"):
        parse_generator({"kind": kind, "no_such_key": 1})


def test_defaults_build_or_say_that_they_must_be_trained(kind: str) -> None:
    if isinstance(parse_generator({"kind": kind}), ReadyConfig):
        assert load_generator(kind).kind == kind
    else:
        with pytest.raises(ConfigError, match=f"{kind} has to be trained first"):
            load_generator(kind)


@pytest.mark.parametrize("shape", [(40, 40, 1), (40, 40, 6), (12, 60, 6)])
def test_answer_has_the_shape_of_the_request(generator: Generator, shape: tuple[int, int, int]) -> None:
    asked = made_lesions.request(shape=shape)
    lesion = generator.generate([asked], rngs(1))[0]
    assert lesion.image.shape == asked.host.shape
    assert lesion.image.dtype == np.float32
    assert np.isfinite(lesion.image).all()
    assert lesion.class_name == "bright"
    assert lesion.mask.shape == shape
    assert lesion.mask.any()


def test_lesion_is_drawn_inside_the_mask(generator: Generator) -> None:
    asked = made_lesions.request()
    lesion = generator.generate([asked], rngs(1))[0]
    changed = lesion.image[0] != asked.host[0]
    assert changed[asked.mask].mean() > 0.9


def test_same_rng_same_lesion(generator: Generator) -> None:
    asked = made_lesions.request()
    first, second = (generator.generate([asked], rngs(7))[0].image for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_answers_do_not_depend_on_the_batch(generator: Generator) -> None:
    asked = [made_lesions.request("bright", seed=1), made_lesions.request("faint", radius=9, seed=2)]
    together = generator.generate(asked, rngs(1, 2))
    apart = [generator.generate([r], rngs(n))[0] for n, r in enumerate(asked, start=1)]
    turned = generator.generate(asked[::-1], rngs(2, 1))[::-1]
    for one, other, third in zip(together, apart, turned, strict=True):
        np.testing.assert_allclose(one.image, other.image, atol=0.05)  # HU
        np.testing.assert_allclose(one.image, third.image, atol=0.05)


def test_requests_are_not_changed(generator: Generator) -> None:
    asked = made_lesions.request()
    before = {
        f.name: np.copy(getattr(asked, f.name)) for f in dataclasses.fields(LesionRequest) if f.name in ARRAYS
    }
    generator.generate([asked], rngs(1))
    for name, array in before.items():
        np.testing.assert_array_equal(getattr(asked, name), array)


ARRAYS = ("mask", "host", "texture")


def test_nothing_asked_nothing_answered(generator: Generator) -> None:
    assert generator.generate([], []) == []


def test_hash_is_a_sha256(generator: Generator) -> None:
    assert len(generator.sha256) == 64
    assert int(generator.sha256, 16) >= 0
