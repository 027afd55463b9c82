"""Training a tiny U-Net, going on where it stopped, and labelling with it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from medaug.core.errors import CheckpointError, ConfigError, DataError, LabelError
from medaug.core.geometry import Grid
from medaug.core.intensity import IntensityScheme
from medaug.core.runs import NoProgress
from medaug.core.seeding import SeedTree
from medaug.core.volume import LabelMap, Unit, Volume
from medaug.engine import loop
from medaug.tasks.base import PLAN, REPORT, WEIGHTS, TrainingData, load_model
from medaug.tasks.segmentation import Config, SegmentationTask, load
from tests.unit.tasks.cases import CLASSES, make_case, open_folder

CASES = tuple(make_case(n, shape=(16, 16, 8)) for n in range(6))
SCHEME = IntensityScheme.for_volume(CASES[0].volume)
TINY = Config(dims=2, patch_size=(16, 16), batch_size=8, steps=6, base_channels=4, levels=3)


def keep(batch, rngs):
    return batch


def fit(path, config=TINY, cases=CASES, source=None, seed=0):
    data = TrainingData(tuple(cases), CLASSES, SCHEME, source)
    return SegmentationTask(config, "cpu").fit(data, keep, open_folder(path), NoProgress(), SeedTree(seed))


def weights(path):
    return torch.load(path / WEIGHTS, weights_only=True)


def test_learns_to_find_lesions(tmp_path):
    config = Config(dims=2, patch_size=(16, 16), steps=60, base_channels=8, levels=3, learning_rate=0.01)
    report = fit(tmp_path, config)
    assert (report.steps, report.patch_size) == (60, (16, 16))
    assert 0.6 < report.lesion_patch_share <= 1
    assert report.synthetic_patch_share == 0
    model, scores = load_model(tmp_path, "cpu"), []
    for number in range(70, 74):
        case = make_case(number, shape=(16, 16, 8))
        assert case.label_map is not None
        found = model.predict(case.volume)
        assert found.class_names == CLASSES
        assert found.grid is case.volume.grid
        ours, theirs = found.labels > 0, case.label_map.labels > 0
        scores.append(2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()))
    assert np.mean(scores) > 0.7


def test_volumes_smaller_than_the_patch_are_trained_on_and_labelled(tmp_path):
    config = Config(dims=3, patch_size=(24, 24, 16), batch_size=2, steps=2, base_channels=4, levels=3)
    fit(tmp_path, config)
    assert load_model(tmp_path, "cpu").predict(CASES[0].volume).labels.shape == (16, 16, 8)


class StopError(Exception):
    """A plug that is pulled."""


OPTIONS = {
    "adamw": {},
    "sgd": {"optimiser": "sgd", "schedule": "cosine"},
    "ema": {"ema": 0.9},
    "deep": {"network": "dynunet", "deep_supervision": True, "loss": "tversky_ce"},
    "segresnet": {
        "network": "segresnet",
        "base_channels": 8,
        "loss": "dice_focal",
        "class_weights": (1.0, 3.0),
    },
    "swinunetr": {"network": "swinunetr", "base_channels": 12, "patch_size": (32, 64), "batch_size": 2},
    "context": {"context": 1, "class_balance": 0.5},
    "spacing": {"spacing": (0.5, 1.0)},
    "planned": {"patch_size": None, "batch_size": None, "levels": None, "voxel_budget": 2048},
}


@pytest.mark.parametrize("changes", OPTIONS.values(), ids=OPTIONS)
def test_an_interrupted_training_ends_as_if_it_had_not_stopped(tmp_path, monkeypatch, changes):
    config = Config.model_validate({**TINY.model_dump(), **changes})
    whole = fit(tmp_path / "whole", config)
    clock = iter(range(0, 10**6, 100))

    class Impatient:
        def start(self, label, total):
            self.done = 0

        def advance(self, units=1, note=""):
            self.done += units
            if self.done == 4:
                raise StopError

        def say(self, line):
            raise AssertionError(line)

    monkeypatch.setattr(
        "medaug.engine.loop.time.monotonic", lambda: next(clock)
    )  # a checkpoint after every step
    data = TrainingData(CASES, CLASSES, SCHEME)
    task, run = SegmentationTask(config, "cpu"), open_folder(tmp_path / "parts")
    with pytest.raises(StopError):
        task.fit(data, keep, run, Impatient(), SeedTree(0))
    assert (run.path / loop.CHECKPOINT).is_file()
    parts = task.fit(data, keep, run, NoProgress(), SeedTree(0))
    first, second = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert parts.lesion_patch_share == whole.lesion_patch_share
    assert not (run.path / loop.CHECKPOINT).exists()
    volume = make_case(9, shape=(20, 18, 5)).volume
    found = load_model(run.path, "cpu").predict_with_confidence(volume)
    assert found.label_map.grid is volume.grid
    assert found.confidence is not None
    assert 0 < found.confidence.min() <= found.confidence.max() <= 1


def test_the_seed_decides(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        fit(tmp_path / name, TINY.model_copy(update={"steps": 2}), seed=seed)
    a, b, c = (weights(tmp_path / name) for name in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert any(not torch.equal(a[name], c[name]) for name in a)


def test_a_finished_training_is_not_repeated(tmp_path):
    report = fit(tmp_path)
    stamp = (tmp_path / WEIGHTS).stat().st_mtime_ns
    assert fit(tmp_path) == report
    assert (tmp_path / WEIGHTS).stat().st_mtime_ns == stamp


def test_arms_share_the_lesion_patches_and_the_report_says_who_was_synthetic(tmp_path):
    class Source:
        donor_patient_ids = frozenset({"patient_000"})
        classes = ("bright",)

        def draw(self, class_names, rngs):
            assert set(class_names) == {"bright"}
            return tuple(make_case(int(rng.integers(100)), shape=(16, 16, 1)) for rng in rngs)

    config = Config(
        dims=2, patch_size=(16, 16), batch_size=8, steps=4, base_channels=4, levels=2,
        lesion_patch_share=1.0, synthetic_share=0.5,
    )  # fmt: skip
    real, mixed = fit(tmp_path / "real", config), fit(tmp_path / "mixed", config, source=Source())
    assert (real.lesion_patch_share, mixed.lesion_patch_share) == (1.0, 1.0)
    assert (real.synthetic_patch_share, mixed.synthetic_patch_share) == (0.0, 0.25)


def test_the_plan_can_be_read(tmp_path):
    fit(tmp_path, Config(dims=2, batch_size=2, steps=1, base_channels=4, levels=3))
    plan = json.loads((tmp_path / PLAN).read_text())
    assert plan["summary"][0] == "6 labelled cases of 6 patients; dim in 6, bright in 6."
    assert plan["patch_size"] == [16, 16]


@pytest.mark.parametrize(
    ("cases", "error", "line"),
    [
        ([make_case(1, labelled=False)], DataError, "no training case has a label"),
        ([make_case(1, classes=())], LabelError, "no lesion"),
        ([make_case(1, classes=(1,))], LabelError, "no training case holds bright"),
    ],
)
def test_refuses_cases_that_teach_nothing(tmp_path, cases, error, line):
    with pytest.raises(error, match=line):
        fit(tmp_path, cases=cases)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"dims": 3, "patch_size": (16, 16)}, "patch_size needs 3 sizes"),
        ({"dims": 3, "context": 1}, "context is for dims 2"),
        ({"spacing": (1.0, 1.0, 1.0)}, "spacing needs 2 numbers of mm"),
        ({"network": "swinunetr"}, "base_channels needs a multiple of 12"),
        ({"network": "dynunet", "levels": 2}, "levels needs at least 3 for dynunet"),
        ({"deep_supervision": True}, "deep_supervision is offered by dynunet, not by unet"),
        ({"network": "segresnet", "full_resolution": True}, "full_resolution is a choice of unet"),
        ({"class_weights": (1.0, 0.0)}, "class_weights needs a number above 0"),
    ],
)
def test_settings_that_contradict_each_other(settings, line):
    with pytest.raises(ValidationError, match=line):
        Config.model_validate(settings)


def test_weights_of_other_classes_are_a_config_error(tmp_path):
    with pytest.raises(
        ConfigError, match=r"task\.class_weights: has 3 numbers; expected one for each of dim, bright"
    ):
        fit(tmp_path, TINY.model_copy(update={"class_weights": (1.0, 1.0, 1.0)}))


def test_the_plan_tells_what_follows_from_the_cases(tmp_path):
    fit(tmp_path, Config(steps=1, base_channels=4, levels=None, batch_size=None, spacing="median"))
    said = " ".join(json.loads((tmp_path / PLAN).read_text())["summary"])
    assert "nothing is resampled, since all spacings agree within 5%" in said
    assert "The patch shows as much of the median case as 196608 voxels of a step allow." in said
    assert "The batch fills the 196608 voxels of a step" in said
    assert "The network halves the finest axes until 4 voxels are left" in said


def test_a_network_that_sees_resampled_cases_labels_the_image_s_own_grid(tmp_path):
    grid = Grid((16, 16, 8), np.diag([0.5, 0.5, 1.0, 1.0]))
    cases = [
        replace(
            case,
            volume=replace(case.volume, grid=grid),
            label_map=LabelMap(case.label_map.labels, grid, CLASSES),
        )
        for case in CASES
        if case.label_map is not None
    ]
    config = Config(
        patch_size=(32, 32), steps=60, base_channels=8, levels=3, learning_rate=0.01, spacing=(0.25, 0.25)
    )
    fit(tmp_path, config, cases=cases)
    model, case = load_model(tmp_path, "cpu"), cases[0]
    found = model.predict(case.volume)
    assert found.grid is grid
    assert case.label_map is not None
    ours, theirs = found.labels > 0, case.label_map.labels > 0
    assert 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()) > 0.7
    with pytest.raises(DataError, match="spacing of the image is nominal"):
        model.predict(replace(case.volume, spacing_known=False))


@pytest.mark.parametrize(("unit", "scaled"), [(Unit.HU, True), (Unit.ARBITRARY, False)])
def test_ct_may_be_scaled_by_its_lesions(tmp_path, unit, scaled):
    cases = [make_case(n, shape=(16, 16, 8), unit=unit) for n in range(6)]
    scheme = IntensityScheme.for_volume(cases[0].volume)
    config = TINY.model_copy(update={"normalisation": "foreground", "steps": 2})
    data = TrainingData(tuple(cases), CLASSES, scheme)
    SegmentationTask(config, "cpu").fit(data, keep, open_folder(tmp_path), NoProgress(), SeedTree(0))
    plan = json.loads((tmp_path / PLAN).read_text())
    assert (plan["foreground"] is not None) == scaled
    assert ("percentile of the lesions' own" in " ".join(plan["summary"])) == scaled
    assert load_model(tmp_path, "cpu").predict(cases[0].volume).labels.shape == (16, 16, 8)


def test_a_patch_that_cannot_be_halved_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="patch_size"):
        fit(tmp_path, TINY.model_copy(update={"patch_size": (18, 18)}))


def test_images_of_another_kind_are_refused(tmp_path):
    fit(tmp_path, TINY.model_copy(update={"steps": 1}))
    model, volume = load_model(tmp_path, "cpu"), CASES[0].volume
    with pytest.raises(DataError, match=r"image is in HU; expected a\.u"):
        model.predict(replace(volume, unit=Unit.HU))
    two = Volume(np.repeat(volume.image, 2, axis=0), volume.grid, volume.unit, ("T1", "T2"))
    with pytest.raises(DataError, match=r"image has 2 channels; expected 1 \(T1\)"):
        model.predict(two)


def test_damaged_or_foreign_weights_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no finished model"):
        load_model(tmp_path)
    fit(tmp_path / "small", TINY.model_copy(update={"steps": 1}))
    fit(tmp_path / "large", TINY.model_copy(update={"steps": 1, "base_channels": 6}))
    (tmp_path / "small" / WEIGHTS).write_bytes((tmp_path / "large" / WEIGHTS).read_bytes())
    with pytest.raises(CheckpointError, match=r"does not fit plan\.json"):
        load(tmp_path / "small", "cpu")
    (tmp_path / "large" / WEIGHTS).write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="damaged"):
        load(tmp_path / "large", "cpu")
    assert (tmp_path / "small" / REPORT).is_file()
