"""A folder of DICOM files goes in; what can be made safe comes out under pseudonyms, all else is named with its reason."""

import json
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import FileDataset

from medaug.cli import main as cli
from medaug.core.errors import ConfigError, DataError, MedaugError, PrivacyError, StorageError
from medaug.core.runs import NoProgress
from medaug.workflows.deidentify import DeidentifyOptions, DeidentifySummary, ReportLine, deidentify
from tests.unit.privacy.canaries import base


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


def _options(source: Path, /, **changes: object) -> DeidentifyOptions:
    place = source.parent
    values: dict[str, object] = {"source": source, "out": place / "out", "key_file": place / "key"}
    values |= {"report": place / "report.jsonl"} | changes
    return DeidentifyOptions.model_validate(values)


def _run(options: DeidentifyOptions) -> DeidentifySummary:
    return deidentify(options, NoProgress())


def _report(options: DeidentifyOptions) -> list[ReportLine]:
    assert options.report is not None
    return [ReportLine.model_validate_json(line) for line in options.report.read_text("utf-8").splitlines()]


def _tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_each_file_is_written_or_named_with_its_reason(source: Path) -> None:
    options = _options(source)
    summary = _run(options)
    assert (summary.written, summary.quarantined, summary.refused, summary.patients) == (4, 1, 3, 2)
    assert {line.input: (line.outcome, line.reasons) for line in _report(options)} == {
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
    options = _options(source)
    summary = _run(options)
    telling = (b"kowalczyk", b"bronislawa", b"nowak", b"grzegorczyk", b"mrn4711", b"20200301", b"88888")
    for name, content in _tree(options.out).items():
        assert [word for word in telling if word in content.lower() or word in name.lower().encode()] == []
    shown = " ".join(summary.lines()).lower().replace(str(source.parent).lower(), "")
    assert not any(word.decode() in shown for word in telling)
    secret = options.key_file.read_bytes().strip()
    assert not any(secret in content for content in _tree(options.out).values())


def test_files_of_a_patient_stay_together_and_their_dates_apart(source: Path) -> None:
    options = _options(source)
    _run(options)
    written = {line.input: line.output for line in _report(options) if line.output is not None}
    headers = {name: pydicom.dcmread(options.out / path) for name, path in written.items()}
    ours = [headers[f"Bronislawa/{number}.dcm"] for number in range(3)]
    assert len({header.PatientID for header in ours}) == 1
    assert [header.StudyInstanceUID for header in ours].count(ours[0].StudyInstanceUID) == 2
    days = [pydicom.valuerep.DA(header.StudyDate) for header in ours]
    assert [(day - days[0]).days for day in days] == [0, 1, 2]
    assert headers["Nowak.dcm"].PatientID != ours[0].PatientID
    assert written["Nowak.dcm"].startswith(f"{headers['Nowak.dcm'].PatientID}/")


def test_same_call_again_changes_nothing_and_a_stopped_one_goes_on(source: Path) -> None:
    options = _options(source)
    _run(options)
    before = _tree(options.out)
    gone = next(options.out.rglob("*.dcm"))
    gone.unlink()
    (gone.parent / ".1234abcd.partial.x.dcm").write_bytes(b"half")
    assert not _run(options).new_key
    assert _tree(options.out) == before


def test_a_stop_at_any_write_leaves_no_half_written_file(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = _options(source)
    whole = _options(source, out=source.parent / "whole")
    _run(whole)
    replace = Path.replace
    left = 0

    def stopping(temporary: Path, target: Path) -> Path:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return replace(temporary, target)

    monkeypatch.setattr(Path, "replace", stopping)
    stops = 0
    for _ in range(20):
        left = 1
        try:
            _run(options)
        except KeyboardInterrupt:
            stops += 1
            assert _tree(options.out).items() <= _tree(whole.out).items()
            continue
        break
    # the record, four files; the report is the one write of the last call
    assert stops == 5
    assert _tree(options.out) == _tree(whole.out)


def test_files_that_a_power_cut_emptied_are_written_again(source: Path) -> None:
    options = _options(source)
    _run(options)
    before = _tree(options.out)
    for path in options.out.rglob("*.dcm"):
        path.write_bytes(b"")
    _run(options)
    assert _tree(options.out) == before


def test_own_output_goes_through_as_it_is(source: Path) -> None:
    first = _options(source)
    _run(first)
    second = _options(first.out, out=source.parent / "again", report=source.parent / "again.jsonl")
    summary = _run(second)
    assert summary.written == 4
    lines = [line for line in _report(second) if line.outcome == "written"]
    assert all(line.input == line.output and line.reasons == ("own-output",) for line in lines)
    cleaned = {name: content for name, content in _tree(first.out).items() if name.endswith(".dcm")}
    assert cleaned.items() <= _tree(second.out).items()


def test_files_of_one_instance_are_numbered_or_told_to_be_one(tmp_path: Path) -> None:
    source = tmp_path / "source"
    dataset = base()
    _save(dataset, source / "a.dcm")
    _save(dataset, source / "b.dcm")
    dataset.PixelData = bytes(32)
    _save(dataset, source / "c.dcm")
    options = _options(source)
    _run(options)
    names = [line.output or "" for line in _report(options)]
    assert names[0] == names[1]
    assert names[2] == names[0].replace(".dcm", "-2.dcm")
    before = _tree(options.out)
    _run(options)
    assert _tree(options.out) == before


def test_other_rules_or_another_key_into_the_same_folder_are_refused(source: Path) -> None:
    _run(_options(source))
    with pytest.raises(ConfigError, match="another key or profile"):
        _run(_options(source, profile="basic"))
    with pytest.raises(ConfigError, match="another key or profile"):
        _run(_options(source, key_file=source.parent / "key2"))


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
        _run(_options(source, **paths))
    assert not (place / "elsewhere").exists()


def test_a_link_in_the_output_leads_nowhere(source: Path) -> None:
    options = _options(source)
    _run(options)
    patient = next(path for path in options.out.iterdir() if path.is_dir())
    elsewhere = source.parent / "elsewhere"
    patient.rename(elsewhere)
    before = _tree(elsewhere)
    patient.symlink_to(elsewhere)
    with pytest.raises(StorageError, match="link"):
        _run(options)
    assert _tree(elsewhere) == before


def test_key_that_others_can_read_is_refused(source: Path) -> None:
    key = source.parent / "key"
    key.write_bytes(b"k" * 32)
    key.chmod(0o644)
    with pytest.raises(PrivacyError, match="by others"):
        _run(_options(source))
    assert not (source.parent / "out").exists()


def test_nothing_written_is_an_error_and_still_reported(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "notes.txt").write_text("nothing", encoding="utf-8")
    options = _options(source)
    with pytest.raises(DataError, match="not-dicom"):
        _run(options)
    assert [line.reasons for line in _report(options)] == [("not-dicom",)]


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
