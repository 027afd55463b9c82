"""The fuzzer itself: the same seed makes the same inputs, what it must find it finds, and a long run finds nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from medaug.core.runs import NoProgress
from medaug.workflows.ingest import IngestOptions, ingest
from scripts.fuzz.damage import BLIND, SPECIAL, damage
from scripts.fuzz.samples import CANARY, MAKERS
from scripts.fuzz_ingest import ROOT, Worker, make


def _fuzz(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "fuzz_ingest.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("kind", MAKERS)
def test_every_sample_is_whole_and_full_of_identifiers(tmp_path: Path, kind: str) -> None:
    for number, maker in enumerate(MAKERS[kind]):
        files = maker(number)
        assert files == maker(number)
        assert any(CANARY.encode() in content.lower() for content in files.values()) or kind in (
            "nifti",
            "dicom",
            "zip",
        )
        for name, content in files.items():
            path = tmp_path / str(number) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    # the last maker of DICOM is a colour ultrasound, the seventh a JPEG that is noise
    sources = tuple(folder for folder in sorted(tmp_path.iterdir()) if (kind, folder.name) != ("dicom", "6"))
    for source in sources:
        assert ingest(
            IngestOptions(sources=(source,), out=tmp_path / f"out{source.name}", workers=1), NoProgress()
        ).cases


def test_every_blow_changes_bytes_and_is_the_same_for_the_same_seed() -> None:
    for kind, special in SPECIAL.items():
        content = next(iter(MAKERS[kind][0](1).values()))
        for blow in {*BLIND, *special}:
            assert blow(content, Random(1)) == blow(content, Random(1))
        assert {damage(kind, content, Random(n)) for n in range(20)} != {content}
    assert make(3, 7, list(MAKERS), {}) == make(3, 7, list(MAKERS), {})


def test_talk_and_leaks_and_strangers_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(tmp_path, 2)
    files = MAKERS["nifti"][0](1)
    assert worker.try_out(files, look=True) == []
    worker.said.write(b"talk")
    worker.said.flush()
    assert worker.try_out(files, look=True) == ["words on the terminal: talk"]

    def fail(*_: object) -> None:
        (tmp_path / "work" / "stranger").touch()
        raise KeyError("x")

    monkeypatch.setattr("scripts.fuzz_ingest.ingest", fail)
    wrong = worker.try_out(files, look=True)
    assert wrong[0].startswith("KeyError at ")
    assert wrong[1:] == ["files stand outside the output"]
    worker.said.close()


def test_a_short_run_of_every_kind() -> None:
    ended = _fuzz("--count", 130, "--seed", 11)
    assert ended.returncode == 0, ended.stdout
    assert ended.stdout.startswith("130 inputs, 0 failures")


@pytest.mark.slow
def test_five_thousand_damaged_files() -> None:
    ended = _fuzz("--count", 5000, "--seed", 0)
    assert ended.returncode == 0, ended.stdout
