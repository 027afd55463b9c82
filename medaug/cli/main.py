"""The ``medaug`` command: parses, calls, and turns every failure into one line and an exit code."""

from __future__ import annotations

import re
import signal
import sys
from types import FrameType, TracebackType
from typing import cast

import typer
from pydantic import ValidationError

from medaug import __version__
from medaug.cli import data, evidence, pacs, sharing, synthesis
from medaug.cli.render import show_error, show_trace
from medaug.core.config import explain
from medaug.core.errors import ConfigError, InterruptedRunError, MedaugError, StorageError
from medaug.core.storage import storage_error

# typer carries click inside or beside it, by version; its public exceptions lead to the usage error of either.
_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__bases__[0])
# What typer says of a path that a command reads; the words differ by version.
_PATH_FAULT = re.compile(
    r"Invalid value for '(?P<where>.*?)(\.\.\.)?': \w+ (['\"])(?P<path>.*)\3 (?P<fault>does not exist|is not readable)\.?",
    re.DOTALL,
)
_MADE_BY = {
    "DATASET": "medaug ingest FOLDER --out DATASET",
    "SYN|DATASET": "medaug ingest FOLDER --out DATASET",
    "--key": "medaug keygen",
}
# Anything else is a defect of medaug itself and keeps its traceback.
_KNOWN = (MedaugError, _UsageError, ValidationError, OSError, KeyboardInterrupt, typer.Abort)

app = typer.Typer(
    name="medaug",
    help="Synthetic lesions for medical image segmentation: made, measured, audited and released.\n\n"
    "Research use, not a medical device. `--debug` behind any command shows the traceback of an error.",
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for room in (data, pacs, synthesis, evidence, sharing):
    room.add_commands(app)


def _show_version(value: bool) -> None:
    if value:
        sys.stdout.write(f"medaug {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version."
    ),
) -> None:
    """Options before the command."""


def _stop(_signum: int, _frame: FrameType | None) -> None:
    """A polite kill is handled like Ctrl-C: files stay whole and the run can be resumed."""
    raise KeyboardInterrupt


def _show_defect(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    """The traceback of a defect, under the same rule as that of every error."""
    show_trace(error)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code documented in docs/reference/exit-codes.md."""
    given = sys.argv[1:] if argv is None else argv
    arguments = [argument for argument in given if argument != "--debug"] or ["--help"]
    signal.signal(signal.SIGTERM, _stop)
    try:
        code = app(args=arguments, standalone_mode=False)
        if code == InterruptedRunError.exit_code:  # typer turns Ctrl-C into this number by itself
            raise KeyboardInterrupt
    except _KNOWN as error:
        if "--debug" in given:
            show_trace(error)
        failure = translate(error)
        show_error(failure.line())
        return failure.exit_code
    finally:
        # typer sets one of its own when it is called
        sys.excepthook = _show_defect
    return code if isinstance(code, int) else 0


def translate(error: BaseException) -> MedaugError:
    """The MedaugError a user shall see for a known failure."""
    match error:
        case MedaugError():
            return error
        case _UsageError():
            return _usage_error(error.format_message())
        case ValidationError():
            return ConfigError(_option_words(explain(error)))
        case OSError():
            return storage_error(error)
    return InterruptedRunError("stopped", hint="run the same command again to go on")


def _usage_error(said: str) -> MedaugError:
    """What typer found wrong; a path is said as it was given, but for one of scans, which may name a patient."""
    found = _PATH_FAULT.fullmatch(said)
    if found is None:
        return ConfigError(said, hint="see `medaug COMMAND --help`")
    path = "" if found["where"] == "SRC" else f"{found['path']} "
    if found["fault"] == "is not readable":
        return StorageError(f"{path}may not be read", where=found["where"], hint="check its permissions")
    make = _MADE_BY.get(found["where"], "")
    hint = "check the path" + (f", or make one with `{make}`" if make else "")
    return ConfigError(f"{path}does not exist", where=found["where"], hint=hint)


def _option_words(text: str) -> str:
    """The field of a workflow's options as the command line calls it: ``--class-map`` for ``class_map``."""
    field, colon, said = text.partition(": ")
    return f"--{field.replace('_', '-')}: {said}" if colon and field.isidentifier() else text


if __name__ == "__main__":
    sys.exit(main())
