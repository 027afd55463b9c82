"""A segmenter read as a detector."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from medaug.core.errors import ConfigError, DependencyError
from medaug.core.intensity import IntensityScheme
from medaug.core.runs import NoProgress
from medaug.core.seeding import SeedTree
from medaug.core.volume import LabelMap, Prediction
from medaug.tasks.base import (
    PLAN,
    REPORT,
    TASK,
    WEIGHTS,
    Model,
    TrainingData,
    answer_of,
    load_lesion_model,
    parse_task,
)
from medaug.tasks.detection import DetectionModel, DetectionPlan
from tests.unit.tasks.cases import CLASSES, make_case, open_folder

NETWORK = {
    "kind": "segmentation",
    "patch_size": [16, 16],
    "batch_size": 2,
    "steps": 1,
    "base_channels": 4,
    "levels": 2,
}
CASES = tuple(make_case(n, shape=(16, 16, 4)) for n in range(3))
SCHEME = IntensityScheme.for_volume(CASES[0].volume)


def keep(batch, rngs):
    return batch


def test_a_run_holds_a_segmenter_that_answers_with_candidates(tmp_path):
    task = parse_task({"kind": "detection", "threshold": 0.01, "fewest_voxels": 1, "network": NETWORK}).build(
        "cpu"
    )
    task.fit(TrainingData(CASES, CLASSES, SCHEME), keep, open_folder(tmp_path), NoProgress(), SeedTree(0))
    assert all((tmp_path / name).is_file() for name in (PLAN, WEIGHTS, REPORT, TASK))
    assert answer_of(tmp_path) == "lesions"
    model = load_lesion_model(tmp_path, "cpu")
    assert (model.classes, model.scheme, model.judges_given_lesions) == (CLASSES, SCHEME, False)
    case = CASES[0]
    found = model.judge(case)
    assert found
    assert all(0 < lesion.score <= 1 and lesion.case_id == case.case_id for lesion in found)
    assert [lesion.score for lesion in found] == sorted((lesion.score for lesion in found), reverse=True)


class Sure:
    """Sees the bright box alone."""

    classes, scheme = CLASSES, SCHEME

    def predict(self, volume):
        return self.predict_with_confidence(volume).label_map

    def predict_with_confidence(self, volume):
        labels = ((volume.image[0] > 3) & (volume.image[0] < 6)).astype(np.uint8) * 2
        return Prediction(LabelMap(labels, volume.grid, CLASSES), np.full(labels.shape, 0.95, np.float32))


def test_candidates_lie_where_the_lesion_is():
    model = DetectionModel(DetectionPlan(threshold=0.1, scoring="max", fewest_voxels=3), cast(Model, Sure()))
    case = make_case(3, classes=(2,))
    (lesion,) = model.judge(case)
    assert case.label_map is not None
    inside = np.argwhere(case.label_map.labels == 2)
    assert (lesion.x_mm, lesion.y_mm, lesion.z_mm) == pytest.approx(tuple(inside.mean(axis=0)))
    assert lesion.score == pytest.approx(0.95)
    assert lesion.class_name == "bright"
    assert lesion.box == (*inside.min(axis=0), *(inside.max(axis=0) + 1))


def test_monais_retinanet_says_why_it_cannot_be_had():
    with pytest.raises(DependencyError, match=r"RetinaNet cannot be built: .*torchvision"):
        parse_task({"kind": "detection", "network": {"kind": "retinanet"}}).build("cpu")
    with pytest.raises(ConfigError, match="'segmentation', 'retinanet'"):
        parse_task({"kind": "detection", "network": {"kind": "yolo"}})
