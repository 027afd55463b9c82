"""``medaug predict``: the right cases, on their own grids, in the right form."""

from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest

from medaug.core.case import PREDICTIONS, Manifest, Origin, read_manifest
from medaug.core.errors import CheckpointError, ConfigError, DataError
from medaug.core.geometry import Grid
from medaug.core.results import PredictionIndex
from medaug.core.runs import NoProgress, RunRecord
from medaug.core.splits import Fold, Splits
from medaug.core.storage import sha256_file
from medaug.core.volume import Unit
from medaug.io.annotations import target_of
from medaug.io.dicom import read_series
from medaug.io.nifti import read_label, read_nifti, write_volume
from medaug.io.segmentation import read_seg
from medaug.tasks.base import PLAN, WEIGHTS, load_model
from medaug.workflows.predict import PredictOptions, predict
from medaug.workflows.train import train
from tests.unit.io.series import CT, MR, stored_values, write_series
from tests.unit.tasks.cases import CLASSES, make_case
from tests.unit.workflows.trained import (
    PATIENTS,
    on_grid,
    options,
    some_cases,
    trained,
    two_channels,
    write_dataset,
)

LPS = Grid((16, 18, 3), np.array([[-1.0, 0, 0, 15], [0, -1, 0, 17], [0, 0, 1, 0], [0, 0, 0, 1]]))


def ask(folder, source, **changes):
    asked = {"run": folder / "run", "source": source, "out": folder / "out", "device": "cpu"}
    return predict(PredictOptions.model_validate(asked | changes), NoProgress())


def index(folder):
    return PredictionIndex.read(folder / "out" / PREDICTIONS)


def test_by_itself_it_takes_the_held_out_patients_of_its_own_dataset(tmp_path):
    trained(tmp_path)
    summary = ask(tmp_path, tmp_path / "set")
    assert (summary.n_cases, summary.n_refused, summary.held_out) == (2, 0, True)
    found = index(tmp_path)
    assert {case.patient_id for case in found.cases} == set(PATIENTS[4:])
    assert (found.fold, found.classes, found.source) == (0, CLASSES, "dataset")
    case = make_case(4, shape=(16, 18, 3))
    written = read_label(tmp_path / "out" / "case_004.nii.gz", as_stored=True)
    assert written.grid.agrees_with(case.volume.grid)
    assert np.array_equal(written.array, load_model(tmp_path / "run", "cpu").predict(case.volume).labels)
    assert found.cases[0].voxels == {
        name: int((written.array == n).sum()) for n, name in enumerate(CLASSES, 1)
    }


def test_all_cases_come_with_a_warning_about_training_patients(tmp_path):
    trained(tmp_path)
    summary = ask(tmp_path, tmp_path / "set", cases="all")
    assert (summary.n_cases, summary.held_out) == (6, False)
    assert summary.notes == ("4 of these cases belong to training patients: do not score them",)
    assert index(tmp_path).fold is None


def test_another_dataset_is_labelled_whole(tmp_path):
    trained(tmp_path)
    write_dataset(
        tmp_path / "other", some_cases(3), fold=Fold(index=0, train=PATIENTS[:1], held_out=PATIENTS[1:3])
    )
    assert ask(tmp_path, tmp_path / "other").n_cases == 3
    with pytest.raises(ConfigError, match="--cases: the run was not trained on this dataset"):
        ask(tmp_path, tmp_path / "other", cases="held-out", out=tmp_path / "out2")


def test_a_dataset_that_was_split_anew_is_refused(tmp_path):
    trained(tmp_path)
    manifest = read_manifest(tmp_path / "set")
    fold = Fold(index=0, train=PATIENTS[2:], held_out=PATIENTS[:2])
    Splits(seed=1, dataset_sha256=manifest.content_sha256, folds=(fold,)).write(
        tmp_path / "set" / "splits.json"
    )
    with pytest.raises(DataError, match="split anew"):
        ask(tmp_path, tmp_path / "set")


def test_foreign_nifti_is_answered_on_its_own_grid_and_order(tmp_path):
    trained(tmp_path)
    case = make_case(8, shape=(16, 18, 3))
    stored = np.ascontiguousarray(case.volume.image[0, ::-1, ::-1])
    write_volume(tmp_path / "scans" / "mine_0000.nii.gz", stored, LPS)
    summary = ask(tmp_path, tmp_path / "scans")
    assert summary.notes == ("NIfTI does not name its unit: values were taken as a.u.",)
    written = read_label(tmp_path / "out" / "mine.nii.gz", as_stored=True)
    assert written.grid.agrees_with(LPS)
    expected = load_model(tmp_path / "run", "cpu").predict(on_grid(case, written_ras()).volume).labels
    assert np.array_equal(written.array, expected[::-1, ::-1])


def written_ras():
    return Grid((16, 18, 3), np.eye(4))


def test_one_file_is_enough(tmp_path):
    trained(tmp_path)
    write_volume(tmp_path / "mine.nii.gz", make_case(8).volume.image[0], make_case(8).volume.grid)
    assert ask(tmp_path, tmp_path / "mine.nii.gz").n_cases == 1
    assert (tmp_path / "out" / "mine.nii.gz").is_file()


def test_a_bad_scan_among_good_ones_is_refused_by_name(tmp_path):
    trained(tmp_path)
    good = make_case(8).volume
    for name in ("a", "b", "c", "d"):
        values = np.zeros_like(good.image[0]) if name == "d" else good.image[0]
        write_volume(tmp_path / "scans" / f"{name}.nii.gz", values, good.grid)
    (tmp_path / "scans" / "b.nii.gz").write_bytes(gzip.compress(b"nothing"))
    spoilt = good.image[0].copy()
    spoilt[0, 0, 0] = np.nan
    nib.save(nib.Nifti1Image(spoilt, np.eye(4)), tmp_path / "scans" / "c.nii.gz")
    summary = ask(tmp_path, tmp_path / "scans")
    assert (summary.n_cases, summary.n_refused) == (1, 3)
    assert [finding.case_id for finding in index(tmp_path).refused] == ["b", "c", "d"]
    assert "not finite" in index(tmp_path).refused[1].message
    assert "one value everywhere" in index(tmp_path).refused[2].message
    with pytest.raises(DataError, match="3 refusals under --strict, the first: b: file is"):
        ask(tmp_path, tmp_path / "scans", strict=True)


def test_nothing_to_label_is_an_error(tmp_path):
    trained(tmp_path)
    (tmp_path / "bad.nii.gz").write_bytes(b"")
    with pytest.raises(DataError, match="no case could be labelled, the first: bad: file is"):
        ask(tmp_path, tmp_path / "bad.nii.gz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no NIfTI file and no DICOM"):
        ask(tmp_path, tmp_path / "empty")
    with pytest.raises(DataError, match="nowhere not found"):
        ask(tmp_path, tmp_path / "nowhere")


def test_the_unit_must_be_that_of_the_training(tmp_path):
    trained(tmp_path)
    write_series(tmp_path / "ct", stored_values(rows=16, columns=18))
    with pytest.raises(DataError, match="image is in HU"):
        ask(tmp_path, tmp_path / "ct")


def test_channels_must_be_those_of_the_training(tmp_path):
    trained(tmp_path)
    write_dataset(tmp_path / "two", [two_channels(case) for case in some_cases()])
    with pytest.raises(DataError, match=r"image has 2 channels; expected 1"):
        ask(tmp_path, tmp_path / "two")


def test_several_channels_are_several_files(tmp_path):
    write_dataset(tmp_path / "set", [two_channels(case) for case in some_cases()])
    trained(tmp_path)
    volume = two_channels(make_case(8, shape=(16, 18, 3))).volume
    for number, channel in enumerate(volume.image):
        write_volume(tmp_path / "scans" / f"mine_{number:04d}.nii.gz", channel, volume.grid)
    assert ask(tmp_path, tmp_path / "scans").n_cases == 1
    assert (tmp_path / "out" / "mine.nii.gz").is_file()
    (tmp_path / "scans" / "mine_0001.nii.gz").unlink()
    with pytest.raises(DataError, match=r"mine: 1 channel files; expected 2"):
        ask(tmp_path, tmp_path / "scans", out=tmp_path / "out2")


def test_the_same_call_is_skipped_and_an_interrupted_one_goes_on(tmp_path):
    trained(tmp_path)
    ask(tmp_path, tmp_path / "set")
    assert ask(tmp_path, tmp_path / "set").skipped
    record = RunRecord.read(tmp_path / "out" / "run.json")
    record.model_copy(update={"status": "running"}).write(tmp_path / "out" / "run.json")
    before = index(tmp_path)
    (tmp_path / "out" / PREDICTIONS).unlink()
    (tmp_path / "out" / "case_004.nii.gz").unlink()
    stamp = (tmp_path / "out" / "case_005.nii.gz").stat().st_mtime_ns
    again = ask(tmp_path, tmp_path / "set")
    assert (again.skipped, again.n_cases) == (False, 2)
    assert index(tmp_path) == before
    assert (tmp_path / "out" / "case_005.nii.gz").stat().st_mtime_ns == stamp


def test_a_run_without_a_model_is_refused(tmp_path):
    write_dataset(tmp_path / "set", some_cases())
    with pytest.raises(CheckpointError, match="no finished model"):
        ask(tmp_path, tmp_path / "set")


@pytest.mark.parametrize("sop_class", ["CT", "MR"])
def test_a_dicom_series_gets_a_segmentation_that_refers_to_it(tmp_path, sop_class):
    trained(tmp_path, unit=Unit.HU if sop_class == "CT" else Unit.ARBITRARY)
    values = stored_values(rows=16, columns=18)
    files = write_series(tmp_path / "scan", values, sop_class=CT if sop_class == "CT" else MR)
    summary = ask(tmp_path, tmp_path / "scan", format="dicom-seg")
    assert summary.n_cases == 1
    series = read_series(files)
    expected = load_model(tmp_path / "run", "cpu").predict(series.volume)
    case = index(tmp_path).cases[0]
    assert case.file == "series_001.dcm"
    found = {
        segment.name: segment.mask
        for segment in read_seg(tmp_path / "out" / case.file, target_of(series)).segments
    }
    present = {name for name in CLASSES if expected.mask(name).any()}
    assert set(found) == present
    assert present
    for name in present:
        assert np.array_equal(found[name], expected.mask(name))


def test_a_dicom_series_may_also_be_answered_as_nifti(tmp_path):
    trained(tmp_path)
    files = write_series(tmp_path / "scan", stored_values(rows=16, columns=18), sop_class=MR)
    ask(tmp_path, tmp_path / "scan")
    written = read_label(tmp_path / "out" / "series_001.nii.gz", as_stored=True)
    assert written.grid.agrees_with(read_series(files).volume.grid)


def test_dicom_seg_needs_dicom(tmp_path):
    trained(tmp_path)
    with pytest.raises(ConfigError, match="--format: a dataset folder holds no DICOM series"):
        ask(tmp_path, tmp_path / "set", format="dicom-seg")
    write_volume(tmp_path / "mine.nii.gz", make_case(8).volume.image[0], make_case(8).volume.grid)
    with pytest.raises(ConfigError, match="--format: DICOM SEG refers to a DICOM series"):
        ask(tmp_path, tmp_path / "mine.nii.gz", format="dicom-seg")
    with pytest.raises(ConfigError, match="only the run's own dataset has held-out patients"):
        ask(tmp_path, tmp_path / "mine.nii.gz", cases="held-out")


def test_synthetic_cases_are_not_labelled(tmp_path):
    trained(tmp_path)
    manifest = read_manifest(tmp_path / "set")
    records = [
        r.model_copy(update={"origin": Origin.SYNTHETIC}) if n == 0 else r
        for n, r in enumerate(manifest.cases)
    ]
    changed = Manifest(name="set", classes=CLASSES, cases=tuple(records))
    changed.write(tmp_path / "set" / "manifest.json")
    assert ask(tmp_path, tmp_path / "set").n_cases == 5
    assert "case_000" not in {case.case_id for case in index(tmp_path).cases}


def further(folder, name="second", **changes):
    """Another run on the same dataset."""
    train(options(folder, **{"out": folder / name, "seed": 1} | changes), NoProgress())
    return folder / name


def test_an_ensemble_answers_with_the_mean_of_the_probabilities(tmp_path):
    trained(tmp_path)
    second = further(tmp_path)
    ask(tmp_path, tmp_path / "set", further=(second,), confidence=True)
    found = index(tmp_path)
    hashes = sorted(sha256_file(run / WEIGHTS) for run in (tmp_path / "run", second))
    assert found.members_sha256 == tuple(hashes)
    assert found.fold == 0
    volume = make_case(4, shape=(16, 18, 3)).volume
    models = [load_model(run, "cpu") for run in (tmp_path / "run", second)]
    mean = np.mean([model.probabilities(volume) for model in models], axis=0)
    written = read_label(tmp_path / "out" / "case_004.nii.gz", as_stored=True)
    assert np.array_equal(written.array, mean.argmax(axis=0))
    sure = read_nifti(tmp_path / "out" / "case_004_confidence.nii.gz", as_stored=True)
    np.testing.assert_allclose(sure.array, mean.max(axis=0), atol=1e-5)


def test_the_order_of_runs_changes_nothing(tmp_path):
    trained(tmp_path)
    second = further(tmp_path)
    ask(tmp_path, tmp_path / "set", further=(second,))
    assert ask(tmp_path, tmp_path / "set", run=second, further=(tmp_path / "run",)).skipped


def test_runs_of_all_folds_have_no_patient_left_to_label(tmp_path):
    folds = (
        Fold(index=0, train=PATIENTS[:4], held_out=PATIENTS[4:]),
        Fold(index=1, train=PATIENTS[2:], held_out=PATIENTS[:2]),
    )
    write_dataset(tmp_path / "set", some_cases())
    resplit(tmp_path / "set", folds)
    trained(tmp_path)
    second = further(tmp_path, fold=1)
    with pytest.raises(ConfigError, match="--with: every patient was trained on by one of the runs"):
        ask(tmp_path, tmp_path / "set", further=(second,))
    summary = ask(tmp_path, tmp_path / "set", further=(second,), cases="all")
    assert summary.notes == ("6 of these cases belong to training patients: do not score them",)
    assert not summary.held_out


def test_runs_of_inner_folds_label_the_test_patients_together(tmp_path):
    folds = (
        Fold(index=0, train=PATIENTS[:2], held_out=PATIENTS[2:4]),
        Fold(index=1, train=PATIENTS[2:4], held_out=PATIENTS[:2]),
    )
    write_dataset(tmp_path / "set", some_cases())
    resplit(tmp_path / "set", folds, test=PATIENTS[4:])
    trained(tmp_path)
    second = further(tmp_path, fold=1)
    summary = ask(tmp_path, tmp_path / "set", further=(second,))
    assert (summary.n_cases, summary.held_out, summary.notes) == (2, True, ())
    assert {case.patient_id for case in index(tmp_path).cases} == set(PATIENTS[4:])
    assert index(tmp_path).fold is None


def resplit(dataset, folds, test=()):
    content = read_manifest(dataset).content_sha256
    Splits(seed=0, dataset_sha256=content, folds=folds, test=test).write(dataset / "splits.json")


def test_runs_that_do_not_fit_each_other_are_refused(tmp_path):
    trained(tmp_path)
    with pytest.raises(ConfigError, match=r"--with: .*run holds the same model as another run"):
        ask(tmp_path, tmp_path / "set", further=(tmp_path / "run",))
    (tmp_path / "other").mkdir()
    with pytest.raises(CheckpointError, match="other holds no finished model"):
        ask(tmp_path, tmp_path / "set", further=(tmp_path / "other",))
    plan = (tmp_path / "run" / PLAN).read_text()
    second = further(tmp_path)
    (second / PLAN).write_text(plan.replace('"dim"', '"faint"'))
    with pytest.raises(ConfigError, match="a run knows the classes faint"):
        ask(tmp_path, tmp_path / "set", further=(second,))
    (second / PLAN).write_text(plan.replace('"T1"', '"T2"'))
    with pytest.raises(ConfigError, match=r"a run takes a.u.: T[12]"):
        ask(tmp_path, tmp_path / "set", further=(second,))


def test_confidence_lies_under_the_voxels_of_the_scan(tmp_path):
    trained(tmp_path)
    case = make_case(8, shape=(16, 18, 3))
    write_volume(
        tmp_path / "scans" / "mine.nii.gz", np.ascontiguousarray(case.volume.image[0, ::-1, ::-1]), LPS
    )
    ask(tmp_path, tmp_path / "scans", confidence=True)
    sure = read_nifti(tmp_path / "out" / "mine_confidence.nii.gz", as_stored=True)
    assert sure.grid.agrees_with(LPS)
    expected = load_model(tmp_path / "run", "cpu").probabilities(case.volume).max(axis=0)
    np.testing.assert_allclose(sure.array, expected[::-1, ::-1], atol=1e-5)
