"""Any tool's predictions, against a dataset folder or a plain folder."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medaug.core.case import PREDICTIONS, Case, Manifest, Origin, read_manifest
from medaug.core.errors import ConfigError, DataError, GeometryError, LabelError, SplitLeakageError
from medaug.core.geometry import Grid
from medaug.core.results import EvaluationResult, PredictedCase, PredictionIndex
from medaug.core.runs import NoProgress
from medaug.core.volume import LabelMap, Unit, Volume
from medaug.io.dataset import CaseFacts, finish_dataset, write_case
from medaug.io.nifti import write_label, write_volume
from medaug.workflows.evaluate import EvaluateOptions, EvaluateSummary, evaluate

GRID = Grid((6, 6, 2), np.eye(4))
LPS = Grid((6, 6, 2), np.array([[-1.0, 0, 0, 5], [0, -1, 0, 5], [0, 0, 1, 0], [0, 0, 0, 1]]))


def cube(width: int, label_id: int = 1) -> np.ndarray:
    labels = np.zeros(GRID.shape, dtype=np.uint8)
    labels[:width, :2, 0] = label_id
    return labels


def dataset(folder: Path, origin: Origin = Origin.REAL) -> Path:
    records = []
    for number, width in enumerate((2, 2, 0)):
        image = np.ones((1, *GRID.shape), dtype=np.float32)
        of = Case(
            f"c{number}",
            f"p{number}",
            Volume(image, GRID, Unit.HU, ("CT",)),
            LabelMap(cube(width), GRID, ("solid",)),
            origin,
        )
        records.append(write_case(folder, of, CaseFacts(modality="CT", lesion_free=width == 0)))
    finish_dataset(folder, Manifest(name="set", classes=("solid",), cases=tuple(records)), ())
    return folder


def run(
    predictions: Path, labels: Path, out: Path, **options: object
) -> tuple[EvaluateSummary, EvaluationResult]:
    asked = EvaluateOptions.model_validate(
        {"predictions": predictions, "labels": labels, "out": out / "scores.json", **options}
    )
    return evaluate(asked, NoProgress()), EvaluationResult.read(out / "scores.json")


def test_a_dataset_folder_is_scored_by_patient(tmp_path: Path) -> None:
    labels = dataset(tmp_path / "set")
    predictions = tmp_path / "predictions"
    write_label(predictions / "c0.nii.gz", cube(2), GRID)
    # the same voxels, stored in the order of another tool
    write_label(predictions / "c1.nii.gz", cube(1)[::-1, ::-1].copy(), LPS)
    write_label(predictions / "c2.nii.gz", cube(1), GRID)
    write_label(predictions / "extra.nii.gz", cube(1), GRID)
    summary, result = run(predictions, labels, tmp_path)
    assert [row.dice for row in result.rows] == [1.0, pytest.approx(2 / 3), None]
    assert result.rows[2].false_positive_voxels == 2
    (score,) = result.scores
    assert (score.n_patients, score.n_empty) == (2, 1)
    assert score.mean_dice == pytest.approx(5 / 6)
    assert result.unmatched == ("extra",)
    assert result.patients_known
    (line,) = (line for line in summary.lines() if line.startswith("solid"))
    for part in ("Dice 0.833", "surface Dice 1.000 at 1 mm", "HD95 0.5 mm", "lesion F1 0.800", "2 patients"):
        assert part in line


def test_confidence_beside_a_label_map_is_judged_and_is_no_case(tmp_path: Path) -> None:
    labels, predictions = dataset(tmp_path / "set"), tmp_path / "predictions"
    for number, width in enumerate((2, 1, 0)):
        write_label(predictions / f"c{number}.nii.gz", cube(width), GRID)
        write_volume(
            predictions / f"c{number}_confidence.nii.gz", np.full(GRID.shape, 0.75, np.float32), GRID
        )
    _, result = run(predictions, labels, tmp_path)
    assert result.unmatched == ()
    # 4 of 4 voxels right, and 2 of 4, where three quarters were promised; nothing to judge without a lesion
    assert [row.calibration_error for row in result.rows] == [pytest.approx(0.25), pytest.approx(0.25), None]


def test_a_missing_prediction_is_refused_by_name_or_scored_as_empty(tmp_path: Path) -> None:
    labels = dataset(tmp_path / "set")
    write_label(tmp_path / "predictions/c0.nii.gz", cube(2), GRID)
    with pytest.raises(DataError, match="2 of 3 cases have no prediction: c1, c2"):
        run(tmp_path / "predictions", labels, tmp_path)
    assert not (tmp_path / "scores.json").exists()
    summary, result = run(tmp_path / "predictions", labels, tmp_path, allow_missing=True)
    assert [row.dice for row in result.rows] == [1.0, 0.0, None]
    assert summary.missing == result.missing == ("c1", "c2")


@pytest.mark.parametrize(("of_this_dataset", "scored"), [(True, {"c0"}), (False, None)])
def test_the_cases_that_medaug_predict_chose_are_the_ones_scored(
    tmp_path: Path, of_this_dataset: bool, scored: set[str] | None
) -> None:
    labels, predictions = dataset(tmp_path / "set"), tmp_path / "predictions"
    write_label(predictions / "c0.nii.gz", cube(2), GRID)
    PredictionIndex(
        model_sha256="m",
        source="dataset",
        dataset_sha256=read_manifest(labels).content_sha256 if of_this_dataset else "other",
        fold=0,
        classes=("solid",),
        cases=(PredictedCase(case_id="c0", patient_id="p0", file="c0.nii.gz", voxels={"solid": 4}),),
        refused=(),
    ).write(predictions / PREDICTIONS)
    if scored is None:
        with pytest.raises(DataError, match="2 of 3 cases have no prediction"):
            run(predictions, labels, tmp_path)
    else:
        assert {row.case_id for row in run(predictions, labels, tmp_path)[1].rows} == scored


def test_a_plain_folder_gets_a_class_table_from_its_ids(tmp_path: Path) -> None:
    write_label(tmp_path / "labels/a.nii.gz", cube(2, 2), GRID)
    write_label(tmp_path / "predictions/a.nii.gz", cube(2, 2), GRID)
    _, result = run(tmp_path / "predictions", tmp_path / "labels", tmp_path)
    assert result.classes == ("label_1", "label_2")
    assert [row.dice for row in result.rows] == [None, 1.0]
    assert not result.patients_known
    _, named = run(tmp_path / "predictions", tmp_path / "labels", tmp_path, classes=("x", "y"))
    assert named.classes == ("x", "y")


def test_label_ids_and_file_names_of_other_tools(tmp_path: Path) -> None:
    labels, predictions = dataset(tmp_path / "set"), tmp_path / "predictions"
    other = cube(2, 3)
    other[5, 5, 1] = 1
    write_label(predictions / "c0_0000.nii.gz", other, GRID)
    nib.Nifti1Image(cube(2, 3), GRID.affine).to_filename(predictions / "c1.nii")
    write_label(predictions / "c2.nii.gz", cube(0), GRID)
    (predictions / "plans.json").write_text("{}")
    _, result = run(predictions, labels, tmp_path, class_map="3=solid, 1=background")
    assert [row.dice for row in result.rows] == [1.0, 1.0, None]
    with pytest.raises(LabelError, match="c0: prediction holds label id 1"):
        run(predictions, labels, tmp_path, class_map="3=solid")
    for wrong, said in (
        ("3=other", "'other' is no class of LABELS"),
        ("lung=solid", "'lung' is no label id"),
    ):
        with pytest.raises(ConfigError, match=said):
            run(predictions, labels, tmp_path, class_map=wrong)
    write_label(predictions / "c0.nii.gz", cube(2), GRID)
    with pytest.raises(DataError, match="two predictions of c0"):
        run(predictions, labels, tmp_path)


def test_the_tolerance_is_the_one_asked_for_and_stands_in_the_rows(tmp_path: Path) -> None:
    write_label(tmp_path / "labels/a.nii.gz", cube(4), GRID)
    write_label(tmp_path / "predictions/a.nii.gz", cube(2), GRID)
    found = []
    for tolerance in (0.1, 3.0):
        summary, result = run(
            tmp_path / "predictions", tmp_path / "labels", tmp_path, surface_tolerance_mm=tolerance
        )
        (row,) = result.rows
        assert row.surface_tolerance_mm == tolerance
        assert f"at {tolerance:g} mm" in summary.lines()[1]
        assert row.surface_dice is not None
        found.append(row.surface_dice)
    assert found[0] < found[1] == 1.0


def test_a_plain_folder_whose_spacing_nobody_wrote_gives_no_mm(tmp_path: Path) -> None:
    for folder in ("labels", "predictions"):
        (tmp_path / folder).mkdir()
        image = nib.Nifti1Image(cube(2), None)
        image.header.set_sform(None, 0)
        image.header.set_qform(None, 0)
        image.to_filename(tmp_path / folder / "a.nii.gz")
    summary, result = run(tmp_path / "predictions", tmp_path / "labels", tmp_path)
    (row,) = result.rows
    assert row.dice == 1.0
    assert {row.surface_dice, row.hd95_mm, row.volume_error_mm3} == {None}
    assert " mm" not in summary.lines()[1]


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    write_label(tmp_path / "labels/a.nii.gz", cube(2), GRID)
    write_label(tmp_path / "predictions/a.nii.gz", cube(2)[:, :, :1], Grid((6, 6, 1), np.eye(4)))
    with pytest.raises(GeometryError, match="a: prediction lies on another grid"):
        run(tmp_path / "predictions", tmp_path / "labels", tmp_path)
    write_label(tmp_path / "predictions/a.nii.gz", cube(2, 9), GRID)
    with pytest.raises(LabelError, match="a: prediction holds label id 9"):
        run(tmp_path / "predictions", tmp_path / "labels", tmp_path)
    with pytest.raises(ConfigError, match="--fold"):
        run(tmp_path / "predictions", tmp_path / "labels", tmp_path, fold=0)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match="PREDICTIONS"):
        run(tmp_path / "nothing", tmp_path / "labels", tmp_path)


def test_synthetic_references_are_refused(tmp_path: Path) -> None:
    labels = dataset(tmp_path / "set", Origin.SYNTHETIC)
    write_label(tmp_path / "predictions/c0.nii.gz", cube(2), GRID)
    with pytest.raises(SplitLeakageError, match="c0"):
        run(tmp_path / "predictions", labels, tmp_path)
