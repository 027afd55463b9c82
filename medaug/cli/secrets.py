"""Secrets of the command line: from a file, from standard input, or asked for without echo; never an argument."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from medaug.core.errors import ConfigError


def read_secret(file: Path | None, name: str, option: str, *, confirm: bool = False) -> str:
    """One line that nobody else shall see.

    Args:
        file: Where it is the first line, or None: it comes from standard input, or is asked for on a terminal.
        name: What it is, to ask for it.
        option: Option that names the file.
        confirm: Ask twice.
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
        return (file.read_text(encoding="utf-8").splitlines() or [""])[0]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{file} cannot be read", where=option, expected="a text file of one line"
        ) from error
