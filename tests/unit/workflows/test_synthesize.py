"""``medaug synthesize`` writes a dataset folder that says where every lesion came from."""

from __future__ import annotations

import json
import re
from dataclasses import replace

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
    kept = plan[0].model_copy(update={"diameter_mm": (8.0, 8.2)})
    write_lines(options.out / "plan.jsonl", (kept,))
    assert sum(c.made for c in synthesize(options, NoProgress()).classes) == 1
    recipe = read_lines(options.out / "recipes.jsonl", Recipe)[0]
    assert 7.2 <= recipe.diameter_mm <= 9.0
    assert recipe.wanted_mm == (8.0, 8.2)


def test_an_edited_plan_cannot_leave_the_fold(options):
    synthesize(changed(options, dry_run=True), NoProgress())
    plan = read_lines(options.out / "plan.jsonl", PlannedLesion)
    write_lines(options.out / "plan.jsonl", (plan[0].model_copy(update={"host_case_id": "case_004"}),))
    with pytest.raises(SplitLeakageError, match=r"plan.jsonl line 1: host_case_id: patient_004"):
        synthesize(options, NoProgress())


def only_here(options, *, lesion, **how):
    """A plan of one line, drawn."""
    synthesize(changed(options, dry_run=True), NoProgress())
    plan = read_lines(options.out / "plan.jsonl", PlannedLesion)
    write_lines(options.out / "plan.jsonl", (plan[lesion].model_copy(update=how), plan[lesion + 1]))
    return synthesize(options, NoProgress())


def test_what_finds_no_place_is_refused_by_name(options):
    summary = only_here(options, lesion=0, site_mm=(2.0, 2.0, 8.0))
    assert [c.made for c in summary.classes] == [1]
    refused = [f for f in summary.findings if f.severity == "refused"]
    assert [(f.code, f.case_id) for f in refused] == [("no-place", "SYN_00001")]
    assert "in the planned host: a lesion of" in refused[0].message


def test_a_chosen_site_is_met(options):
    middle = (51.0, 42.0, 8.0)
    synthesize(changed(options, dry_run=True), NoProgress())
    line = read_lines(options.out / "plan.jsonl", PlannedLesion)[0]
    wanted = line.model_copy(
        update={"host_case_id": "case_002", "site_mm": middle, "diameter_mm": (8.0, 8.0)}
    )
    write_lines(options.out / "plan.jsonl", (wanted,))
    synthesize(options, NoProgress())
    recipe = read_lines(options.out / "recipes.jsonl", Recipe)[0]
    assert recipe.host_case_id == "case_002"
    np.testing.assert_allclose(recipe.site_mm, middle, atol=1.01)


def test_sizes_beyond_the_bank_are_clamped_or_refused(options):
    summary = synthesize(changed(options, per_class=("solid=2",), diameter_mm=(60.0, 61.0)), NoProgress())
    assert [f.code for f in summary.findings if f.severity == "flagged"] == ["size-clamped"]
    assert (
        "asked for at 60 to 61 mm; the bank knows 6.8 to 10.2 mm, so 10.2 mm is drawn"
        in summary.findings[0].message
    )
    assert all(r.diameter_mm < 11.3 for r in read_lines(options.out / "recipes.jsonl", Recipe))
    strict = changed(options, diameter_mm=(60.0, 61.0), strict=True, out=options.out.with_name("strict"))
    with pytest.raises(DataError, match="the bank knows") as caught:
        synthesize(strict, NoProgress())
    assert caught.value.code == "size-clamped"
    assert not strict.out.exists()


def test_lesions_larger_than_the_tissue_are_an_error_that_says_so(options, tmp_path):
    folder = tmp_path / "tight"
    records = []
    for n, names in enumerate((("solid",), ())):
        case = chest(n, names)
        image = case.volume.image.copy()
        if not names:  # lungs of a few voxels
            image[image < -700] = -1000.0
            image[0, 30:34, 30:34] = -820.0
        case = replace(case, volume=replace(case.volume, image=image))
        records.append(write_case(folder, case, CaseFacts(modality="CT", lesion_free=not names)))
    manifest = Manifest(name="tight", classes=CLASSES, cases=tuple(records))
    finish_dataset(folder, manifest, ())
    fold = Fold(index=0, train=manifest.patient_ids, held_out=("nobody",))
    Splits(seed=0, dataset_sha256=manifest.content_sha256, folds=(fold,)).write(folder / SPLITS)
    bank(BankOptions(dataset=folder, out=tmp_path / "tight_bank"), NoProgress())
    asked = changed(options, dataset=folder, bank=tmp_path / "tight_bank", per_class=("solid=1",))
    synthesize(changed(asked, dry_run=True), NoProgress())
    line = read_lines(options.out / "plan.jsonl", PlannedLesion)[0]
    write_lines(
        options.out / "plan.jsonl",
        (line.model_copy(update={"host_case_id": "case_001", "site_mm": (32, 32, 8)}),),
    )
    with pytest.raises(
        DataError,
        match=r"1 of 1 lesion found no place, first: SYN_00001: .* (larger than the tissue|in tissue that suits)",
    ):
        synthesize(asked, NoProgress())
    assert not (options.out / "manifest.json").exists()


def test_a_class_swap_keeps_outlines_and_says_so(options):
    synthesize(changed(options, per_class=("ground_glass=4",), swap_share=0.5), NoProgress())
    recipes = read_lines(options.out / "recipes.jsonl", Recipe)
    assert sorted(r.use for r in recipes) == ["new", "new", "swap", "swap"]
    made = read_manifest(options.out)
    for recipe in recipes:
        if recipe.use == "swap":
            case = load_case(options.out, made.case(recipe.case_id), CLASSES)
            host = load_case(
                options.dataset, read_manifest(options.dataset).case(recipe.host_case_id), CLASSES
            )
            new = labels_of(case) != labels_of(host)
            assert new.any()
            assert (labels_of(host)[new] == 1).all()
            assert (labels_of(case)[new] == 2).all()


def test_null_pastes_come_on_top_and_are_labelled_background(options):
    summary = synthesize(changed(options, per_class=("solid=3",), null_share=0.25), NoProgress())
    assert [(c.made, c.nulls) for c in summary.classes] == [(3, 1)]
    assert "3 of 3 lesions" in summary.lines()[1]
    assert "and 1 null paste" in summary.lines()[1]
    recipe = next(r for r in read_lines(options.out / "recipes.jsonl", Recipe) if r.use == "null")
    record = read_manifest(options.out).case(recipe.case_id)
    host = load_case(options.dataset, read_manifest(options.dataset).case(recipe.host_case_id), CLASSES)
    case = load_case(options.out, record, CLASSES)
    np.testing.assert_array_equal(labels_of(case), labels_of(host))
    assert (case.volume.image != host.volume.image).any()


def test_a_sweep_draws_one_lesion_in_several_sizes_at_one_place(options):
    wish = changed(options, per_class=("solid=1",), sweep="diameter_mm=7,8.5,10")
    synthesize(wish, NoProgress())
    recipes = read_lines(options.out / "recipes.jsonl", Recipe)
    assert [r.case_id for r in recipes] == ["SYN_00001_1", "SYN_00001_2", "SYN_00001_3"]
    assert {r.group for r in recipes} == {"SYN_00001"}
    assert len({(r.host_case_id, r.donor_patient_ids, r.seed) for r in recipes}) == 1
    sizes = [r.diameter_mm for r in recipes]
    np.testing.assert_allclose(sizes, (7.0, 8.5, 10.0), rtol=0.1)
    assert sizes == sorted(sizes)
    sites = np.array([r.site_mm for r in recipes])
    assert np.ptp(sites, axis=0).max() <= 2.0


def test_a_sweep_of_contrast_changes_nothing_else(options):
    synthesize(changed(options, per_class=("solid=1",), sweep="contrast=0.25,1"), NoProgress())
    made = read_manifest(options.out)
    faint, full = (load_case(options.out, record, CLASSES) for record in made.cases)
    np.testing.assert_array_equal(labels_of(faint), labels_of(full))
    host_id = read_lines(options.out / "recipes.jsonl", Recipe)[0].host_case_id
    host = load_case(options.dataset, read_manifest(options.dataset).case(host_id), CLASSES)
    lesion = labels_of(full) != labels_of(host)
    levels = [case.volume.image[0][lesion].mean() + 820.0 for case in (faint, full)]
    assert levels[0] / levels[1] == pytest.approx(0.25, abs=0.12)


def test_balance_fills_up_the_rare_class(options):
    summary = synthesize(changed(options, per_class=(), balance="equal", total=3), NoProgress())
    assert sum(c.made for c in summary.classes) == 3
    with pytest.raises(ConfigError, match="balanced already"):  # two lesions of each class train
        synthesize(
            changed(options, per_class=(), balance="equal", out=options.out.with_name("b")), NoProgress()
        )


def test_a_plan_of_ones_own_is_drawn(options, tmp_path):
    synthesize(changed(options, dry_run=True), NoProgress())
    lines = (options.out / "plan.jsonl").read_text().splitlines()
    mine = tmp_path / "mine.jsonl"
    mine.write_text("\n".join((lines[0], "", lines[6])))
    asked = changed(options, per_class=(), plan=mine, out=tmp_path / "drawn")
    summary = synthesize(asked, NoProgress())
    assert [(c.class_name, c.made) for c in summary.classes] == [("solid", 1), ("ground_glass", 1)]
    assert synthesize(asked, NoProgress()) == summary
    mine.write_text(lines[1])
    with pytest.raises(ConfigError, match=r"other inputs \(plan\)"):
        synthesize(asked, NoProgress())


def test_an_edited_plan_is_drawn_anew_where_it_changed(options):
    with pytest.raises(InterruptedRunError):
        synthesize(options, StopsAfter(3))
    done = {path.stem for path in (options.out / "written").iterdir()}
    plan = read_lines(options.out / "plan.jsonl", PlannedLesion)
    first = next(lesion for lesion in plan if lesion.case_id in done)
    edited = first.model_copy(update={"seed": 5})
    dropped = next(lesion for lesion in plan if lesion.case_id in done - {first.case_id})
    kept = [edited if p is first else p for p in plan if p is not dropped]
    write_lines(options.out / "plan.jsonl", tuple(kept))
    summary = synthesize(options, NoProgress())
    assert sum(c.made for c in summary.classes) == 6
    recipes = {r.case_id: r for r in read_lines(options.out / "recipes.jsonl", Recipe)}
    assert recipes[first.case_id].seed == 5
    assert dropped.case_id not in recipes
    assert not list(options.out.rglob(f"{dropped.case_id}*"))


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        ({"class_name": "cyst"}, "line 2: class_name: no class is called 'cyst'"),
        ({"host_case_id": "case_009"}, "line 2: host_case_id: the dataset has no case case_009"),
        ({"diameter_mm": [12, 4]}, "line 2: diameter_mm: 12 to 4 is no range of diameters"),
        ({"case_id": "SYN_00001"}, "line 2: case_id: line 1 has SYN_00001 already"),
        ({"case_id": "../x"}, "line 2: case_id"),
        ({"use": "paste"}, "line 2: use"),
        ({"contrast": -1}, "line 2: contrast"),
        ({"site_mm": [1, 2]}, "line 2: site_mm"),
        ({"use": "swap", "host_case_id": "case_001"}, "line 2: use: case_001 has no lesion of another class"),
        ({"diametre_mm": [4, 5]}, "line 2: unknown key diametre_mm, did you mean diameter_mm"),
        ("{", "line 2"),
    ],
)
def test_a_broken_line_is_named_by_number_and_key(options, edit, words):
    synthesize(changed(options, dry_run=True), NoProgress())
    path = options.out / "plan.jsonl"
    lines = path.read_text().splitlines()
    lines[1] = edit if isinstance(edit, str) else json.dumps(json.loads(lines[1]) | edit)
    path.write_text("\n".join(lines))
    with pytest.raises((ConfigError, DataError), match=re.escape(words)):
        synthesize(options, NoProgress())


def test_a_dry_run_says_what_to_expect(options):
    summary = synthesize(changed(options, dry_run=True, diameter_mm=(8.0, 10.0)), NoProgress())
    text = "\n".join(summary.lines())
    assert "ground_glass: 5 lesions planned, 8.0 to 10.0 mm" in text
    assert "4 hosts of 4 patients, about" in text
    made = synthesize(changed(options, diameter_mm=(8.0, 10.0)), NoProgress())
    on_disk = sum(path.stat().st_size for path in options.out.rglob("*") if path.is_file())
    assert made.disk_bytes == summary.disk_bytes
    assert 0.5 < summary.disk_bytes / on_disk < 2.0


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


def test_shapes_that_few_lesions_cannot_teach_give_way_and_say_so(options):
    summary = synthesize(changed(options, shapes="pca", per_class=("ground_glass=1",)), NoProgress())
    (said,) = [f for f in summary.findings if f.code == "shapes-simpler"]
    assert "bank masks" in said.message
    (recipe,) = read_lines(options.out / "recipes.jsonl", Recipe)
    assert recipe.shapes == "bank"


def test_bad_calls_are_refused(options, tmp_path):
    with pytest.raises(ConfigError, match="did you mean ground_glass"):
        synthesize(changed(options, per_class=("ground_glas=1",)), NoProgress())
    for wrong, words in (
        ({"balance": "equal"}, "--per-class and --balance are given"),
        ({"per_class": ()}, "one of --per-class, --balance, --plan"),
        ({"total": 5}, "--total: goes with --balance"),
        ({"sweep": "size=1,2"}, "--sweep: cannot read 'size=1,2'"),
        ({"sweep": "contrast=1"}, "two or more values"),
        ({"sweep": "diameter_mm=8,9", "swap_share": 0.5}, "--swap-share"),
        ({"sweep": "contrast=1,2", "null_share": 0.5}, "--null-share"),
        ({"per_class": (), "plan": tmp_path / "p", "null_share": 0.5}, "the plan says it"),
    ):
        with pytest.raises(ConfigError, match=words):
            synthesize(changed(options, **wrong), NoProgress())
    with pytest.raises(DataError, match="cannot be read"):
        synthesize(changed(options, per_class=(), plan=tmp_path / "none.jsonl"), NoProgress())
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
    assert "host-changed" in {f.code for f in summary.findings if f.severity == "fixed"}
    assert sum(made.made for made in summary.classes) == 7
    assert host not in {recipe.host_case_id for recipe in read_lines(options.out / "recipes.jsonl", Recipe)}
    with pytest.raises(DataError, match=f"1 refusal under --strict, first: {host}: host left out"):
        synthesize(changed(options, out=options.out.with_name("strict"), strict=True), NoProgress())
