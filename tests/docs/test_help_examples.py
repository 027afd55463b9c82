"""Every command's help ends with an example, and the example is one that this command line would take."""

from __future__ import annotations

import re
import shlex

from typer.core import TyperGroup
from typer.main import get_command

from medaug.cli.main import app

EXAMPLE = re.compile(r"Example: `(medaug [^`]+)`")


def test_every_command_shows_an_example_of_itself() -> None:
    odd, group = [], get_command(app)
    assert isinstance(group, TyperGroup)
    for name, command in group.commands.items():
        found = EXAMPLE.search(command.help or "")
        words = shlex.split(found[1]) if found else []
        known = {option for parameter in command.params for option in parameter.opts}
        unknown = [word for word in words if word.startswith("-") and word not in known]
        if words[1:2] != [name] or unknown:
            odd.append(f"{name}: {found[1] if found else 'no example'} {unknown or ''}")
    assert not odd, "\n".join(odd)
