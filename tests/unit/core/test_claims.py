"""Claims in a shared folder: one owner at a time, and nothing is lost with a process that dies."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from medaug.core import claims
from medaug.core.claims import DEAD_S, Claims
from medaug.core.errors import StorageError


def dead_process() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    return child.pid


def claim_of(folder: Path, thing: str, machine: str, pid: int, age_s: float = 0.0) -> Path:
    """What another process left."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{thing}~{machine}~{pid}~0123abcd"
    path.touch()
    made = path.stat().st_mtime - age_s
    os.utime(path, (made, made))
    return path


def test_a_thing_has_one_owner_and_is_free_when_given_back(tmp_path: Path) -> None:
    folder = tmp_path / "claims"
    with Claims(folder) as one, Claims(folder) as two:
        assert (one.others(), two.others()) == (1, 1)
        assert one.take("cell")
        assert not two.take("cell")
        assert two.take("other")
        assert two.taken() == {"present", "cell"}
        one.give_back("cell")
        assert two.take("cell")
    assert not folder.exists()


def stopped_while_holding(folder: Path, other: Claims) -> None:
    with Claims(folder) as mine, mine.held("results"):
        assert not other.take("results")
        raise KeyboardInterrupt


def test_what_is_held_is_given_back_on_any_way_out(tmp_path: Path) -> None:
    with Claims(tmp_path / "claims") as other:
        with pytest.raises(KeyboardInterrupt):
            stopped_while_holding(tmp_path / "claims", other)
        assert other.take("results")


def test_the_claim_of_a_dead_process_is_taken_over_at_once(tmp_path: Path) -> None:
    left = claim_of(tmp_path / "claims", "cell", claims._machine(), dead_process())
    with Claims(tmp_path / "claims") as mine:
        assert mine.take("cell")
        assert not left.exists()


@pytest.mark.parametrize(("age_s", "free"), [(DEAD_S - 30, False), (DEAD_S + 30, True)])
def test_a_claim_from_another_machine_is_judged_by_its_age(tmp_path: Path, age_s: float, free: bool) -> None:
    claim_of(tmp_path / "claims", "cell", "elsewhere", 1, age_s)
    with Claims(tmp_path / "claims") as mine:
        assert mine.take("cell") is free


def test_held_claims_are_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "BEAT_S", 0.01)
    with Claims(tmp_path / "claims") as mine:
        assert mine.take("cell")
        (path,) = (tmp_path / "claims").glob("cell~*")
        os.utime(path, (0, 0))
        for _ in range(500):
            if path.stat().st_mtime > 0:
                break
            mine._left.wait(0.01)
        assert path.stat().st_mtime > 0


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(StorageError, match=r"cannot read or write .*/file/claims: "),
        Claims(tmp_path / "file" / "claims"),
    ):
        pass
