"""The whole wiring on a tiny cohort: bank, generator, transforms and task, from YAML to results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml

from medaug.core.case import AUGMENTATIONS, SPLITS, Case, Manifest, read_manifest
from medaug.core.config import load_yaml
from medaug.core.errors import ConfigError, DataError
from medaug.core.gallery import GALLERY, read_tiles
from medaug.core.geometry import Grid
from medaug.core.results import ExperimentContext, ExperimentResult
from medaug.core.runs import NoProgress, begin_run
from medaug.core.seeding import SeedTree
from medaug.core.splits import Fold, Splits, read_splits
from medaug.core.volume import LabelMap, Unit, Volume
from medaug.experiments.context import CONTEXT
from medaug.experiments.design import ExperimentConfig, training_subset
from medaug.experiments.policy import POLICY, PolicyReport
from medaug.experiments.run import RESULTS, STEP
from medaug.generators.base import read_card
from medaug.generators.copy_paste import Config as Paste
from medaug.io.dataset import CaseFacts, finish_dataset, write_case
from medaug.lesions.bank import Bank
from medaug.transforms import read_drawn
from medaug.workflows.arms import resolved
from medaug.workflows.experiment import ExperimentForecast, ExperimentOptions, ExperimentSummary, experiment

GRID = Grid((32, 32, 3), np.diag([1.0, 1.0, 2.0, 1.0]))
CLASSES = ("solid", "ground_glass")
TASK: dict[str, object] = {
    "kind": "segmentation",
    "dims": 2,
    "patch_size": [16, 16],
    "batch_size": 4,
    "steps": 3,
    "base_channels": 2,
    "levels": 2,
}
REAL: dict[str, object] = {"name": "real", "transforms": {"kind": "none"}}
PASTED: dict[str, object] = {
    "name": "copy_paste",
    "transforms": {"kind": "none"},
    "generator": {"kind": "copy_paste"},
    "synthetic_share": 0.5,
}
CONFIG = {
    "name": "tiny",
    "task": TASK,
    "baseline": "real",
    "limit_class": "ground_glass",
    "n_annotated": [2],
    "folds": [0],
    "arms": [REAL, PASTED],
}


def write_dataset(folder: Path, patients: int = 8) -> Path:
    records = []
    for number in range(patients):
        rng = SeedTree(1).child(number).rng()
        labels = np.zeros(GRID.shape, dtype=np.uint8)
        i, j = (int(n) for n in rng.integers(8, 22, 2))
        labels[i : i + 4, j : j + 4, 1] = 1 + number % 2
        image = rng.normal(-700, 30, (1, *GRID.shape)) + 600 * (labels > 0)
        image[:, :2], image[:, -2:] = -1000, -1000
        volume = Volume(np.rint(image).astype(np.float32), GRID, Unit.HU, ("CT",))
        case = Case(f"c{number}", f"p{number}", volume, LabelMap(labels, GRID, CLASSES))
        records.append(write_case(folder, case, CaseFacts(modality="CT", licence="CC0-1.0")))
    finish_dataset(folder, Manifest(name="tiny set", classes=CLASSES, cases=tuple(records)), ())
    ids = tuple(f"p{n}" for n in range(patients))
    folds = (Fold(index=0, train=ids[:5], held_out=ids[5:]), Fold(index=1, train=ids[3:], held_out=ids[:3]))
    hashed = read_manifest(folder).content_sha256
    Splits(seed=0, dataset_sha256=hashed, folds=folds).write(folder / SPLITS)
    return folder


def options(tmp_path: Path, **changes: object) -> ExperimentOptions:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(CONFIG | changes))
    if not (tmp_path / "dataset").exists():
        write_dataset(tmp_path / "dataset")
    return ExperimentOptions(dataset=tmp_path / "dataset", config=path, out=tmp_path / "run", device="cpu")


def test_from_yaml_to_results_and_not_twice(tmp_path: Path) -> None:
    asked = options(tmp_path)
    summary = experiment(asked, NoProgress())
    assert isinstance(summary, ExperimentSummary)
    result = ExperimentResult.read(tmp_path / "run" / RESULTS)
    assert result.complete
    assert {(row.arm, row.patient_id) for row in result.rows} == {
        (arm, patient) for arm in ("real", "copy_paste") for patient in ("p5", "p6", "p7")
    }
    shares = {cost.arm: cost.synthetic_patch_share for cost in result.costs}
    assert shares["real"] == 0.0
    assert shares["copy_paste"] > 0.3
    assert {cost.optimiser_steps for cost in result.costs} == {3}
    samples = read_tiles(tmp_path / "run/scopes/n2_fold0/samples_copy_paste" / GALLERY)
    assert samples
    assert {tile.facts.class_name for tile in samples} == set(CLASSES)
    context = ExperimentContext.read(tmp_path / "run" / CONTEXT)
    assert [count.scored_patients for count in context.classes] == [1, 2]
    assert str(tmp_path) not in (tmp_path / "run/run.json").read_text() + context.model_dump_json()
    assert context.command == "medaug experiment dataset --config tiny.yaml --out run --device cpu"
    assert not summary.skipped
    before = (tmp_path / "run" / RESULTS).stat().st_mtime_ns
    again = experiment(asked, NoProgress())
    assert isinstance(again, ExperimentSummary)
    assert again.skipped
    assert again.verdict == summary.verdict
    assert (tmp_path / "run" / RESULTS).stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match="another seeds"):
        experiment(options(tmp_path, seeds=[7]), NoProgress())


def test_the_configuration_is_written_out_with_defaults_but_without_the_arms_shares(tmp_path: Path) -> None:
    config = resolved(load_yaml(options(tmp_path).config, ExperimentConfig))
    assert config.task["learning_rate"]
    assert "synthetic_share" not in config.task
    assert resolved(config) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": {"kind": "segmentation", "stepps": 3}}, "stepps"),
        ({"task": {"kind": "segmentation", "synthetic_share": 0.3}}, "belongs to the arms"),
        ({"task": {"kind": "segmentation", "lesion_patch_share": 1.2}}, "lesion_patch_share"),
        ({"limit_class": "glass"}, "no class 'glass'"),
        ({"folds": [9]}, "no outer fold 9"),
    ],
)
def test_wrong_settings_are_found_before_any_work(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        experiment(options(tmp_path, **changes), NoProgress())
    assert not (tmp_path / "run").exists()


def test_a_subset_larger_than_the_fold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2 training patients with ground_glass, not 3"):
        experiment(options(tmp_path, n_annotated=[3]), NoProgress())


KINDS = (
    "classical",
    "randaugment",
    "trivialaugment",
    "adaptive",
    "cutmix",
    "carvemix",
    "mixup",
    "copy_paste",
)


def test_every_kind_of_augmentation_is_an_arm(tmp_path: Path) -> None:
    arms: list[dict[str, object]] = [{"name": kind, "transforms": {"kind": kind}} for kind in KINDS]
    arms[3]["transforms"] = {"kind": "adaptive", "trials": 2, "steps_share": 0.5}
    asked = options(
        tmp_path,
        arms=arms,
        baseline="classical",
        limit_class=None,
        n_annotated=[None],
        record_augmentations=True,
    )
    summary = experiment(asked, NoProgress())
    assert isinstance(summary, ExperimentSummary)
    assert isinstance(summary, ExperimentSummary)
    result = ExperimentResult.read(tmp_path / "run" / RESULTS)
    assert result.complete
    assert {row.arm for row in result.rows} == set(KINDS)
    costs = {cost.arm: cost for cost in result.costs}
    assert {cost.optimiser_steps for cost in costs.values()} == {3}
    assert {arm: cost.search_steps for arm, cost in costs.items() if cost.search_steps} == {"adaptive": 4}
    assert any("adaptive took 4 further steps a training" in note for note in result.notes)
    assert "no arm with synthetic" not in summary.verdict
    cells = tmp_path / "run/cells"
    learnt = PolicyReport.read(cells / "adaptive_nall_fold0_seed0" / POLICY)
    # the five training patients of the fold, of whom some were held out inside
    assert learnt.inner_training_patients + learnt.inner_held_out_patients == 5
    for kind in KINDS:
        assert len(read_drawn(cells / f"{kind}_nall_fold0_seed0" / AUGMENTATIONS)) == 12


def test_a_dry_run_lists_the_trainings_and_what_they_take_and_writes_nothing(tmp_path: Path) -> None:
    asked = options(tmp_path).model_copy(update={"dry_run": True, "workers": 2})
    said = experiment(asked, NoProgress())
    assert isinstance(said, ExperimentForecast)
    assert said.trainings == ("real_n2_fold0_seed0", "copy_paste_n2_fold0_seed0")
    assert said.estimate.minutes > 0
    assert said.estimate.cpu_hours > 0
    assert said.estimate.disk_mib > 0
    assert said.lines()[-1].endswith("of disk for 2 trainings")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("counts", [[1], [5, 1]])
def test_a_subset_that_lacks_a_class_is_refused_before_anything_is_trained(
    tmp_path: Path, counts: list[int]
) -> None:
    with pytest.raises(DataError, match="with 1 annotated patient no training case of fold 0 holds"):
        experiment(options(tmp_path, limit_class=None, n_annotated=counts), NoProgress())
    assert not (tmp_path / "run").exists()


def test_arms_that_differ_in_words_alone_are_refused(tmp_path: Path) -> None:
    wordy = PASTED | {"name": "wordy", "generator": Paste().model_dump(mode="json")}
    assert wordy["generator"] != PASTED["generator"]
    with pytest.raises(ConfigError, match="arms copy_paste and wordy are identical but for the name"):
        experiment(options(tmp_path, arms=[REAL, PASTED, wordy]), NoProgress())


CGAN = {"kind": "cgan", "size": [16, 16], "base": 4, "critic_base": 4, "batch_size": 2, "steps": 2}


def taught(**changes: object) -> dict[str, object]:
    """An arm whose generator has a teacher."""
    arm = {"name": "cgan", "generator": CGAN, "synthetic_share": 0.5, "teacher": TASK}
    return arm | changes


def test_a_teacher_is_trained_on_the_cases_of_each_training_subset(tmp_path: Path) -> None:
    asked = options(tmp_path, arms=[REAL, taught()], n_annotated=[1], folds=[0, 1])
    experiment(asked, NoProgress())
    manifest = read_manifest(tmp_path / "dataset")
    splits = read_splits(tmp_path / "dataset", manifest)
    for index, fold in enumerate(splits.outer_folds):
        scope = tmp_path / f"run/scopes/n1_fold{index}"
        subset = training_subset(manifest, fold, "ground_glass", 1)
        assert len(subset.records) < len(manifest.of_patients(frozenset(fold.train)))
        (school,) = scope.glob("teacher_of_generator_cgan_*")
        plan = json.loads((school / "plan.json").read_text())
        assert plan["fingerprint"]["cases"] == len(subset.records)
        assert json.loads((school / "run.json").read_text())["inputs"]["subset"] == subset.sha256
        (run,) = scope.glob("generator_cgan_*")
        assert read_card(run).config["teacher"] == school.name
        assert str(tmp_path) not in (run / "run.json").read_text()
    context = ExperimentContext.read(tmp_path / "run" / CONTEXT)
    assert any(line.startswith("Teachers of generators were trained inside") for line in context.checks)


def test_guards_that_no_arm_calls_for_are_not_told(tmp_path: Path) -> None:
    arms = [{"name": kind, "transforms": {"kind": kind}} for kind in ("none", "mixup")]
    experiment(options(tmp_path, arms=arms, baseline="none"), NoProgress())
    told = " ".join(ExperimentContext.read(tmp_path / "run" / CONTEXT).checks)
    assert "training patient of its outer fold" in told
    assert not any(word in told for word in ("generators", "Teachers", "donors", "augmentation"))


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        (
            taught(teacher=None, generator=CGAN | {"teacher": "runs/teacher"}),
            "seen more than a training subset",
        ),
        (taught(generator={"kind": "copy_paste"}), "copy_paste listens to no teacher; expected kind: cgan"),
        (taught(teacher={"kind": "classification"}), "arm cgan: teacher: is no segmentation"),
        (taught(teacher=TASK | {"stepps": 3}), "stepps"),
        (taught(teacher=TASK | {"synthetic_share": 0.5}), "arm cgan: teacher: synthetic_share belongs to"),
    ],
)
def test_teachers_that_cannot_be_trained_in_the_subset_are_refused(
    tmp_path: Path, arm: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        experiment(options(tmp_path, arms=[REAL, arm]), NoProgress())
    assert not (tmp_path / "run").exists()


def test_a_dataset_that_changed_between_two_calls_is_refused(tmp_path: Path) -> None:
    asked = options(tmp_path)
    study = {"dataset": "another", "splits": "another"}
    begin_run(tmp_path / "run", STEP, resolved(load_yaml(asked.config, ExperimentConfig)), study)
    with pytest.raises(ConfigError, match=r"run on other inputs \(dataset, splits\)"):
        experiment(asked, NoProgress())


def test_lesions_that_a_judge_of_the_training_subset_turns_down_are_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    class Stern:
        def __init__(self, bank: Bank, dims: int) -> None:
            assert set(bank.index.training_patients) <= {f"p{n}" for n in range(5)}

        def __call__(self, cases: Sequence[Case]) -> list[float]:
            seen.append(len(cases))
            return [0.0] * len(cases)

    monkeypatch.setattr("medaug.workflows.bench.ClassJudge", Stern)
    kept = PASTED | {"name": "kept", "keep_score": 0.5}
    experiment(options(tmp_path, arms=[REAL, kept]), NoProgress())
    drawn = seen[::4]
    assert seen == [count for count in drawn for _ in range(4)]  # three further tries, all turned down
    assert sum(drawn) >= 3
