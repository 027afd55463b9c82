"""``medaug synthesize`` writes a dataset folder that says where every lesion came from."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medaug.core.case import SPLITS, Manifest, Origin, read_manifest
from medaug.core.errors import ConfigError, DataError, InterruptedRunError, SplitLeakageError
from medaug.core.plan import PlannedLesion, Recipe, read_lines, write_lines
from medaug.core.runs import NoProgress
from medaug.core.splits import Fold, Splits, read_splits
from medaug.core.storage import sha256_file
from medaug.io.dataset import CaseFacts, finish_dataset, load_case, load_edit_mask, write_case
from medaug.workflows.bank import BankOptions, bank
from medaug.workflows.synthesize import SynthesizeOptions, synthesize
from tests.small_cases import CLASSES, chest, labels_of

LESIONS = (("solid",), ("ground_glass",), (), ("solid", "ground_glass"), ("solid",))


@pytest.fixture
def options(tmp_path):
    folder = tmp_path / "set"
    records = [
        write_case(
            folder,
            chest(n, names),
            CaseFacts(modality="CT", lesion_free=not names, licence="CC-BY-4.0", terms="cite us"),
        )
        for n, names in enumerate(LESIONS)
    ]
    manifest = Manifest(name="small", classes=CLASSES, cases=tuple(records))
    finish_dataset(folder, manifest, ())
    patients = manifest.patient_ids
    folds = (
        Fold(index=0, train=patients[:4], held_out=patients[4:]),
        Fold(index=1, train=patients[1:], held_out=patients[:1]),
    )
    Splits(seed=0, dataset_sha256=manifest.content_sha256, folds=folds).write(folder / SPLITS)
    bank(BankOptions(dataset=folder, out=tmp_path / "bank"), NoProgress())
    return SynthesizeOptions(
        dataset=folder,
        bank=tmp_path / "bank",
        generator="copy_paste",
        per_class=("ground_glass=5", "solid=2"),
        out=tmp_path / "syn",
    )


def changed(options, **how):
    return options.model_copy(update=how)


class StopsAfter:
    """Progress that interrupts the run, as Ctrl-C does."""

    def __init__(self, units):
        self.left = units

    def start(self, label, total):
        pass

    def advance(self, units=1, note=""):
        self.left -= units
        if self.left <= 0:
            raise InterruptedRunError("stopped")

    def say(self, line):
        pass


def test_set_is_a_dataset_of_labelled_synthetic_cases(options):
    summary = synthesize(options, NoProgress())
    assert [(c.class_name, c.wanted, c.made) for c in summary.classes] == [
        ("solid", 2, 2),
        ("ground_glass", 5, 5),
    ]
    made, real = read_manifest(options.out), read_manifest(options.dataset)
    recipes = {r.case_id: r for r in read_lines(options.out / "recipes.jsonl", Recipe)}
    assert len(made.cases) == len(recipes) == 7
    assert json.loads((options.out / "dataset.json").read_text())["numTraining"] == 7
    for record in made.cases:
        recipe = recipes[record.case_id]
        host_record = real.case(recipe.host_case_id)
        host, case = load_case(options.dataset, host_record, CLASSES), load_case(options.out, record, CLASSES)
        edited = load_edit_mask(options.out, record)
        assert record.origin is Origin.SYNTHETIC
        assert (record.patient_id, record.licence, record.terms) == (host.patient_id, "CC-BY-4.0", "cite us")
        assert case.volume.image[:, ~edited].tobytes() == host.volume.image[:, ~edited].tobytes()
        assert case.volume.grid.agrees_with(host.volume.grid)
        new = labels_of(case) != labels_of(host)
        assert (labels_of(case)[new] == CLASSES.index(recipe.class_name) + 1).all()
        assert (labels_of(host)[new] == 0).all()
        assert new.any()
        assert record.edit_mask is not None
        assert recipe.edit_mask == record.edit_mask.path
        assert "patient_004" not in {recipe.host_patient_id, *recipe.donor_patient_ids}
    assert not (options.out / "written").exists()


def test_the_same_call_is_skipped_and_another_refused(options):
    first = synthesize(options, NoProgress())
    before = sha256_file(options.out / "manifest.json"), (options.out / "manifest.json").stat().st_mtime_ns
    assert synthesize(options, NoProgress()) == first
    after = sha256_file(options.out / "manifest.json"), (options.out / "manifest.json").stat().st_mtime_ns
    assert before == after
    with pytest.raises(ConfigError, match="another seed"):
        synthesize(changed(options, seed=1), NoProgress())


def test_an_interrupted_run_resumes_to_the_same_set(options, tmp_path):
    whole = changed(options, out=tmp_path / "whole")
    synthesize(whole, NoProgress())
    with pytest.raises(InterruptedRunError):
        synthesize(options, StopsAfter(3))
    kept = sorted((options.out / "written").iterdir())
    assert 0 < len(kept) < 7
    assert not (options.out / "manifest.json").exists()
    before = [path.stat().st_mtime_ns for path in kept]
    with pytest.raises(InterruptedRunError):
        synthesize(options, StopsAfter(len(kept) + 1))
    assert [path.stat().st_mtime_ns for path in kept] == before
    synthesize(options, NoProgress())
    assert sha256_file(options.out / "manifest.json") == sha256_file(whole.out / "manifest.json")
    assert sha256_file(options.out / "recipes.jsonl") == sha256_file(whole.out / "recipes.jsonl")


def test_a_dry_run_writes_a_plan_that_can_be_edited(options):
    summary = synthesize(changed(options, dry_run=True), NoProgress())
    assert summary.planned_only
    assert not (options.out / "manifest.json").exists()
    plan = read_lines(options.out / "plan.jsonl", PlannedLesion)
    assert len(plan) == 7
    kept = plan[0].model_copy(update={"diameter_mm": (5.0, 5.5)})
    write_lines(options.out / "plan.jsonl", (kept,))
    assert sum(c.made for c in synthesize(options, NoProgress()).classes) == 1
    recipe = read_lines(options.out / "recipes.jsonl", Recipe)[0]
    assert 4.5 <= recipe.diameter_mm <= 6.05


def test_an_edited_plan_cannot_leave_the_fold(options):
    synthesize(changed(options, dry_run=True), NoProgress())
    plan = read_lines(options.out / "plan.jsonl", PlannedLesion)
    write_lines(options.out / "plan.jsonl", (plan[0].model_copy(update={"host_case_id": "case_004"}),))
    with pytest.raises(SplitLeakageError, match="patient_004"):
        synthesize(options, NoProgress())


def test_what_finds_no_place_is_refused_by_name(options):
    plan = changed(options, dry_run=True)
    synthesize(plan, NoProgress())
    lesions = read_lines(options.out / "plan.jsonl", PlannedLesion)
    huge = lesions[0].model_copy(update={"diameter_mm": (60.0, 61.0)})
    write_lines(options.out / "plan.jsonl", (huge, lesions[1]))
    summary = synthesize(options, NoProgress())
    assert [c.made for c in summary.classes] == [1]
    refused = [f for f in summary.findings if f.severity == "refused"]
    assert [f.case_id for f in refused] == [huge.case_id]
    assert "in 9 hosts" in refused[0].message


def test_nothing_placed_is_an_error(options):
    with pytest.raises(DataError, match="7 of 7 lesions found no place"):
        synthesize(changed(options, diameter_mm=(60.0, 61.0)), NoProgress())
    assert not (options.out / "manifest.json").exists()


def test_one_donor_works_and_is_flagged(options, tmp_path):
    fold = read_splits(options.dataset, read_manifest(options.dataset)).folds[0]
    few = Fold(index=0, train=("patient_001", "patient_002", "patient_004"), held_out=("patient_000",))
    splits = Splits(seed=0, dataset_sha256=read_manifest(options.dataset).content_sha256, folds=(few,))
    assert fold != few
    splits.write(options.dataset / SPLITS)
    bank(BankOptions(dataset=options.dataset, out=tmp_path / "few"), NoProgress())
    summary = synthesize(changed(options, bank=tmp_path / "few", per_class=("ground_glass=3",)), NoProgress())
    assert summary.classes[0].made == 3
    assert [f.code for f in summary.findings if f.severity == "flagged"] == ["one-donor"]


def test_bad_calls_are_refused(options, tmp_path):
    with pytest.raises(ConfigError, match="did you mean ground_glass"):
        synthesize(changed(options, per_class=("ground_glas=1",)), NoProgress())
    with pytest.raises(ConfigError, match="--diameter-mm"):
        synthesize(changed(options, diameter_mm=(5.0, 2.0)), NoProgress())
    with pytest.raises(SplitLeakageError, match="bank holds 1 patients"):
        synthesize(changed(options, fold=1), NoProgress())
    with pytest.raises(DataError, match="no finished bank"):
        synthesize(changed(options, bank=tmp_path), NoProgress())
    assert not options.out.exists()


def test_sizes_follow_the_wish(options):
    synthesize(changed(options, per_class=("solid=4",), diameter_mm=(7.0, 8.0)), NoProgress())
    sizes = [r.diameter_mm for r in read_lines(options.out / "recipes.jsonl", Recipe)]
    assert len(sizes) == 4
    assert np.all((np.array(sizes) > 6.3) & (np.array(sizes) < 8.8))


def test_a_damaged_host_is_refused_by_name_and_another_takes_its_lesions(options):
    planned = synthesize(changed(options, dry_run=True), NoProgress())
    assert planned.planned_only
    host = read_lines(options.out / "plan.jsonl", PlannedLesion)[0].host_case_id
    (options.dataset / "imagesTr" / f"{host}_0000.nii.gz").write_bytes(b"junk")
    summary = synthesize(options, NoProgress())
    assert [(f.code, f.case_id) for f in summary.findings if f.severity == "refused"] == [
        ("host-unreadable", host)
    ]
    assert sum(made.made for made in summary.classes) == 7
    assert host not in {recipe.host_case_id for recipe in read_lines(options.out / "recipes.jsonl", Recipe)}
    with pytest.raises(DataError, match=f"1 refusal under --strict, first: {host}: host left out"):
        synthesize(changed(options, out=options.out.with_name("strict"), strict=True), NoProgress())
