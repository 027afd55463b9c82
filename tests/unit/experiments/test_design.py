"""Arms, cells and nested subsets."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from medaug.core.case import Origin
from medaug.core.errors import ConfigError, DataError
from medaug.experiments.design import Arm, cells, classes_to_draw, scored_records, training_subset
from tests.unit.experiments.fakes import cohort, experiment, halves, split_dataset

MANIFEST = cohort()
FOLD = halves(MANIFEST)[0]

PASTED = {"generator": {"kind": "copy_paste"}, "synthetic_share": 0.5}


def test_a_teacher_needs_a_generator() -> None:
    with pytest.raises(ValueError, match="teacher needs a generator"):
        Arm(name="real", teacher={"kind": "segmentation"})


def test_identical_arms_are_refused() -> None:
    with pytest.raises(ValidationError, match="one and two are identical"):
        experiment(arms=[{"name": "one"}, {"name": "two"}], baseline="one")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"baseline": "nothing"}, "baseline nothing is no arm"),
        ({"arms": [{"name": "real"}]}, "at least 2"),
        ({"arms": [{"name": "real"}, {"name": "real", "synthetic_share": 0.1}]}, "set together"),
        ({"arms": [{"name": "real"}, {"name": "two", "null_share": 0.1}]}, "null_share needs a generator"),
        ({"arms": [{"name": "real"}, {"name": "two", "blending": "poisson"}]}, "blending needs a generator"),
        (
            {"arms": [{"name": "real"}, {"name": "two", "contrast": [1.2, 0.8], **PASTED}]},
            "the smaller first",
        ),
        ({"n_annotated": [0]}, "at least 1"),
        ({"n_annotated": [4, 4]}, "distinct"),
        ({"seeds": [1, 1]}, "named twice"),
    ],
)
def test_designs_that_make_no_sense(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        experiment(**changes)


def test_cells_are_all_combinations_with_arms_innermost() -> None:
    planned = cells(experiment(n_annotated=[2, None], seeds=[0, 1]), split_dataset())
    assert len(planned) == 2 * 2 * 2 * 2
    assert [cell.name for cell in planned[:2]] == ["real_n2_fold0_seed0", "copy_paste_n2_fold0_seed0"]
    assert len({cell.name for cell in planned}) == len(planned)
    with pytest.raises(ConfigError, match="no outer fold 5"):
        cells(experiment(folds=[5]), split_dataset())


def test_inner_folds_divide_the_training_patients_and_leave_the_held_out_ones_alone() -> None:
    planned = cells(experiment(folds=[1], inner_folds=3), split_dataset())
    outer = split_dataset().outer_folds[1]
    inner = [cell.fold for cell in planned[::2]]
    assert [fold.index for fold in inner] == [1100, 1101, 1102]
    assert sorted(patient for fold in inner for patient in fold.held_out) == sorted(outer.train)
    for fold in inner:
        assert sorted((*fold.train, *fold.held_out)) == sorted(outer.train)
        held_out = scored_records(MANIFEST, fold)
        assert sum("solid" in record.classes for record in held_out) in (1, 2)
        assert sum("ground_glass" in record.classes for record in held_out) == 1
    with pytest.raises(DataError, match="6 labelled training patients of fold 0 for 7 inner folds"):
        cells(experiment(inner_folds=7), split_dataset())


def test_limiting_a_class_keeps_the_other_cases_of_the_patients_who_are_cut() -> None:
    subset = training_subset(MANIFEST, FOLD, "ground_glass", 1)
    ids = [r.case_id for r in subset.records]
    assert sum(i.endswith("_b") for i in ids) == 1
    assert [i for i in ids if i.endswith("_a")] == [f"p{n:02d}_a" for n in range(6)]


def test_limiting_all_patients_cuts_whole_patients() -> None:
    subset = training_subset(MANIFEST, FOLD, None, 2)
    assert len(subset.fold.train) == 2
    assert {r.patient_id for r in subset.records} == set(subset.fold.train)


@pytest.mark.parametrize("limit_class", ["ground_glass", None])
def test_subsets_are_nested_and_stay_inside_the_fold(limit_class: str | None) -> None:
    counts = (1, 2, 3, None)
    subsets = [training_subset(MANIFEST, FOLD, limit_class, n) for n in counts]
    ids = [{r.case_id for r in subset.records} for subset in subsets]
    assert ids[0] < ids[1] < ids[2] <= ids[3]
    assert {r.patient_id for r in subsets[-1].records} <= set(FOLD.train)


def test_more_patients_than_there_are() -> None:
    with pytest.raises(DataError, match="3 training patients with ground_glass, not 4"):
        training_subset(MANIFEST, FOLD, "ground_glass", 4)


def test_a_fold_without_any_lesion() -> None:
    last = MANIFEST.cases[-1].patient_id
    fold = FOLD.model_copy(update={"train": (last,), "held_out": ("p00",)})
    with pytest.raises(DataError, match="no labelled lesion"):
        training_subset(MANIFEST, fold, None, None)


def test_synthetic_and_unlabelled_cases_are_never_trained_on_as_real_nor_scored() -> None:
    first, second, *rest = MANIFEST.cases
    odd = (
        first.model_copy(update={"origin": Origin.SYNTHETIC}),
        second.model_copy(update={"label": None, "lesions": ()}),
        *rest,
    )
    manifest = MANIFEST.model_copy(update={"cases": odd})
    trained = {r.case_id for r in training_subset(manifest, FOLD, None, None).records}
    scored = {r.case_id for r in scored_records(manifest, halves(manifest)[1])}
    assert not trained & {first.case_id, second.case_id}
    assert not scored & {first.case_id, second.case_id}
    assert scored


def test_classes_to_draw() -> None:
    names = MANIFEST.classes
    assert classes_to_draw(experiment(), names) == names
    assert classes_to_draw(experiment(limit_class="ground_glass"), names) == names
    assert classes_to_draw(experiment(synthetic_classes=("ground_glass",)), names) == ("ground_glass",)
    with pytest.raises(ConfigError, match="no class 'glass'"):
        classes_to_draw(experiment(limit_class="glass"), names)
