"""``medaug fit`` trains once, inside its fold, and says plainly why it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from medaug.core.case import SPLITS, Manifest, read_manifest
from medaug.core.errors import ConfigError, DataError, SplitLeakageError
from medaug.core.runs import NoProgress
from medaug.core.splits import Fold, Splits
from medaug.generators.base import load_generator, read_card
from medaug.io.dataset import CaseFacts, finish_dataset, write_case
from medaug.workflows.bank import BankOptions, bank
from medaug.workflows.fit import FitOptions, fit
from tests.small_cases import CLASSES, chest

CONFIG = "kind: cgan\nsize: [16, 16]\nbase: 4\ncritic_base: 4\nbatch_size: 2\nsteps: 2\n"
LESIONS = [*[("solid", "ground_glass"), ("solid",)] * 4, ("solid", "ground_glass")]


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
    assert summary.training_patients == 8
    assert summary.seconds > 0
    assert summary.instead_of is None
    assert summary.sha256 == load_generator(str(options.out)).sha256
    lines = summary.lines()
    assert lines[0].startswith("cgan of fold 0: 2 steps in ")
    assert any(line.startswith("  solid: 8 lesions of 8 patients, ") for line in lines)
    assert "class ground_glass has only 4 lesions: expect little variety" in lines
    assert lines[-1].startswith(f"next: medaug synthesize {options.dataset} --bank ")
    assert f"--generator {options.out} " in lines[-1]


def test_card_tells_what_was_learnt_and_is_sealed(options: FitOptions) -> None:
    card = read_card(options.out)
    assert card.learnt is not None
    assert card.learnt.lesions == {"solid": 8, "ground_glass": 4}
    assert card.learnt.spacing == "known"
    assert card.seal == card.sealed().seal != ""


def test_figures_are_written_for_tensorboard_where_asked(options: FitOptions, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    fit(options.model_copy(update={"out": tmp_path / "run", "tensorboard": True}), NoProgress())
    (events,) = (tmp_path / "run/tensorboard").iterdir()
    assert b"step/critic" in events.read_bytes()
    assert fit(options.model_copy(update={"out": tmp_path / "run"}), NoProgress()).steps == 2


class Told:
    """Progress that remembers what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def start(self, label: str, total: int | None) -> None:
        pass

    def advance(self, units: int = 1, note: str = "") -> None:
        pass

    def say(self, line: str) -> None:
        self.lines.append(line)


def test_too_few_lesions_for_a_network_give_a_procedural_generator_that_says_so(tmp_path: Path) -> None:
    asked = made(tmp_path, [("solid", "ground_glass"), ("solid",), ("ground_glass",), ("solid",)])
    told = Told()
    summary = fit(asked, told)
    note = "4 lesions are too few to train cgan (8 are needed): a procedural generator was fitted instead"
    assert note in told.lines
    assert note in summary.lines()
    assert (summary.kind, summary.instead_of, summary.steps) == ("procedural", "cgan", 0)
    card = read_card(asked.out)
    assert (card.kind, card.instead_of) == ("procedural", "cgan")
    assert note in card.notes
    assert load_generator(str(asked.out)).kind == "procedural"
    assert fit(asked, NoProgress()) == summary


def test_one_patient_alone_is_trained_on_and_noted(tmp_path: Path) -> None:
    asked = made(tmp_path, [("solid", "ground_glass"), ("solid",)])
    assert (
        "all lesions are of one patient: what is made will look like that patient's"
        in fit(asked, NoProgress()).lines()
    )


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


def test_device_of_a_kind_without_network_is_refused(options: FitOptions, tmp_path: Path) -> None:
    (tmp_path / "drawn.yaml").write_text("kind: procedural\n")
    asked = options.model_copy(update={"config": tmp_path / "drawn.yaml", "out": tmp_path / "run"})
    with pytest.raises(ConfigError, match="--device: procedural has no network to put on a device; leave"):
        fit(asked, NoProgress())
    assert not (tmp_path / "run").exists()
    assert fit(asked.model_copy(update={"device": None}), NoProgress()).kind == "procedural"


def test_unknown_device_is_refused_before_anything_is_written(options: FitOptions, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="abacus"):
        fit(options.model_copy(update={"device": "abacus", "out": tmp_path / "run"}), NoProgress())
    assert not (tmp_path / "run").exists()


def test_class_without_lesion_is_refused(tmp_path: Path) -> None:
    asked = made(tmp_path, [*[("solid",)] * 9, ("ground_glass",)])
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


def test_a_promise_is_on_the_card_and_in_the_summary_and_the_patients_figures_are_not(
    options: FitOptions, tmp_path: Path
) -> None:
    asked = options.model_copy(update={"out": tmp_path / "run", "dp": {"epsilon": "8", "delta": "1e-6"}})
    summary = fit(asked, NoProgress())
    assert summary.privacy is not None
    assert summary.privacy.is_claimed
    assert 7.5 < summary.privacy.epsilon <= 8
    assert summary.privacy.delta == 1e-6
    assert summary.privacy.statement in summary.lines()
    card = read_card(asked.out)
    assert card.is_intact
    assert (card.privacy, card.learnt) == (summary.privacy, None)
    assert fit(asked, NoProgress()) == summary
    with pytest.raises(ConfigError):
        fit(asked.model_copy(update={"dp": {"epsilon": "3"}}), NoProgress())


def test_a_translator_promises_nothing(options: FitOptions, tmp_path: Path) -> None:
    (tmp_path / "style.yaml").write_text("kind: style\n")
    asked = {"out": tmp_path / "run", "bank": None, "config": tmp_path / "style.yaml", "dp": {"epsilon": "8"}}
    with pytest.raises(ConfigError, match="style has no training with differential privacy"):
        fit(options.model_copy(update=asked), NoProgress())
