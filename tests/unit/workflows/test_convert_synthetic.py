"""medaug convert --with-synthetic: nnU-Net's folds, where made cases are trained on and never scored."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from medaug.core.assessment import REJECTED, Rejection, RejectionsFile, read_rejections
from medaug.core.case import (
    FINDINGS,
    MANIFEST,
    RECIPES,
    SPLITS,
    TRANSLATIONS,
    Manifest,
    Origin,
    read_manifest,
)
from medaug.core.errors import (
    ConfigError,
    DataError,
    GeometryError,
    LabelError,
    SplitLeakageError,
)
from medaug.core.plan import Recipe, Translation, read_lines, write_lines
from medaug.core.runs import NoProgress
from medaug.core.splits import Fold, Splits
from medaug.core.synthetic import read_origins
from medaug.io.dataset import CaseFacts, finish_dataset, load_case, write_case
from medaug.workflows.convert import ConvertOptions, ConvertSummary, convert
from medaug.workflows.ingest import IngestOptions, ingest
from tests.unit.tasks.cases import CLASSES, make_case
from tests.unit.workflows.trained import PATIENTS, some_cases, write_dataset, write_synthetic

RAW = "Dataset501_Made"
FOLDS = (
    Fold(index=0, train=PATIENTS[2:5], held_out=PATIENTS[:2]),
    Fold(index=1, train=(*PATIENTS[:2], PATIENTS[4]), held_out=PATIENTS[2:4]),
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six patients: two folds of five, the last one for a last test."""
    folder = tmp_path_factory.mktemp("real") / "set"
    manifest = write_dataset(folder, some_cases())
    splits = Splits(seed=0, dataset_sha256=manifest.content_sha256, folds=FOLDS, test=PATIENTS[5:])
    splits.write(folder / SPLITS)
    return folder


def made(folder: Path, fold: int, *, donor: str = "") -> Path:
    """A synthetic set of a fold."""
    train = FOLDS[fold].train
    write_synthetic(folder, train[0], donor or train[1], FOLDS[fold].scope_sha256, fold=fold)
    return folder


def run(dataset: Path, *sets: Path, name: str = RAW) -> ConvertSummary:
    """Converts into the folder of the sets."""
    out = sets[0].parent / name
    options = ConvertOptions(dataset=dataset, to="nnunet", out=out, with_synthetic=sets)
    return convert(options, NoProgress())


def test_synthetic_cases_train_in_their_fold_alone(dataset: Path, tmp_path: Path) -> None:
    summary = run(dataset, made(tmp_path / "syn", 1))
    assert (summary.cases, summary.labelled, summary.synthetic, summary.folds) == (6, 6, 1, (1,))
    assert "6 cases (6 labelled) and 1 synthetic in 7 image files" in summary.lines()[0]
    assert "fold 1 alone" in summary.lines()[1]
    raw = tmp_path / RAW
    folds = json.loads((raw / "splits_final.json").read_text())
    assert folds == [
        {"train": ["case_002", "case_003", "case_004"], "val": ["case_000", "case_001"]},
        {"train": ["case_000", "case_001", "case_004", "syn_000"], "val": ["case_002", "case_003"]},
    ]
    known = {name for fold in folds for side in fold.values() for name in side}
    assert {p.name for p in (raw / "labelsTr").iterdir()} == {f"{name}.nii.gz" for name in known}
    assert {p.name for p in (raw / "imagesTr").iterdir()} == {f"{name}_0000.nii.gz" for name in known}
    # a test patient lies where nothing is planned by it
    assert [p.name for p in (raw / "imagesTs").iterdir()] == ["case_005_0000.nii.gz"]
    assert [p.name for p in (raw / "labelsTs").iterdir()] == ["case_005.nii.gz"]
    description = json.loads((raw / "dataset.json").read_text())
    assert description["numTraining"] == len(known)
    assert description["labels"] == {"background": 0, "dim": 1, "bright": 2}


def test_it_stays_a_dataset_folder_that_is_read_back(dataset: Path, tmp_path: Path) -> None:
    run(dataset, made(tmp_path / "syn", 0))
    again = run(dataset, tmp_path / "syn")
    assert again.synthetic == 1
    ingest(IngestOptions(sources=(tmp_path / RAW,), out=tmp_path / "back"), NoProgress())
    manifest = read_manifest(tmp_path / "back")
    assert [r.origin for r in manifest.cases].count(Origin.SYNTHETIC) == 1
    assert [r.case_id for r in manifest.cases if r.split == "test"] == ["case_005"]
    wanted = load_case(tmp_path / "syn", read_manifest(tmp_path / "syn").cases[0], CLASSES).volume.image
    assert (load_case(tmp_path / "back", manifest.case("syn_000"), CLASSES).volume.image == wanted).all()
    assert (tmp_path / "back" / RECIPES).read_bytes() == (tmp_path / "syn" / RECIPES).read_bytes()


def test_each_fold_has_a_set_of_its_own(dataset: Path, tmp_path: Path) -> None:
    summary = run(dataset, made(tmp_path / "a", 0), made(tmp_path / "b", 1))
    assert (summary.synthetic, summary.folds) == (2, (0, 1))
    folds = json.loads((tmp_path / RAW / "splits_final.json").read_text())
    assert [fold["train"][-1] for fold in folds] == ["syn_000_s1", "syn_000_s2"]
    recipes = read_lines(tmp_path / RAW / RECIPES, Recipe)
    assert [(r.case_id, r.fold) for r in recipes] == [("syn_000_s1", 0), ("syn_000_s2", 1)]
    assert {r.edit_mask for r in recipes} == {"edits/syn_000_s1.nii.gz", "edits/syn_000_s2.nii.gz"}


def made_whole(folder: Path, fold: int, *, donor: str = "", scope: str = "") -> Path:
    """A set of a fold whose one case is nobody's, and of which another one was left out."""
    case = replace(make_case(9, shape=(16, 18, 3)), case_id="made_000", patient_id="made_000")
    write_dataset(folder, [replace(case, origin=Origin.SYNTHETIC)])
    row = Translation(
        case_id="made_000", source_case_id=None, source_sha256=(), donor_patient_ids=(donor or FOLDS[fold].train[0],),
        translator="whole_image", translator_sha256="0" * 64, fold=fold, class_name="dim", seed=0,
        training_scope_sha256=scope or FOLDS[fold].scope_sha256,
    )  # fmt: skip
    write_lines(folder / TRANSLATIONS, (row,))
    RejectionsFile(rejections=(Rejection(case_id="made_001", reason="blurred"),)).write(folder / REJECTED)
    return folder


def test_cases_that_are_nobodys_train_in_their_fold_alone(dataset: Path, tmp_path: Path) -> None:
    summary = run(dataset, made_whole(tmp_path / "made", 1))
    assert (summary.synthetic, summary.folds) == (1, (1,))
    raw = tmp_path / RAW
    folds = json.loads((raw / "splits_final.json").read_text())
    assert ["made_000" in fold["train"] for fold in folds] == [False, True]
    ingest(IngestOptions(sources=(raw,), out=tmp_path / "back"), NoProgress())
    for name in (TRANSLATIONS, REJECTED):
        assert (tmp_path / "back" / name).read_bytes() == (tmp_path / "made" / name).read_bytes()
        assert (raw / name).read_bytes() == (tmp_path / "made" / name).read_bytes()


def test_drawn_and_whole_sets_keep_their_own_lines(dataset: Path, tmp_path: Path) -> None:
    run(dataset, made(tmp_path / "a", 0), made_whole(tmp_path / "b", 1))
    recipes, translations = read_origins(tmp_path / RAW)
    assert [row.case_id for row in recipes] == ["syn_000_s1"]
    assert [row.case_id for row in translations] == ["made_000_s2"]
    assert [one.case_id for one in read_rejections(tmp_path / RAW)] == ["made_001_s2"]


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"donor": PATIENTS[0]}, "made_000: 1 donor .* of fold 0"),
        ({"scope": "f" * 64}, "made_000: what made it was fitted on other patients"),
    ],
)
def test_a_whole_case_of_another_fold_is_a_leak(
    dataset: Path, tmp_path: Path, changed: dict[str, str], line: str
) -> None:
    with pytest.raises(SplitLeakageError, match=line):
        run(dataset, made_whole(tmp_path / "made", 0, **changed))


def rewritten(folder: Path, **changes: object) -> Path:
    """The set with something else in every case's line."""
    manifest = read_manifest(folder)
    cases = tuple(record.model_copy(update=changes) for record in manifest.cases)
    manifest.model_copy(update={"cases": cases}).write(folder / MANIFEST)
    return folder


def other_classes(folder: Path) -> Path:
    manifest = read_manifest(folder)
    manifest.model_copy(update={"classes": ("dim",)}).write(folder / MANIFEST)
    return folder


@pytest.mark.parametrize(
    ("spoil", "error", "line"),
    [
        (other_classes, LabelError, "--with-synthetic: synthetic set has classes dim; expected dim, bright"),
        (lambda s: rewritten(s, spacing="nominal"), GeometryError, "first: syn_000. is nominal"),
        (lambda s: rewritten(s, origin=Origin.REAL), DataError, "syn holds real cases"),
        (lambda s: rewritten(s, case_id="case_001"), DataError, "case_001: two cases have this id"),
        (lambda s: rewritten(s, label=None), DataError, "syn holds no labelled case"),
        (lambda s: rewritten(s, patient_id=PATIENTS[5]), SplitLeakageError, "patient_005 is not in the training"),
    ],
)  # fmt: skip
def test_a_set_that_does_not_go_with_the_dataset_is_refused(dataset, tmp_path, spoil, error, line):
    syn = spoil(made(tmp_path / "syn", 0))
    with pytest.raises(error, match=line) as caught:
        run(dataset, syn)
    assert caught.value.exit_code == 3
    assert not (tmp_path / RAW).exists()


def test_a_donor_who_is_held_out_is_a_leak(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(
        SplitLeakageError, match=r"no fold may learn from .*syn; syn_000: 1 donor .* of fold 0"
    ):
        run(dataset, made(tmp_path / "syn", 0, donor=PATIENTS[0]))
    assert not (tmp_path / RAW).exists()


def test_a_dataset_of_nominal_spacing_is_refused(tmp_path: Path) -> None:
    cases = [make_case(n, shape=(16, 18, 3)) for n in range(6)]
    nominal = [replace(case, volume=replace(case.volume, spacing_known=False)) for case in cases]
    records = [write_case(tmp_path / "set", case, CaseFacts(modality="MR")) for case in nominal]
    finish_dataset(tmp_path / "set", Manifest(name="set", classes=CLASSES, cases=tuple(records)), ())
    manifest = read_manifest(tmp_path / "set")
    Splits(seed=0, dataset_sha256=manifest.content_sha256, folds=FOLDS).write(tmp_path / "set" / SPLITS)
    with pytest.raises(GeometryError, match=r"of 6 cases .first: case_000. is nominal"):
        run(tmp_path / "set", made(tmp_path / "syn", 0))


@pytest.mark.parametrize("name", ["out", "Dataset499_Low", "Dataset501", "Dataset5010_Long"])
def test_nnunet_would_not_read_such_a_folder(dataset: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="DatasetXXX_Name, XXX from 500 to 999"):
        run(dataset, made(tmp_path / "syn", 0), name=name)


def test_other_forms_have_no_folds(dataset: Path, tmp_path: Path) -> None:
    options = {"dataset": dataset, "to": "msd", "out": tmp_path / "o", "with_synthetic": (tmp_path / "syn",)}
    with pytest.raises(ConfigError, match="--with-synthetic: goes with --to nnunet alone"):
        convert(ConvertOptions.model_validate(options), NoProgress())


def test_changed_folds_make_another_conversion(dataset: Path, tmp_path: Path) -> None:
    changed = shutil.copytree(dataset, tmp_path / "set")
    run(changed, made(tmp_path / "syn", 0))
    Splits.read(changed / SPLITS).model_copy(update={"seed": 7}).write(changed / SPLITS)
    with pytest.raises(ConfigError, match=r"convert run on other inputs .splits.json."):
        run(changed, tmp_path / "syn")


def test_a_fold_without_labels_on_a_side_is_refused(dataset: Path, tmp_path: Path) -> None:
    cases = some_cases()
    bare = [replace(case, label_map=None) if n < 2 else case for n, case in enumerate(cases)]
    manifest = write_dataset(tmp_path / "bare", bare)
    Splits(seed=0, dataset_sha256=manifest.content_sha256, folds=FOLDS).write(tmp_path / "bare" / SPLITS)
    with pytest.raises(DataError, match="no held-out patient of fold 0 has a label"):
        run(tmp_path / "bare", made(tmp_path / "syn", 0))
    assert (tmp_path / "bare" / FINDINGS).is_file()
