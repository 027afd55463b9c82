"""procedural draws lesions with the statistics of their class, and keeps no voxels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from medaug.core.errors import CheckpointError, ConfigError, DataError
from medaug.core.lesion import Generator, LesionRequest
from medaug.core.runs import NoProgress, open_run
from medaug.core.seeding import SeedTree
from medaug.core.volume import Unit
from medaug.generators.base import CARD, load_generator
from medaug.generators.procedural import LAWS, Config, fit, load
from medaug.lesions.bank import Bank
from tests import made_lesions


def fitted(path: Path, bank: Bank, config: Config | None = None) -> Generator:
    config = config or Config()
    with open_run(path, "fit", config, {}) as run:
        return fit(config, bank, run, NoProgress(), SeedTree(0))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("procedural") / "run"
    fitted(path, made_lesions.bank(8, 8))
    return path


def draw(generator: Generator, asked: LesionRequest, seed: int) -> np.ndarray:
    lesion = generator.generate([asked], [np.random.default_rng(seed)])[0]
    return np.asarray(lesion.image[0][lesion.mask])


@pytest.mark.parametrize("name", ["faint", "bright"])
@pytest.mark.parametrize("shape", [(40, 40, 1), (40, 40, 6)])
def test_level_and_spread_are_those_of_the_class(run, name, shape):
    generator = load(run)
    values = np.stack([draw(generator, made_lesions.request(name, shape=shape), n) for n in range(8)])
    assert values.mean() == pytest.approx(made_lesions.LEVELS_HU[name], abs=15.0)
    assert values.std(axis=1).mean() == pytest.approx(40.0, rel=0.4)


def test_arbitrary_units_keep_the_contrast_to_the_host(tmp_path):
    generator = fitted(tmp_path / "run", made_lesions.bank(4, 8, unit=Unit.ARBITRARY))
    asked = made_lesions.request("bright")
    level = draw(generator, asked, 0).mean()
    brighter = LesionRequest(
        asked.class_name,
        asked.mask,
        asked.host + 30,
        asked.texture,
        asked.scale,
        asked.spacing_mm,
        asked.box,
        (),
    )
    assert draw(generator, brighter, 0).mean() - level == pytest.approx(30.0, abs=12.0)


def test_variety_zero_draws_the_typical_lesion(tmp_path):
    bank = made_lesions.bank(4, 4)
    calm, wild = (fitted(tmp_path / f"{variety}", bank, Config(variety=variety)) for variety in (0.0, 2.0))
    asked = made_lesions.request()
    spread = [np.std([draw(g, asked, n).mean() for n in range(8)]) for g in (calm, wild)]
    assert spread[0] < 0.5 * spread[1]


def test_ellipsoids_replace_the_outline(tmp_path):
    generator = fitted(tmp_path / "run", made_lesions.bank(3, 3), Config(outline="ellipsoid"))
    asked = made_lesions.request()
    lesion = generator.generate([asked], [np.random.default_rng(0)])[0]
    assert lesion.mask.sum() == pytest.approx(asked.mask.sum(), rel=0.1)
    assert (lesion.mask != asked.mask).any()


def test_no_voxels_are_kept(run):
    assert sorted(p.name for p in run.iterdir()) == [CARD, LAWS, "run.json"]
    assert (run / LAWS).stat().st_size < 20_000


def test_strange_requests_are_refused(run):
    generator = load_generator(str(run))
    asked = made_lesions.request()
    rng = np.random.default_rng(0)
    with pytest.raises(ConfigError, match=r"knows no class 'cyst'.*faint, bright"):
        generator.generate(
            [
                LesionRequest(
                    "cyst", asked.mask, asked.host, asked.texture, asked.scale, (1, 1, 1), asked.box, ()
                )
            ],
            [rng],
        )
    two = np.concatenate([asked.host] * 2)
    with pytest.raises(CheckpointError, match="2 channels"):
        generator.generate(
            [LesionRequest("faint", asked.mask, two, two, asked.scale, (1.0, 1.0, 1.0), asked.box, ())], [rng]
        )


def test_a_class_without_lesions_is_refused(tmp_path):
    with pytest.raises(DataError, match="no lesion of class faint"):
        fitted(tmp_path / "run", made_lesions.bank(0, 3))


def test_damaged_laws_are_refused(tmp_path):
    path = tmp_path / "run"
    fitted(path, made_lesions.bank(2, 2))
    laws = json.loads((path / LAWS).read_text())
    laws["anchor"] = 1
    (path / LAWS).write_text(json.dumps(laws))
    with pytest.raises(CheckpointError, match="not the one"):
        load(path)
    (path / LAWS).write_text("{")
    with pytest.raises(CheckpointError, match="damaged"):
        load(path)
