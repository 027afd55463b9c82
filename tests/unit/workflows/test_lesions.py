"""Lists of lesions: made by `medaug predict`, scored by `medaug evaluate`."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from medaug.core.candidates import LESIONS, ClassificationResult, DetectionResult, LesionList, ScoredLesion
from medaug.core.case import CONFIDENCE_END, read_manifest
from medaug.core.errors import ConfigError, DataError, LabelError
from medaug.core.runs import NoProgress
from medaug.io.dataset import load_case
from medaug.io.nifti import write_label, write_volume
from medaug.lesions.candidates import Candidate
from medaug.lesions.parts import lesion_parts
from medaug.workflows.evaluate import EvaluateOptions
from medaug.workflows.lesions import answer
from medaug.workflows.predict import PredictOptions
from medaug.workflows.score_lesions import score
from tests.small_cases import labels_of
from tests.unit.tasks.cases import CLASSES, make_case
from tests.unit.workflows.trained import PATIENTS, some_cases, trained, write_dataset

CLASSIFIER = """\
task: {kind: classification, patch_size: [16, 16], batch_size: 2, steps: 1, base_channels: 8}
transforms: {kind: none}
"""
DETECTOR = """\
task:
  kind: detection
  threshold: 0.01
  network: {kind: segmentation, patch_size: [16, 16], batch_size: 2, steps: 1, base_channels: 4, levels: 2}
transforms: {kind: none}
"""


def ask(folder, **wishes):
    options = {"run": folder / "run", "source": folder / "set", "out": folder / "found", "device": "cpu"}
    return answer(PredictOptions.model_validate(options | wishes), NoProgress())


def grade(folder, **wishes):
    options = {"predictions": folder / "found", "labels": folder / "set", "out": folder / "scores.json"}
    return score(EvaluateOptions.model_validate(options | wishes), NoProgress())


def test_held_out_lesions_are_judged_and_scored(tmp_path):
    trained(tmp_path, config=CLASSIFIER)
    summary = ask(tmp_path)
    assert (summary.kind, summary.n_cases, summary.n_refused, summary.skipped) == (
        "classification",
        2,
        0,
        False,
    )
    found = LesionList.read(tmp_path / "found" / LESIONS)
    assert {lesion.patient_id for lesion in found.lesions} == set(PATIENTS[4:])
    assert (found.fold, found.classes) == (0, CLASSES)
    assert ask(tmp_path).skipped
    assert "judged lesions in 2 cases" in summary.lines()[0]
    said = grade(tmp_path).lines()
    result = ClassificationResult.read(tmp_path / "scores.json")
    assert len(result.lesions) == summary.n_lesions == sum(map(sum, result.confusion))
    assert (result.not_lesions, result.not_judged, result.n_patients) == (0, 0, 2)
    assert said[1].startswith("dim: AUC ")


def test_given_lesions_of_another_tool_are_judged_and_what_is_none_is_left_out(tmp_path):
    trained(tmp_path, config=CLASSIFIER)
    manifest = read_manifest(tmp_path / "set")
    (tmp_path / "masks").mkdir()
    with pytest.raises(DataError, match="masks holds no"):
        ask(tmp_path, lesions=tmp_path / "masks")
    for record in manifest.cases[4:]:
        case = load_case(tmp_path / "set", record, manifest.classes)
        assert case.label_map is not None
        labels = (case.label_map.labels == 1).astype("uint8")
        labels[0, 0, 0] = 1
        write_label(tmp_path / "masks" / f"{record.case_id}.nii.gz", labels, case.volume.grid)
    summary = ask(tmp_path, lesions=tmp_path / "masks", out=tmp_path / "found")
    grade(tmp_path)
    result = ClassificationResult.read(tmp_path / "scores.json")
    assert result.not_lesions >= 2
    assert result.not_judged >= 2
    assert {lesion.class_name for lesion in result.lesions} == {"dim"}
    assert len(result.lesions) + result.not_lesions == summary.n_lesions


def test_candidates_of_a_detector_are_scored_by_froc(tmp_path):
    trained(tmp_path, config=DETECTOR)
    summary = ask(tmp_path)
    assert summary.kind == "detection"
    grade(tmp_path, hit="iou")
    result = DetectionResult.read(tmp_path / "scores.json")
    assert (result.n_scans, result.n_patients, result.n_candidates) == (2, 2, summary.n_lesions)
    assert result.curves[0].n_lesions == len(result.lesions) > 0
    assert "intersection over union" in result.hit


def test_a_detector_looks_at_scans_of_no_dataset(tmp_path):
    trained(tmp_path, config=DETECTOR)
    case = make_case(7, shape=(16, 18, 3))
    write_volume(tmp_path / "scan.nii.gz", case.volume.image[0], case.volume.grid)
    assert ask(tmp_path, source=tmp_path / "scan.nii.gz").n_cases == 1
    found = LesionList.read(tmp_path / "found" / LESIONS)
    assert (found.dataset_sha256, {lesion.patient_id for lesion in found.lesions} <= {None}) == (None, True)


def test_candidates_of_label_maps_are_scored_with_their_confidence(tmp_path):
    cases = [make_case(n, shape=(16, 18, 3), classes=(1 + n % 2,)) for n in range(6)]
    write_dataset(tmp_path / "set", cases)
    (tmp_path / "found").mkdir()
    for case in cases[4:]:
        labels, grid = labels_of(case), case.volume.grid
        unsure = np.where(labels == 1, 0.3, 0.99).astype(np.float32)  # of background, in a dim lesion
        write_label(tmp_path / "found" / f"{case.case_id}.nii.gz", labels * (labels == 2), grid)
        write_volume(tmp_path / "found" / f"{case.case_id}{CONFIDENCE_END}", unsure, grid)
    grade(tmp_path, froc=True)
    result = DetectionResult.read(tmp_path / "scores.json")
    scores = {lesion.class_name: lesion.score for lesion in result.lesions}
    assert result.n_scans == 2
    assert scores == pytest.approx({"dim": 0.7, "bright": 0.99})


def perfect(folder, cases):
    """A list that points at every lesion with score 0.9, and at a corner with 0.5."""
    lines = ["case_id,x_mm,y_mm,z_mm,score,remark"]
    for case in cases:
        for part in lesion_parts(case.label_map):
            one = Candidate(part, 0.9).scored(case)
            lines.append(f"{case.case_id},{one.x_mm},{one.y_mm},{one.z_mm},{one.score},good")
        lines.append(f"{case.case_id},-9,-9,-9,0.5,")
    path = folder / "candidates.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_candidates_of_another_tool_are_read_from_csv(tmp_path):
    cases = some_cases()
    write_dataset(tmp_path / "set", cases)
    path = perfect(tmp_path, cases)
    assert grade(tmp_path, predictions=path, fold=0).kind == "detection"
    result = DetectionResult.read(tmp_path / "scores.json")
    assert [point.sensitivity.value for point in result.curves[0].points] == [1.0] * 7
    assert (result.n_scans, result.n_candidates) == (2, 2 + len(result.lesions))
    assert result.unmatched == len(path.read_text().splitlines()) - 1 - result.n_candidates
    assert [curve.class_name for curve in result.curves] == [None, *CLASSES]
    with pytest.raises(ConfigError, match="a candidate has no box"):
        grade(tmp_path, predictions=path, hit="iou")


def test_a_json_list_says_the_same_as_csv(tmp_path):
    cases = some_cases()
    write_dataset(tmp_path / "set", cases)
    with perfect(tmp_path, cases).open(newline="") as handle:
        (tmp_path / "list.json").write_text(json.dumps(list(csv.DictReader(handle))))
    results = []
    for name in ("candidates.csv", "list.json"):
        grade(tmp_path, predictions=tmp_path / name, fold=0)
        results.append(DetectionResult.read(tmp_path / "scores.json"))
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("list.csv", "case_id,x,y,z,score\na,1,2,3,1\n", r"list\.csv, line 2: has no x_mm"),
        ("list.csv", "case_id,x_mm,y_mm,z_mm,score\na,1,2,x,1\n", "line 2: 'x' is no number"),
        ("list.csv", "case_id,x_mm,y_mm,z_mm,score\na,1,2,nan,1\n", "no finite number"),
        ("list.json", "[3]", "entry 1: is no object"),
        ("list.json", '[{"case_id": "a"}]', "entry 1: has no x_mm"),
        ("list.json", "{}", "no schema version"),
    ],
)
def test_damaged_lists_are_refused(tmp_path, name, text, line):
    write_dataset(tmp_path / "set", some_cases())
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=line):
        grade(tmp_path, predictions=tmp_path / name)


def test_options_that_do_not_fit_are_refused(tmp_path):
    trained(tmp_path, config=DETECTOR)
    for wish in ({"format": "dicom-seg"}, {"confidence": True}, {"further": (tmp_path / "run",)}):
        with pytest.raises(ConfigError, match="answers with a list of lesions"):
            ask(tmp_path, **wish)
    with pytest.raises(ConfigError, match="finds its lesions itself"):
        ask(tmp_path, lesions=tmp_path)
    ask(tmp_path)
    with pytest.raises(ConfigError, match="scored on a dataset folder"):
        grade(tmp_path, labels=tmp_path / "found")
    with pytest.raises(DataError, match="is no list of lesions"):
        grade(tmp_path, predictions=tmp_path / "config.yaml")
    with pytest.raises(DataError, match="does not exist"):
        grade(tmp_path, predictions=tmp_path / "none.csv")


def test_what_nobody_looked_at_is_refused_or_counts_as_missed(tmp_path):
    cases = some_cases()
    manifest = write_dataset(tmp_path / "set", cases)
    lesion = ScoredLesion(
        lesion_id="a",
        case_id="case_004",
        patient_id=None,
        x_mm=0,
        y_mm=0,
        z_mm=0,
        score=1.0,
        class_name="dim",
    )
    some = LesionList(
        kind="detection", model_sha256="", dataset_sha256=manifest.content_sha256, fold=0, classes=CLASSES,
        case_ids=("case_004",), lesions=(lesion,),
    )  # fmt: skip
    some.write(tmp_path / "some.json")
    with pytest.raises(DataError, match="1 of 2 cases were not looked at: case_005"):
        grade(tmp_path, predictions=tmp_path / "some.json", fold=0)
    said = grade(tmp_path, predictions=tmp_path / "some.json", fold=0, allow_missing=True).lines()
    assert "1 cases that were not looked at count as empty" in said
    some.model_copy(update={"classes": ("x",)}).write(tmp_path / "other.json")
    with pytest.raises(LabelError, match="knows the classes x"):
        grade(tmp_path, predictions=tmp_path / "other.json")
