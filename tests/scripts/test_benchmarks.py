"""Benchmarks keep their contract: one JSON object of the documented form, and figures that mean what they say."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.benchmarks.measure import BenchmarkResult, alternate, peak_mb

ROOT = Path(__file__).resolve().parents[2]
TOY = {
    "ingest.py": ["--shape", "48", "48", "8", "--patients", "1"],
    "train.py": ["--shape", "48", "48", "8", "--patients", "1", "--batch-size", "2", "--steps", "1"],
}


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "benchmarks" / name), *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def documented_fields() -> set[str]:
    page = (ROOT / "docs" / "reference" / "json-schemas.md").read_text(encoding="utf-8")
    section = page.split("## what a benchmark prints\n", maxsplit=1)[1].split("\n## ", maxsplit=1)[0]
    return set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))


def test_every_benchmark_is_tested() -> None:
    scripts = {path.name for path in (ROOT / "scripts" / "benchmarks").glob("*.py")}
    assert scripts - {"measure.py"} == set(TOY)


@pytest.mark.slow  # torch is imported in three processes
@pytest.mark.parametrize("name", sorted(TOY))
def test_json_is_one_object_of_the_documented_form(name: str) -> None:
    done = run(name, "--json", "--repeats", "1", *TOY[name])
    assert done.returncode == 0, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout)
    assert set(printed) == documented_fields()
    assert {"ratios", "peaks_mb", "threads", "versions"} <= set(printed)
    result = BenchmarkResult.model_validate_json(done.stdout)
    readers = {"simpleitk": "SimpleITK", "dicom2nifti": "dicom2nifti"}
    there = {peer for peer, package in readers.items() if importlib.util.find_spec(package) is not None}
    peers = {"train.py": {"bare"}, "ingest.py": there}[name]
    assert set(result.ratios) == peers
    assert len(result.notes) == (len(readers.keys() - there) if name == "ingest.py" else 0)
    assert set(result.seconds) == set(result.peaks_mb) == {"medaug", *peers}
    for peer, ratio in result.ratios.items():
        assert ratio == pytest.approx(result.seconds[peer] / result.seconds["medaug"], rel=0.02, abs=1e-3)
    assert all(peak > 10 for peak in result.peaks_mb.values())


@pytest.mark.parametrize(("what", "series"), [("headers", "3"), ("memory", "12")])
def test_the_other_figures_of_reading_are_of_the_same_form(what: str, series: str) -> None:
    done = run("ingest.py", what, "--json", "--repeats", "1", "--series", series)
    assert done.returncode == 0, done.stderr
    result = BenchmarkResult.model_validate_json(done.stdout)
    assert set(result.seconds) == set(result.peaks_mb)
    sides = {"headers": {"medaug", "one_worker"}, "memory": {"10 series", "12 series"}}[what]
    assert set(result.seconds) == sides


def test_bad_options_are_refused() -> None:
    done = run("train.py", "--repeats", "0")
    assert done.returncode == 2
    assert "'0' is no whole number of at least 1" in done.stderr


def test_a_folder_without_series_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image", encoding="utf-8")
    done = run("ingest.py", "--json", "--source", str(tmp_path))
    assert done.returncode == 1
    assert "no DICOM image series below" in done.stderr
    assert not done.stdout


def test_sides_take_turns_after_a_warm_up() -> None:
    order: list[str] = []
    seconds = alternate({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, repeats=2)
    assert "".join(order) == "ababba"
    assert set(seconds) == {"a", "b"}


def hold(folder: Path) -> None:
    if folder.name == "large":
        np.ones(8 << 20)  # 64 MiB


def test_peak_is_that_of_the_work_and_not_of_this_process() -> None:
    here = np.ones(16 << 20)
    small, large = (peak_mb(hold, Path(name)) for name in ("small", "large"))
    assert 55 < large - small < 80
    assert here.nbytes / 2**20 == 128
    assert small < 128
