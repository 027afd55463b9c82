"""Benchmarks keep their contract: one JSON object of the documented form, and figures that mean what they say."""

from __future__ import annotations

import importlib
import importlib.util
import json
import multiprocessing
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from scripts.benchmarks import assess, augment, ingest, measure, synthesize, train
from scripts.benchmarks.measure import BenchmarkResult, alternate, peak_mb

ROOT = Path(__file__).resolve().parents[2]
AUGMENT = ["--shape", "24", "20", "--batch", "2", "--dims", "2"]
SYNTHESIZE = ["--size", "96", "--lesions", "2", "--base", "4", "--sampling-steps", "2"]
ASSESS = ["--training", "60", "--synthetic", "3", "--pairs", "20"]
TOY = {
    "assess.py": ASSESS,
    "augment.py": AUGMENT,
    "deidentify.py": ["--series", "1"],
    "ingest.py": ["--shape", "48", "48", "8", "--patients", "1"],
    "synthesize.py": SYNTHESIZE,
    "train.py": ["--shape", "48", "48", "8", "--patients", "1", "--batch-size", "2", "--steps", "1"],
}


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "benchmarks" / name), *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


Said = Callable[..., str]
Printed = Callable[..., BenchmarkResult]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """Runs a benchmark in this process, which has torch already, and gives what it printed.

    The processes whose memory is measured are forked off one that has torch and monai, and import the rest.
    """
    multiprocessing.set_forkserver_preload(["torch", "monai"])
    forked = multiprocessing.get_context("forkserver")
    monkeypatch.setattr(measure, "multiprocessing", SimpleNamespace(get_context=lambda _: forked))

    def run_here(benchmark: ModuleType, *arguments: str) -> str:
        for name in ("OMP", "OPENBLAS", "MKL"):
            monkeypatch.setenv(f"{name}_NUM_THREADS", "1")  # the benchmark sets them: they are put back
        monkeypatch.setenv("VECLIB_MAXIMUM_THREADS", "1")
        # and MONAI's peer turns the tracking of affines off
        meta = importlib.import_module("monai.data.meta_obj")
        monkeypatch.setattr(meta, "_TRACK_META", meta.get_track_meta())
        monkeypatch.setattr(
            sys, "argv", ["benchmark", "--json", "--repeats", "1", "--threads", "1", *arguments]
        )
        assert benchmark.main() == 0
        return capsys.readouterr().out

    return run_here


@pytest.fixture
def printed(said: Said) -> Printed:
    """The same, read."""
    return lambda *call: BenchmarkResult.model_validate_json(said(*call))


def documented_fields() -> set[str]:
    page = (ROOT / "docs" / "reference" / "json-schemas.md").read_text(encoding="utf-8")
    section = page.split("## what a benchmark prints\n", maxsplit=1)[1].split("\n## ", maxsplit=1)[0]
    return set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))


def test_every_benchmark_is_tested() -> None:
    scripts = {path.name for path in (ROOT / "scripts" / "benchmarks").glob("*.py")}
    assert scripts - {"measure.py", "augment_peers.py", "ingest_scale.py"} == set(TOY)


def test_the_cost_of_many_files_is_measured() -> None:
    done = run("ingest_scale.py", "--files", "40", "--json")
    assert done.returncode == 0, done.stderr
    result = BenchmarkResult.model_validate_json(done.stdout)
    assert set(result.seconds) == set(result.peaks_mb) == {"4 files", "40 files"}
    assert "times as much among ten times as many" in result.notes[0]


@pytest.mark.parametrize("name", sorted(TOY))
def test_json_is_one_object_of_the_documented_form(said: Said, name: str) -> None:
    if name == "augment.py":  # one as a user starts it
        done = run(name, "--json", "--repeats", "1", *TOY[name])
        assert done.returncode == 0, done.stderr
        text = done.stdout
    else:
        text = said(importlib.import_module(f"scripts.benchmarks.{Path(name).stem}"), *TOY[name])
    fields = set(json.loads(text))
    assert fields == documented_fields()
    assert {"ratios", "peaks_mb", "threads", "versions"} <= fields
    result = BenchmarkResult.model_validate_json(text)
    readers = {"simpleitk": "SimpleITK", "dicom2nifti": "dicom2nifti"}
    there = {peer for peer, package in readers.items() if importlib.util.find_spec(package) is not None}
    v2 = {"batchgenerators"} if importlib.util.find_spec("batchgeneratorsv2") is not None else set[str]()
    alone = {"train.py": {"bare"}, "synthesize.py": {"procedural"}, "assess.py": {"ssim"}}
    anonymizer = {"anonymizer"} if importlib.util.find_spec("dicomanonymizer") is not None else set[str]()
    peers = (alone | {"ingest.py": there, "augment.py": {"monai"} | v2, "deidentify.py": anonymizer})[name]
    assert set(result.ratios) == peers
    # augment.py: what a peer lacks or that it is missing, and the memory of a batch
    left_out = len(readers.keys() - there)
    notes = {"assess.py": 3, "train.py": 3, "ingest.py": left_out, "synthesize.py": 1}.get(name, 2)
    assert len(result.notes) == notes
    ours = {peer: f"medaug for {peer}" if peer in v2 else "medaug" for peer in peers}
    assert set(result.seconds) == set(result.peaks_mb) == {"medaug", *peers, *ours.values()}
    for peer, ratio in result.ratios.items():
        assert ratio == pytest.approx(result.seconds[peer] / result.seconds[ours[peer]], rel=0.02, abs=1e-3)
    assert all(peak > 10 for peak in result.peaks_mb.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "sides", "note"),
    [
        ("generate", {"medaug: generate", "diffusion: generate"}, "diffusion takes 2 steps"),
        ("stages", {"place", "shape", "generate", "blend"}, "place "),
        ("files", {"read", "draw", "write", "together"}, "one after the other"),
        ("training", {"step", "draw", "generate"}, "drawing is "),
        ("memory", {"2 lesions", "4 lesions"}, "4 lesions take"),
    ],
)
def test_the_other_figures_of_drawing_are_of_the_same_form(
    monkeypatch: pytest.MonkeyPatch, printed: Printed, what: str, sides: set[str], note: str
) -> None:
    monkeypatch.setattr(synthesize, "TRAINING_STEPS", 3)
    given = [*SYNTHESIZE, "--lesions", "2", "4"] if what == "memory" else SYNTHESIZE
    result = printed(synthesize, what, *given)
    assert set(result.seconds) == set(result.peaks_mb) == sides
    assert all(spent > 0 for spent in result.seconds.values())
    assert result.notes[0].startswith(note)


@pytest.mark.slow
@pytest.mark.parametrize("more", [["--patch", "32", "32"], ["--dims", "3", "--patch", "16", "16", "8"]])
def test_volumes_are_labelled_as_monai_labels_them(printed: Printed, more: list[str]) -> None:
    result = printed(train, "inference", "--clock", "cpu", *TOY["train.py"], *more)
    assert set(result.ratios) == {"monai"}
    assert set(result.seconds) == set(result.peaks_mb) == {"medaug", "monai"}
    ratio = result.seconds["monai"] / result.seconds["medaug"]
    assert result.ratios["monai"] == pytest.approx(ratio, rel=0.02, abs=1e-3)


@pytest.mark.slow
def test_operations_are_timed_one_by_one(printed: Printed) -> None:
    result = printed(augment, "--operations", *AUGMENT)
    assert {name.partition(": ")[0] for name in result.ratios} == {"monai"}
    assert "monai: elastic" in result.ratios
    for name, ratio in result.ratios.items():
        ours = result.seconds[name.replace("monai", "medaug")]
        assert ratio == pytest.approx(result.seconds[name] / ours, rel=0.02, abs=1e-2)


def test_a_side_that_does_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    setting = augment.Setting((24, 24), 1, "linear", "cpu")
    monkeypatch.setattr(augment, "DRAWS", 2)
    with pytest.raises(SystemExit, match=r"monai: rotate changes image and labels by \(0\.0, 0\.0\)"):
        check_idle(monkeypatch, setting)


def check_idle(monkeypatch: pytest.MonkeyPatch, setting: augment.Setting) -> None:
    idle = lambda *_: lambda image, labels: (image, labels)  # noqa: E731
    monkeypatch.setattr("scripts.benchmarks.augment_peers.monai_smooth", idle)
    augment.check(["monai"], ("rotate",), setting)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--dims", "2", "--shape", "24"], "--shape has 1 numbers, --dims is 2"),
        (["--interpolation", "cubic"], "cubic interpolation is for 2D"),
    ],
)
def test_settings_that_do_not_fit_are_refused(options: list[str], said: str) -> None:
    done = run("augment.py", *options)
    assert done.returncode == 1
    assert said in done.stderr


@pytest.mark.parametrize(("what", "series"), [("headers", "3"), ("memory", "12")])
def test_the_other_figures_of_reading_are_of_the_same_form(printed: Printed, what: str, series: str) -> None:
    result = printed(ingest, what, "--series", series)
    assert set(result.seconds) == set(result.peaks_mb)
    sides = {"headers": {"medaug", "one_worker"}, "memory": {"10 series", "12 series"}}[what]
    assert set(result.seconds) == sides


@pytest.mark.parametrize("name", sorted(TOY))
def test_bad_options_of_a_script_are_refused(name: str) -> None:
    done = run(name, "--repeats", "0")
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


@pytest.mark.slow
def test_recall_says_what_was_found_and_who_was_flagged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(assess, "limit_threads", lambda threads: None)
    monkeypatch.setattr(sys, "argv", ["assess", "recall", *ASSESS, "--copies", "1", "--synthetic", "8"])
    assert assess.main() == 0
    printed = json.loads(capsys.readouterr().out)
    assert set(printed) == {"false_positives", "changes", "cpu_seconds"}
    assert len(printed["changes"]) == 13
    assert all("of 1 flagged" in words for words in printed["changes"].values())
