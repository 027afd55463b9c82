"""Settings of a task, chosen by kind, and the model of a run folder."""

from __future__ import annotations

import pytest

from medaug.core.errors import CheckpointError, ConfigError
from medaug.tasks.base import PLAN, WEIGHTS, load_model, parse_task
from medaug.tasks.segmentation import Config


def test_kind_chooses_the_file():
    assert parse_task({"kind": "segmentation", "steps": 5}) == Config(steps=5)


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        ({"steps": 5}, "kind is missing; expected classification, detection, segmentation"),
        ({"kind": "segmentaton"}, "did you mean segmentation"),
        ({"kind": "segmentation", "batchsize": 5}, "did you mean batch_size"),
        ({"kind": "segmentation", "dims": 4}, "dims: input should be 2 or 3"),
    ],
)
def test_wrong_settings_are_named(raw, line):
    with pytest.raises(ConfigError, match=line):
        parse_task(raw)


def test_a_run_without_a_model_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no finished model"):
        load_model(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"")
    (tmp_path / PLAN).write_text("{}")
    with pytest.raises(CheckpointError, match="names no task"):
        load_model(tmp_path)
