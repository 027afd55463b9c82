"""``medaug fit`` trains once, inside its fold, and says plainly why it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from medaug.core.case import SPLITS, Manifest, read_manifest
from medaug.core.errors import ConfigError, DataError, SplitLeakageError
from medaug.core.runs import NoProgress
from medaug.core.splits import Fold, Splits
from medaug.generators.base import load_generator
from medaug.io.dataset import CaseFacts, finish_dataset, write_case
from medaug.workflows.bank import BankOptions, bank
from medaug.workflows.fit import FitOptions, fit
from tests.small_cases import CLASSES, chest

CONFIG = "kind: cgan\nsize: [16, 16]\nbase: 4\ncritic_base: 4\nbatch_size: 2\nsteps: 2\n"
LESIONS = [("solid", "ground_glass"), ("solid",), ("ground_glass",), ("solid", "ground_glass")]


def made(folder: Path, lesions: list[tuple[str, ...]]) -> FitOptions:
    """A dataset of two folds, the bank of the first, and the options to train on it."""
    dataset = folder / "set"
    records = [
        write_case(dataset, chest(n, names), CaseFacts(modality="CT")) for n, names in enumerate(lesions)
    ]
    finish_dataset(dataset, Manifest(name="small", classes=CLASSES, cases=tuple(records)), ())
    manifest = read_manifest(dataset)
    patients = manifest.patient_ids
    folds = (
        Fold(index=0, train=patients[:-1], held_out=patients[-1:]),
        Fold(index=1, train=patients[1:], held_out=patients[:1]),
    )
    Splits(seed=0, dataset_sha256=manifest.content_sha256, folds=folds).write(dataset / SPLITS)
    bank(BankOptions(dataset=dataset, out=folder / "bank"), NoProgress())
    (folder / "cgan.yaml").write_text(CONFIG)
    return FitOptions(
        dataset=dataset, bank=folder / "bank", config=folder / "cgan.yaml", out=folder / "run", device="cpu"
    )


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> FitOptions:
    asked = made(tmp_path_factory.mktemp("fit"), LESIONS)
    fit(asked, NoProgress())
    return asked


def test_summary_names_the_generator(options: FitOptions) -> None:
    summary = fit(options, NoProgress())
    assert (summary.kind, summary.steps, summary.classes) == ("cgan", 2, CLASSES)
    assert summary.training_patients == 3
    assert summary.seconds > 0
    assert summary.sha256 == load_generator(str(options.out)).sha256
    assert "class solid has only 2 lesions: expect little variety" in summary.lines()


def test_same_call_is_skipped_and_another_is_refused(options: FitOptions, tmp_path: Path) -> None:
    before = (options.out / "model.pt").stat().st_mtime_ns
    fit(options.model_copy(update={"device": None}), NoProgress())
    assert (options.out / "model.pt").stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match="another seed"):
        fit(options.model_copy(update={"seed": 1}), NoProgress())
    (tmp_path / "cgan.yaml").write_text(CONFIG + "swap_share: 0.25\n")
    with pytest.raises(ConfigError, match="another generator"):
        fit(options.model_copy(update={"config": tmp_path / "cgan.yaml"}), NoProgress())


def test_bank_of_another_fold_is_refused(options: FitOptions, tmp_path: Path) -> None:
    with pytest.raises(SplitLeakageError, match="patient_000"):
        fit(options.model_copy(update={"fold": 1, "out": tmp_path / "run"}), NoProgress())
    assert not (tmp_path / "run").exists()


def test_kind_without_training_is_refused(options: FitOptions, tmp_path: Path) -> None:
    (tmp_path / "paste.yaml").write_text("kind: copy_paste\n")
    asked = options.model_copy(
        update={"config": tmp_path / "paste.yaml", "device": None, "out": tmp_path / "run"}
    )
    with pytest.raises(ConfigError, match="needs no training"):
        fit(asked, NoProgress())


def test_unknown_device_is_refused_before_anything_is_written(options: FitOptions, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="abacus"):
        fit(options.model_copy(update={"device": "abacus", "out": tmp_path / "run"}), NoProgress())
    assert not (tmp_path / "run").exists()


def test_class_without_lesion_is_refused(tmp_path: Path) -> None:
    asked = made(tmp_path, [("solid",), ("solid",), ("ground_glass",)])
    with pytest.raises(DataError, match="no lesion of class ground_glass"):
        fit(asked, NoProgress())


def test_bank_of_another_state_of_the_dataset_is_refused(tmp_path: Path) -> None:
    asked = made(tmp_path, LESIONS)
    manifest = read_manifest(asked.dataset)
    fewer = manifest.model_copy(update={"cases": manifest.cases[:-1]})
    fewer.write(asked.dataset / "manifest.json")
    fold = Fold(index=0, train=fewer.patient_ids, held_out=("nobody",))
    Splits(seed=0, dataset_sha256=fewer.content_sha256, folds=(fold,)).write(asked.dataset / SPLITS)
    with pytest.raises(ConfigError, match="another state"):
        fit(asked, NoProgress())
