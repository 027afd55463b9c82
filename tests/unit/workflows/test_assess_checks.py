"""What medaug assess refuses before it reads an image, and which patients it holds out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from medaug.core.case import RECIPES, SPLITS, TRANSLATIONS, Case, Manifest, Origin, read_manifest
from medaug.core.errors import ConfigError, DataError, GeometryError, LabelError, SplitLeakageError
from medaug.core.geometry import Grid
from medaug.core.plan import Recipe, Translation, read_lines, write_lines
from medaug.core.volume import LabelMap, Unit, Volume
from medaug.io.dataset import CaseFacts, finish_dataset, write_case
from medaug.workflows._assess.checks import open_job
from medaug.workflows._assess.job import AssessOptions, Job
from tests.small_cases import labels_of
from tests.unit.quality.textured import CLASSES, textured
from tests.unit.workflows.assessable import HASH, make_in_context, make_real, scope_of, write_set


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_real(tmp_path_factory.mktemp("real") / "real", range(3), range(100, 102))


def opened(synthetic: Path, real: Path, **how: Any) -> Job:
    return open_job(AssessOptions(synthetic=synthetic, against=real, out=synthetic.parent / "out", **how))


def synthetic(number: int = 900, **how: Any) -> Case:
    return replace(textured(number, **how), origin=Origin.SYNTHETIC)


def spaced(step_mm: tuple[float, float, float], *, known: bool = True) -> Case:
    case = synthetic()
    volume = Volume(
        case.volume.image,
        Grid(case.volume.grid.shape, np.diag([*step_mm, 1.0])),
        Unit.HU,
        case.volume.channels,
        spacing_known=known,
    )
    labels = LabelMap(labels_of(case), volume.grid, CLASSES)
    return replace(case, volume=volume, label_map=labels)


def refused(real, tmp_path, case, kind, words):
    write_set(tmp_path / "syn", [case])
    with pytest.raises(kind, match=words) as caught:
        opened(tmp_path / "syn", real)
    assert "\n" not in caught.value.line()


def test_real_cases_are_refused(real, tmp_path):
    refused(real, tmp_path, textured(900), DataError, "case is real.*--origin synthetic")


def test_other_channels_are_refused(real, tmp_path):
    refused(real, tmp_path, synthetic(channels=2), DataError, "ch0,ch1 in HU; expected ch0 in HU")


def test_other_unit_is_refused(real, tmp_path):
    case = synthetic()
    volume = Volume(case.volume.image, case.volume.grid, Unit.ARBITRARY, case.volume.channels)
    refused(real, tmp_path, replace(case, volume=volume), DataError, "ch0 in a.u; expected ch0 in HU")


def test_other_spacing_is_refused(real, tmp_path):
    words = r"case_0900: voxels are 0\.8 x 1\.6 x 2 mm; expected 0\.8 to 0\.8 mm along J, as in the training scans"
    refused(real, tmp_path, spaced((0.8, 1.6, 2.0)), GeometryError, words)


def test_other_slice_thickness_is_refused(real, tmp_path):
    refused(real, tmp_path, spaced((0.8, 0.8, 5.0)), GeometryError, "2 to 2 mm along K")


def test_spacing_that_nobody_knows_is_refused(real, tmp_path):
    refused(real, tmp_path, spaced((0.8, 0.8, 2.0), known=False), GeometryError, "spacing is not known")


def test_spacing_that_is_about_the_same_is_taken(real, tmp_path):
    write_set(tmp_path / "syn", [spaced((0.9, 0.7, 2.3))])
    assert opened(tmp_path / "syn", real).recipes == {}


def test_a_single_slice_has_no_thickness(real, tmp_path):
    flat = synthetic(slices=1)
    volume = Volume(
        flat.volume.image, Grid((36, 34, 1), np.diag([0.8, 0.8, 9.0, 1.0])), Unit.HU, flat.volume.channels
    )
    labels = LabelMap(labels_of(flat), volume.grid, CLASSES)
    write_set(tmp_path / "syn", [replace(flat, volume=volume, label_map=labels)])
    assert len(opened(tmp_path / "syn", real).made.cases) == 1


@pytest.mark.parametrize("inside", ["", "a", "a/b", "../syn/a"])
def test_an_output_in_what_is_read_is_refused(real, tmp_path, inside):
    write_set(tmp_path / "syn", [synthetic()])
    for out, what in (
        (tmp_path / "syn" / inside, "set"),
        (real / inside.replace("syn", real.name), "dataset"),
    ):
        with pytest.raises(ConfigError, match=f"--out: lies in the {what}"):
            open_job(AssessOptions(synthetic=tmp_path / "syn", against=real, out=out))


def test_unknown_class_is_refused(real, tmp_path):
    case = synthetic()
    other = LabelMap(labels_of(case), case.volume.grid, ("wart", "ground_glass"))
    record = write_case(tmp_path / "syn", replace(case, label_map=other), CaseFacts("CT"))
    manifest = Manifest(name="syn", classes=("wart", "ground_glass"), cases=(record,))
    finish_dataset(tmp_path / "syn", manifest, ())
    with pytest.raises(LabelError, match="class wart is not in the dataset"):
        opened(tmp_path / "syn", real)


def test_empty_sets_are_refused(real, tmp_path):
    Manifest(name="syn", classes=CLASSES, cases=()).write(tmp_path / "syn/manifest.json")
    with pytest.raises(DataError, match="synthetic set syn is empty"):
        opened(tmp_path / "syn", real)
    write_set(tmp_path / "made", [synthetic()])
    with pytest.raises(DataError, match="dataset syn is empty"):
        opened(tmp_path / "made", tmp_path / "syn")


def test_missing_fold_and_files_are_refused(real, tmp_path):
    write_set(tmp_path / "syn", [synthetic()])
    for how, words in (
        ({"fold": 7}, "there is no fold 7"),
        ({"extractor": tmp_path / "no.pt"}, r"--extractor: there is no .*no\.pt"),
        ({"segmenter": tmp_path / "none"}, "--segmenter: there is no .*none"),
        ({"parts": ()}, "--parts: nothing to measure"),
    ):
        with pytest.raises(ConfigError, match=words):
            opened(tmp_path / "syn", real, **how)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"fold": 1}, SplitLeakageError, "recipe is of fold 1"),
        ({"training_scope_sha256": "1" * 64}, SplitLeakageError, "not those of fold 0"),
        ({"host_patient_id": "patient_0009"}, DataError, "patient_0009|contradicts the files: host patient"),
        ({"host_patient_id": "patient_0002"}, DataError, "contradicts the files: host patient"),
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
        opened(made, real)
    assert not (tmp_path / "out").exists()


def test_null_pastes_need_no_lesion(real, tmp_path):
    made = make_in_context(real, tmp_path / "syn", copies=False, count=2)
    rows = [
        row.model_copy(update={"use": "null", "class_name": "ground_glass"})
        for row in read_lines(made / RECIPES, Recipe)
    ]
    write_lines(made / RECIPES, tuple(rows))
    assert opened(made, real).is_null("SYN_001")


def test_missing_recipe_is_refused(real, tmp_path):
    made = make_in_context(real, tmp_path / "syn", copies=False, count=2)
    write_lines(made / RECIPES, read_lines(made / RECIPES, Recipe)[:1])
    with pytest.raises(
        DataError, match=r"SYN_001: recipes\.jsonl contradicts the manifest: 1 cases do not have one recipe"
    ):
        opened(made, real)


def test_set_made_from_another_dataset_or_fold_is_refused(real, tmp_path):
    made = make_in_context(real, tmp_path / "syn", copies=False, count=2)
    record = {"schema_version": 1, "step": "synthesize", "status": "done", "config": {}}
    for inputs, kind, words in (
        ({"dataset": HASH}, DataError, "made from another dataset"),
        ({"training_scope": HASH}, SplitLeakageError, "made for another fold than 0"),
    ):
        (made / "run.json").write_text(json.dumps(record | {"inputs": inputs}))
        with pytest.raises(kind, match=words):
            opened(made, real)


def translated(real: Path, folder: Path, **change: Any) -> Path:
    """Two whole cases: a finer copy of case_0000, and one that is nobody's."""
    finer = spaced((0.8, 0.8, 0.5))
    cases = [
        replace(finer, case_id="finer", patient_id="patient_0000"),
        replace(synthetic(901), case_id="whole"),
    ]
    write_set(folder, cases)
    facts = {"source_sha256": (), "translator": "super_resolution", "translator_sha256": HASH, "fold": 0,
             "training_scope_sha256": scope_of(real), "class_name": None, "seed": 1}  # fmt: skip
    first = {"case_id": "finer", "source_case_id": "case_0000", "donor_patient_ids": ("patient_0000",)}
    second = {"case_id": "whole", "source_case_id": None, "donor_patient_ids": ("patient_0001",)}
    rows = [facts | first | change, facts | second]
    write_lines(folder / TRANSLATIONS, tuple(Translation.model_validate(row) for row in rows))
    return folder


def test_translated_sets_name_their_scans_and_may_be_finer(real, tmp_path):
    job = opened(translated(real, tmp_path / "syn"), real)
    assert [job.host_of(name) for name in ("finer", "whole")] == ["case_0000", None]


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"fold": 1}, SplitLeakageError, "translation is of fold 1"),
        ({"donor_patient_ids": ("patient_0100",)}, SplitLeakageError, "not in the training part"),
        ({"source_case_id": "case_0101"}, SplitLeakageError, "not in the training part"),
        ({"source_case_id": "case_0002"}, DataError, "finer: translation contradicts the files: patient"),
        ({"source_case_id": "case_7777"}, DataError, "case_7777: no such case"),
        ({"case_id": "strange"}, DataError, r"translations\.jsonl contradicts the manifest: 2 cases"),
    ],
)
def test_translations_that_do_not_fit_are_refused(real, tmp_path, change, kind, words):
    made = translated(real, tmp_path / "syn", **change)
    with pytest.raises(kind, match=words):
        opened(made, real)


def divided(real: Path, folder: Path, sides: dict[str, str]) -> Path:
    """The dataset without folds, its patients on the sides that its own split says."""
    manifest = read_manifest(real)
    cases = tuple(r.model_copy(update={"split": sides.get(r.case_id)}) for r in manifest.cases)
    manifest.model_copy(update={"cases": cases}).write(folder / "manifest.json")
    return folder


SIDES = {"case_0000": "train", "case_0001": "train", "case_0100": "test"}


def test_the_datasets_own_split_stands_in_for_folds(real, tmp_path):
    write_set(tmp_path / "syn", [synthetic()])
    other = divided(real, tmp_path / "other", SIDES)
    job = opened(tmp_path / "syn", other)
    assert (job.fold.train, job.fold.held_out) == (("patient_0000", "patient_0001"), ("patient_0100",))
    assert opened(tmp_path / "syn", other, on_split=True).inputs == job.inputs


def test_a_split_goes_before_folds_where_it_is_asked_for(real, tmp_path):
    write_set(tmp_path / "syn", [synthetic()])
    other = divided(real, tmp_path / "other", SIDES)
    splits = json.loads((real / SPLITS).read_text())
    splits["dataset_sha256"] = read_manifest(other).content_sha256
    (other / SPLITS).write_text(json.dumps(splits))
    assert len(opened(tmp_path / "syn", other).fold.train) == 3
    assert len(opened(tmp_path / "syn", other, on_split=True).fold.train) == 2


def test_what_is_not_divided_is_refused(real, tmp_path):
    write_set(tmp_path / "syn", [synthetic()])
    with pytest.raises(ConfigError, match=r"the split of real is not known.*cases\.csv"):
        opened(tmp_path / "syn", real, on_split=True)
    nothing = divided(real, tmp_path / "other", {"case_0000": "train"})
    with pytest.raises(DataError, match="run `medaug split DATASET` first"):
        opened(tmp_path / "syn", nothing)


def test_a_patient_on_both_sides_is_refused(real, tmp_path):
    write_set(tmp_path / "syn", [synthetic()])
    other = divided(real, tmp_path / "other", SIDES)
    manifest = read_manifest(other)
    cases = tuple(
        r.model_copy(update={"patient_id": "patient_0000"}) if r.split == "test" else r
        for r in manifest.cases
    )
    manifest.model_copy(update={"cases": cases}).write(other / "manifest.json")
    with pytest.raises(SplitLeakageError, match="1 patients are both trained on and held out"):
        opened(tmp_path / "syn", other)


def test_networks_are_looked_at_before_any_image(real, tmp_path):
    write_set(tmp_path / "syn", [synthetic()])
    (tmp_path / "e.pt").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="extractor: file holds no TorchScript network"):
        opened(tmp_path / "syn", real, extractor=tmp_path / "e.pt")
    (tmp_path / "run").mkdir()
    with pytest.raises(DataError, match=r"--segmenter: .*run is no run folder"):
        opened(tmp_path / "syn", real, segmenter=tmp_path / "run")


def test_parts_are_the_same_in_any_order(tmp_path):
    files = {"synthetic": tmp_path, "against": tmp_path, "out": tmp_path}
    twice = AssessOptions.model_validate({**files, "parts": ["copying", "quality", "copying"]})
    assert twice.parts == ("quality", "copying")
    with pytest.raises(ValidationError, match="'quality', 'fidelity', 'copying' or 'membership'"):
        AssessOptions.model_validate({**files, "parts": ["seams"]})


def test_the_command_is_what_was_typed(tmp_path):
    options = AssessOptions(
        synthetic=tmp_path / "a", against=tmp_path / "b", out=tmp_path / "c", fold=2, parts=("copying",)
    )
    assert options.command() == "medaug assess a --against b --fold 2 --parts copying --out c"
    whole = options.model_copy(update={"on_split": True, "parts": ("quality", "fidelity", "copying", "membership"),
                                       "extractor": tmp_path / "e.pt", "segmenter": tmp_path / "s", "seed": 3})  # fmt: skip
    assert (
        whole.command()
        == "medaug assess a --against b --on-split --segmenter s --extractor e.pt --seed 3 --out c"
    )
