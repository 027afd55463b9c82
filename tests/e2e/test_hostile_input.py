"""Sources full of identifiers, good and hostile: what ingest says and writes holds none of them, and nothing lies outside."""

from __future__ import annotations

import gzip
import json
import os
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medaug.cli.main import main
from medaug.core.case import SOURCES_PRIVATE, read_manifest
from medaug.core.runs import WORKING
from scripts.fuzz.samples import CANARY, MAKERS, Files, canary
from tests.unit.ingest.material import ct_set, save, write_table

Said = Callable[..., tuple[int, str]]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Said:
    """Run a command; its exit code, and everything it printed."""

    def run(*arguments: object) -> tuple[int, str]:
        code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return run


def _put(folder: Path, files: Files) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def _mixture(place: Path) -> Path:
    """Every kind of source that can stand in one folder, good and damaged; a table of its own in a second one."""
    source = place / canary("Clinic")
    for kind in ("dicom", "seg", "rtstruct", "dicomdir", "nifti", "png", "zip", "nrrd", "metaimage", "tiff"):
        for number, maker in enumerate(MAKERS[kind]):
            _put(source / f"{canary('Patient')}{kind}{number}", maker(number))
    series = MAKERS["dicom"][0](7)
    _put(source / canary("Torn"), {name: content[:-300] for name, content in series.items()})
    odd = {
        name: content.replace(b"CS\x02\x00CT", b"CS\x0a\x00" + canary("Mod").encode() + b"  ")
        for name, content in series.items()
    }
    _put(source / canary("Modality"), odd)
    _put(source, {f"{canary('Junk')}.dcm": b"\0" * 128 + b"DICM" + canary("Junk").encode() * 20})
    _put(
        source,
        {
            f"{canary('Zip')}.zip": b"PK\x03\x04" + canary("Zip").encode(),
            f"{canary('A')}.7z": b"7z\xbc\xaf\x27\x1c",
        },
    )
    with zipfile.ZipFile(source / f"{canary('Climb')}.zip", "w") as archive:
        archive.writestr(f"../../../{canary('Escaped')}", b"x")
    os.mkfifo(source / canary("Pipe"))
    (source / canary("Link")).symlink_to(source)
    (source / os.fsdecode(b"\xff\xfe" + canary("Bytes").encode())).write_bytes(b"no image")
    _put(source / canary("Listed"), MAKERS["table"][0](3))
    return source


def _leaks(out: Path) -> list[str]:
    """Files of a dataset, the private list excepted, that hold an identifier in their name or content."""
    found = []
    for path in out.rglob("*"):
        content = path.read_bytes() if path.is_file() and path.name != SOURCES_PRIVATE else b""
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        if CANARY in (str(path.relative_to(out)) + content.decode("latin-1")).lower():
            found.append(path.name)
    return found


def _around(place: Path, out: Path) -> set[Path]:
    return {path for path in place.rglob("*") if not path.is_relative_to(out)}


@pytest.mark.parametrize("ending", [(), ("--json",), ("--strict",), ("--strict", "--debug"), ("--keep-ids",)])
def test_no_identifier_in_anything_but_the_private_list(
    tmp_path: Path, say: Said, ending: tuple[str, ...]
) -> None:
    source, out = _mixture(tmp_path), tmp_path / "out"
    before = _around(tmp_path, out)
    code, printed = say("ingest", source, "--out", out, "--name", "set", "--workers", "1", *ending)
    assert code == (3 if "--strict" in ending else 0), printed
    if "--keep-ids" not in ending:
        assert CANARY not in printed.lower()
        assert _leaks(out) == []
    assert _around(tmp_path, out) == before
    private = out / SOURCES_PRIVATE
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert CANARY in private.read_text().lower()
    assert not (out / WORKING).exists()
    assert ("Traceback" in printed) == ("--debug" in ending)


def test_members_of_archives_are_listed_under_their_archive(tmp_path: Path, say: Said) -> None:
    source = _put(tmp_path / canary("Clinic"), MAKERS["zip"][0](1))
    assert say("ingest", source, "--out", tmp_path / "out")[0] == 0
    private = json.loads((tmp_path / "out" / SOURCES_PRIVATE).read_text())
    files = [file for case in private["cases"] for file in case["files"]]
    assert all(file.startswith(f"{source}/scans.zip!") for file in files)
    assert f"{source}/scans.zip!{canary('Member')}/IM0" in files
    assert WORKING not in (tmp_path / "out" / SOURCES_PRIVATE).read_text()
    first = (tmp_path / "out" / "manifest.json").read_bytes()
    assert say("ingest", source, "--out", tmp_path / "out")[0] == 0
    assert (tmp_path / "out" / "manifest.json").read_bytes() == first


def test_a_traceback_shows_code_and_no_words_of_others(tmp_path: Path, say: Said) -> None:
    source = tmp_path / canary("Clinic")
    source.mkdir()
    (source / "cases.csv").write_bytes(b"\xff" + canary("Row").encode())
    code, printed = say("ingest", source, "--out", tmp_path / "out", "--debug")
    assert code == 3
    assert "UnicodeDecodeError: (its words" in printed
    assert CANARY not in printed.lower()
    assert printed.splitlines()[-1].startswith("medaug: ")


def test_a_defect_shows_its_traceback_without_words_of_others() -> None:
    script = (
        "import sys; from medaug.cli import data, main; import medaug.workflows.split as split\n"
        f"def fail(*_): raise KeyError('{canary('Name')}')\n"
        "split.split = fail\n"
        "sys.exit(main.main(['split', '.', '--folds', '2']))\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "KeyError: (its words" in ended.stderr
    # the line of the script itself is not known to the interpreter, so that nothing of it is shown
    assert CANARY not in ended.stderr.lower()


@pytest.mark.parametrize("first", ["strict", "none"])
def test_a_refused_ingest_gives_its_folder_to_the_corrected_call(
    tmp_path: Path, say: Said, first: str
) -> None:
    rows = ct_set(tmp_path / "src", ("a1", "a2"))
    write_table(tmp_path / "src", rows)
    images = tmp_path / "src" / "images"
    (images / "a2.nii.gz").write_bytes(b"junk")
    if first == "none":
        (images / "a1.nii.gz").write_bytes(b"junk")
    strict = ("--strict",) if first == "strict" else ()
    code, printed = say("ingest", tmp_path / "src", "--out", tmp_path / "out", *strict)
    assert code == 3, printed
    assert sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file()) == [
        "findings.json", "run.json", "sources.private.json",
    ]  # fmt: skip
    save(images / "a1.nii.gz", np.full((6, 5, 4), -1000, np.int16) + np.arange(4, dtype=np.int16))
    save(images / "a2.nii.gz", np.full((6, 5, 4), -900, np.int16) + np.arange(4, dtype=np.int16))
    code, printed = say("ingest", tmp_path / "src", "--out", tmp_path / "out", "--licence", "CC0-1.0")
    assert code == 0, printed
    assert [record.case_id for record in read_manifest(tmp_path / "out").cases] == ["a1", "a2"]
    code, printed = say("ingest", tmp_path / "src", "--out", tmp_path / "out", "--strict")
    assert (code, "holds an ingest run with another" in printed) == (2, True)


def test_a_call_that_finds_nothing_leaves_no_folder(tmp_path: Path, say: Said) -> None:
    (tmp_path / "src").mkdir()
    assert say("ingest", tmp_path / "src", "--out", tmp_path / "out")[0] == 3
    assert not (tmp_path / "out").exists()
    assert say("ingest", tmp_path / canary("Gone"), "--out", tmp_path / "out")[0] == 2
    assert not (tmp_path / "out").exists()
