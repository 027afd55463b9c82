"""``medaug train``: fold scope, run folder, synthetic sets, and what is refused."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
import yaml

from medaug.core.assessment import QUALITY, QualityReport
from medaug.core.case import AUGMENTATIONS, TRANSLATIONS, Origin, read_manifest
from medaug.core.errors import ConfigError, DataError, DependencyError, LabelError, SplitLeakageError
from medaug.core.plan import Translation, write_lines
from medaug.core.runs import NoProgress, RunRecord
from medaug.core.splits import Fold, read_splits
from medaug.engine.checkpoint import load_checkpoint
from medaug.engine.launch import Team
from medaug.experiments.policy import POLICY, POLICY_YAML, PolicyReport
from medaug.tasks._segmentation.planning import TrainingPlan
from medaug.tasks.base import PLAN
from medaug.transforms import read_drawn
from medaug.transforms.base import parse_transforms
from medaug.workflows.filter import FilterOptions, filter_set
from medaug.workflows.train import train
from tests.unit.tasks.cases import make_case
from tests.unit.workflows.trained import (
    CONFIG,
    PATIENTS,
    options,
    some_cases,
    trained,
    write_dataset,
    write_synthetic,
)


def test_trains_on_the_training_patients_of_the_fold_alone(tmp_path):
    summary = trained(tmp_path)
    assert (summary.n_cases, summary.n_patients, summary.report.steps, summary.skipped) == (4, 4, 2, False)
    assert TrainingPlan.read(tmp_path / "run" / PLAN).fingerprint.patients == 4
    assert any("not scored yet" in line for line in summary.lines())


def test_the_run_record_holds_settings_and_hashes_but_no_path(tmp_path):
    trained(tmp_path)
    record = RunRecord.read(tmp_path / "run" / "run.json")
    assert (record.status, record.config["fold"]) == ("done", 0)
    assert record.config["task"]["optimiser"] == "adamw"  # type: ignore[index]
    assert set(record.inputs) == {"dataset", "fold"}
    assert str(tmp_path) not in (tmp_path / "run" / "run.json").read_text()


def test_the_same_call_is_skipped_and_a_changed_one_refused(tmp_path):
    first = trained(tmp_path)
    again = trained(tmp_path)
    assert again.skipped
    assert again.report == first.report
    with pytest.raises(ConfigError, match="run holds a train run with another task"):
        trained(tmp_path, config=CONFIG.replace("steps: 2", "steps: 3"))


def test_unlabelled_cases_are_left_out(tmp_path):
    cases = some_cases()
    cases[1] = replace(cases[1], label_map=None)
    write_dataset(tmp_path / "set", cases)
    assert trained(tmp_path).n_cases == 3


@pytest.mark.parametrize(
    ("cases", "error", "line"),
    [
        (
            [replace(c, label_map=None) if n < 4 else c for n, c in enumerate(some_cases())],
            DataError,
            "has a label",
        ),
        (
            [make_case(n, shape=(16, 18, 3), classes=(1,) if n < 4 else (1, 2)) for n in range(6)],
            LabelError,
            "bright",
        ),
        (
            [make_case(n, shape=(16, 18, 3), classes=() if n < 4 else (1, 2)) for n in range(6)],
            LabelError,
            "no lesion",
        ),
    ],
)
def test_a_fold_that_teaches_nothing_is_refused(tmp_path, cases, error, line):
    write_dataset(tmp_path / "set", cases)
    with pytest.raises(error, match=line):
        trained(tmp_path)


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ("transforms: {kind: none}", "task: is missing"),
        (CONFIG.replace("segmentation", "segmentaton"), "did you mean segmentation"),
        (CONFIG.replace("levels", "level"), "did you mean levels"),
        (CONFIG.replace("[16, 16]", "[15, 16]"), "task.patch_size: size 15 cannot be halved"),
    ],
)
def test_wrong_configurations_are_named(tmp_path, config, line):
    with pytest.raises(ConfigError, match=line):
        trained(tmp_path, config=config)


def test_there_is_no_such_fold(tmp_path):
    write_dataset(tmp_path / "set", some_cases())
    with pytest.raises(ConfigError, match="there is no fold 3"):
        train(options(tmp_path, fold=3), NoProgress())


def test_a_synthetic_set_takes_its_share(tmp_path):
    manifest = write_dataset(tmp_path / "set", some_cases())
    scope = read_splits(tmp_path / "set", manifest).fold(0).scope_sha256
    write_synthetic(tmp_path / "syn", PATIENTS[0], PATIENTS[1], scope)
    config = CONFIG.replace("steps: 2", "steps: 2\n  lesion_patch_share: 1.0\n  synthetic_share: 1.0")
    summary = train(options(tmp_path, config, synthetic=tmp_path / "syn"), NoProgress())
    assert summary.n_synthetic == 1
    assert summary.report.synthetic_patch_share == 0.5  # all patches of one of two classes
    assert "synthetic" in RunRecord.read(tmp_path / "run" / "run.json").inputs


def assessed(folder, synthetic, *, score=0.6, **changed):
    """An assessment of a set in which the first case has one scored lesion."""
    manifest = read_manifest(synthetic)
    told = {"case_id": manifest.cases[0].case_id, "lesion": 0, "class": "dim", "score": score, "typical": 0.5}
    report = {
        "synthetic_sha256": manifest.content_sha256, "dataset_sha256": "d" * 64, "fold": 0, "classes": (),
        "samples": (told,), **changed,
    }  # fmt: skip
    QualityReport.model_validate(report).write(folder / QUALITY)
    return folder


KEEPING = CONFIG + "synthetic: {keep: score>0.4}\n"


def set_of_two(folder, fold):
    """A case that a patient hosts, and one that is nobody's."""
    cases = [make_case(n, shape=(16, 18, 3)) for n in (8, 9)]
    made = [
        replace(case, case_id=f"made_{n}", patient_id=f"made_{n}", origin=Origin.SYNTHETIC)
        for n, case in enumerate(cases)
    ]
    write_dataset(folder, made)
    rows = tuple(
        Translation(
            case_id=case.case_id, source_case_id=None, source_sha256=(), donor_patient_ids=fold.train[:1], fold=0, seed=0,
            translator="whole_image", translator_sha256="0" * 64, training_scope_sha256=fold.scope_sha256, class_name="dim",
        )
        for case in made
    )  # fmt: skip
    write_lines(folder / TRANSLATIONS, rows)
    return folder


def test_a_rule_leaves_out_synthetic_cases_as_a_filtered_set_would(tmp_path):
    fold = read_splits(tmp_path / "set", write_dataset(tmp_path / "set", some_cases())).fold(0)
    made = set_of_two(tmp_path / "made", fold)
    assessment = assessed(tmp_path / "assessment", made, training_scope_sha256=fold.scope_sha256)
    summary = train(options(tmp_path, KEEPING, synthetic=made, assessment=assessment), NoProgress())
    assert (summary.n_synthetic, summary.n_left_out) == (1, 1)
    assert "and 1 synthetic cases (1 left out)" in summary.lines()[0]
    by_rule = FilterOptions(synthetic=made, out=tmp_path / "good", keep="score>0.4", assessment=assessment)
    filter_set(by_rule, NoProgress())
    again = train(options(tmp_path, synthetic=tmp_path / "good"), NoProgress())
    assert again.skipped  # what is learnt from is the same, whoever left the rest out
    with pytest.raises(ConfigError, match=r"other inputs \(synthetic\)"):
        train(options(tmp_path, synthetic=made), NoProgress())


def test_a_rule_that_cannot_be_followed_is_refused(tmp_path):
    fold = read_splits(tmp_path / "set", write_dataset(tmp_path / "set", some_cases())).fold(0)
    made = set_of_two(tmp_path / "made", fold)
    good = {"synthetic": made, "assessment": assessed(tmp_path / "assessment", made)}
    for asked, config, error, line in (
        ({}, KEEPING, ConfigError, "synthetic.keep: speaks of no set"),
        ({"synthetic": made}, KEEPING, ConfigError, "synthetic.keep: rests on the scores"),
        (good, CONFIG, ConfigError, "--assessment: goes with synthetic.keep alone"),
        (
            good,
            KEEPING.replace("score>0.4", "scor>0.4"),
            ConfigError,
            "synthetic.keep: .* did you mean score",
        ),
        (good, KEEPING.replace("0.4", "0.7"), DataError, "none of 2 cases of .*made is kept"),
        (good, KEEPING.replace("keep", "kept"), ConfigError, "unknown key synthetic.kept"),
    ):
        with pytest.raises(error, match=line):
            train(options(tmp_path, config, **asked), NoProgress())
    other = assessed(tmp_path / "other", made, training_scope_sha256="e" * 64)
    with pytest.raises(
        SplitLeakageError, match=r"other rests on other patients .* fold 0; assess with --fold 0"
    ):
        train(options(tmp_path, KEEPING, synthetic=made, assessment=other), NoProgress())
    stale = assessed(tmp_path / "stale", made, synthetic_sha256="e" * 64)
    with pytest.raises(DataError, match=r"stale is of another set than .*made"):
        train(options(tmp_path, KEEPING, synthetic=made, assessment=stale), NoProgress())


def write_translated(folder, donor, scope):
    """A case that is nobody's, of a label map that a patient lent."""
    case = make_case(3, shape=(16, 18, 3))
    write_dataset(folder, [replace(case, case_id="made_000", patient_id="made_000", origin=Origin.SYNTHETIC)])
    row = Translation(
        case_id="made_000", source_case_id=None, source_sha256=(), donor_patient_ids=(donor,), fold=0, seed=0,
        translator="whole_image", translator_sha256="0" * 64, training_scope_sha256=scope, class_name="dim",
    )  # fmt: skip
    write_lines(folder / TRANSLATIONS, (row,))


def test_cases_without_a_host_are_learnt_from_within_their_fold(tmp_path):
    manifest = write_dataset(tmp_path / "set", some_cases())
    fold = read_splits(tmp_path / "set", manifest).fold(0)
    write_translated(tmp_path / "made", fold.train[0], fold.scope_sha256)
    assert train(options(tmp_path, synthetic=tmp_path / "made"), NoProgress()).n_synthetic == 1


@pytest.mark.parametrize("scope", ["own", "other"])
def test_cases_without_a_host_of_another_fold_are_a_leak(tmp_path, scope):
    manifest = write_dataset(tmp_path / "set", some_cases())
    fold = read_splits(tmp_path / "set", manifest).fold(0)
    donor = fold.held_out[0] if scope == "own" else fold.train[0]
    write_translated(tmp_path / "made", donor, fold.scope_sha256 if scope == "own" else "f" * 64)
    with pytest.raises(SplitLeakageError):
        train(options(tmp_path, synthetic=tmp_path / "made"), NoProgress())


def test_real_cases_are_no_synthetic_set(tmp_path):
    write_dataset(tmp_path / "set", some_cases())
    with pytest.raises(DataError, match=r"--synthetic: .*set holds real cases"):
        train(options(tmp_path, synthetic=tmp_path / "set"), NoProgress())


@pytest.mark.parametrize(
    ("patient", "donor", "same_scope", "line"),
    [
        (PATIENTS[5], PATIENTS[1], True, "patient_005 is not in the training part"),
        (PATIENTS[0], PATIENTS[5], True, "1 donor or host patients .first: patient_005."),
        (PATIENTS[0], PATIENTS[1], False, "fitted on other patients"),
    ],
)
def test_a_synthetic_set_of_another_fold_is_a_leak(tmp_path, patient, donor, same_scope, line):
    manifest = write_dataset(tmp_path / "set", some_cases())
    fold = read_splits(tmp_path / "set", manifest).fold(0)
    other = Fold(index=0, train=PATIENTS[:5], held_out=PATIENTS[5:])
    scope = (fold if same_scope else other).scope_sha256
    write_synthetic(tmp_path / "syn", patient, donor, scope)
    with pytest.raises(SplitLeakageError, match=line):
        train(options(tmp_path, synthetic=tmp_path / "syn"), NoProgress())


ADAPTIVE = CONFIG.replace("{kind: none}", "{kind: adaptive, trials: 2, steps_share: 0.5, inner_share: 0.5}")


def test_a_policy_is_learnt_inside_the_training_patients_before_the_training(tmp_path):
    summary = trained(tmp_path, config=ADAPTIVE)
    report = PolicyReport.read(tmp_path / "run" / POLICY)
    assert (len(report.trials), report.steps) == (2, 2)
    assert report.inner_training_patients + report.inner_held_out_patients == 4
    assert summary.report.steps == 2
    policy = yaml.safe_load((tmp_path / "run" / POLICY_YAML).read_text())
    assert parse_transforms(policy).kind == "classical"
    pasted = trained(
        tmp_path / "again",
        config=CONFIG.replace("{kind: none}", yaml.safe_dump(policy, default_flow_style=True)),
    )
    first, second = (load_checkpoint(tmp_path / place / "model.pt") for place in ("run", "again/run"))
    assert pasted.report.steps == 2
    assert all(torch.equal(torch.as_tensor(first[name]), torch.as_tensor(second[name])) for name in first)


def test_a_missing_package_is_told_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(DependencyError, match="needs optuna"):
        trained(tmp_path, config=ADAPTIVE)
    assert not (tmp_path / "run").exists()


def test_what_was_drawn_is_written_down_on_request(tmp_path):
    recorded = CONFIG.replace("{kind: none}", "{kind: carvemix}\nrecord_augmentations: true")
    trained(tmp_path, config=recorded)
    lines = read_drawn(tmp_path / "run" / AUGMENTATIONS)
    assert sorted(lines) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    plain = tmp_path / "plain"
    trained(plain, config=CONFIG.replace("{kind: none}", "{kind: carvemix}"))
    assert not (plain / "run" / AUGMENTATIONS).exists()
    first, second = (load_checkpoint(folder / "run/model.pt") for folder in (tmp_path, plain))
    assert all(torch.equal(torch.as_tensor(first[name]), torch.as_tensor(second[name])) for name in first)


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (CONFIG.replace("segmentation", "classification").replace("  levels: 2\n", ""), "classification"),
        (CONFIG.replace("{kind: none}", "{kind: adaptive}"), "adaptive"),
    ],
)
def test_several_processes_train_only_what_they_can_share(tmp_path, monkeypatch, config, line):
    @contextmanager
    def two():
        yield Team(0, 2)

    monkeypatch.setattr(sys.modules["medaug.workflows.train"], "joined", two)
    with pytest.raises(
        ConfigError, match=rf"torchrun: {line} is learnt by one process; .* `medaug train` alone"
    ):
        trained(tmp_path, config=config)
    assert not (tmp_path / "run").exists()
