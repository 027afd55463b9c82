"""How the terminal shows progress, results and errors."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar, final

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from medaug.core.errors import MedaugError
from medaug.core.runs import NoProgress
from medaug.core.runs import Progress as ProgressProtocol
from medaug.core.summary import Summary

O = TypeVar("O")  # noqa: E741  (the options of a workflow)


@final
class _RateColumn(ProgressColumn):
    """Units a second, or seconds a unit where that reads better."""

    def render(self, task: Task) -> Text:
        """The rate of a task."""
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("-/s", style="dim")
        return Text(f"{speed:.1f}/s" if speed >= 1 else f"{1 / speed:.1f} s each", style="dim")


@final
class TerminalBar:
    """The injected progress: one live line on standard error, with rate and time left."""

    def __init__(self, console: Console) -> None:
        """Show on this console."""
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            _RateColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("[dim]{task.fields[note]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> TerminalBar:
        """Begin to draw."""
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing, whatever happened."""
        self._bar.stop()

    def start(self, label: str, total: int | None) -> None:
        """A new bar of ``total`` units begins below the finished ones; a line where nothing can be redrawn."""
        if self._task is not None and self._bar.tasks[self._task].total is None:
            # a bar of unknown length is full where the next one begins
            self._bar.update(self._task, total=self._bar.tasks[self._task].completed)
        if not self._console.is_terminal:
            shown = label if total is None else f"{label} ({total})"
            self._console.print(escape(shown), highlight=False, soft_wrap=True)
        self._task = self._bar.add_task(escape(label), total=total, note="")

    def advance(self, units: int = 1, note: str = "") -> None:
        """Some units are done."""
        if self._task is not None:
            self._bar.update(self._task, advance=units, note=escape(note))

    def say(self, line: str) -> None:
        """One line above the bar."""
        self._console.print(escape(line), highlight=False, soft_wrap=True)


@contextmanager
def terminal_progress() -> Iterator[ProgressProtocol]:
    """Progress on standard error, so that standard output stays clean for results."""
    with TerminalBar(Console(stderr=True)) as bar:
        yield bar


def call(workflow: Callable[[O, ProgressProtocol], Summary], options: O, *, as_json: bool) -> None:
    """Run a workflow with a progress bar and show its summary: JSON or lines on standard output.

    Of several processes that `torchrun` started, the first one speaks for all.
    """
    if os.environ.get("TORCHELASTIC_RUN_ID") and os.environ.get("RANK", "0") != "0":
        workflow(options, NoProgress())
        return
    with terminal_progress() as progress:
        summary = workflow(options, progress)
    text = summary.model_dump_json(indent=1) if as_json else "\n".join(summary.lines())
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def show_error(line: str) -> None:
    """One line on standard error."""
    sys.stderr.write(f"medaug: {line}\n")
    sys.stderr.flush()


def show_trace(error: BaseException) -> None:
    """The traceback of an error and of its causes: code alone, and words of medaug's own.

    What other libraries say may quote file names and headers, which identify patients; their errors are named only.
    """
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    for link in reversed(chain):
        said = (
            link.line() if isinstance(link, MedaugError) else "(its words may quote a file and are not shown)"
        )
        sys.stderr.write(
            "Traceback (most recent call last):\n" + "".join(traceback.format_tb(link.__traceback__))
        )
        sys.stderr.write(f"{type(link).__qualname__}: {said}\n\n")
    sys.stderr.flush()
