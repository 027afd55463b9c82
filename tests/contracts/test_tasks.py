"""What every task keeps."""

from __future__ import annotations

import numpy as np
import pytest

from medaug.core.errors import CheckpointError, DataError
from medaug.core.intensity import IntensityScheme
from medaug.core.plugins import kinds, load_plugin
from medaug.core.runs import NoProgress
from medaug.core.seeding import SeedTree
from medaug.core.volume import Unit, Volume
from medaug.tasks.base import PLAN, REPORT, WEIGHTS, FitReport, TrainingData, load_model, parse_task
from tests.unit.tasks.cases import CLASSES, make_case, open_folder

KINDS = kinds("tasks")
CASES = tuple(make_case(n, shape=(16, 16, 8)) for n in range(3))
SCHEME = IntensityScheme.for_volume(CASES[0].volume)


def keep(batch, rngs):
    return batch


def fit(kind, path, cases=CASES):
    task = parse_task({"kind": kind, "steps": 1, "batch_size": 2}).build("cpu")
    return task.fit(TrainingData(cases, CLASSES, SCHEME), keep, open_folder(path), NoProgress(), SeedTree(0))


@pytest.mark.parametrize("kind", KINDS)
def test_config_is_called_as_its_file(kind):
    assert load_plugin("tasks", kind).Config().kind == kind
    assert parse_task({"kind": kind}).build("cpu").kind == kind


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_folder_holds_plan_model_and_report_and_the_model_labels_volumes(kind, tmp_path):
    report = fit(kind, tmp_path)
    assert FitReport.read(tmp_path / REPORT) == report
    assert (tmp_path / PLAN).is_file()
    assert (tmp_path / WEIGHTS).is_file()
    model = load_model(tmp_path, "cpu")
    assert (model.classes, model.scheme) == (CLASSES, SCHEME)
    for shape in ((16, 16, 8), (9, 30, 1)):
        volume = make_case(9, shape=shape).volume
        prediction = model.predict_with_confidence(volume)
        label_map = model.predict(volume)
        assert np.array_equal(prediction.label_map.labels, label_map.labels)
        assert prediction.confidence is not None
        assert 1 / (1 + len(CLASSES)) <= prediction.confidence.min() <= prediction.confidence.max() <= 1
        assert label_map.grid.agrees_with(volume.grid)
        assert label_map.class_names == CLASSES
        assert label_map.labels.max() <= len(CLASSES)


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_another_unit_are_refused(kind, tmp_path):
    fit(kind, tmp_path)
    other = Volume(np.zeros((1, 16, 16, 8), np.float32), CASES[0].volume.grid, Unit.HU, ("T1",))
    with pytest.raises(DataError):
        load_model(tmp_path, "cpu").predict(other)


@pytest.mark.parametrize("kind", KINDS)
def test_unlabelled_cases_alone_are_refused(kind, tmp_path):
    with pytest.raises(DataError, match="no training case has a label"):
        fit(kind, tmp_path, (make_case(0, labelled=False),))


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_run_folder_holds_no_model(kind, tmp_path):
    with pytest.raises(CheckpointError):
        load_model(tmp_path, "cpu")
