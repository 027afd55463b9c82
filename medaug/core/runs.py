"""Run folders: the same call again is skipped, an interrupted one resumes, a changed one is refused."""

from __future__ import annotations

import json
import platform
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, Protocol, final

from medaug import __version__
from medaug.core.claims import CLAIMS
from medaug.core.config import Document, Frozen
from medaug.core.errors import ConfigError
from medaug.core.storage import storage_error, write_text_atomic

RUN_FILE = "run.json"
# A private folder for what a step only needs while it runs; whoever makes it removes it.
WORKING = ".unpacked"
_PACKAGES = ("torch", "monai", "numpy", "scipy", "nibabel", "pydicom", "scikit-image", "highdicom")


class Progress(Protocol):
    """Where a long step says how far it is; the CLI gives it a bar, tests give it nothing."""

    def start(self, label: str, total: int | None) -> None:
        """A new bar of ``total`` units begins; None where nobody knows how many there will be."""
        ...

    def advance(self, units: int = 1, note: str = "") -> None:
        """Some units are done; ``note`` is a short live figure such as a loss."""
        ...

    def say(self, line: str) -> None:
        """One line for the user, free of identifiers."""
        ...


@final
class NoProgress:
    """Progress that nobody watches."""

    def start(self, label: str, total: int | None) -> None:
        """Ignore."""

    def advance(self, units: int = 1, note: str = "") -> None:
        """Ignore."""

    def say(self, line: str) -> None:
        """Ignore."""


@final
class RunRecord(Document):
    """``run.json``: what a step was asked, on what, where, and whether it finished."""

    step: str
    status: Literal["running", "done", "refused"]
    config: dict[str, object]
    inputs: dict[str, str]
    medaug: str = __version__
    environment: dict[str, str] = {}
    started: float = 0.0
    seconds: float | None = None

    def asks_the_same(self, other: RunRecord) -> bool:
        """Whether both records mean the same call on the same inputs."""
        return (self.step, self.config, self.inputs) == (other.step, other.config, other.inputs)


class Listener(Protocol):
    """Who hears every line of a run's log at once, such as a live board."""

    def hear(self, event: str, figures: Mapping[str, float | int | str]) -> None:
        """One line was logged."""
        ...


@final
@dataclass(slots=True)
class RunDir:
    """An open run folder."""

    path: Path
    record: RunRecord
    resumed: bool
    listener: Listener | None = None

    @property
    def log_path(self) -> Path:
        """Where :meth:`log` writes."""
        return self.path / "log.jsonl"

    def log(self, event: str, **figures: float | int | str) -> None:
        """Append one line to the log; figures only, never identifiers."""
        line = json.dumps({"t": round(time.time(), 3), "event": event, **figures})
        with self.log_path.open("a", encoding="utf-8") as handle:
            handle.write(line + "\n")
        if self.listener is not None:
            self.listener.hear(event, figures)

    def forget_from(self, step: int) -> None:
        """Remove the log lines of this step and later ones, which an interrupted training will write again."""
        if not self.log_path.is_file():
            return
        lines = self.log_path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line).get("step", -1) < step]
        if len(kept) < len(lines):
            write_text_atomic(self.log_path, "".join(kept))

    def finish(self) -> None:
        """The step is done: the same call again has nothing to do."""
        seconds = round(time.time() - self.record.started, 2)
        self.record.model_copy(update={"status": "done", "seconds": seconds}).write(self.path / RUN_FILE)

    def refuse(self) -> None:
        """The step found nothing to keep and cleared what it wrote: any other call may take the folder over."""
        self.record.model_copy(update={"status": "refused"}).write(self.path / RUN_FILE)


def require_run_folder(path: Path) -> None:
    """Refuse an --out that holds something else than a run.

    Raises:
        ConfigError: If it is a file, or a folder with other things in it.
    """
    if path.exists() and not path.is_dir():
        raise ConfigError(f"{path} is a file", where="--out", expected="a new folder")
    if not path.exists() or (path / RUN_FILE).is_file():
        return
    if any(p for p in path.iterdir() if ".partial." not in p.name and p.name not in (WORKING, CLAIMS)):
        raise ConfigError(f"{path} exists and is no run folder", where="--out", hint="name a new folder")


def finished(path: Path, step: str, config: Frozen, inputs: Mapping[str, str]) -> bool:
    """Whether this very step already ran to its end here.

    Raises:
        ConfigError: If the folder holds another step, or the same step with another configuration or inputs.
    """
    require_run_folder(path)
    if not (path / RUN_FILE).is_file():
        return False
    before, now = RunRecord.read(path / RUN_FILE), _record(step, config, inputs)
    if before.status == "refused" and before.step == step:
        return False
    if not before.asks_the_same(now):
        raise ConfigError(
            f"{path} holds {_difference(before, now)}",
            where="--out",
            hint="name a new folder or delete this one",
        )
    return before.status == "done"


@contextmanager
def open_run(
    path: Path, step: str, config: Frozen, inputs: Mapping[str, str], *, complete: bool = True
) -> Iterator[RunDir]:
    """Open a run folder for a step that is not :func:`finished`; marked done when the block ends well.

    With ``complete`` False it stays to be resumed by the same call: a dry run that only writes a plan.
    """
    run = begin_run(path, step, config, inputs)
    yield run
    if complete:
        run.finish()


def begin_run(
    path: Path, step: str, config: Frozen, inputs: Mapping[str, str], *, shared: bool = False
) -> RunDir:
    """Open a run folder that others may work in, too, where it is ``shared``; whoever finishes it says so."""
    resumed = (path / RUN_FILE).is_file()
    record = _record(step, config, inputs)
    _make_folder(path, sweep=not shared)
    record.write(path / RUN_FILE)
    return RunDir(path, record, resumed)


def _make_folder(path: Path, *, sweep: bool) -> None:
    """Make the folder, and take out of it what a killed run left half-written; not what others are writing."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        for left in path.rglob(".*.partial.*") if sweep else ():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    except OSError as error:
        raise storage_error(error, path) from error


@cache
def _environment() -> dict[str, str]:
    """Versions of what computes; read once, since packages keep them in files."""
    found = {"python": platform.python_version(), "system": f"{sys.platform} {platform.machine()}"}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _record(step: str, config: Frozen, inputs: Mapping[str, str]) -> RunRecord:
    return RunRecord(
        step=step,
        status="running",
        config=json.loads(config.model_dump_json()),
        inputs=dict(inputs),
        environment=dict(_environment()),
        started=time.time(),
    )


def _difference(before: RunRecord, now: RunRecord) -> str:
    """How an existing run folder differs from this run, for an error message."""
    if before.step != now.step:
        return f"a run of {before.step}, not {now.step}"
    keys = sorted(k for k in {*before.config, *now.config} if before.config.get(k) != now.config.get(k))
    if keys:
        return f"{_a(now.step)} run with another {', '.join(keys)}"
    changed = sorted(k for k in {*before.inputs, *now.inputs} if before.inputs.get(k) != now.inputs.get(k))
    return f"{_a(now.step)} run on other inputs ({', '.join(changed)})"


def _a(noun: str) -> str:
    """The noun with its article."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
