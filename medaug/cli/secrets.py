"""Secrets of the command line: from a file, from standard input, or asked for without echo; never an argument."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import typer

from medaug.core.errors import ConfigError, PrivacyError

_GROUP_AND_OTHERS = 0o077
_STANDARD_INPUT = Path("/dev/stdin")


def read_secret(file: Path | None, name: str, option: str, *, confirm: bool = False) -> str:
    """One line that nobody else shall see.

    Args:
        file: Where it is the first line, or None: it comes from standard input, or is asked for on a terminal.
        name: What it is, to ask for it.
        option: Option that names the file.
        confirm: Ask twice.

    Raises:
        ConfigError: If the file cannot be read, or there is none and nobody to ask.
        PrivacyError: If others may read the file; pipes and standard input are nobody else's.
    """
    if file is not None:
        return _first_line(file, option)
    if not sys.stdin.isatty():
        piped = sys.stdin.readline().rstrip("\r\n")
        if not piped:
            raise ConfigError(
                f"there is no terminal to ask for the {name} on",
                where=option,
                expected="a file that holds it, or a line on standard input",
            )
        return piped
    return str(typer.prompt(name.capitalize(), hide_input=True, confirmation_prompt=confirm, err=True))


def _first_line(file: Path, option: str) -> str:
    try:
        with file.open(encoding="utf-8") as opened:
            # asked of the open file, so that no other can take its place in between
            mode = os.fstat(opened.fileno()).st_mode
            if stat.S_ISREG(mode) and mode & _GROUP_AND_OTHERS and file != _STANDARD_INPUT:
                raise PrivacyError(
                    f"{file.name} can be read by others",
                    where=option,
                    expected="mode 600",
                    hint=f"chmod 600 {file.name}",
                )
            return (opened.read().splitlines() or [""])[0]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{file.name} cannot be read", where=option, expected="a text file of one line"
        ) from error
