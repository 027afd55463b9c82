"""Damage small valid files in thousands of ways and ingest them: what comes out is a case, or a refusal in one line.

    .venv/bin/python scripts/fuzz_ingest.py --count 5000 --seed 0
    .venv/bin/python scripts/fuzz_ingest.py --seed 0 --only 1234 --keep /tmp/seen     # one failure again

Each input is a source of one kind with one damaged file, made from seed and number alone. Failures are: an exception
that is not medaug's own, words on standard output or error, more than 5 s, more than 768 MB of memory, a file outside
the output, a message of several lines, a planted identifier anywhere but in sources.private.json, and a source from
which neither a case nor a finding came. The work is done in a second process, so that a crash is a failure, too.
"""

from __future__ import annotations

import argparse
import faulthandler
import gzip
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from random import Random
from types import FrameType
from typing import final

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from medaug.core.case import SOURCES_PRIVATE  # noqa: E402
from medaug.core.config import Frozen  # noqa: E402
from medaug.core.errors import MedaugError  # noqa: E402
from medaug.core.runs import NoProgress  # noqa: E402
from medaug.workflows.ingest import IngestOptions, ingest  # noqa: E402
from scripts.fuzz.damage import damage  # noqa: E402
from scripts.fuzz.samples import CANARY, MAKERS, Files, canary  # noqa: E402

LIMIT_S, LIMIT_MB = 5.0, 768
# a decoder that does not come back to Python cannot be stopped by an alarm
_HANG_S = 30
_SEEDS = 4


@final
class Answer(Frozen):
    """What is wrong about one input; nothing, mostly."""

    kind: str
    wrong: tuple[str, ...]
    seconds: float


def _peak_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _crash(said: bytes) -> Answer:
    """What is left of a worker that ended in the middle of an input."""
    last = said.decode(errors="replace").strip().splitlines()[-12:]
    return Answer(kind="?", wrong=("crash or hang", *last), seconds=0.0)


class _TooSlowError(BaseException):
    """The time limit; no reader may take it for a damaged file."""


def make(
    seed: int, number: int, kinds: Sequence[str], known: dict[tuple[str, int, int], Files]
) -> tuple[str, Files]:
    """The kind and the files of one input; one of them is damaged."""
    rng = Random(f"{seed}:{number}")
    kind = kinds[number % len(kinds)]
    maker, variant = rng.randrange(len(MAKERS[kind])), rng.randrange(_SEEDS)
    key = (kind, maker, variant)
    if key not in known:
        known[key] = MAKERS[kind][maker](variant)
    files = dict(known[key])
    # where a file gives the kind its name it is damaged more often than what lies beside it
    names = sorted(files)
    name = names[-1] if rng.random() < 0.3 else rng.choice(names)
    for telling in ("DICOMDIR", "cases.csv", "dataset.json", "seg.dcm", "rt.dcm"):
        name = telling if telling in files and rng.random() < 0.6 else name
    files[name] = damage(
        kind if "/" not in name or kind not in ("table", "json") else "nifti", files[name], rng
    )
    return kind, files


class Worker:
    """Ingests inputs one after the other and says what is wrong with what comes out."""

    def __init__(self, place: Path, spoken: int) -> None:
        """Work below ``place``; where the interpreter itself dies it says so to the file ``spoken``."""
        self.place, self.spoken = place, spoken
        self.source, self.out = place / "work" / canary("Path"), place / "work" / "out"
        self.said = (place / "said").open("w+b")
        # what the process took before its first file is not the files'
        self.start_kb = self.peak_kb = _peak_kb()

    def try_out(self, files: Files, *, look: bool) -> list[str]:
        """Everything that is wrong about one input; with ``look`` every byte of the output is searched."""
        shutil.rmtree(self.place / "work", ignore_errors=True)
        for name, content in files.items():
            path = self.source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        before = _listing(self.source)
        wrong, lines = self._ingest()
        wrong += [f"a message holds an identifier: {line}" for line in lines if CANARY in line.lower()]
        wrong += [f"a message has several lines: {line!r}" for line in lines if "\n" in line]
        wrong += self.hush() + self._memory()
        if _listing(self.source) != before or {p.name for p in (self.place / "work").iterdir()} - {
            self.source.name,
            "out",
        }:
            wrong.append("files stand outside the output")
        if not wrong and look:
            wrong += _leaks(self.out)
        return wrong

    def _ingest(self) -> tuple[list[str], list[str]]:
        """What went wrong, and every line that a user would see."""
        options = IngestOptions(sources=(self.source,), out=self.out, name="set", workers=1)
        signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
        faulthandler.dump_traceback_later(_HANG_S, exit=True, file=self.spoken)
        try:
            summary = ingest(options, NoProgress())
        except MedaugError as error:
            return [], [error.line(), *self._messages()]
        except _TooSlowError:
            return [f"more than {LIMIT_S:g} s"], []
        except Exception as error:  # noqa: BLE001  (finding these is what the fuzzer is for)
            where = traceback.extract_tb(error.__traceback__)
            inner = [frame for frame in where if "/medaug/" in frame.filename][-1:] or where[-1:]
            return [
                f"{type(error).__name__} at {Path(inner[0].filename).name}:{inner[0].lineno}: {error}"
            ], []
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            faulthandler.cancel_dump_traceback_later()
        messages = self._messages()
        nothing = not summary.cases and not messages
        return ["neither a case nor a finding"] if nothing else [], [*summary.lines()[1:], *messages]

    def _messages(self) -> list[str]:
        path = self.out / "findings.json"
        return [f["message"] for f in json.loads(path.read_text())["findings"]] if path.is_file() else []

    def hush(self) -> list[str]:
        """What was written to standard output or error since last time."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        self.said.seek(0)
        text = self.said.read().decode(errors="replace").strip()
        self.said.seek(0)
        self.said.truncate()
        return [f"words on the terminal: {text[:500]}"] if text else []

    def _memory(self) -> list[str]:
        grown, self.peak_kb = _peak_kb() > self.peak_kb, max(_peak_kb(), self.peak_kb)
        taken = (self.peak_kb - self.start_kb) >> 10
        return [f"{taken} MB of memory"] if grown and taken > LIMIT_MB else []


def _listing(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(p.relative_to(folder)), p.stat().st_size) for p in folder.rglob("*") if p.is_file())


def _leaks(out: Path) -> list[str]:
    """Public files with an identifier in their name or bytes."""
    found = []
    for path in out.rglob("*") if out.is_dir() else ():
        if not path.is_file() or path.name == SOURCES_PRIVATE:
            continue
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        if CANARY in (str(path.relative_to(out)) + content.decode("latin-1")).lower():
            found.append(f"an identifier stands in {path.suffix} files of the output")
    private = out / SOURCES_PRIVATE
    if private.is_file() and private.stat().st_mode & 0o77:
        found.append(f"{SOURCES_PRIVATE} can be read by others")
    return found


def work(options: argparse.Namespace, start: int, place: Path) -> None:
    """The second process: one JSON line an input on the pipe ``place/answers``."""
    warnings.simplefilter("always")
    signal.signal(signal.SIGALRM, _stop)
    answers = (place / "answers").open("a", encoding="utf-8")
    spoken = os.dup(2)
    worker = Worker(place, spoken)
    faulthandler.enable(file=spoken)
    os.dup2(worker.said.fileno(), 1)
    os.dup2(worker.said.fileno(), 2)
    known: dict[tuple[str, int, int], Files] = {}
    for number in range(start, options.count) if options.only is None else [options.only]:
        answers.write(f"{number}\t")
        answers.flush()
        try:
            kind, files = make(options.seed, number, options.kinds, known)
        except Exception:
            # the fuzzer itself is wrong: the first process shows why
            os.dup2(spoken, 2)
            raise
        worker.hush()
        if options.keep:
            _keep(options.keep, files)
        began = time.perf_counter()
        wrong = worker.try_out(files, look=number % 10 == 0 or options.only is not None)
        took = time.perf_counter() - began
        answers.write(Answer(kind=kind, wrong=tuple(wrong), seconds=round(took, 3)).model_dump_json() + "\n")
        answers.flush()


def _stop(_signum: int, _frame: FrameType | None) -> None:
    raise _TooSlowError


def _keep(folder: Path, files: Files) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def run(options: argparse.Namespace) -> int:
    """Start workers until every input was tried; returns how many failed."""
    memory = Path("/dev/shm")  # noqa: S108  (every file is synced; memory is fast at that)
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None, prefix="fuzz.") as name:
        place, start, failures, tried, slowest = Path(name), 0, 0, 0, 0.0
        began = time.perf_counter()
        while start < options.count:
            (place / "answers").write_text("")
            command = [sys.executable, __file__, *sys.argv[1:], "--work", str(start), "--place", name]
            ended = subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            for line in (place / "answers").read_text().splitlines():
                number, _, text = line.partition("\t")
                answer = Answer.model_validate_json(text) if text else _crash(ended.stderr)
                start, tried, slowest = int(number) + 1, tried + 1, max(slowest, answer.seconds)
                if answer.wrong:
                    failures += 1
                    print(
                        f"--seed {options.seed} --only {number} ({answer.kind}): " + "; ".join(answer.wrong)
                    )
            if options.only is not None or not tried:
                if not tried:
                    print(ended.stderr.decode(errors="replace"))
                break
        took = time.perf_counter() - began
        print(f"{tried} inputs, {failures} failures, {took:.0f} s, slowest {slowest:.2f} s")
        return failures if tried else 1


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=list(MAKERS))
    parser.add_argument("--only", type=int, help="one input, by its number")
    parser.add_argument("--keep", type=Path, help="folder for the files of the inputs that are tried")
    parser.add_argument("--work", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = set(options.kinds) - set(MAKERS)
    if unknown:
        parser.error(f"unknown kinds; expected {', '.join(MAKERS)}")
    if options.place is not None:
        work(options, options.work, options.place)
        return 0
    return 1 if run(options) else 0


if __name__ == "__main__":
    sys.exit(main())
