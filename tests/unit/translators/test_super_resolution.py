from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from medaug.core.case import Case, Origin
from medaug.core.config import Frozen
from medaug.core.errors import CheckpointError, GeometryError
from medaug.core.geometry import Grid
from medaug.core.runs import NoProgress, Progress, open_run
from medaug.core.seeding import SeedTree
from medaug.core.volume import LabelMap, Unit
from medaug.translators import super_resolution
from medaug.translators._super_resolution.slices import along_last, between_weights, thick_weights
from medaug.translators.base import CARD, WEIGHTS, read_card
from medaug.translators.super_resolution import Config, SuperResolution, fit, load
from tests.made_scans import MadeCases, scan

CASES = MadeCases.of([scan(n, channels=("T1", "T2")) for n in range(3)])


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


def tiny(**changes: object) -> Config:
    plain = {
        "factor": 2,
        "base": 4,
        "blocks": 1,
        "patch": 8,
        "depth": 4,
        "patches": 12,
        "batch_size": 2,
        "steps": 2,
    }
    return Config.model_validate({**plain, "device": "cpu", **changes})


def train(
    path: Path, config: Config, cases: MadeCases = CASES, progress: Progress | None = None
) -> SuperResolution:
    with open_run(path, "fit", _Empty(), {}) as run:
        return fit(config, cases, run, progress or NoProgress(), SeedTree(0))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("super_resolution") / "run"
    train(path, tiny())
    return path


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def thick(
    number: int = 7, *, axis: int = 2, factor: int = 2, spacing_known: bool = True
) -> tuple[Case, Case]:
    """A case with slices made thick along an axis, and the case itself."""
    truth = scan(number, channels=("T1", "T2"), spacing_known=spacing_known)
    weights = thick_weights(truth.volume.grid.shape[axis], factor, "gaussian")
    image = np.moveaxis(along_last(np.moveaxis(truth.volume.image, axis + 1, -1), weights), -1, axis + 1)
    affine = np.array(truth.volume.grid.affine)
    affine[:3, 3] += affine[:3, axis] * (factor - 1) / 2
    affine[:3, axis] *= factor
    grid = Grid((image.shape[1], image.shape[2], image.shape[3]), affine)
    assert truth.label_map is not None
    every = tuple(slice(factor // 2, None, factor) if n == axis else slice(None) for n in range(3))
    labels = LabelMap(truth.label_map.labels[every].copy(), grid, truth.label_map.class_names)
    volume = dataclasses.replace(truth.volume, image=np.ascontiguousarray(image), grid=grid)
    return dataclasses.replace(truth, volume=volume, label_map=labels), truth


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_thin_slices_lie_on_the_grid_of_the_truth_with_labels(run: Path, axis: int) -> None:
    given, truth = thick(axis=axis)
    made = load(run).translate(given, rng())
    assert made.volume.grid.agrees_with(truth.volume.grid, tolerance_mm=1e-9)
    assert made.volume.channels == ("T1", "T2")
    assert made.volume.image.dtype == np.float32
    assert made.origin is Origin.AUGMENTED
    assert made.patient_id == truth.patient_id
    assert made.label_map is not None
    assert truth.label_map is not None
    assert made.label_map.grid.agrees_with(truth.volume.grid)
    agree = (made.label_map.labels == truth.label_map.labels).mean()
    assert agree > 0.96


def waves(number: int) -> Case:
    """Waves along the slices, everywhere: what thick slices lose of them can be learnt in a moment."""
    case = scan(number)
    phase = np.random.default_rng(number).uniform(0, 6)
    image = 100 * np.sin(np.arange(16) + phase) + np.zeros_like(case.volume.image)
    return dataclasses.replace(case, volume=dataclasses.replace(case.volume, image=image.astype(np.float32)))


def test_trained_it_is_closer_to_the_truth_than_cubic_splines(tmp_path: Path) -> None:
    config = tiny(steps=60, base=8, patches=64, batch_size=8, learning_rate=1e-2)
    net = train(tmp_path / "run", config, MadeCases.of([waves(n) for n in range(8)]))
    truth = waves(9)
    thick_image = along_last(truth.volume.image, thick_weights(16, 2, "gaussian"))
    grid = Grid((20, 18, 8), np.diag([1.0, 1.0, 2.0, 1.0]))
    volume = dataclasses.replace(truth.volume, image=thick_image, grid=grid)
    made = net.translate(dataclasses.replace(truth, volume=volume, label_map=None), rng()).volume.image
    cubic = along_last(thick_image, between_weights(8, (np.arange(16) + 0.5) / 2 - 0.5, 3))
    ours, theirs = (float(((one - truth.volume.image) ** 2).mean()) for one in (made, cubic))
    assert ours < 0.5 * theirs


def test_nothing_is_darker_than_the_darkest_thick_voxel(run: Path) -> None:
    given, _ = thick()
    made = load(run).translate(given, rng())
    assert (made.volume.image.min(axis=(1, 2, 3)) >= given.volume.image.min(axis=(1, 2, 3))).all()


def test_a_target_spacing_is_met_exactly_from_other_slices(tmp_path: Path) -> None:
    net = train(tmp_path / "run", tiny(target_spacing_mm=1.0))
    given, _ = thick()
    affine = np.diag([1.0, 1.0, 2.5, 1.0])
    grid = Grid(given.volume.grid.shape, affine)
    other = dataclasses.replace(given, volume=dataclasses.replace(given.volume, grid=grid), label_map=None)
    made = net.translate(other, rng())
    assert made.volume.grid.spacing_mm == pytest.approx((1.0, 1.0, 1.0))
    assert made.volume.grid.shape[2] == 20
    assert made.label_map is None


def test_nearest_labels_are_those_of_the_thick_slices(tmp_path: Path) -> None:
    net = train(tmp_path / "run", tiny(labels="nearest"))
    given, _ = thick()
    made = net.translate(given, rng())
    assert made.label_map is not None
    assert given.label_map is not None
    np.testing.assert_array_equal(made.label_map.labels, np.repeat(given.label_map.labels, 2, axis=2))


def test_large_volumes_go_through_in_slabs_that_do_not_show(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, _ = thick()
    net = load(run)
    with torch.no_grad():
        net._net.last.weight.normal_(generator=torch.Generator().manual_seed(0))
    whole = net.translate(given, rng()).volume.image
    monkeypatch.setattr(super_resolution, "_VOXELS", 3 * 18 * 8)
    np.testing.assert_allclose(net.translate(given, rng()).volume.image, whole, atol=1e-2)


def test_where_all_slices_are_thick_rows_teach_and_planes_are_drawn(tmp_path: Path) -> None:
    cases = MadeCases.of([thick(n)[0] for n in range(2)])
    net = train(tmp_path / "run", tiny(), cases)
    given, truth = thick()
    made = net.translate(given, rng())
    assert made.volume.grid.agrees_with(truth.volume.grid)
    assert np.isfinite(made.volume.image).all()


def test_nominal_spacing_single_slices_and_other_spacings_are_refused(run: Path) -> None:
    net = load(run)
    with pytest.raises(GeometryError, match=r"case_007: the spacing is nominal.*expected a known spacing"):
        net.translate(thick(spacing_known=False)[0], rng())
    flat = scan(1, shape=(8, 8, 1), channels=("T1", "T2"))
    with pytest.raises(GeometryError, match=r"case_001: a single slice.*two slices"):
        net.translate(flat, rng())
    with pytest.raises(GeometryError, match=r"slices are 1 mm apart; expected 1.5 to 2.7 mm"):
        net.translate(scan(1, channels=("T1", "T2")), rng())


def test_other_channels_and_units_are_refused(run: Path) -> None:
    net = load(run)
    with pytest.raises(CheckpointError, match="expected T1, T2"):
        net.translate(scan(1), rng())
    given, _ = thick()
    hounsfield = dataclasses.replace(given, volume=dataclasses.replace(given.volume, unit=Unit.HU))
    with pytest.raises(CheckpointError, match="in HU"):
        net.translate(hounsfield, rng())


def test_inputs_are_not_changed_and_nothing_is_random(run: Path) -> None:
    given, _ = thick()
    before = given.volume.image.copy()
    first, second = (load(run).translate(given, np.random.default_rng(n)).volume.image for n in (1, 2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(given.volume.image, before)


def test_a_killed_training_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(tmp_path / "whole", tiny(steps=4))
    monkeypatch.setattr("medaug.engine.loop.time.monotonic", _ticks())
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", tiny(steps=4), progress=_Killed(3))
    assert train(tmp_path / "killed", tiny(steps=4)).sha256 == whole.sha256


def _ticks():
    """A clock on which every look is two minutes later, so that each step is kept."""
    now = iter(range(0, 10**6, 120))
    return lambda: float(next(now))


def test_another_seed_is_another_network(run: Path, tmp_path: Path) -> None:
    with open_run(tmp_path / "run", "fit", _Empty(), {}) as opened:
        other = fit(tiny(), CASES, opened, NoProgress(), SeedTree(1))
    assert other.sha256 != load(run).sha256


def test_damaged_run_folders_are_refused(run: Path, tmp_path: Path) -> None:
    for name in (CARD, WEIGHTS):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    weights = torch.load(tmp_path / WEIGHTS, weights_only=True)
    weights["net"]["first.weight"] += 1
    torch.save(weights, tmp_path / WEIGHTS)
    with pytest.raises(CheckpointError, match="not the one"):
        load(tmp_path)
    torch.save({"net": {}}, tmp_path / WEIGHTS)
    with pytest.raises(CheckpointError, match="no super_resolution"):
        load(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="damaged"):
        load(tmp_path)
    read_card(run).model_copy(update={"channels": ("T1",)}).write(tmp_path / CARD)
    (tmp_path / WEIGHTS).write_bytes((run / WEIGHTS).read_bytes())
    with pytest.raises(CheckpointError, match="other channels"):
        load(tmp_path)
