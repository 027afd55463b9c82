"""Work shared among processes: the same result in the same order, and a clean end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from medaug.core.workers import crew
from medaug.io.headers import read_header, scan
from tests.unit.io.series import stored_values, write_series

ROOT = Path(__file__).resolve().parents[3]
_INTERRUPTED = """
import signal
import sys
from pathlib import Path
from medaug.io.headers import scan

def main():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    files = [Path(sys.argv[1])] * 200_000
    try:
        scan(files, lambda: print(flush=True), workers=3)
    except KeyboardInterrupt:
        sys.exit(130)

if __name__ == "__main__":
    main()
"""


_ABANDONED = """
import sys, time
from medaug.core.workers import crew

def name(items):
    if items[0] % 64 == 0:
        return [str(__import__("os").getpid())] * len(items)
    time.sleep(0.01)
    return [""] * len(items)

def main():
    with crew(2, worth=1) as processes:
        for pid in processes.each(name, range(100_000)):
            if pid:
                print(pid, flush=True)

if __name__ == "__main__":
    main()
"""


def _sizes(paths: Sequence[Path]) -> list[int]:
    return [path.stat().st_size for path in paths]


def _processes(items: Sequence[int]) -> list[int]:
    time.sleep(0.02)
    return [os.getpid()] * len(items)


def test_results_stand_in_the_order_of_the_files_whatever_the_workers(tmp_path: Path) -> None:
    paths = []
    for number in range(700):
        paths.append(tmp_path / f"{number * 37 % 700}")
        paths[-1].write_bytes(b"\0" * number)
    for workers in (1, 3):
        with crew(workers) as processes:
            assert list(processes.each(_sizes, paths)) == list(range(700))
            assert list(processes.each(_sizes, paths[:3])) == [0, 1, 2]


def test_processes_stay_for_the_next_work() -> None:
    with crew(2, worth=1) as processes:
        first = set(processes.each(_processes, range(3200)))
        again = set(processes.each(_processes, range(3200)))
    assert len(first) == 2
    assert first == again


def _fatal(items: Sequence[int]) -> list[int]:
    if multiprocessing.parent_process() is not None:
        os._exit(1)
    return list(items)


def test_work_of_processes_that_were_ended_is_done_by_this_one() -> None:
    with crew(2, worth=1) as processes:
        for _ in range(2):
            assert list(processes.each(_fatal, range(3200))) == list(range(3200))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks processes up in /proc")
def test_processes_end_when_the_first_one_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "work.py"
    script.write_text(_ABANDONED, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    other = next(pid for line in process.stdout if (pid := int(line)) != process.pid)
    process.kill()
    process.wait(timeout=60)
    process.stdout.close()
    until = time.monotonic() + 30
    while Path(f"/proc/{other}").exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not Path(f"/proc/{other}").exists()


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
