"""Learning a policy: an inner fold of training patients, trial by trial, and nobody else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import final

import numpy as np
import pytest
import yaml

from medaug.core.case import Case, Origin
from medaug.core.errors import DataError, SplitLeakageError
from medaug.core.runs import RunDir, RunRecord
from medaug.core.seeding import SeedTree
from medaug.core.splits import Fold
from medaug.core.volume import LabelMap, Prediction, Unit, Volume
from medaug.experiments.cell import Trained
from medaug.experiments.policy import (
    POLICY,
    POLICY_YAML,
    TRIALS,
    PolicyReport,
    Search,
    inner_fold,
    learn_policy,
    policy_yaml,
)
from medaug.transforms.adaptive import Config
from medaug.transforms.base import TransformConfig, parse_transforms
from tests.unit.experiments.fakes import CLASSES, Lines, case, cohort

COHORT = cohort(24)
FOLD = Fold(index=1, train=COHORT.patient_ids[:18], held_out=COHORT.patient_ids[18:])
CASES = tuple(case(one) for one in COHORT.of_patients(frozenset(FOLD.train)))


@final
class FakeTrial:
    """Marks more of a lesion the more often patches are flipped; keeps whom it was shown."""

    def __init__(self, *, stop_before: int = 99, is_blind: bool = False) -> None:
        self.stop_before, self.is_blind = stop_before, is_blind
        self.seen: set[str] = set()
        self.seeds: list[int] = []
        self.runs: list[str] = []

    def __call__(
        self, transforms: TransformConfig, cases: Sequence[Case], run: RunDir, seed: SeedTree
    ) -> Trained:
        if len(self.runs) >= self.stop_before:
            raise KeyboardInterrupt
        self.seen |= {one.patient_id for one in cases}
        self.seeds.append(seed.seed)
        self.runs.append(run.path.name)
        steps = transforms.model_dump()["steps"]
        share = next((step["probability"] for step in steps if step["step"] == "flip"), 0.0)
        rows = 0 if self.is_blind else 1 + round(3 * min(share, 0.9))

        def predict(volume: Volume) -> Prediction:
            labels = np.zeros(volume.grid.shape, dtype=np.uint8)
            labels[4 : 4 + rows, 4:8, 0] = 1
            return Prediction(LabelMap(labels, volume.grid, CLASSES))

        return Trained(predict, 10, (8, 8), 0.5, 0.0, 0.1)


def search(trials: int = 5, **changes: object) -> Search:
    found = Search(Config(trials=trials), Unit.HU, "CT", FOLD, CASES)
    return replace(found, **changes)  # type: ignore[arg-type]


def opened(path: Path) -> RunDir:
    path.mkdir(parents=True, exist_ok=True)
    return RunDir(path, RunRecord(step="train", status="running", config={}, inputs={}), resumed=False)


def test_the_best_trial_is_kept_and_the_default_is_the_first(tmp_path: Path) -> None:
    train, lines = FakeTrial(), Lines()
    learnt = learn_policy(search(), train, opened(tmp_path), lines, SeedTree(0))
    report = PolicyReport.read(tmp_path / POLICY)
    assert report == learnt.report
    assert report.complete
    assert (len(report.trials), report.steps) == (5, 50)
    assert set(report.trials[0].parameters.values()) == {1.0}
    assert report.best is not None
    assert report.trials[report.best].score == max(trial.score for trial in report.trials)
    assert report.trials[0].dice == {"ground_glass": 0.0, "solid": 1.0}
    assert report.trials[0].score == 0.5
    assert len(set(train.seeds)) == 1
    assert not (tmp_path / TRIALS).exists()
    assert lines.said[0] == "policy trial 1 of 5: mean Dice 0.500 on inner patients"


def test_the_learnt_policy_can_be_pasted_from_its_file(tmp_path: Path) -> None:
    learnt = learn_policy(search(3), FakeTrial(), opened(tmp_path), Lines(), SeedTree(0))
    text = (tmp_path / POLICY_YAML).read_text()
    assert parse_transforms(yaml.safe_load(text)) == learnt.transforms
    assert text == policy_yaml(learnt.report)
    assert "better on the patients that chose it than it is" in text


def test_only_training_patients_are_trained_on_or_scored(tmp_path: Path) -> None:
    train = FakeTrial()
    learnt = learn_policy(search(2), train, opened(tmp_path), Lines(), SeedTree(0))
    inner = inner_fold(CASES, FOLD, 0.25, SeedTree(0).child("inner"))
    assert train.seen == set(inner.train)
    assert set(inner.train) | set(inner.held_out) == set(FOLD.train)
    assert not set(FOLD.held_out) & (set(inner.train) | set(inner.held_out))
    assert learnt.report.inner_held_out_patients == len(inner.held_out)


def test_a_case_of_a_test_patient_is_a_leak(tmp_path: Path) -> None:
    stray = case(COHORT.of_patients(frozenset(FOLD.held_out))[0])
    train = FakeTrial()
    with pytest.raises(SplitLeakageError, match="p18 is not in the training part of fold 1"):
        learn_policy(search(cases=(*CASES, stray)), train, opened(tmp_path), Lines(), SeedTree(0))
    assert train.runs == []


def test_a_made_case_is_a_leak(tmp_path: Path) -> None:
    made = replace(CASES[0], origin=Origin.SYNTHETIC)
    with pytest.raises(SplitLeakageError, match="made case is about to choose"):
        learn_policy(search(cases=(made, *CASES[1:])), FakeTrial(), opened(tmp_path), Lines(), SeedTree(0))


def test_an_interrupted_search_goes_on_with_the_next_trial(tmp_path: Path) -> None:
    straight = learn_policy(search(), FakeTrial(), opened(tmp_path / "straight"), Lines(), SeedTree(0))
    with pytest.raises(KeyboardInterrupt):
        learn_policy(search(), FakeTrial(stop_before=3), opened(tmp_path / "run"), Lines(), SeedTree(0))
    assert not PolicyReport.read(tmp_path / "run" / POLICY).complete
    train = FakeTrial()
    resumed = learn_policy(search(), train, opened(tmp_path / "run"), Lines(), SeedTree(0))
    assert train.runs == ["003", "004"]
    assert resumed == straight
    again = FakeTrial()
    assert learn_policy(search(), again, opened(tmp_path / "run"), Lines(), SeedTree(0)) == straight
    assert again.runs == []


def test_where_no_trial_finds_anything_the_default_is_kept_and_said(tmp_path: Path) -> None:
    lines = Lines()
    learnt = learn_policy(search(3), FakeTrial(is_blind=True), opened(tmp_path), lines, SeedTree(0))
    assert learnt.report.best == 0
    assert "longer trials (steps_share) are needed" in lines.said[-1]


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_an_inner_fold_is_balanced_and_teaches_every_class(share: float) -> None:
    for seed in range(10):
        inner = inner_fold(CASES, FOLD, share, SeedTree(seed))
        carriers = {one.patient_id for one in CASES if one.case_id.endswith("_b")}
        assert carriers & set(inner.train)
        assert abs(len(inner.held_out) / len(FOLD.train) - share) < 0.08
        assert abs(len(carriers & set(inner.held_out)) / len(carriers) - share) < 0.12
    assert inner_fold(CASES, FOLD, share, SeedTree(0)) == inner_fold(CASES, FOLD, share, SeedTree(0))


def test_a_class_of_one_patient_is_never_held_out() -> None:
    few = [one for one in CASES if one.patient_id in ("p00", "p01", "p03", "p05")]
    for seed in range(10):
        assert "p00" in inner_fold(few, FOLD, 0.25, SeedTree(seed)).train


def test_too_few_patients_are_refused() -> None:
    with pytest.raises(DataError, match="1 labelled training patients are too few"):
        inner_fold(CASES[:2], FOLD, 0.25, SeedTree(0))
