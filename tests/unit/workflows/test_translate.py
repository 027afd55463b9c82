"""``medaug translate`` writes whole cases once, resumes, keeps to its fold, and says why it does not."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medaug.core.case import MANIFEST, SPLITS, TRANSLATIONS, Manifest, Origin, read_manifest
from medaug.core.errors import CheckpointError, ConfigError, DataError, SplitLeakageError
from medaug.core.plan import Translation, read_lines
from medaug.core.runs import RUN_FILE, NoProgress, RunRecord
from medaug.core.splits import Fold, Splits
from medaug.io.dataset import CaseFacts, finish_dataset, load_case, write_case
from medaug.workflows.fit import FitOptions, fit
from medaug.workflows.translate import TranslateOptions, translate
from tests.small_cases import CLASSES, chest

WHOLE = "kind: whole_image\nsize: [32, 32]\ntissues: 3\nbase: 4\ncritic_base: 4\nz_size: 4\nbatch_size: 2\nsteps: 2\n"
LESIONS = [("solid", "ground_glass"), ("solid",), ("ground_glass",), ("solid", "ground_glass")]


def dataset(folder: Path, lesions: list[tuple[str, ...]], *, classes: tuple[str, ...] = CLASSES) -> Path:
    """A dataset of two folds; the last patient is held out of the first."""
    records = [
        write_case(folder, chest(n, names), CaseFacts(modality="CT", licence="CC BY 4.0"))
        for n, names in enumerate(lesions)
    ]
    finish_dataset(folder, Manifest(name="small", classes=classes, cases=tuple(records)), ())
    manifest = read_manifest(folder)
    patients = manifest.patient_ids
    folds = (
        Fold(index=0, train=patients[:-1], held_out=patients[-1:]),
        Fold(index=1, train=patients[1:], held_out=patients[:1]),
    )
    Splits(seed=0, dataset_sha256=manifest.content_sha256, folds=folds).write(folder / SPLITS)
    return folder


def trained(source: Path, out: Path, text: str = WHOLE) -> Path:
    config = out.with_suffix(".yaml")
    config.write_text(text)
    fit(FitOptions(dataset=source, config=config, out=out, device="cpu"), NoProgress())
    return out


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset(tmp_path_factory.mktemp("translate") / "set", LESIONS)


@pytest.fixture(scope="module")
def run(real: Path) -> Path:
    return trained(real, real.parent / "run")


def asked(real: Path, run: Path, out: Path, **changed: object) -> TranslateOptions:
    settings: dict[str, object] = {"dataset": real, "translator": run, "out": out}
    return TranslateOptions.model_validate({**settings, **changed})


def test_made_cases_are_nobodys_and_say_how_they_were_made(real: Path, run: Path, tmp_path: Path) -> None:
    wanted = ("ground_glass=2", "solid=1")
    summary = translate(asked(real, run, tmp_path / "made", per_class=wanted), NoProgress())
    made = read_manifest(tmp_path / "made")
    patients = read_manifest(real).patient_ids
    assert (summary.cases, summary.hostless, summary.classes) == (3, True, {"solid": 1, "ground_glass": 2})
    assert [record.classes for record in made.cases] == [("ground_glass",)] * 2 + [("solid",)]
    for record in made.cases:
        assert record.origin is Origin.SYNTHETIC
        assert record.patient_id not in patients
        assert record.source_sha256 == ()
        assert record.licence == "CC BY 4.0"
        assert np.isfinite(load_case(tmp_path / "made", record, CLASSES).volume.image).all()
    rows = read_lines(tmp_path / "made" / TRANSLATIONS, Translation)
    assert [row.case_id for row in rows] == [record.case_id for record in made.cases]
    for row in rows:
        assert row.source_case_id is None
        assert set(row.donor_patient_ids) < set(patients[:-1]) | {patients[0]}
        assert row.translator == "whole_image"


def test_without_classes_each_comes_as_often(real: Path, run: Path, tmp_path: Path) -> None:
    summary = translate(asked(real, run, tmp_path / "made", count=4), NoProgress())
    assert summary.classes == {"solid": 2, "ground_glass": 2}


def test_a_case_does_not_depend_on_the_others(real: Path, run: Path, tmp_path: Path) -> None:
    translate(asked(real, run, tmp_path / "two", count=2), NoProgress())
    translate(asked(real, run, tmp_path / "four", count=4), NoProgress())
    two, four = read_manifest(tmp_path / "two"), read_manifest(tmp_path / "four")
    assert two.cases == four.cases[:2]
    translate(asked(real, run, tmp_path / "seed", count=2, seed=1), NoProgress())
    assert read_manifest(tmp_path / "seed").cases[0].images != two.cases[0].images


def test_an_interrupted_set_is_finished_as_if_it_had_not_been(real: Path, run: Path, tmp_path: Path) -> None:
    options = asked(real, run, tmp_path / "made", count=3)

    class _KilledError(Exception):
        pass

    class Impatient:
        """Stops the step after two cases."""

        done = 0

        def start(self, label: str, total: int | None) -> None:
            pass

        def advance(self, units: int = 1, note: str = "") -> None:
            self.done += units
            if self.done == 2:
                raise _KilledError

        def say(self, line: str) -> None:
            pass

    with pytest.raises(_KilledError):
        translate(options, Impatient())
    assert not (tmp_path / "made" / MANIFEST).is_file()
    translate(options, NoProgress())
    translate(asked(real, run, tmp_path / "whole", count=3), NoProgress())
    assert read_manifest(tmp_path / "made").cases == read_manifest(tmp_path / "whole").cases
    assert not (tmp_path / "made" / "written").exists()


def test_same_call_is_skipped_and_another_is_refused(real: Path, run: Path, tmp_path: Path) -> None:
    options = asked(real, run, tmp_path / "made", count=1)
    first = translate(options, NoProgress())
    stamp = (tmp_path / "made" / MANIFEST).stat().st_mtime_ns
    assert translate(options, NoProgress()) == first
    assert (tmp_path / "made" / MANIFEST).stat().st_mtime_ns == stamp
    with pytest.raises(ConfigError, match="another seed"):
        translate(options.model_copy(update={"seed": 3}), NoProgress())


def test_training_goes_on_where_it_stopped(real: Path, run: Path, tmp_path: Path) -> None:
    again = trained(real, tmp_path / "run")
    assert (again / "translator.json").read_text() == (run / "translator.json").read_text()
    record = RunRecord.read(again / RUN_FILE)
    record.model_copy(update={"status": "running"}).write(again / RUN_FILE)
    (again / "translator.json").unlink()
    trained(real, tmp_path / "run")
    assert (again / "translator.json").read_text() == (run / "translator.json").read_text()


def test_translator_of_another_fold_is_refused(real: Path, run: Path, tmp_path: Path) -> None:
    with pytest.raises(SplitLeakageError):
        translate(asked(real, run, tmp_path / "made", fold=1), NoProgress())


def test_unknown_class_and_contradiction_are_refused(real: Path, run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean solid"):
        translate(asked(real, run, tmp_path / "made", per_class=("sold=3",)), NoProgress())
    with pytest.raises(ConfigError, match="--count"):
        translate(asked(real, run, tmp_path / "made", per_class=("solid=3",), count=2), NoProgress())


def test_translator_of_another_class_table_is_refused(real: Path, run: Path, tmp_path: Path) -> None:
    other = dataset(tmp_path / "other", LESIONS, classes=("ground_glass", "solid"))
    with pytest.raises(CheckpointError, match="classes"):
        translate(asked(other, run, tmp_path / "made"), NoProgress())


def test_damaged_source_is_passed_over(real: Path, run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "set"
    shutil.copytree(real, copy)
    first = read_manifest(copy).cases[0]
    (copy / first.images[0].path).write_bytes(b"no image")
    summary = translate(asked(copy, run, tmp_path / "made", count=3), NoProgress())
    assert summary.cases == 3
    assert {finding.case_id for finding in summary.findings} == {first.case_id}


def test_nothing_made_is_an_error(real: Path, run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "set"
    shutil.copytree(real, copy)
    for record in read_manifest(copy).cases:
        (copy / record.images[0].path).unlink()
    with pytest.raises(DataError, match="no case could be made"):
        translate(asked(copy, run, tmp_path / "made", count=1), NoProgress())


def test_a_bank_is_refused(real: Path, run: Path, tmp_path: Path) -> None:
    options = FitOptions(dataset=real, bank=tmp_path, config=run.with_suffix(".yaml"), out=tmp_path / "run")
    with pytest.raises(ConfigError, match="--bank"):
        fit(options, NoProgress())


def test_labels_are_needed(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    made = [chest(n) for n in range(2)]

    records = [write_case(bare, replace(case, label_map=None), CaseFacts(modality="CT")) for case in made]
    finish_dataset(bare, Manifest(name="bare", classes=CLASSES, cases=tuple(records)), ())
    manifest = read_manifest(bare)
    fold = Fold(index=0, train=manifest.patient_ids[:1], held_out=manifest.patient_ids[1:])
    Splits(seed=0, dataset_sha256=manifest.content_sha256, folds=(fold,)).write(bare / SPLITS)
    with pytest.raises(DataError, match="no training case is labelled"):
        trained(bare, tmp_path / "run")
