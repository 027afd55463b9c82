"""docs/how-to/offline-install.md works: a wheelhouse made with a network installs without one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.wheelhouse,
    pytest.mark.skipif(
        not os.environ.get("MEDAUG_TEST_WHEELHOUSE"),
        reason="downloads the whole dependency set; set MEDAUG_TEST_WHEELHOUSE=1, as .ci/run does",
    ),
]


def run(command: list[str], environment: dict[str, str]) -> str:
    """Run a command, show what it said if it failed, return its output."""
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_a_wheelhouse_installs_without_an_index(tmp_path: Path) -> None:
    wheelhouse, venv = tmp_path / "wheelhouse", tmp_path / "venv"
    online = os.environ | {
        "PIP_CONSTRAINT": str(ROOT / "constraints.txt"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    pip = [sys.executable, "-m", "pip", "-qq"]
    run([*pip, "wheel", "--no-deps", "--wheel-dir", str(wheelhouse), "."], online)
    (wheel,) = wheelhouse.glob("medaug-*.whl")
    run([*pip, "download", "--dest", str(wheelhouse), f"{wheel}[dicom,sign]"], online)

    # Whatever this machine's pip knows of indexes or folders must not help.
    offline = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
    offline |= {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    run([sys.executable, "-m", "venv", str(venv)], offline)
    install = [str(venv / "bin" / "pip"), "-qq", "install", "--no-index", "--no-compile"]
    run([*install, "--find-links", str(wheelhouse), "medaug[dicom,sign]"], offline)

    assert "not a medical device" in run([str(venv / "bin" / "medaug"), "--help"], offline)
    run([str(venv / "bin" / "pip"), "check"], offline)
