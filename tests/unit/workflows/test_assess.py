"""medaug assess from dataset folders to verdicts, and everything it refuses."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from medaug.core.assessment import AuditReport, QualityReport
from medaug.core.case import RECIPES, SPLITS, Case, Manifest, Origin, read_manifest
from medaug.core.errors import ConfigError, DataError, LabelError, SplitLeakageError, UnreadableError
from medaug.core.plan import Recipe, read_lines, write_lines
from medaug.core.runs import NoProgress
from medaug.core.splits import Fold, Splits
from medaug.core.volume import LabelMap, Unit, Volume
from medaug.io.dataset import CaseFacts, finish_dataset, write_case
from medaug.workflows.assess import AssessOptions, assess
from tests.small_cases import labels_of
from tests.unit.quality.textured import CLASSES, textured

TRAIN, HELD_OUT = range(24), range(100, 122)
HASH = "0" * 64


def write_set(
    folder: Path,
    cases: Sequence[Case],
    recipes: Sequence[Recipe] = (),
    edits: Mapping[str, np.ndarray] | None = None,
) -> Manifest:
    records = tuple(
        write_case(folder, case, CaseFacts("CT"), (edits or {}).get(case.case_id)) for case in cases
    )
    manifest = Manifest(name=folder.name, classes=CLASSES, cases=records)
    finish_dataset(folder, manifest, (), recipes)
    return manifest


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real") / "real"
    cases = [textured(n) for n in (*TRAIN, *HELD_OUT)]
    manifest = write_set(folder, cases)
    train, held_out = (tuple(f"patient_{n:04d}" for n in part) for part in (TRAIN, HELD_OUT))
    folds = (
        Fold(index=0, train=train, held_out=held_out),
        Fold(index=1, train=held_out, held_out=train),
    )
    Splits(seed=0, dataset_sha256=manifest.content_sha256, folds=folds).write(folder / SPLITS)
    return folder


def recipe_for(case: Case, host: Case, edit_path: str, scope: str, **how: Any) -> Recipe:
    facts = {
        "case_id": case.case_id, "host_case_id": host.case_id, "host_patient_id": host.patient_id,
        "donor_patient_ids": (host.patient_id,), "generator": "copy_paste", "generator_sha256": HASH,
        "bank_sha256": HASH, "fold": 0, "training_scope_sha256": scope, "class_name": "solid",
        "site_mm": (0.0, 0.0, 0.0), "diameter_mm": 8.0, "seed": 1, "edit_mask": edit_path,
    }  # fmt: skip
    return Recipe(**(facts | how))


def in_context(number, host_number, texture):
    """A host whose lesion's voxels are drawn anew; with its edit mask."""
    host = textured(host_number)
    edit = ndimage.binary_dilation(labels_of(host) > 0, np.ones((3, 3, 1), bool))
    image = host.volume.image.copy()
    image[:, edit] = texture[:, edit]
    volume = Volume(image, host.volume.grid, host.volume.unit, host.volume.channels)
    made = replace(host, case_id=f"SYN_{number:03d}", volume=volume, origin=Origin.SYNTHETIC)
    return made, host, edit


def scope_of(real):
    return Splits.read(real / SPLITS).fold(0).scope_sha256


def make_in_context(real: Path, folder: Path, *, copies: bool, count: int = 10, **how: Any) -> Path:
    cases: list[Case] = []
    recipes: list[Recipe] = []
    edits: dict[str, np.ndarray] = {}
    for number in range(count):
        donor = textured(number if copies else 500 + number)
        made, host, edit = in_context(number, number, donor.volume.image)
        if not copies:
            labels = np.where(labels_of(donor) > 0, 1, 0) * edit
            made = replace(made, label_map=LabelMap(labels.astype(np.uint8), host.volume.grid, CLASSES))
        cases.append(made)
        edits[made.case_id] = edit
        recipes.append(recipe_for(made, host, f"edits/{made.case_id}.nii.gz", scope_of(real), **how))
    write_set(folder, cases, recipes, edits)
    return folder


def run(synthetic, real, out, **how):
    return assess(AssessOptions(synthetic=synthetic, against=real, out=out, **how), NoProgress())


def test_copies_fail_on_both_parts_and_the_same_call_is_skipped(real, tmp_path):
    made = make_in_context(real, tmp_path / "syn", copies=True)
    summary = run(made, real, tmp_path / "out")
    audit, quality = (
        AuditReport.read(tmp_path / "out/audit.json"),
        QualityReport.read(tmp_path / "out/quality.json"),
    )
    assert (audit.verdict.lesion, audit.verdict.background) == ("fail", "fail")
    lesions = [f for f in audit.flagged if f.part == "lesion"]
    assert {f.case_id for f in lesions} == {f"SYN_{n:03d}" for n in range(10)}
    assert all(f.source_case_id == f"case_{int(f.case_id[4:]):04d}" for f in audit.flagged)
    backgrounds = [f for f in audit.flagged if f.part == "background"]
    assert [f.score for f in backgrounds] == [1.0] * 10
    assert audit.synthetic_sha256 == quality.synthetic_sha256 == read_manifest(made).content_sha256
    assert (audit.n_training, audit.n_held_out, audit.n_synthetic) == (24, 22, 10)
    assert [c.n_synthetic for c in quality.classes] == [10, 0]
    assert (tmp_path / "out/closest_pairs.png").stat().st_size > 10_000
    before = (tmp_path / "out/audit.json").stat().st_mtime_ns
    assert run(made, real, tmp_path / "out") == summary
    assert (tmp_path / "out/audit.json").stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match="another seed"):
        run(made, real, tmp_path / "out", seed=4)
    assert any("copying: lesions fail, background fail" in line for line in summary.lines())


def test_new_textures_in_old_hosts_pass_as_lesions_and_fail_as_backgrounds(real, tmp_path):
    summary = run(make_in_context(real, tmp_path / "syn", copies=False), real, tmp_path / "out")
    assert (summary.lesion, summary.background) == ("pass", "fail")
    assert "in-context synthesis" in " ".join(summary.reasons)
    again = run(tmp_path / "syn", real, tmp_path / "again")
    assert again.classes == summary.classes
    assert (tmp_path / "again/audit.json").read_text() == (tmp_path / "out/audit.json").read_text()


def test_set_of_another_tool_needs_no_recipes(real, tmp_path):
    made = [replace(textured(800 + n), case_id=f"other_{n}", origin=Origin.SYNTHETIC) for n in range(6)]
    copied = replace(textured(3), case_id="other_copy", origin=Origin.SYNTHETIC)
    write_set(tmp_path / "syn", [*made, copied])
    run(tmp_path / "syn", real, tmp_path / "out")
    flagged = AuditReport.read(tmp_path / "out/audit.json").flagged
    assert {(f.case_id, f.source_case_id, f.part) for f in flagged} == {
        ("other_copy", "case_0003", "lesion"),
        ("other_copy", "case_0003", "background"),
    }


def refused(real, tmp_path, cases, kind, words, fold=0):
    write_set(tmp_path / "syn", cases)
    with pytest.raises(kind, match=words):
        run(tmp_path / "syn", real, tmp_path / "out", fold=fold)


def synthetic(case):
    return replace(case, origin=Origin.SYNTHETIC)


def test_real_cases_are_refused(real, tmp_path):
    refused(real, tmp_path, [textured(900)], DataError, "case is real")


def test_other_channels_are_refused(real, tmp_path):
    refused(
        real, tmp_path, [synthetic(textured(900, channels=2))], DataError, "ch0,ch1 in HU; expected ch0 in HU"
    )


def test_other_unit_is_refused(real, tmp_path):
    case = textured(900)
    volume = Volume(case.volume.image, case.volume.grid, Unit.ARBITRARY, case.volume.channels)
    refused(
        real, tmp_path, [synthetic(replace(case, volume=volume))], DataError, "ch0 in a.u; expected ch0 in HU"
    )


def test_set_without_a_lesion_is_refused(real, tmp_path):
    case = textured(900)
    empty = LabelMap(np.zeros(case.volume.grid.shape, np.uint8), case.volume.grid, CLASSES)
    refused(
        real, tmp_path, [synthetic(replace(case, label_map=empty))], DataError, "holds no labelled lesion"
    )


def test_unknown_class_is_refused(real, tmp_path):
    case = synthetic(textured(900))
    other = LabelMap(case.label_map.labels, case.volume.grid, ("wart", "ground_glass"))
    record = write_case(tmp_path / "syn", replace(case, label_map=other), CaseFacts("CT"))
    manifest = Manifest(name="syn", classes=("wart", "ground_glass"), cases=(record,))
    finish_dataset(tmp_path / "syn", manifest, ())
    with pytest.raises(LabelError, match="class wart is not in the dataset"):
        run(tmp_path / "syn", real, tmp_path / "out")


def test_empty_set_is_refused(real, tmp_path):
    Manifest(name="syn", classes=CLASSES, cases=()).write(tmp_path / "syn/manifest.json")
    with pytest.raises(DataError, match="synthetic set syn is empty"):
        run(tmp_path / "syn", real, tmp_path / "out")


def test_voxels_that_are_not_finite_are_refused(real, tmp_path):
    case = synthetic(textured(900))
    case.volume.image[0, 3, 3, 3] = np.inf
    refused(real, tmp_path, [case], DataError, "not finite")


def test_missing_fold_is_refused(real, tmp_path):
    refused(real, tmp_path, [synthetic(textured(900))], ConfigError, "there is no fold 7", fold=7)


def test_changed_file_is_refused(real, tmp_path):
    made = make_in_context(real, tmp_path / "syn", copies=False, count=2)
    image = made / "imagesTr/SYN_000_0000.nii.gz"
    image.write_bytes((made / "imagesTr/SYN_001_0000.nii.gz").read_bytes())
    with pytest.raises(UnreadableError, match="not the file the manifest describes"):
        run(made, real, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"fold": 1}, SplitLeakageError, "recipe is of fold 1"),
        ({"training_scope_sha256": "1" * 64}, SplitLeakageError, "not those of fold 0"),
        ({"host_patient_id": "patient_0009"}, DataError, "contradicts the files: host patient"),
        ({"host_case_id": "case_7777"}, DataError, "case_7777: no such case"),
        ({"donor_patient_ids": ("patient_0101",)}, SplitLeakageError, "not in the training part"),
        ({"edit_mask": "edits/other.nii.gz"}, DataError, "contradicts the files: edit mask"),
        ({"class_name": "ground_glass"}, DataError, "contradicts the files: class"),
    ],
)
def test_recipes_that_do_not_fit_are_refused(real, tmp_path, change, kind, words):
    made = make_in_context(real, tmp_path / "syn", copies=False, count=2)
    first, second = read_lines(made / RECIPES, Recipe)
    write_lines(made / RECIPES, (first, second.model_copy(update=change)))
    with pytest.raises(kind, match=words):
        run(made, real, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_recipe_is_refused(real, tmp_path):
    made = make_in_context(real, tmp_path / "syn", copies=False, count=2)
    write_lines(made / RECIPES, read_lines(made / RECIPES, Recipe)[:1])
    with pytest.raises(DataError, match=r"SYN_001: recipes\.jsonl contradicts the manifest"):
        run(made, real, tmp_path / "out")


def test_set_made_from_another_dataset_is_refused(real, tmp_path):
    made = make_in_context(real, tmp_path / "syn", copies=False, count=2)
    record = {
        "schema_version": 1,
        "step": "synthesize",
        "status": "done",
        "config": {},
        "inputs": {"dataset": HASH},
    }
    (made / "run.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match="made from another dataset"):
        run(made, real, tmp_path / "out")


def test_edit_mask_without_a_lesion_is_refused(real, tmp_path):
    made, host, edit = in_context(0, 0, textured(500).volume.image)
    elsewhere = np.zeros_like(edit)
    elsewhere[:2, :2] = True
    recipe = recipe_for(made, host, "edits/SYN_000.nii.gz", scope_of(real))
    write_set(tmp_path / "syn", [made], [recipe], {"SYN_000": elsewhere})
    with pytest.raises(DataError, match="SYN_000: no labelled lesion lies in the edit mask"):
        run(tmp_path / "syn", real, tmp_path / "out")
