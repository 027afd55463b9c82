"""A folder of DICOM files goes in; what can be made safe comes out under pseudonyms, all else is named with its reason."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import FileDataset
from pydicom.fileset import FileSet

from medaug.cli import main as cli
from medaug.core.certificate import ReportLine
from medaug.core.errors import (
    ConfigError,
    DataError,
    MedaugError,
    PrivacyError,
    StorageError,
    UnreadableError,
)
from medaug.privacy._deidentify.directory import directory_entry, write_directory
from medaug.privacy._deidentify.secret import Pseudonyms, Secret
from medaug.privacy._deidentify.stream import read_stream, write_elements, write_meta
from medaug.privacy.deidentify import Names
from medaug.workflows._deidentify.plan import NameBook
from medaug.workflows.deidentify import DeidentifySummary, _summary, deidentify
from tests.unit.privacy.canaries import base
from tests.unit.workflows.cleaning import options_for, report_lines, run, tree

ROOT = Path(__file__).resolve().parents[3]


def _save(dataset: FileDataset, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two patients, one with two studies; an ultrasound, a text, a damaged file and a link."""
    folder = tmp_path / "Kowalczyk"
    for number in range(3):
        dataset = base()
        dataset.SOPInstanceUID = f"1.2.826.0.1.88888.1.{number}"
        dataset.StudyInstanceUID = f"1.2.826.0.1.88888.2.{number // 2}"
        dataset.StudyDate, dataset.StudyDescription = f"2020030{number + 1}", "CT chest of Grzegorczyk"
        dataset.OperatorsName = "Grzegorczyk^Ola" if number == 2 else ""
        _save(dataset, folder / "Bronislawa" / f"{number}.dcm")
    other = base()
    other.PatientID, other.PatientName, other.SOPInstanceUID = "MRN4712", "Nowak^Jan", "1.2.826.0.1.88888.1.9"
    _save(other, folder / "Nowak.dcm")
    ultrasound = base()
    ultrasound.Modality = "US"
    _save(ultrasound, folder / "us.dcm")
    (folder / "notes.txt").write_text("Kowalczyk called", encoding="utf-8")
    (folder / "cut.dcm").write_bytes((folder / "Nowak.dcm").read_bytes()[:-9])
    (folder / "link.dcm").symlink_to(folder / "Nowak.dcm")
    return folder


def test_each_file_is_written_or_named_with_its_reason(source: Path) -> None:
    options = options_for(source)
    summary = run(options)
    assert (summary.written, summary.quarantined, summary.refused, summary.patients) == (4, 1, 3, 2)
    assert {line.input: (line.outcome, line.reasons) for line in report_lines(options)} == {
        "Bronislawa/0.dcm": ("written", ()),
        "Bronislawa/1.dcm": ("written", ()),
        "Bronislawa/2.dcm": ("written", ()),
        "Nowak.dcm": ("written", ()),
        "cut.dcm": ("refused", ("damaged-file",)),
        "link.dcm": ("refused", ("no-plain-file",)),
        "notes.txt": ("refused", ("not-dicom",)),
        "us.dcm": ("quarantined", ("burned-in-text-possible",)),
    }
    assert options.report is not None
    assert options.report.stat().st_mode & 0o777 == 0o600
    assert options.key_file.stat().st_mode & 0o777 == 0o600
    assert summary.new_key


def test_nothing_that_identifies_comes_out_anywhere(source: Path) -> None:
    options = options_for(source)
    summary = run(options)
    telling = (b"kowalczyk", b"bronislawa", b"nowak", b"grzegorczyk", b"mrn4711", b"20200301", b"88888")
    for name, content in tree(options.out).items():
        assert [word for word in telling if word in content.lower() or word in name.lower().encode()] == []
    shown = " ".join(summary.lines()).lower().replace(str(source.parent).lower(), "")
    assert not any(word.decode() in shown for word in telling)
    secret = options.key_file.read_bytes().strip()
    assert not any(secret in content for content in tree(options.out).values())


def test_files_of_a_patient_stay_together_and_their_dates_apart(source: Path) -> None:
    options = options_for(source)
    run(options)
    written = {line.input: line.output for line in report_lines(options) if line.output is not None}
    headers = {name: pydicom.dcmread(options.out / path) for name, path in written.items()}
    ours = [headers[f"Bronislawa/{number}.dcm"] for number in range(3)]
    assert len({header.PatientID for header in ours}) == 1
    assert [header.StudyInstanceUID for header in ours].count(ours[0].StudyInstanceUID) == 2
    days = [pydicom.valuerep.DA(header.StudyDate) for header in ours]
    assert [(day - days[0]).days for day in days] == [0, 1, 2]
    assert headers["Nowak.dcm"].PatientID != ours[0].PatientID
    assert written["Nowak.dcm"].startswith(f"{headers['Nowak.dcm'].PatientID}/")


def test_same_call_again_changes_nothing_and_a_stopped_one_goes_on(source: Path) -> None:
    options = options_for(source)
    run(options)
    before = tree(options.out)
    gone = next(options.out.rglob("*.dcm"))
    gone.unlink()
    (gone.parent / ".1234abcd.partial.x.dcm").write_bytes(b"half")
    assert not run(options).new_key
    assert tree(options.out) == before


@pytest.mark.parametrize("workers", [2, 3])
def test_any_number_of_processes_writes_the_same_bytes(
    source: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr("medaug.workflows.deidentify._WORTH_WORKERS", 1)
    again = base()
    for number in range(70):
        # every third file is another one of the same instance
        again.SOPInstanceUID = f"1.2.826.0.1.88888.7.{number // 3}"
        again.PixelData = bytes([number % 2]) * 32
        _save(again, source / "many" / f"{number:03d}.dcm")
    alone, shared = options_for(source), options_for(source, out=source.parent / "shared", workers=workers)
    assert run(alone) == run(shared).model_copy(update={"out": str(alone.out), "new_key": True})
    first = report_lines(alone)
    run(shared)
    assert report_lines(shared) == first
    assert tree(alone.out) == tree(shared.out)


def test_progress_tells_of_every_file_in_each_reading(source: Path) -> None:
    told: list[tuple[str, int | None] | int] = []

    class Told:
        def start(self, label: str, total: int | None) -> None:
            told.append((label, total))

        def advance(self, units: int = 1, note: str = "") -> None:
            assert note == ""
            told.append(units)

        def say(self, line: str) -> None:
            raise AssertionError(line)

    deidentify(options_for(source), Told())
    assert told == [("read headers", 8), *[1] * 8, ("clean files", 5), *[1] * 5]


def test_what_may_not_go_out_any_more_is_taken_back(source: Path) -> None:
    options = options_for(source)
    dataset = base()
    dataset.SOPInstanceUID, dataset.ImageComments = "1.2.826.0.1.88888.1.8", "Whitehead"
    _save(dataset, source / "late.dcm")
    run(options)
    written = {line.input: line.output for line in report_lines(options)}
    path = options.out / (written["late.dcm"] or "")
    assert path.is_file()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.66"
    _save(dataset, source / "late.dcm")
    run(options)
    assert not path.exists()
    assert {line.input: line.reasons for line in report_lines(options)}["late.dcm"] == ("raw-data",)


def test_names_of_files_that_are_no_text_are_reported_and_never_written(source: Path) -> None:
    odd = os.fsencode(source) + b"/\xff\n\xe9.dcm"
    (source / "Nowak.dcm").rename(os.fsdecode(odd))
    options = options_for(source)
    run(options)
    lines = {line.input: line.outcome for line in report_lines(options)}
    assert lines["\\xff\n\\xe9.dcm"] == "written"
    assert len(lines) == 8


@pytest.mark.parametrize("tag", [0x00100020, 0x0020000D, 0x0020000E, 0x00080018])
@pytest.mark.parametrize("profile", ["basic", "basic,retain-uids"])
def test_no_crafted_value_leads_out_of_the_output(tmp_path: Path, tag: int, profile: str) -> None:
    source = tmp_path / "source"
    _save(base(), source / "a.dcm")
    for number, value in enumerate(("../../../../up", "/abs/olute", "1.2\\3.4", "..", "1." + "2" * 300)):
        stream = read_stream((source / "a.dcm").read_bytes())
        changed = [replace(e, value=value.encode()) if e.tag == tag else e for e in stream.elements]
        (source / f"{number}.dcm").write_bytes(
            write_meta(stream.meta[1:]) + write_elements(changed, stream.syntax)
        )
    options = options_for(source, profile=profile)
    run(options)
    assert {line.outcome for line in report_lines(options)} <= {"written", "quarantined"}
    assert {item.name for item in tmp_path.iterdir()} == {"source", "out", "key", "report.jsonl"}
    names = tree(options.out).keys() - {"deidentification.json"}
    form = r"P[0-9A-F]{16}(/[0-9]{12}|/[0-9.]{1,64}|/none){2}/[0-9.]{1,64}(-\d+)?\.dcm"
    assert [name for name in names if re.fullmatch(form, name) is None] == []
    assert len(names) >= 1


def _media(folder: Path) -> None:
    """A file-set with its directory, which names the patient."""
    entries = []
    for number in range(4):
        dataset = base()
        dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20200301", "120000", "Kowalczyk-1"
        dataset.SeriesNumber, dataset.InstanceNumber = 1, number + 1
        dataset.SeriesInstanceUID = f"1.2.826.0.1.88888.3.{number // 2}"
        dataset.SOPInstanceUID = f"1.2.826.0.1.88888.1.{number}"
        _save(dataset, folder / f"IM{number}")
        entry = directory_entry((folder / f"IM{number}").read_bytes(), f"IM{number}")
        assert entry is not None
        entries.append(entry)
    (folder / "DICOMDIR").write_bytes(write_directory(entries, Pseudonyms(Secret.of(b"k" * 32))))
    assert b"Kowalczyk" in (folder / "DICOMDIR").read_bytes()


@pytest.mark.parametrize("profile", ["basic", "basic,clean-descriptors,modified-dates"])
def test_directory_of_a_file_set_is_made_anew_and_leads_to_every_file(tmp_path: Path, profile: str) -> None:
    source = tmp_path / "source"
    _media(source)
    options = options_for(source, profile=profile)
    run(options)
    lines = report_lines(options)
    assert [(line.output, line.outcome) for line in lines if line.input == "DICOMDIR"] == [
        ("DICOMDIR", "written")
    ]
    content = (options.out / "DICOMDIR").read_bytes()
    assert not any(word in content.upper() for word in (b"KOWALCZYK", b"BRONISLAWA", b"MRN4711", b"88888"))
    found = FileSet(options.out / "DICOMDIR")
    assert {Path(one.path) for one in found} == {options.out / (line.output or "") for line in lines[1:]}
    for one in found:
        header = pydicom.dcmread(one.path)
        assert (header.SOPInstanceUID, header.SeriesInstanceUID) == (
            one.SOPInstanceUID,
            one.SeriesInstanceUID,
        )
        assert re.fullmatch(
            r"(?:[0-9A-Z_]{1,8}/){3}[0-9A-Z_]{1,8}", Path(one.path).relative_to(options.out).as_posix()
        )
    assert len(found) == 4
    # it is only read, and its folder for changes would outlive it
    found._stage["t"].cleanup()
    second = options_for(
        options.out, out=tmp_path / "again", report=tmp_path / "again.jsonl", profile=profile
    )
    run(second)
    assert tree(second.out) == tree(options.out)


def test_files_that_no_directory_can_list_are_written_all_the_same(tmp_path: Path) -> None:
    source = tmp_path / "source"
    _media(source)
    dataset = base()
    del dataset.SeriesInstanceUID, dataset.StudyInstanceUID
    for path in source.glob("IM*"):
        path.unlink()
    _save(dataset, source / "IM9")
    options = options_for(source)
    assert run(options).written == 2
    directory = pydicom.dcmread(options.out / "DICOMDIR")
    assert not directory.DirectoryRecordSequence
    assert directory.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity == 0


def test_directory_without_its_files_stays_where_it_is(tmp_path: Path) -> None:
    source = tmp_path / "source"
    _media(source)
    for path in source.rglob("*"):
        if path.is_file() and path.name != "DICOMDIR":
            path.unlink()
    options = options_for(source)
    with pytest.raises(DataError, match="media-directory"):
        run(options)
    assert [line.outcome for line in report_lines(options)] == ["quarantined"]
    assert not (options.out / "DICOMDIR").exists()


@pytest.mark.parametrize(
    "function", ["pathlib.Path.write_bytes", "pathlib.Path.replace", "pathlib.Path.mkdir", "os.fsync"]
)
def test_a_full_disk_at_any_point_leaves_no_half_written_file(
    source: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    _media(source / "media")
    whole = options_for(source, out=source.parent / "whole", report=source.parent / "whole.jsonl")
    run(whole)
    expected = tree(whole.out)
    module, _, name = function.rpartition(".")
    owner = Path if module == "pathlib.Path" else os
    before, left = getattr(owner, name), 0

    def failing(*arguments: object, **named: object) -> object:
        nonlocal left
        left -= 1
        if left == 0:
            if name == "write_bytes":
                before(arguments[0], b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        return before(*arguments, **named)

    monkeypatch.setattr(owner, name, failing)
    options = options_for(source, key_file=source.parent / "key2")
    options.key_file.write_bytes(whole.key_file.read_bytes())
    options.key_file.chmod(0o600)
    failures, said = 0, ""
    for point in range(1, 60):
        left = point
        try:
            run(options)
            break
        except StorageError as error:
            failures += 1
            said += error.line()
            found = tree(options.out) if options.out.exists() else {}
            assert found.items() <= expected.items()
            shutil.rmtree(options.out, ignore_errors=True)
    assert failures >= 4
    assert not any(word in said for word in ("Kowalczyk", "Nowak", "Bronislawa"))
    assert tree(options.out) == expected


_KILLED = """
import os, signal, sys
from pathlib import Path
from medaug.core.runs import NoProgress
from medaug.privacy._deidentify.directory import directory_entry, write_directory
from medaug.privacy._deidentify.secret import Pseudonyms, Secret
from medaug.privacy._deidentify.stream import read_stream, write_elements, write_meta
from medaug.workflows.deidentify import DeidentifyOptions, deidentify
left, function = int(sys.argv[1]), sys.argv[2]
before = getattr(Path, function)

def killed(path, *arguments):
    global left
    left -= 1
    if left == 0:
        if function == "write_bytes":
            before(path, arguments[0][:7])
        os.kill(os.getpid(), signal.SIGKILL)
    return before(path, *arguments)

setattr(Path, function, killed)
source, out, key = (Path(word) for word in sys.argv[3:])
deidentify(DeidentifyOptions(source=source, out=out, key_file=key), NoProgress())
"""


@pytest.mark.parametrize(
    ("function", "point"),
    [("write_bytes", 1), ("write_bytes", 2), ("replace", 1), ("write_bytes", 4), ("replace", 4)],
)
def test_a_killed_call_leaves_nothing_that_identifies_and_goes_on(
    source: Path, function: str, point: int
) -> None:
    options = options_for(source)
    words = [str(point), function, *map(str, (source, options.out, options.key_file))]
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, *words], env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False
    )
    assert done.returncode == -9
    for folder in (options.out, source.parent):
        for path in folder.rglob("*") if folder is options.out else folder.glob(".*"):
            shown = path.name.encode() + (path.read_bytes() if path.is_file() else b"")
            assert not any(word in shown.lower() for word in (b"kowalczyk", b"nowak", b"mrn4711", b"88888"))
    run(options)
    whole = options_for(source, out=source.parent / "whole")
    run(whole)
    assert tree(options.out) == tree(whole.out)
    assert not [*source.parent.glob(".*")]


def test_secret_and_identifiers_are_not_said(
    source: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medaug.workflows.deidentify._WORTH_WORKERS", 1)
    place = source.parent
    words = [
        "deidentify",
        str(source),
        "--out",
        str(place / "out"),
        "--key-file",
        str(place / "key"),
        "--workers",
        "2",
    ]
    assert cli.main(words) == 0
    (place / "out" / "deidentification.json").write_text("{", encoding="utf-8")
    assert cli.main(["--debug", *words]) != 0
    said = "".join(capfd.readouterr())
    secret = (place / "key").read_text("utf-8").strip()
    said = said.replace(str(place), "")
    assert not any(
        word in said for word in (secret, secret[:12], "Kowalczyk", "Bronislawa", "Nowak", "MRN4711")
    )


def test_a_stop_at_any_write_leaves_no_half_written_file(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = options_for(source)
    whole = options_for(source, out=source.parent / "whole")
    run(whole)
    move = Path.replace
    left = 0

    def stopping(temporary: Path, target: Path) -> Path:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return move(temporary, target)

    monkeypatch.setattr(Path, "replace", stopping)
    stops = 0
    for _ in range(20):
        left = 1
        try:
            run(options)
        except KeyboardInterrupt:
            stops += 1
            assert tree(options.out).items() <= tree(whole.out).items()
            continue
        break
    # the record, four files; the report is the one write of the last call
    assert stops == 5
    assert tree(options.out) == tree(whole.out)


def test_files_that_a_power_cut_emptied_are_written_again(source: Path) -> None:
    options = options_for(source)
    run(options)
    before = tree(options.out)
    for path in options.out.rglob("*.dcm"):
        path.write_bytes(b"")
    run(options)
    assert tree(options.out) == before


def test_own_output_goes_through_as_it_is(source: Path) -> None:
    first = options_for(source)
    run(first)
    second = options_for(first.out, out=source.parent / "again", report=source.parent / "again.jsonl")
    summary = run(second)
    assert summary.written == 4
    lines = [line for line in report_lines(second) if line.outcome == "written"]
    assert all(line.input == line.output and line.reasons == ("own-output",) for line in lines)
    cleaned = {name: content for name, content in tree(first.out).items() if name.endswith(".dcm")}
    assert cleaned.items() <= tree(second.out).items()


def test_files_of_one_instance_are_numbered_or_told_to_be_one(tmp_path: Path) -> None:
    source = tmp_path / "source"
    dataset = base()
    _save(dataset, source / "a.dcm")
    _save(dataset, source / "b.dcm")
    dataset.PixelData = bytes(32)
    _save(dataset, source / "c.dcm")
    options = options_for(source)
    run(options)
    names = [line.output or "" for line in report_lines(options)]
    assert names[0] == names[1]
    assert names[2] == names[0].replace(".dcm", "-2.dcm")
    before = tree(options.out)
    run(options)
    assert tree(options.out) == before


def test_other_rules_or_another_key_into_the_same_folder_are_refused(source: Path) -> None:
    run(options_for(source))
    with pytest.raises(ConfigError, match="another key or profile"):
        run(options_for(source, profile="basic"))
    with pytest.raises(ConfigError, match="another key or profile"):
        run(options_for(source, key_file=source.parent / "key2"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"out": "Kowalczyk/out"}, "within each other"),
        ({"out": "."}, "within each other"),
        ({"report": "out/report.jsonl"}, "lie in the output"),
        ({"key_file": "out/key"}, "lie in the output"),
        ({"key_file": "Kowalczyk/key"}, "lies in the source"),
        ({"source": "nowhere"}, "no such folder"),
        ({"out": "full"}, "not empty"),
        ({"out": "linked"}, "no plain folder"),
        ({"profile": "basic,all"}, "unknown option"),
    ],
)
def test_places_that_would_mix_what_must_stay_apart_are_refused(
    source: Path, changes: dict[str, str], said: str
) -> None:
    place = source.parent
    (place / "full").mkdir()
    (place / "full" / "a.txt").write_text("a", encoding="utf-8")
    (place / "linked").symlink_to(place / "elsewhere")
    paths = {key: value if key == "profile" else place / value for key, value in changes.items()}
    with pytest.raises(MedaugError, match=said):
        run(options_for(source, **paths))
    assert not (place / "elsewhere").exists()
    assert not (place / changes.get("key_file", "key")).exists()


def test_a_file_without_a_patient_id_goes_out_under_a_pseudonym(tmp_path: Path) -> None:
    dataset = base()
    del dataset.PatientID
    _save(dataset, tmp_path / "source" / "a.dcm")
    del dataset.PatientName
    _save(dataset, tmp_path / "source" / "b.dcm")
    options = options_for(tmp_path / "source")
    assert run(options).patients == 2
    for line in report_lines(options):
        header = pydicom.dcmread(options.out / (line.output or ""))
        assert (line.output or "").startswith(f"{header.PatientID}/")
        assert header.PatientName == header.PatientID


def test_a_link_in_the_output_leads_nowhere(source: Path) -> None:
    options = options_for(source)
    run(options)
    patient = next(path for path in options.out.iterdir() if path.is_dir())
    elsewhere = source.parent / "elsewhere"
    patient.rename(elsewhere)
    before = tree(elsewhere)
    patient.symlink_to(elsewhere)
    with pytest.raises(StorageError, match="link"):
        run(options)
    assert tree(elsewhere) == before


def test_key_that_others_can_read_is_refused(source: Path) -> None:
    key = source.parent / "key"
    key.write_bytes(b"k" * 32)
    key.chmod(0o644)
    with pytest.raises(PrivacyError, match="by others"):
        run(options_for(source))
    assert not (source.parent / "out").exists()


def test_nothing_written_is_an_error_and_still_reported(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "notes.txt").write_text("nothing", encoding="utf-8")
    options = options_for(source)
    with pytest.raises(DataError, match="not-dicom"):
        run(options)
    assert [line.reasons for line in report_lines(options)] == [("not-dicom",)]
    assert not options.out.exists()
    assert not options.key_file.exists()
    ultrasound = base()
    ultrasound.Modality = "US"
    _save(ultrasound, source / "us.dcm")
    with pytest.raises(DataError, match="burned-in-text-possible"):
        run(options)
    assert not options.out.exists()
    _save(base(), source / "mr.dcm")
    assert run(options).written == 1
    # the key that is kept is the one behind what was written
    assert not run(options).new_key


def test_command_line_takes_one_file_and_prints_counts(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = source.parent
    arguments = [
        "deidentify",
        str(source / "Nowak.dcm"),
        "--out",
        str(place / "out"),
        "--key-file",
        str(place / "key"),
    ]
    assert cli.main([*arguments, "--profile", "basic", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["written"], told["patients"], told["reasons"]) == (1, 1, {})
    record = json.loads((place / "out" / "deidentification.json").read_text("utf-8"))
    assert (record["edition"], record["options"]) == ("2026c", [])


def test_summary_counts_what_a_person_should_look_at() -> None:
    none = DeidentifySummary(
        out="out", written=1, quarantined=0, refused=0, patients=1, faces_not_looked_at=0,
        pixels_cleaned=0, writing_in_regions=0, reasons={}, new_key=False,
    )  # fmt: skip
    assert none.lines()[0] == "1 file of 1 patient written to out"
    assert not any("pixels-cleaned" in line or "writing-in-region" in line for line in none.lines())
    said = none.model_copy(update={"pixels_cleaned": 1, "writing_in_regions": 2}).lines()
    assert any(line.startswith("pixels-cleaned: 1 file;") for line in said)
    assert any(line.startswith("writing-in-region: 2 files;") for line in said)
    left = none.model_copy(update={"reasons": {"burned-in-text-possible": 2, "not-dicom": 1}}).lines()
    assert left[-1] == "not-dicom: 1"
    assert left[-2].startswith("burned-in-text-possible: 2; with clean-pixel-data in --profile, ")


def test_written_files_with_cleaned_pixels_are_counted(source: Path) -> None:
    said = [("pixels-cleaned:3", "writing-in-region:1"), ("pixels-cleaned:0",), ()]
    lines = [ReportLine(input="a", output="b", outcome="written", reasons=reasons) for reasons in said]
    summary = _summary(options_for(source), lines, 1, is_new=False)
    assert (summary.written, summary.pixels_cleaned, summary.writing_in_regions) == (3, 1, 1)


def test_a_file_that_is_gone_before_it_is_named_is_not_named_in_the_error(tmp_path: Path) -> None:
    book, names = NameBook(is_file_set=False), Names("P1", "2.25.1", "2.25.2", "2.25.3")
    assert book.name(names, tmp_path / "Kowalczyk.dcm") == "P1/1/2/3.dcm"
    with pytest.raises(UnreadableError) as caught:
        book.name(names, tmp_path / "Kowalczyk again.dcm")
    assert "Kowalczyk" not in caught.value.line()
