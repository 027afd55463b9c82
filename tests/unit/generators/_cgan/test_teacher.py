"""A frozen segmenter judges made lesions; it must come from the same patients and see the same kind of patch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from medaug.core.errors import CheckpointError, ConfigError, SplitLeakageError
from medaug.core.runs import RUN_FILE, RunRecord
from medaug.core.splits import training_scope
from medaug.generators._cgan import teacher
from medaug.generators._cgan.teacher import Teacher
from medaug.generators._patches.layers import Conditions
from tests import made_lesions

INDEX = made_lesions.bank(3, 3).index


class _Bright:
    """Calls faint what is near 0 and bright what is near 5, and the rest background."""

    step_voxels = (4, 4)
    classes = INDEX.classes
    scheme = INDEX.scheme

    def scores(self, image: Tensor) -> Tensor:
        return -torch.cat([(image + 5).abs(), image.abs(), (image - 5).abs()], dim=1)


class _Tasks:
    model = _Bright()

    @classmethod
    def load(cls, path: Path, device: str) -> _Bright:
        return cls.model


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(teacher, "load_plugin", lambda family, kind: _Tasks)
    leave(tmp_path, training_scope(INDEX.training_patients))
    return tmp_path


def leave(path: Path, scope: str, status: str = "done") -> None:
    record = {"step": "train", "status": status, "config": {}, "inputs": {"fold": scope}}
    RunRecord.model_validate(record).write(path / RUN_FILE)


def open_teacher(run: Path, size: tuple[int, ...] = (16, 16)) -> Teacher:
    return Teacher(run, INDEX, size, torch.device("cpu"))


def test_a_lesion_of_its_class_costs_less_than_one_of_another(run: Path) -> None:
    distance = torch.full((1, 1, 16, 16), -24.0)
    distance[..., 4:12, 4:12] = 3
    made = torch.where(distance > 0, 5.0, -5.0).requires_grad_()
    judge = open_teacher(run)
    faint, bright = (judge.loss(made, Conditions(torch.tensor([n]), 1.0, distance)) for n in (0, 1))
    assert bright < 0.1 < faint
    faint.backward()
    assert made.grad is not None
    assert float(made.grad[distance > 0].abs().max()) > 0
    assert float(made.grad[distance < -2].abs().max()) == 0


def test_other_patients_are_a_leak(run: Path) -> None:
    leave(run, training_scope(("somebody",)))
    with pytest.raises(SplitLeakageError, match="other patients"):
        open_teacher(run)


def test_no_finished_training_is_refused(run: Path, tmp_path: Path) -> None:
    leave(run, training_scope(INDEX.training_patients), "running")
    with pytest.raises(CheckpointError, match="no finished training"):
        open_teacher(run)
    with pytest.raises(CheckpointError, match="no run folder"):
        open_teacher(tmp_path / "nothing")


@pytest.mark.parametrize("size", [(16, 16, 8), (18, 16)], ids=["axes", "step"])
def test_a_patch_that_it_cannot_see_is_refused(run: Path, size: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="teacher"):
        open_teacher(run, size)
