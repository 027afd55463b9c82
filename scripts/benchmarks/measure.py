"""What the benchmarks share: the record they print, fair timing, and the peak memory of a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import platform
import resource
import statistics
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal, final, get_args

from pydantic import Field

from medaug import __version__
from medaug.core.config import Document

Peer = Literal[
    "monai",
    "monai_fused",
    "torchio",
    "batchgenerators",
    "simpleitk",
    "dicom2nifti",
    "diffusion",
    "procedural",
    "ssim",
    "anonymizer",
    "bare",
    "one_worker",
]
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_STATUS = Path("/proc/self/status")
_SIDE = rf"^({'|'.join(get_args(Peer))})(: \w+)?$"


@final
class BenchmarkResult(Document):
    """What a benchmark prints with ``--json``."""

    name: str
    setting: str = Field(description="what was measured, in words")
    ratios: dict[Annotated[str, Field(pattern=_SIDE)], float] = Field(
        description="time of the peer / time of medaug: above 1 = medaug is better; empty = no peer is installed. "
        f"A peer is one of {', '.join(get_args(Peer))}; where operations are timed one by one, `peer: operation`"
    )
    seconds: dict[str, float] = Field(description="median of the repeats, of medaug and of every peer")
    peaks_mb: dict[str, float] = Field(
        description="peak resident memory (MiB) of a process that does the work once, imports included"
    )
    threads: int = Field(ge=1, description="each side may use")
    repeats: int = Field(ge=1, description="timed, of each side, in turns; one more came before as a warm-up")
    versions: dict[str, str]
    notes: tuple[str, ...] = Field(description="what was left out, and why")


def parser(description: str, repeats: int) -> ArgumentParser:
    """A command line with the options of every benchmark."""
    made = ArgumentParser(description=description)
    made.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    made.add_argument(
        "--repeats", type=at_least_one, default=repeats, help=f"of each side (default {repeats})"
    )
    made.add_argument("--threads", type=at_least_one, default=1, help="for each side (default 1)")
    return made


def at_least_one(text: str) -> int:
    """A whole number of at least 1, for the command line."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def limit_threads(threads: int) -> None:
    """Limit every library that is not imported yet, here and in the processes of :func:`peak_mb`."""
    for name in _THREAD_VARIABLES:
        os.environ[name] = str(threads)


def alternate(
    sides: Mapping[str, Callable[[], object]], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Median seconds of each side; sides take turns, each round in the other order, after one warm-up round."""
    for work in sides.values():
        work()
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(repeats):
        for name in list(sides)[:: 1 if turn % 2 == 0 else -1]:
            begun = clock()
            sides[name]()
            taken[name].append(clock() - begun)
    return {name: round(statistics.median(each), 6) for name, each in taken.items()}


def peak_mb(work: Callable[[Path], object], folder: Path) -> float:
    """Peak resident memory in MiB of a fresh process that imports what ``work`` needs and calls ``work(folder)``."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_of, (work, folder))


def _peak_of(work: Callable[[Path], object], folder: Path) -> float:
    work(folder)
    if _STATUS.is_file():
        # ru_maxrss would count what the parent held when it started this process
        line = next(
            text for text in _STATUS.read_text(encoding="ascii").splitlines() if text.startswith("VmHWM")
        )
        return round(int(line.split()[1]) / 2**10, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 1)


def versions(*packages: str) -> dict[str, str]:
    """Of Python, the system, medaug, numpy and other installed packages."""
    system = f"{sys.platform} {platform.machine()}"
    known = {"python": platform.python_version(), "system": system, "medaug": __version__}
    return known | {name: version(name) for name in ("numpy", *packages)}


def show(result: BenchmarkResult, *, as_json: bool) -> None:
    """Print the result: one JSON object, or a table for a person."""
    if as_json:
        print(result.model_dump_json(indent=1))
        return
    print(f"{result.name}: {result.setting}; {result.threads} threads, median of {result.repeats}")
    print(f"{'':<12}{'seconds':>10}{'ratio':>8}{'peak MiB':>10}")
    for side, seconds in result.seconds.items():
        ratio = {str(name): f"{value:.2f}" for name, value in result.ratios.items()}.get(side, "")
        print(f"{side:<12}{seconds:>10.4f}{ratio:>8}{result.peaks_mb[side]:>10.0f}")
    for note in result.notes:
        print(note)
    print(", ".join(f"{name} {number}" for name, number in result.versions.items()))
