"""The order of an experiment: cells, resume, guards, and results that can be read at any moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from medaug.core.case import Manifest
from medaug.core.errors import ConfigError, SplitLeakageError, TrainingError
from medaug.core.gallery import GALLERY, read_tiles
from medaug.core.results import ExperimentResult
from medaug.core.seeding import SeedTree
from medaug.core.splits import Fold
from medaug.experiments.context import describe
from medaug.experiments.design import ExperimentConfig, SplitDataset, cells
from medaug.experiments.run import RESULTS
from medaug.experiments.study import Study, plan_study
from tests.unit.experiments.fakes import CLASSES, FakeBench, Lines, experiment, go, record, study


def test_every_held_out_patient_is_scored_once_an_arm(tmp_path: Path) -> None:
    bench, lines = FakeBench(), Lines()
    result = go(tmp_path / "run", bench, progress=lines)
    assert result.complete
    assert (result.cells_done, result.cells_planned) == (4, 4)
    for arm in ("real", "copy_paste"):
        solid = [r for r in result.rows if r.arm == arm and r.class_name == "solid" and r.dice is not None]
        assert sorted(r.patient_id for r in solid) == [f"p{n:02d}" for n in range(11)]
    comparison = next(c for c in result.comparisons if c.class_name == "solid")
    # half of 16 voxels: Dice 2/3 against 1
    assert comparison.mean_difference == pytest.approx(1 / 3)
    assert comparison.verdict == "gain"
    assert ExperimentResult.read(tmp_path / "run" / RESULTS) == result
    assert lines.said[0].startswith("2 arms x 1 subset sizes x 2 folds x 1 seeds = 4 trainings")
    assert any("min left" in line for line in lines.said)


def test_arms_share_their_seed_and_generators_are_only_asked_where_needed(tmp_path: Path) -> None:
    bench = FakeBench()
    go(tmp_path / "run", bench)
    assert bench.prepared == ["copy_paste nall_fold0", "copy_paste nall_fold1"]
    assert bench.seeds[0] == bench.seeds[1] != bench.seeds[2]
    assert bench.seeds[0] == SeedTree(0).child("experiment", "nall_fold0").seed


def test_an_interrupted_experiment_goes_on_and_its_rows_are_readable(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "run", FakeBench(stop_after=3))
    partial = ExperimentResult.read(tmp_path / "run" / RESULTS)
    assert (partial.complete, partial.cells_done) == (False, 3)
    bench = FakeBench()
    result = go(tmp_path / "run", bench)
    assert bench.trained == ["copy_paste_nall_fold1_seed0"]
    assert result == go(tmp_path / "straight", FakeBench())


def test_tiles_of_test_cases_and_of_lesions_are_kept(tmp_path: Path) -> None:
    go(tmp_path / "run", FakeBench())
    tested = read_tiles(tmp_path / "run/cells/real_nall_fold0_seed0" / GALLERY)
    assert {t.facts.kind for t in tested} == {"test"}
    assert max(sum(t.facts.class_name == name for t in tested) for name in ("solid", "ground_glass")) == 3
    made = read_tiles(tmp_path / "run/scopes/nall_fold0/samples_copy_paste" / GALLERY)
    real = read_tiles(tmp_path / "run/scopes/nall_fold0/real" / GALLERY)
    assert {t.facts.kind for t in made} == {"synthetic"}
    assert {t.facts.kind for t in real} == {"real"}


def test_a_donor_from_the_held_out_side_stops_the_run_before_training(tmp_path: Path) -> None:
    bench = FakeBench(stray="p09")
    with pytest.raises(SplitLeakageError, match="first: p09"):
        go(tmp_path / "run", bench)
    assert bench.trained == ["real_nall_fold0_seed0"]


def test_a_donor_from_the_fold_but_outside_the_subset_stops_it_too(tmp_path: Path) -> None:
    with pytest.raises(SplitLeakageError):
        go(tmp_path / "run", FakeBench(stray="p11"), study(experiment(n_annotated=[1])))


def test_unequal_steps_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="arm copy_paste took 9 steps"):
        go(tmp_path / "run", FakeBench(unfair="copy_paste"))


def test_notes_name_what_weakens_the_evidence(tmp_path: Path) -> None:
    result = go(tmp_path / "run", FakeBench(), study(experiment(folds=[0])))
    text = " ".join(result.notes)
    assert "Only 3 scored patients carry ground_glass" in text
    assert "6 were only trained on" in text
    assert "One seed" in text
    glass = [c for c in result.comparisons if c.class_name == "ground_glass"]
    assert [c.verdict for c in glass] == ["inconclusive"]


def on(*patients: tuple[str, tuple[str, ...]]) -> Manifest:
    return Manifest(
        name="few",
        classes=CLASSES,
        cases=tuple(record(f"{who}_a", who, *classes) for who, classes in patients),
    )


def among(manifest: Manifest, fold: Fold, config: ExperimentConfig) -> Study:
    dataset = SplitDataset(manifest, (fold,))
    return plan_study(config, dataset, describe(config, manifest, cells(config, dataset)))


def test_a_class_that_no_tested_patient_has_is_a_note(tmp_path: Path) -> None:
    manifest = on(("p1", CLASSES), ("p2", CLASSES), ("p3", ("solid",)), ("p4", ("solid",)))
    fold = Fold(index=0, train=("p1", "p2"), held_out=("p3", "p4"))
    result = go(tmp_path / "run", FakeBench(), among(manifest, fold, experiment()))
    assert result.complete
    assert "No scored patient carries ground_glass: it has no Dice." in result.notes
    assert {c.class_name for c in result.comparisons} == {"solid"}


def test_one_tested_patient_proves_nothing(tmp_path: Path) -> None:
    manifest = on(("p1", CLASSES), ("p2", CLASSES))
    fold = Fold(index=0, train=("p1",), held_out=("p2",))
    result = go(tmp_path / "run", FakeBench(), among(manifest, fold, experiment(n_annotated=[1])))
    assert {c.verdict for c in result.comparisons} == {"inconclusive"}
    assert [c.mde for c in result.comparisons] == [None] * len(result.comparisons)


def test_a_cell_of_other_data_is_refused(tmp_path: Path) -> None:
    """The dataset, or who was held out, changed between two calls."""
    go(tmp_path / "run", FakeBench(), study(experiment(folds=[0])))
    manifest = on(("p1", CLASSES), ("p2", CLASSES))
    fold = Fold(index=0, train=("p1",), held_out=("p2",))
    with pytest.raises(
        ConfigError, match=r"real_nall_fold0_seed0 holds an experiment cell run on other inputs"
    ):
        go(tmp_path / "run", FakeBench(), among(manifest, fold, experiment(folds=[0])))


def test_an_experiment_on_inner_folds_scores_training_patients_alone(tmp_path: Path) -> None:
    of = study(experiment(folds=[0], inner_folds=2))
    result = go(tmp_path / "run", FakeBench(), of)
    outer = of.dataset.outer_folds[0]
    assert {row.patient_id for row in result.rows} == set(outer.train)
    assert {row.fold for row in result.rows} == {1000, 1001}
