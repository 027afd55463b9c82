"""The environment logic that the scripts share, without installing anything."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def shell(code: str, place: Path) -> subprocess.CompletedProcess[str]:
    """Run code after sourcing _venv.sh, as a script of an (almost) empty checkout would."""
    (place / "scripts").mkdir(exist_ok=True)
    (place / ".venv").mkdir(exist_ok=True)
    text = f'. "{ROOT}/scripts/_venv.sh"\n{code}\n'
    return subprocess.run(
        ["sh", "-c", text, str(place / "scripts" / "demo")], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("asked", "brought"),
    [
        ("dicom sign", {"dicom", "sign"}),
        ("test", {"test", "dicom", "pacs", "policy", "sign"}),
        ("dev", {"dev", "docs", "test", "dicom", "pacs", "policy", "sign"}),
    ],
)
def test_extras_bring_others(tmp_path: Path, asked: str, brought: set[str]) -> None:
    assert set(shell(f'with_implied "{asked}"', tmp_path).stdout.split()) == brought


@pytest.mark.parametrize(
    ("stamp", "asked", "installed"),
    [
        ("state\ndicom sign test\n", "dicom sign", True),
        ("state\ndicom sign\n", "test", False),
        ("other\ndicom sign test\n", "test", False),
        ("", "dicom", False),
        (None, "dicom", False),
    ],
)
def test_the_stamp_decides(tmp_path: Path, stamp: str | None, asked: str, installed: bool) -> None:
    (tmp_path / ".venv").mkdir()
    if stamp is not None:
        (tmp_path / ".venv" / ".medaug-installed").write_text(stamp, encoding="utf-8")
    assert (shell(f'is_installed state "{asked}"', tmp_path).returncode == 0) is installed


def test_an_old_python_is_refused_in_words(tmp_path: Path) -> None:
    old = tmp_path / "old-python"
    old.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    old.chmod(0o755)
    done = shell(f'MEDAUG_PYTHON="{old}"\nfind_python', tmp_path)
    assert done.returncode == 1
    assert "Python 3.11 or newer" in done.stderr
