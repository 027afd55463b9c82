"""Bad input, station by station, as a user meets it: one clear line, its exit code, and nothing half-written."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from medaug.cli.main import main
from medaug.cli.render import TerminalBar
from medaug.core import storage
from medaug.core.case import read_manifest
from medaug.core.runs import NoProgress
from medaug.core.splits import Fold, read_splits
from medaug.core.volume import Unit
from medaug.generators._cgan.learner import CganLearner
from medaug.generators.base import read_card
from medaug.phantom.cohort import PhantomSpec, make_cohort
from tests.unit.ingest.material import ct_set, ct_values, label_values, save, write_table

CGAN = "{kind: cgan, dims: 2, size: [24, 24], base: 4, critic_base: 4, z_size: 4, steps: 3, batch_size: 4}"
TASK = "{kind: segmentation, dims: 2, patch_size: [32, 32], batch_size: 4, steps: 3, base_channels: 4, levels: 2}"
EXPERIMENT = f"""
name: tiny
task: {TASK}
baseline: real
folds: [0]
arms:
  - {{name: real, transforms: {{kind: none}}}}
  - {{name: pasted, transforms: {{kind: none}}, generator: {{kind: copy_paste}}, synthetic_share: 0.5}}
"""


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    said: dict[str, object]
    line: str


Ask = Callable[..., Answer]
Station = Callable[[Path, Path], tuple[object, ...]]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """Run a command; whatever happens, its answer has the form that every answer has."""

    def run(*arguments: object) -> Answer:
        code = main([*map(str, arguments), "--json"])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        if code == 0:
            return Answer(code, dict(json.loads(out)), err)
        assert out == ""
        lines = [line for line in err.splitlines() if line.startswith("medaug: ")]
        assert lines == err.splitlines()[-1:]  # one line, and nothing after it
        # no path of the machine but what was given, and what is below or above it
        for path in re.findall(r"(?<![\w.])/[\w./-]*", lines[0]):
            assert any(path.startswith(given) or given.startswith(path) for given in map(str, arguments))
        return Answer(code, {}, lines[0].removeprefix("medaug: "))

    return run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cohort, its dataset, and the finished output of every station; few lesions are enough for a network here."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("medaug.synthesis.fit.FEW_LESIONS", 1)
        yield build_place(tmp_path_factory)


def build_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run every station."""
    folder = tmp_path_factory.mktemp("place")
    spec = PhantomSpec(solid=4, ground_glass=3, both=1, lesion_free=2, lesions=1, shape=(64, 64, 8))
    make_cohort(folder / "cohort", spec, NoProgress())
    (folder / "cgan.yaml").write_text(CGAN)
    (folder / "train.yaml").write_text(f"task: {TASK}\ntransforms: {{kind: none}}\n")
    (folder / "experiment.yaml").write_text(EXPERIMENT)
    (folder / "augment.yaml").write_text("kind: trivialaugment\ndims: 2\n")
    (folder / "drawn.yaml").write_text("kind: procedural\n")
    (folder / "passphrase").write_text("correct horse battery\n")
    for name, station in STATIONS.items():
        out = folder / name
        if name in IN_PLACE:
            shutil.copytree(folder / "ingest", out)
            if name != "split":
                shutil.copy(folder / "split" / "splits.json", out)
        assert main([*map(str, station(folder, out)), "--json"]) == 0, name
    return folder


def dataset(place: Path) -> Path:
    """The dataset that the stations after split read."""
    return place / "split"


STATIONS: dict[str, Station] = {
    "ingest": lambda p, out: (
        "ingest", p / "cohort/dicom", p / "cohort/nifti", "--out", out, "--licence", "CC0-1.0", "--terms", "Made up.",
    ),
    "split": lambda _, out: ("split", out, "--folds", 2),
    "inspect": lambda _, out: ("inspect", out),
    "augment": lambda p, out: ("augment", dataset(p), "--config", p / "augment.yaml", "--n", 2, "--out", out),
    "convert": lambda p, out: ("convert", dataset(p), "--to", "bids", "--out", out),
    "bank": lambda p, out: ("bank", dataset(p), "--out", out),
    "fit": lambda p, out: ("fit", dataset(p), "--bank", p / "bank", "--config", p / "cgan.yaml", "--out", out),
    "synthesize": lambda p, out: (
        "synthesize", dataset(p), "--bank", p / "bank", "--generator", p / "fit",
        "--per-class", "ground_glass=2", "--per-class", "solid=2", "--out", out,
    ),
    # a segmenter of its own would take longer than all other stations
    "assess": lambda p, out: (
        "assess", p / "synthesize", "--against", dataset(p), "--parts", "quality,copying", "--out", out,
    ),
    "train": lambda p, out: ("train", dataset(p), "--config", p / "train.yaml", "--out", out),
    "predict": lambda p, out: ("predict", p / "train", dataset(p), "--out", out),
    "evaluate": lambda p, out: ("evaluate", p / "predict", dataset(p), "--out", out / "scores.json"),
    "experiment": lambda p, out: ("experiment", dataset(p), "--config", p / "experiment.yaml", "--out", out),
    "report": lambda p, out: ("report", p / "experiment", "--out", out / "report.html"),
    "keygen": lambda p, out: ("keygen", "--out", out, "--passphrase-file", p / "passphrase"),
    "release": lambda p, out: (
        "release", p / "synthesize", "--assessment", p / "assess", "--key", p / "keygen/signing.key",
        "--passphrase-file", p / "passphrase", "--accept-inconclusive", "--out", out,
    ),
}  # fmt: skip
IN_PLACE = ("split", "inspect")  # they write into a dataset that is there already
SIGNED = ("keygen", "release")  # other keys, another time: never the same bytes


def fresh(name: str, place: Path, tmp_path: Path) -> Path:
    """Where a station may run once more: a new folder, or a dataset as that station finds it."""
    out = tmp_path / name
    if name in IN_PLACE:
        shutil.copytree(place / "ingest", out)
    if name == "inspect":
        shutil.copy(dataset(place) / "splits.json", out)
    return out


def contents(folder: Path) -> dict[str, str]:
    """Hash of every file but for logs and checkpoints, which hold the time a training took; times in JSON do not count."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and path.name not in {"log.jsonl", "checkpoint.pt"}:
            content = path.read_bytes()
            if path.suffix == ".json":
                content = re.sub(rb'"(seconds|started|command)": ?("[^"]*"|[\d.e-]+)', b"", content)
            found[str(path.relative_to(folder))] = hashlib.sha256(content).hexdigest()
    return found


def same_in_the_end(name: str, place: Path, out: Path, ask: Ask) -> None:
    """The same command again goes on, and ends as if nothing had happened."""
    assert not (out / "manifest.json").exists() or name in IN_PLACE  # what is not finished does not look it
    assert ask(*STATIONS[name](place, out)).code == 0
    again, once = contents(out), contents(place / name)
    if name == "report":  # a page names its run folder and its day
        again, once = dict.fromkeys(again, ""), dict.fromkeys(once, "")
    assert set(again) == set(once)
    assert name in SIGNED or {key for key in once if once[key] != again[key]} == set()


# ---- sources ----


def spoil(folder: Path, how: str) -> None:
    """Spoil the case called bad."""
    image, label = folder / "images/bad.nii.gz", folder / "labels/bad.nii.gz"
    values = ct_values(1).astype(np.float32)
    if how == "unreadable image":
        image.write_bytes(b"no scan")
    elif how == "image cut short":
        image.write_bytes(image.read_bytes()[:90])
    elif how == "unreadable label":
        label.write_bytes(b"no label")
    elif how == "image without label":
        label.unlink()
    elif how == "label on another grid":
        save(label, label_values(1), np.eye(4))
    elif how == "label id not in the table":
        save(label, label_values(1, 7))
    elif how == "NaN":
        values[2, 2, 2] = np.nan
        save(image, values)
    elif how == "empty image":
        save(image, np.zeros_like(values))


BAD_SOURCES = {
    "unreadable image": "image: file is no NIfTI image; copy or export it again",
    "image cut short": "image: file is cut short; copy or export it again",
    "unreadable label": "label: file is no NIfTI image; copy or export it again",
    "image without label": "image has no label and labels are required",
    "label on another grid": "label map lies on another grid than its image (another affine); say --resample-labels, or resample it onto the image first",
    "label id not in the table": "label id 7 is not in the class table; name it in lesion_classes and label_ids, or with --class-map",
    "NaN": "image holds 1 value that is not finite; replace at the source",
    "empty image": "image has one value everywhere; export it again",
}


@pytest.mark.parametrize(("how", "words"), BAD_SOURCES.items())
def test_a_bad_source_is_refused_by_name_and_the_rest_go_on(
    how: str, words: str, tmp_path: Path, ask: Ask
) -> None:
    rows = ct_set(tmp_path / "src", ("good", "bad", "fine"))
    spoil(tmp_path / "src", how)
    without = [
        dict(one, label="") if (how, one["case_id"]) == ("image without label", "bad") else one
        for one in rows
    ]
    write_table(tmp_path / "src", without)
    call = ("ingest", tmp_path / "src", "--require-labels", "--out")
    refused = ask(*call, tmp_path / "out").said["refused"]
    assert [(one["case_id"], one["message"]) for one in refused] == [("bad", words)]  # type: ignore[attr-defined]
    assert [record.case_id for record in read_manifest(tmp_path / "out").cases] == ["good", "fine"]
    strict = ask(*call, tmp_path / "strict", "--strict")
    assert strict.code == 3
    assert f"the first: bad: {words}" in strict.line
    write_table(tmp_path / "src", without[1:2])
    alone = ask(*call, tmp_path / "alone")
    assert (alone.code, alone.line.split(",")[0]) == (3, "none of 1 case can be kept")
    assert not (tmp_path / "alone" / "manifest.json").exists()


def test_a_patient_in_two_sources_is_one_patient_and_is_named(tmp_path: Path, ask: Ask) -> None:
    for source, names in (("a", ("a1", "a2")), ("b", ("b1", "b2"))):
        rows = ct_set(tmp_path / source, names)
        for n, name in enumerate(names):
            save(tmp_path / source / f"images/{name}.nii.gz", ct_values(10 * ord(source) + n))
        write_table(tmp_path / source, [dict(one, patient_id=f"p{n}") for n, one in enumerate(rows)])
    said = ask("ingest", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "out").said
    assert (said["cases"], said["patients"]) == (4, 2)
    flagged = [one["message"] for one in said["flagged_findings"]]  # type: ignore[attr-defined]
    assert "p0 stands in 2 sources and is kept as one patient" in flagged
    twice = ask("ingest", tmp_path / "a", tmp_path / "a", "--out", tmp_path / "twice").said
    assert {one["message"] for one in twice["refused"]} == {  # type: ignore[attr-defined]
        "this case id stands before, in this table or another source; the first one was kept"
    }


# ---- a dataset that was damaged since ----


@pytest.fixture(scope="module")
def damaged(place: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A dataset with one damaged case on either side of fold 0."""
    folder = tmp_path_factory.mktemp("damaged") / "set"
    shutil.copytree(dataset(place), folder)
    manifest = read_manifest(folder)
    fold = read_splits(folder, manifest).fold(0)
    names = []
    for side in (fold.train, fold.held_out):
        record = next(r for r in manifest.of_patients(frozenset(side)) if r.lesions)
        (folder / record.images[0].path).write_bytes(b"no scan")
        (folder / f"labelsTr/{record.case_id}.nii.gz").write_bytes(b"no label")
        names.append(record.case_id)
    return folder, names[0], names[1]


@pytest.mark.parametrize("name", ["bank", "assess", "train", "experiment", "evaluate"])
def test_a_station_that_needs_every_case_names_the_damaged_one(
    name: str, place: Path, damaged: tuple[Path, str, str], tmp_path: Path, ask: Ask
) -> None:
    folder, train, held_out = damaged
    call = [folder if part == dataset(place) else part for part in STATIONS[name](place, tmp_path / "out")]
    answer = ask(*call)
    assert answer.code == 3
    assert answer.line.startswith(f"{held_out if name == 'evaluate' else train}: ")
    assert "file is no NIfTI image" in answer.line
    assert not (tmp_path / "out/scores.json").exists()


def test_a_damaged_dataset_is_not_converted(
    place: Path, damaged: tuple[Path, str, str], tmp_path: Path, ask: Ask
) -> None:
    answer = ask("convert", damaged[0], "--to", "nnunet", "--out", tmp_path / "out")
    assert answer.code == 3
    assert re.match(r"labelsTr/\w+\.nii\.gz is not the file the manifest describes", answer.line)
    assert not (tmp_path / "out/manifest.json").exists()


def test_stations_that_can_go_on_name_the_damaged_case(
    place: Path, damaged: tuple[Path, str, str], tmp_path: Path, ask: Ask
) -> None:
    folder, train, held_out = damaged
    seen = ask("inspect", folder, "--sheet", tmp_path / "sheet.png").said
    assert [line.split(":")[0] for line in seen["damaged"]] == sorted([train, held_out])  # type: ignore[attr-defined]
    made = ask(
        "synthesize", folder, "--bank", place / "bank", "--generator", "copy_paste", "--per-class", "solid=8",
        "--out", tmp_path / "synthetic",
    ).said  # fmt: skip
    refused = [one["case_id"] for one in made["findings"] if one["severity"] == "refused"]  # type: ignore[attr-defined]
    assert refused == [train]
    assert [(one["class_name"], one["wanted"], one["made"]) for one in made["classes"]] == [("solid", 8, 8)]  # type: ignore[attr-defined]
    copied = ask("augment", folder, "--n", 1, "--out", tmp_path / "augmented").said
    assert sorted(one["case_id"] for one in copied["findings"]) == sorted([train, held_out])  # type: ignore[attr-defined]
    assert copied["copies"] == len(read_manifest(folder).cases) - 2
    labelled = ask("predict", place / "train", folder, "--out", tmp_path / "predictions")
    assert labelled.said["n_refused"] == 1
    assert f"refused: {held_out}: " in labelled.line


def test_a_damaged_bank_is_not_blamed_on_its_hosts(place: Path, tmp_path: Path, ask: Ask) -> None:
    bank = shutil.copytree(place / "bank", tmp_path / "bank")
    for crop in (bank / "crops").iterdir():
        crop.write_bytes(b"no crop")
    call = STATIONS["synthesize"](place, tmp_path / "out")
    answer = ask(*(bank if part == place / "bank" else part for part in call))
    assert answer.code == 3
    assert "crop is missing or damaged; make the bank again" in answer.line


def test_images_without_any_label_cannot_be_split(place: Path, tmp_path: Path, ask: Ask) -> None:
    said = ask("ingest", place / "cohort/nifti/images", "--out", tmp_path / "set").said
    assert said["labelled"] == 0
    answer = ask("split", tmp_path / "set")
    assert (answer.code, answer.line.split(";")[0]) == (3, "set: no patient has a label")


def test_folds_of_another_state_of_the_dataset_are_void(place: Path, tmp_path: Path, ask: Ask) -> None:
    folder = shutil.copytree(dataset(place), tmp_path / "set")
    manifest = read_manifest(folder)
    manifest.model_copy(update={"cases": manifest.cases[1:]}).write(folder / "manifest.json")
    assert ask("split", folder, "--folds", 2).line.startswith(
        "DATASET: splits.json belongs to another state of the dataset; delete splits.json"
    )
    answer = ask("bank", folder, "--out", tmp_path / "bank")
    assert (answer.code, answer.line) == (
        3, "splits.json belongs to another state of set; delete it and run `medaug split DATASET` again",
    )  # fmt: skip


def test_scans_from_elsewhere_are_refused_by_name_at_prediction(
    place: Path, tmp_path: Path, ask: Ask
) -> None:
    scans = shutil.copytree(place / "cohort/nifti/images", tmp_path / "scans")
    torn, odd, flat, *_ = sorted(scans.iterdir())
    torn.write_bytes(b"no scan")
    values = np.zeros((40, 40, 4), np.float32)
    save(flat, values)
    values[1, 1, 1] = np.nan
    save(odd, values)
    answer = ask("predict", place / "train", scans, "--out", tmp_path / "out")
    for path, words in ((torn, "no NIfTI image"), (odd, "not finite"), (flat, "one value everywhere")):
        assert re.search(f"refused: {path.name.split('.')[0]}: .*{words}", answer.line)
    strict = ask("predict", place / "train", scans, "--out", tmp_path / "strict", "--strict")
    assert (strict.code, strict.line.split(",")[0]) == (3, "3 refusals under --strict")


def test_a_changed_reference_is_not_scored(place: Path, tmp_path: Path, ask: Ask) -> None:
    folder = shutil.copytree(dataset(place), tmp_path / "set")
    held_out = read_splits(folder, read_manifest(folder)).fold(0).held_out
    first, second, *_ = [r for r in read_manifest(folder).cases if r.patient_id in held_out and r.label]
    shutil.copy(folder / f"labelsTr/{second.case_id}.nii.gz", folder / f"labelsTr/{first.case_id}.nii.gz")
    answer = ask("evaluate", place / "predict", folder, "--out", tmp_path / "scores.json")
    assert (answer.code, answer.line.split(";")[0]) == (
        3, f"{first.case_id}: label is not the file the manifest describes",
    )  # fmt: skip


# ---- too few lesions ----


def test_one_lesion_of_a_class_is_said_and_can_be_drawn_from(tmp_path: Path, ask: Ask) -> None:
    # of this seed, slices and depths learnt from the only lesion once left no place in any other patient
    spec = PhantomSpec(solid=3, ground_glass=1, both=0, lesion_free=1, lesions=1, seed=5)
    cohort = make_cohort(tmp_path / "cohort", spec, NoProgress())
    said = ask("ingest", cohort.dicom, cohort.nifti, "--out", tmp_path / "set").said
    messages = [one["message"] for one in said["flagged_findings"]]  # type: ignore[attr-defined]
    only = "class ground_glass has one lesion only: no split can both train on it and test it"
    assert only in messages
    ask("split", tmp_path / "set", "--folds", 2)
    manifest = read_manifest(tmp_path / "set")
    (patient,) = {r.patient_id for r in manifest.cases if "ground_glass" in r.classes}
    folds = read_splits(tmp_path / "set", manifest).folds
    taught = next(fold.index for fold in folds if patient in fold.train)
    for fold in folds:
        ask("bank", tmp_path / "set", "--fold", fold.index, "--out", tmp_path / f"bank{fold.index}")
    call = ("--generator", "copy_paste", "--per-class", "ground_glass=4")
    answer = ask(
        "synthesize", tmp_path / "set", "--bank", tmp_path / f"bank{taught}", "--fold", taught, *call,
        "--out", tmp_path / "synthetic",
    )  # fmt: skip
    made = [(one["class_name"], one["wanted"], one["made"]) for one in answer.said["classes"]]  # type: ignore[attr-defined]
    assert made == [("ground_glass", 4, 4)]
    assert [one["code"] for one in answer.said["findings"] if one["severity"] == "flagged"] == ["one-donor"]  # type: ignore[attr-defined]
    lost = ask(
        "synthesize", tmp_path / "set", "--bank", tmp_path / f"bank{1 - taught}", "--fold", 1 - taught, *call,
        "--out", tmp_path / "none",
    )  # fmt: skip
    assert lost.code == 3
    assert lost.line.startswith(
        "the bank holds no lesion of class ground_glass; its patients may be held out"
    )


NO_LESION = {
    "bank": "no labelled lesion among the 2 training patients of fold 0; check the labels",
    "train": "no lesion in the training cases; choose another fold or add annotations",
    "experiment": "no held-out patient has a lesion",
}


@pytest.mark.parametrize(("name", "words"), NO_LESION.items())
def test_a_fold_without_lesions_teaches_nothing(
    name: str, words: str, place: Path, tmp_path: Path, ask: Ask
) -> None:
    folder = shutil.copytree(dataset(place), tmp_path / "set")
    manifest = read_manifest(folder)
    splits = read_splits(folder, manifest)
    free = tuple(sorted({r.patient_id for r in manifest.cases if not r.lesions}))
    rest = tuple(sorted(set(manifest.patient_ids) - set(free)))
    train, held_out = (rest, free) if name == "experiment" else (free, rest)
    fold = Fold(index=0, train=train, held_out=held_out)
    splits.model_copy(update={"folds": (fold,)}).write(folder / "splits.json")
    call = [folder if part == dataset(place) else part for part in STATIONS[name](place, tmp_path / "out")]
    answer = ask(*call)
    assert answer.code == 3
    assert words in answer.line
    assert not (tmp_path / "out/manifest.json").exists()


# ---- disk, Ctrl-C and kill ----


@dataclass(frozen=True)
class _Usage:
    free: int = 1 << 20


@pytest.mark.parametrize("name", STATIONS)
def test_disk_space_is_checked_before_a_station_starts(
    name: str, place: Path, tmp_path: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = fresh(name, place, tmp_path)
    before = contents(out)
    monkeypatch.setattr("medaug.core.storage.shutil.disk_usage", lambda _: _Usage())
    answer = ask(*STATIONS[name](place, out))
    assert answer.code == 7
    assert re.fullmatch(
        r"1 MiB free for [\w./-]+; expected \d+ MiB; free space or choose another --out", answer.line
    )
    assert contents(out) == before


@pytest.mark.parametrize("name", STATIONS)
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(
    name: str, place: Path, tmp_path: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = fresh(name, place, tmp_path)
    # the run file fits, its last words do not; stations of one file have no room for that
    wanted = 1 if name in (*IN_PLACE, "evaluate", "report") else 3
    synced = [0]

    def full(path: Path) -> None:
        synced[0] += 1
        if synced[0] >= wanted:
            raise OSError(errno.ENOSPC, "No space left on device")
        _sync(path)

    _sync = storage.settle
    with monkeypatch.context() as patched:
        patched.setattr(storage, "settle", full)
        answer = ask(*STATIONS[name](place, out))
    assert answer.code == 7
    assert re.fullmatch(
        r"disk is full while writing [\w./-]+; free space and run the same command again", answer.line
    )
    assert not list(tmp_path.rglob(".*.partial.*"))
    same_in_the_end(name, place, out, ask)


@pytest.fixture
def ctrl_c(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Arm Ctrl-C: the signal comes at that call of the progress bar, once.

    A shell starts background jobs with the signal ignored, and Python then leaves it so; the tests must not care.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    advance, left = TerminalBar.advance, [0]

    def stopping(bar: TerminalBar, units: int = 1, note: str = "") -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGINT)
        advance(bar, units, note)

    monkeypatch.setattr(TerminalBar, "advance", stopping)

    def arm(calls: int) -> None:
        left[0] = calls

    yield arm
    signal.signal(signal.SIGINT, before)


STOPS = {"split": 1, "inspect": 3, "bank": 2, "fit": 3, "experiment": 12, "evaluate": 2, "report": 1}


@pytest.mark.parametrize("name", [name for name in STATIONS if name != "keygen"])
def test_after_ctrl_c_the_same_command_goes_on(
    name: str, place: Path, tmp_path: Path, ask: Ask, ctrl_c: Callable[[int], None]
) -> None:
    out = fresh(name, place, tmp_path)
    ctrl_c(STOPS.get(name, 4))
    answer = ask(*STATIONS[name](place, out))
    assert (answer.code, answer.line) == (130, "stopped; run the same command again to go on")
    assert not list(tmp_path.rglob("*.partial.*"))
    assert name not in {"release", "report", "evaluate"} or not list(out.rglob("*.*"))
    ctrl_c(0)
    same_in_the_end(name, place, out, ask)


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize(
    "name",
    ["ingest", "split", "inspect", "augment", "convert", "synthesize", "evaluate", "keygen", "release"],
)
def test_after_a_kill_nothing_half_written_stays(
    name: str, place: Path, tmp_path: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = fresh(name, place, tmp_path)
    wanted = 2 if name == "keygen" else 1 if name in (*IN_PLACE, "evaluate") else 7
    synced = [0]

    def unless_dead(act: Callable[..., None]) -> Callable[..., None]:
        def acting(*arguments: object, **named: object) -> None:
            if synced[0] >= wanted:
                raise Killed
            act(*arguments, **named)

        return acting

    def sync(path: Path) -> None:
        synced[
            0
        ] += not path.is_dir()  # threads write at once: a file is caught half-written, a folder never is
        unless_dead(whole)(path)

    whole = storage.settle
    with monkeypatch.context() as patched:
        patched.setattr(storage, "settle", sync)
        for keeper, clean_up in ((Path, "unlink"), (shutil, "rmtree")):  # the dead do not clean up
            patched.setattr(keeper, clean_up, unless_dead(getattr(keeper, clean_up)))
        with pytest.raises(Killed):
            main([*map(str, STATIONS[name](place, out)), "--json"])
    assert list(tmp_path.rglob("*.partial.*"))
    same_in_the_end(name, place, out, ask)
    assert not list(tmp_path.rglob("*.partial.*"))


# ---- wrong places, names and options ----

WRONG: dict[str, tuple[Callable[[Path], tuple[object, ...]], int, str]] = {
    "no source": (lambda p: ("ingest", p / "nowhere", "--out", "x"), 2, "SRC: source 1 does not exist"),
    "source is out": (lambda p: ("ingest", p / "cohort", "--out", p / "cohort"), 2, "--out: a source is also --out"),
    "no scan": (lambda p: ("ingest", p / "passphrase", "--out", p / "x1"), 3, "SRC: the sources hold no image"),
    "no table": (
        lambda p: ("ingest", p / "cohort", "--labels", p / "nowhere.csv", "--out", p / "x2"),
        2,
        "nowhere.csv does not exist",
    ),
    "modality": (lambda p: ("ingest", p, "--modality", "Computed", "--out", "x"), 2, "--modality: 'Computed' is no"),
    "origin": (lambda p: ("ingest", p, "--origin", "made", "--out", "x"), 2, "--origin: input should be 'real'"),
    "class map": (lambda p: ("ingest", p, "--class-map", "x", "--out", "x"), 2, "--class-map: 'x' maps no"),
    "out is a file": (lambda p: ("bank", dataset(p), "--out", p / "passphrase"), 2, "passphrase is a file; expected a new folder"),
    "out is foreign": (lambda p: ("bank", dataset(p), "--out", p / "cohort"), 2, "cohort exists and is no run folder"),
    "no dataset": (lambda p: ("inspect", p / "nowhere"), 2, "nowhere does not exist"),
    "file as dataset": (lambda p: ("bank", p / "passphrase", "--out", "x"), 3, "passphrase is no dataset folder"),
    "form": (lambda p: ("convert", dataset(p), "--to", "minc", "--out", "x"), 2, "--to: input should be 'bids', 'dicom'"),
    "no key": (lambda p: ("convert", dataset(p), "--to", "dicom", "--out", "x"), 2, "--key-file: UIDs need a key"),
    "bank as dataset": (lambda p: ("split", p / "bank"), 3, "bank is no dataset folder"),
    "dataset as bank": (
        lambda p: ("synthesize", dataset(p), "--bank", dataset(p), "--generator", "copy_paste",
                   "--per-class", "solid=1", "--out", "x"),
        3,
        "split holds no finished bank",
    ),
    "other folds": (
        lambda p: ("split", p / "split", "--folds", 3),
        2,
        "DATASET: splits.json holds 2 folds of seed 0; expected 3 folds of seed 0; delete splits.json",
    ),
    "file below a file": (
        lambda p: ("evaluate", p / "predict", dataset(p), "--out", p / "passphrase/scores.json"),
        7,
        "passphrase/scores.json: ",
    ),
    "too many folds": (lambda p: ("split", p / "ingest", "--folds", 40), 2, "--folds: 8 labelled patients for 40"),
    "no such fold": (lambda p: ("train", dataset(p), "--config", p / "train.yaml", "--fold", 7, "--out", "x"), 2,
                     "--fold: there is no fold 7; expected 0 to 1"),
    "other options": (lambda p: ("bank", dataset(p), "--fold", 1, "--out", p / "bank"), 2,
                      "bank holds a bank run with another fold"),
    "bank of another fold": (
        lambda p: ("fit", dataset(p), "--bank", p / "bank", "--config", p / "cgan.yaml", "--fold", 1, "--out", "x"),
        3,
        "outside the training part of fold 1",
    ),
    "generator of another fold": (lambda p: ("synthesize", dataset(p), "--bank", p / "bank", "--fold", 1,
                                             "--generator", p / "fit", "--per-class", "solid=1", "--out", "x"), 3,
                                  "outside the training part of fold 1"),
    "set of another fold": (lambda p: ("assess", p / "synthesize", "--against", dataset(p), "--fold", 1, "--out", "x"),
                            3, "made for another fold than 1"),
    "training on it": (lambda p: ("train", dataset(p), "--config", p / "train.yaml", "--fold", 1,
                                  "--synthetic", p / "synthesize", "--out", "x"), 3, "training part of fold 1"),
    "real as synthetic": (lambda p: ("train", dataset(p), "--config", p / "train.yaml",
                                     "--synthetic", dataset(p), "--out", "x"), 3, "split holds real cases"),
    "set of another dataset": (lambda p: ("assess", p / "synthesize", "--against", p / "synthesize", "--out", "x"), 3,
                               "splits.json"),
    "unknown class": (lambda p: ("synthesize", dataset(p), "--bank", p / "bank", "--generator", "copy_paste",
                                 "--per-class", "grund_glass=3", "--out", "x"), 2, "did you mean ground_glass?"),
    "no count": (lambda p: ("synthesize", dataset(p), "--bank", p / "bank", "--generator", "copy_paste",
                            "--per-class", "solid", "--out", "x"), 2, "--per-class: cannot read 'solid'"),
    "unknown kind": (lambda p: ("synthesize", dataset(p), "--bank", p / "bank", "--generator", "copypaste",
                                "--per-class", "solid=1", "--out", "x"), 2, "did you mean copy_paste?"),
    "unlearnt size": (lambda p: ("synthesize", dataset(p), "--bank", p / "bank", "--generator", "copy_paste", "--strict",
                                 "--per-class", "solid=1", "--diameter-mm", "900:999", "--out", p / "x3"), 3,
                      "solid was asked for at 900 to 999 mm; the bank knows"),
    "device": (lambda p: ("predict", p / "train", dataset(p), "--device", "gpu", "--out", "x"), 2,
               "--device: unknown device 'gpu'"),
    "device of no network": (lambda p: (*STATIONS["fit"](p, p / "x6"), "--config", p / "drawn.yaml", "--device", "cpu"), 2,
                             "--device: procedural has no network to put on a device; leave --device out"),
    "nothing to write": (lambda p: ("augment", dataset(p)), 2, "--out: nothing to write"),
    "case without sheet": (lambda p: ("augment", dataset(p), "--case", "x", "--out", "x"), 2, "--case: is for --preview"),
    "sheet of no case": (lambda p: ("augment", dataset(p), "--case", "x", "--preview", "x.png"), 3, "x: no such case"),
    "sheet in words": (lambda p: ("augment", dataset(p), "--preview", "x.txt"), 2, "--preview: x.txt is no PNG"),
    "nothing to copy": (lambda p: ("augment", p / "nowhere", "--out", "x"), 2, "nowhere does not exist"),
    "copies into a dataset": (lambda p: ("augment", dataset(p), "--out", p / "cohort"), 2, "cohort exists and is"),
    "other copies": (lambda p: ("augment", dataset(p), "--n", 3, "--config", p / "augment.yaml", "--out", p / "augment"),
                     2, "augment holds an augment run with another n"),
    "copies of what was made": (lambda p: ("augment", p / "synthesize", "--out", "x"), 3, "case is synthetic"),
    "copies of copies": (lambda p: ("augment", p / "augment", "--out", "x"), 3, "case is augmented"),
    "copies to score": (lambda p: ("evaluate", p / "predict", p / "augment", "--out", "x"), 3,
                        "augmented case is about to be scored"),
    "copies to split": (lambda p: ("split", p / "augment"), 3, "augmented cases are never split"),
    "copies to learn from": (lambda p: ("train", dataset(p), "--config", p / "train.yaml", "--synthetic", p / "augment",
                                        "--out", "x"), 3, "holds augmented cases"),
    "parts of an assessment": (lambda p: ("assess", p / "synthesize", "--against", dataset(p), "--parts", "quality,seams", "--out", "x"), 2,
                               "parts.1: input should be 'quality', 'fidelity', 'copying' or 'membership'"),
    "split that nobody says": (lambda p: (*STATIONS["assess"](p, p / "x8"), "--on-split"), 2,
                               "--on-split: the split of"),
    "missing extractor": (lambda p: (*STATIONS["assess"](p, p / "x8"), "--extractor", "no.pt"), 2,
                          "--extractor: no.pt does not exist; check the path"),
    "bad extractor": (lambda p: (*STATIONS["assess"](p, p / "x8"), "--extractor", p / "train.yaml"), 2,
                      "extractor: file holds no TorchScript network"),
    "no segmenter": (lambda p: (*STATIONS["assess"](p, p / "x8"), "--segmenter", p / "bank"), 3,
                     "bank is a run of bank; expected one of `medaug train`"),
    "copies to assess": (lambda p: ("assess", p / "augment", "--against", dataset(p), "--out", "x"), 3,
                         "case is augmented; expected synthetic"),
    "format": (lambda p: ("predict", p / "train", dataset(p), "--format", "zip", "--out", "x"), 2, "--format: "),
    "synthetic to label": (lambda p: ("predict", p / "train", p / "synthesize", "--out", "x"), 3, "no real case"),
    "synthetic to score": (lambda p: ("evaluate", p / "predict", p / "synthesize", "--out", "x"), 3,
                           "synthetic case is about to be scored"),
    "plain folder of images": (lambda p: ("evaluate", p / "predict", p / "cohort/nifti", "--out", "x"), 3,
                               "nifti holds no .nii.gz label map"),
    "not predicted": (lambda p: ("evaluate", p / "predict", dataset(p), "--fold", 1, "--out", "x"), 3,
                    "have no prediction"),
    "no run": (lambda p: ("report", p / "bank"), 3, "bank holds no results.json"),
    "no assessment": (lambda p: (*STATIONS["release"](p, p / "x4"), "--assessment", p / "bank"), 6,
                      "there is no copying audit"),
    "wrong passphrase": (lambda p: (*STATIONS["release"](p, p / "x5"), "--passphrase-file", p / "train.yaml"), 2,
                         "signing.key cannot be opened with this passphrase"),
    "keys are there": (lambda p: STATIONS["keygen"](p, p / "keygen"), 2, "keys are never replaced"),
    "wrong public key": (lambda p: ("verify", p / "release", "--public-key", p / "passphrase"), 2, "is no public key"),
    "no release": (lambda p: ("verify", p / "bank", "--public-key", p / "keygen/signing.pub"), 6, "certificate"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_call_is_one_line_and_leaves_no_folder(
    what: str, place: Path, tmp_path: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, code, words = WRONG[what]
    known = set(place.iterdir())
    monkeypatch.chdir(tmp_path)
    answer = ask(*call(place))
    assert (answer.code, words in answer.line) == (code, True), answer.line
    assert not [new for new in set(place.iterdir()) - known if (new / "manifest.json").exists()]
    assert not Path("x").exists()


CONFIGURATIONS = {
    "train": {
        "tusk: {kind: segmentation}": "train.yaml: unknown key tusk, did you mean task? (and 1 more)",
        "task: {kind: segmentaton}": "did you mean segmentation?",
        "task: {kind: segmentation, step: 3}": "unknown key step, did you mean steps?",
        "task: {kind: segmentation, dims: 2, patch_size: [9]}": "patch_size needs 2 sizes",
        "task: [": "train.yaml is not valid YAML",
        "- task": "train.yaml: not a mapping",
    },
    "augment": {
        "kind: randaugmnt": "did you mean randaugment?",
        "kind: randaugment\npreset: mri": "transforms: randaugment: preset: input should be",
        "kind: randaugment\nonly: [rotat]": "did you mean rotate?",
        "kind: classical\nsteps: [{step: gama}]": "did you mean gamma?",
        "kind: classical\nstep: []": "unknown key step, did you mean steps?",
        "kind: classical\ndims: 4": "--config: dims: 4; expected 2 (slices) or 3 (volumes)",
        "kind: classical\nsize: [8, 8, 8]": "--config: size: copies keep the grid of their scan",
        "kind: cutmix": "--config: cutmix mixes patients",
        "kind: adaptive": "adaptive has not learnt a policy yet",
        "kind: none": "--config: none changes nothing",
        "dims: 2": "transforms: key kind is missing",
    },
    "fit": {
        "kind: cgn": "did you mean cgan?",
        "kind: copy_paste": "fit.yaml: copy_paste needs no training",
        "kind: cgan\ndevice: gpu": "unknown device 'gpu'",
        "kind: cgan\nsteps: many": "fit.yaml: steps: input should be a valid integer",
    },
    "experiment": {
        EXPERIMENT.replace("baseline: real", "baseline: reel"): "experiment.yaml: baseline reel is no arm",
        EXPERIMENT.replace("folds: [0]", "folds: [5]"): "folds: there is no outer fold 5",
        EXPERIMENT + "limit_class: glass\nn_annotated: [1]\n": "the dataset has no class 'glass'",
        EXPERIMENT + "limit_class: solid\nn_annotated: [50]\n": "n_annotated: fold 0 has",
    },
}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [(name, *pair) for name, texts in CONFIGURATIONS.items() for pair in texts.items()],
)
def test_a_wrong_configuration_is_one_line(
    name: str, text: str, words: str, place: Path, tmp_path: Path, ask: Ask
) -> None:
    (tmp_path / f"{name}.yaml").write_text(text)
    call = list(STATIONS[name](place, tmp_path / "out"))
    call[call.index("--config") + 1] = tmp_path / f"{name}.yaml"
    answer = ask(*call)
    assert answer.code == (3 if words.startswith("n_annotated") else 2)
    assert words in answer.line
    assert not (tmp_path / "out").exists()


BROKEN = {
    "cut": (5, "broken is damaged"),
    "edited card": (5, "generator.json was changed since the training"),
    "card is no JSON": (5, "generator.json is not valid JSON"),
    "other weights": (5, "model.pt is not the one that generator.json names"),
    "other classes": (5, "the generator was trained on another class table: solid, frosted"),
    "another unit": (5, "the host's voxels are in HU; expected a.u., as the generator has learnt"),
    "far spacing": (3, "every host: the host's spacing of"),
    "unfinished": (5, "broken holds no finished generator"),
}


def break_generator(folder: Path, how: str) -> None:
    """Damage a run folder of `medaug fit`."""
    card = read_card(folder)
    changes: dict[str, dict[str, object]] = {
        "edited card": {"fold": 1},
        "other weights": {"weights_sha256": "0" * 64, "seal": ""},
        "other classes": {"classes": ("solid", "frosted"), "seal": ""},
        "another unit": {"scheme": card.scheme.model_copy(update={"unit": Unit.ARBITRARY}), "seal": ""},
    }
    if how == "cut":
        (folder / "model.pt").write_bytes((folder / "model.pt").read_bytes()[:5000])
    elif how == "card is no JSON":
        (folder / "generator.json").write_text('{"kind": "cg')
    elif how == "unfinished":
        (folder / "generator.json").unlink()
    elif how == "far spacing":
        assert card.learnt is not None
        far = card.learnt.model_copy(update={"finest_mm": (9.0, 9.0, 9.0), "coarsest_mm": (9.0, 9.0, 9.0)})
        card.model_copy(update={"learnt": far, "seal": ""}).write(folder / "generator.json")
    else:
        card.model_copy(update=changes[how]).write(folder / "generator.json")


@pytest.mark.parametrize("how", BROKEN)
def test_a_generator_that_does_not_fit_is_one_line(how: str, place: Path, tmp_path: Path, ask: Ask) -> None:
    code, words = BROKEN[how]
    shutil.copytree(place / "fit", tmp_path / "broken")
    break_generator(tmp_path / "broken", how)
    answer = ask(
        "synthesize", dataset(place), "--bank", place / "bank", "--generator", tmp_path / "broken",
        "--per-class", "solid=1", "--out", tmp_path / "out",
    )  # fmt: skip
    assert answer.code == code
    assert words in answer.line


def test_a_training_that_diverges_is_one_line(
    place: Path, tmp_path: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = CganLearner.train_step

    def sick(self: CganLearner, number: int) -> dict[str, float]:
        return step(self, number) | {"critic": float("nan")}

    monkeypatch.setattr(CganLearner, "train_step", sick)
    answer = ask(*STATIONS["fit"](place, tmp_path / "out"))
    assert answer.code == 5
    assert answer.line == "loss critic is nan at step 0; lower the learning rate or check the intensities"
    assert not (tmp_path / "out" / "generator.json").exists()


@pytest.mark.parametrize(
    ("package", "extra", "arguments"),
    [
        ("tensorboard", "tensorboard", ("fit", "split", "--bank", "bank", "--config", "cgan.yaml", "--tensorboard",
                                        "--out", "no_board")),
        ("cryptography", "sign", ("keygen", "--passphrase-file", "cohort/nifti/cases.csv", "--out", "keys")),
        (
            "highdicom",
            "dicom",
            (
                "release", "synthesize", "--assessment", "assess", "--key", "keygen/signing.key", "--out", "no_dicom",
                "--passphrase-file", "passphrase", "--accept-inconclusive", "--format", "dicom",
            ),
        ),
    ],
)  # fmt: skip
def test_a_missing_extra_is_named(package: str, extra: str, arguments: tuple[str, ...], place: Path) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; from medaug.cli.main import main; sys.exit(main(sys.argv[1:]))"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=place, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 4
    assert ended.stdout == ""
    assert f"needs {package}; install it with `pip install medaug[{extra}]`" in ended.stderr.splitlines()[-1]
