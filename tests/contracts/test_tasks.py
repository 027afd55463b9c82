"""What every task keeps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medaug.core.errors import CheckpointError, ConfigError, DataError
from medaug.core.intensity import IntensityScheme
from medaug.core.plugins import kinds, load_plugin
from medaug.core.runs import NoProgress
from medaug.core.seeding import SeedTree
from medaug.core.volume import Unit, Volume
from medaug.tasks.base import (
    PLAN,
    REPORT,
    WEIGHTS,
    FitReport,
    TrainingData,
    answer_of,
    load_lesion_model,
    load_model,
    parse_task,
    require_label_maps,
)
from tests.unit.tasks.cases import CLASSES, make_case, open_folder

KINDS = kinds("tasks")
LABELLING = tuple(kind for kind in KINDS if load_plugin("tasks", kind).Config.answer == "label maps")
LISTING = tuple(kind for kind in KINDS if kind not in LABELLING)
SHORT = {"steps": 1, "batch_size": 2}
NETWORK = {"kind": "segmentation", **SHORT}  # of a task that has another one trained
CASES = tuple(make_case(n, shape=(16, 16, 8)) for n in range(3))
SCHEME = IntensityScheme.for_volume(CASES[0].volume)


def keep(batch, rngs):
    return batch


def fit(kind, path, cases=CASES):
    wishes = SHORT if "steps" in load_plugin("tasks", kind).Config.model_fields else {"network": NETWORK}
    task = parse_task({"kind": kind, **wishes}).build("cpu")
    return task.fit(TrainingData(cases, CLASSES, SCHEME), keep, open_folder(path), NoProgress(), SeedTree(0))


@pytest.mark.parametrize("kind", KINDS)
def test_config_is_called_as_its_file(kind):
    assert load_plugin("tasks", kind).Config().kind == kind
    assert parse_task({"kind": kind}).build("cpu").kind == kind


@pytest.mark.parametrize("kind", LABELLING)
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


@pytest.mark.parametrize("kind", LISTING)
def test_a_run_folder_holds_plan_model_and_report_and_the_model_lists_lesions(kind, tmp_path):
    report = fit(kind, tmp_path)
    assert FitReport.read(tmp_path / REPORT) == report
    assert (tmp_path / PLAN).is_file()
    assert answer_of(tmp_path) == "lesions"
    model = load_lesion_model(tmp_path, "cpu")
    assert (model.classes, model.scheme) == (CLASSES, SCHEME)
    case = make_case(9, shape=(20, 16, 6))
    if not model.judges_given_lesions:
        case = replace(case, label_map=None)
    found = model.judge(case)
    assert all((lesion.case_id, lesion.patient_id) == (case.case_id, case.patient_id) for lesion in found)
    assert len({lesion.lesion_id for lesion in found}) == len(found)
    with pytest.raises(ConfigError, match="answers with lesions"):
        load_model(tmp_path, "cpu")


@pytest.mark.parametrize("kind", KINDS)
def test_only_label_maps_have_a_dice(kind):
    if kind in LABELLING:
        require_label_maps({"kind": kind}, "an experiment")
    else:
        with pytest.raises(ConfigError, match=f"an experiment rests on the Dice, which {kind} has none of"):
            require_label_maps({"kind": kind}, "an experiment")


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_another_unit_are_refused(kind, tmp_path):
    fit(kind, tmp_path)
    other = Volume(np.zeros((1, 16, 16, 8), np.float32), CASES[0].volume.grid, Unit.HU, ("T1",))
    with pytest.raises(DataError):
        show(kind, tmp_path, replace(CASES[0], volume=other))


def show(kind, path, case):
    if kind in LABELLING:
        load_model(path, "cpu").predict(case.volume)
    else:
        load_lesion_model(path, "cpu").judge(case)


@pytest.mark.parametrize("kind", KINDS)
def test_unlabelled_cases_alone_are_refused(kind, tmp_path):
    with pytest.raises(DataError, match="no training case has a label"):
        fit(kind, tmp_path, (make_case(0, labelled=False),))


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_run_folder_holds_no_model(kind, tmp_path):
    with pytest.raises(CheckpointError):
        load_model(tmp_path, "cpu")
