"""The segmenter of an assessment has seen the training patients' real cases, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from medaug.core.case import read_manifest
from medaug.core.errors import CheckpointError, ConfigError, DataError, SplitLeakageError
from medaug.core.runs import NoProgress
from medaug.core.splits import Fold, read_splits
from medaug.io.dataset import load_case
from medaug.tasks.base import PLAN, WEIGHTS
from medaug.workflows import second_opinion
from medaug.workflows.second_opinion import AssessedFold, check_run, lesion_finder, segmenter_for
from medaug.workflows.train import train
from tests.unit.workflows.trained import (
    CONFIG,
    PATIENTS,
    options,
    some_cases,
    trained,
    write_dataset,
    write_synthetic,
)


def _assessed(folder: Path) -> AssessedFold:
    manifest = read_manifest(folder / "set")
    return AssessedFold(folder / "set", manifest, read_splits(folder / "set", manifest).fold(0))


def test_a_run_of_the_same_fold_is_taken_and_any_other_refused(tmp_path: Path) -> None:
    trained(tmp_path)
    assessed, run = _assessed(tmp_path), tmp_path / "run"
    model = segmenter_for(assessed, run, tmp_path / "none", NoProgress())
    assert model.classes == assessed.manifest.classes
    assert not (tmp_path / "none").exists()
    other = AssessedFold(
        assessed.dataset, assessed.manifest, Fold(index=0, train=PATIENTS[2:], held_out=PATIENTS[:2])
    )
    with pytest.raises(SplitLeakageError, match="another fold"):
        check_run(run, other)
    changed = assessed.manifest.model_copy(update={"name": "other"})
    with pytest.raises(SplitLeakageError, match="another dataset"):
        check_run(run, AssessedFold(assessed.dataset, changed, assessed.fold))
    with pytest.raises(DataError, match="no run folder"):
        check_run(tmp_path / "set" / "imagesTr", assessed)
    (run / WEIGHTS).unlink()
    with pytest.raises(CheckpointError):
        segmenter_for(assessed, run, tmp_path / "none", NoProgress())


def test_a_run_that_learnt_from_synthetic_cases_is_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path / "set", some_cases())
    assessed = _assessed(tmp_path)
    write_synthetic(tmp_path / "syn", PATIENTS[0], PATIENTS[1], assessed.fold.scope_sha256)
    train(options(tmp_path, CONFIG, synthetic=tmp_path / "syn"), NoProgress())
    with pytest.raises(SplitLeakageError, match="synthetic"):
        check_run(tmp_path / "run", assessed)


def test_a_short_training_is_kept_and_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dataset(tmp_path / "set", some_cases())
    tiny = yaml.safe_load(CONFIG)["task"]
    monkeypatch.setattr(second_opinion, "_TASK", tiny)
    assessed, out = _assessed(tmp_path), tmp_path / "assessment" / "segmenter"
    model = segmenter_for(assessed, None, out, NoProgress())
    record = assessed.manifest.cases[5]
    case = load_case(assessed.dataset, record, assessed.manifest.classes)
    first = model.predict(case.volume).labels
    assert first.shape == case.volume.grid.shape
    assert np.array_equal(lesion_finder(model)(case.volume), model.probabilities(case.volume)[0] < 0.5)
    written = (out / WEIGHTS).stat().st_mtime_ns
    again = segmenter_for(assessed, None, out, NoProgress())
    assert (out / WEIGHTS).stat().st_mtime_ns == written
    assert np.array_equal(again.predict(case.volume).labels, first)
    with pytest.raises(ConfigError, match="another seed"):
        segmenter_for(assessed, None, out, NoProgress(), seed=1)
    assert '"patients":4' in (out / PLAN).read_text().replace(" ", "")


def test_without_a_labelled_training_case_there_is_no_second_opinion(tmp_path: Path) -> None:
    write_dataset(tmp_path / "set", some_cases())
    assessed = _assessed(tmp_path)
    bare = tuple(record.model_copy(update={"label": None}) for record in assessed.manifest.cases)
    empty = AssessedFold(
        assessed.dataset, assessed.manifest.model_copy(update={"cases": bare}), assessed.fold
    )
    with pytest.raises(DataError, match="no training patient"):
        segmenter_for(empty, None, tmp_path / "out", NoProgress())
