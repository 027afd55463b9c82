"""Header scans shared among processes: the same result in the same order, and a clean end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from medaug.io._dicom.workers import each_file
from medaug.io.headers import read_header, scan
from tests.unit.io.series import stored_values, write_series

ROOT = Path(__file__).resolve().parents[4]
_INTERRUPTED = """
import sys
from pathlib import Path
from medaug.io.headers import scan

def main():
    files = [Path(sys.argv[1])] * 200_000
    try:
        scan(files, lambda: print(flush=True), workers=3)
    except KeyboardInterrupt:
        sys.exit(130)

if __name__ == "__main__":
    main()
"""


def _size(path: Path) -> int:
    return path.stat().st_size


def test_results_stand_in_the_order_of_the_files_whatever_the_workers(tmp_path: Path) -> None:
    paths = []
    for number in range(700):
        paths.append(tmp_path / f"{number * 37 % 700}")
        paths[-1].write_bytes(b"\0" * number)
    assert list(each_file(_size, paths, 1)) == list(range(700))
    assert list(each_file(_size, paths, 3)) == list(range(700))


def test_a_scan_finds_the_same_with_one_process_and_with_more(tmp_path: Path) -> None:
    files = write_series(tmp_path / "a", stored_values(3)) + write_series(tmp_path / "b", stored_values(4))
    (tmp_path / "junk").write_bytes(b"junk")
    (tmp_path / "torn").write_bytes(files[0].read_bytes()[:300])
    many = [*files, tmp_path / "junk", tmp_path / "torn"] * 60
    ticks: list[int] = []
    alone, shared = scan(many), scan(many, lambda: ticks.append(1), workers=2)
    assert alone == shared
    assert (len(ticks), len(shared.images), len(shared.not_dicom), len(shared.damaged)) == (540, 2, 60, 60)
    header = read_header(files[0])
    assert header is not None
    assert header in [one for series in shared.images for one in series.headers]


@pytest.mark.skipif(sys.platform == "win32", reason="no process groups")
def test_an_interrupted_scan_ends_without_a_word(tmp_path: Path) -> None:
    (path, *_) = write_series(tmp_path, stored_values(1))
    script = tmp_path / "scan.py"
    script.write_text(_INTERRUPTED, encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, str(script), str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    process.stdout.read(1)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, b"")
