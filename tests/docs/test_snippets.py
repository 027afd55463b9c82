"""Every snippet of the documentation runs.

```python blocks of a page run in order, in one namespace and one empty folder; with >>> they are doctests.
```console blocks hold `$ medaug ...` lines, run by the command line's own main(), and what is shown below
a line must be what it prints on standard output, or all in all (`...` stands for anything). `$ echo $?` shows the exit code of the line before.
```sh blocks are for a person's own machine and data: they are not run, but every medaug command and option
in them must exist.
"""

from __future__ import annotations

import doctest
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Block, blocks, pages

ELLIPSIS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
KNOWN_KINDS = {"python", "console", "sh", "text", "yaml", "json", "csv", "toml"}


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def runnable(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.kind in ("python", "console")]


def run_python(block: Block, namespace: dict[str, object]) -> None:
    if ">>>" not in block.body:
        exec(compile("\n" * (block.line - 1) + block.body, str(block.page), "exec"), namespace)
        return
    test = doctest.DocTestParser().get_doctest(block.body, {}, block.where, str(block.page), block.line - 1)
    test.globs = namespace
    runner = doctest.DocTestRunner(verbose=False, optionflags=ELLIPSIS)
    told: list[str] = []
    runner.run(test, out=told.append, clear_globs=False)
    assert not runner.failures, f"{block.where}\n{''.join(told)}"


def session(block: Block) -> Iterator[tuple[str, str]]:
    """Each `$ ` line of a console block with what is shown below it."""
    command, shown = "", ""
    for line in block.body.splitlines():
        if line.startswith("$ "):
            if command:
                yield command, shown
            command, shown = line[2:], ""
        elif command.endswith("\\"):
            command = command[:-1] + line
        else:
            shown += line + "\n"
    yield command, shown


def run_medaug(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    from medaug.cli.main import main

    monkeypatch.setattr(sys, "argv", words)
    try:
        result: object = main()
    except SystemExit as end:
        result = end.code
    return result if isinstance(result, int) else 0


def run_console(block: Block, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, checked, told = 0, True, ""
    for command, shown in session(block):
        words = shlex.split(command)
        if words == ["echo", "$?"]:
            printed, checked = [f"{code}\n"], True
        else:
            assert checked, f"{block.where}: what came before `{command}` ended with {code}:\n{told}"
            assert words[0] == "medaug", f"{block.where}: only medaug runs here, not {words[0]}; use ```sh"
            capsys.readouterr()
            code = run_medaug(words, monkeypatch)
            output = capsys.readouterr()
            told, checked = output.out + output.err, code == 0
            printed = [output.out, output.err, told]
        matches = any(doctest.OutputChecker().check_output(shown, one, ELLIPSIS) for one in printed)
        assert matches or not shown.strip(), (
            f"{block.where}: $ {command}\nshown:\n{shown}\nprinted:\n{printed[-1]}"
        )
    assert checked, f"{block.where}: the last command ended with {code}:\n{told}"


@pytest.mark.parametrize("page", [p for p in pages() if runnable(p)], ids=name)
def test_the_page_runs(
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in runnable(page):
        if block.kind == "python":
            run_python(block, namespace)
        else:
            run_console(block, monkeypatch, capsys)


@pytest.mark.parametrize("page", pages(), ids=name)
def test_blocks_say_what_they_are(page: Path) -> None:
    odd = [f"{block.where}: {block.kind}" for block in blocks(page) if block.kind not in KNOWN_KINDS]
    assert not odd, f"not run and not known: {odd}"
    fences = [
        line for line in page.read_text(encoding="utf-8").splitlines() if line.strip().startswith("```")
    ]
    assert len(fences) == 2 * len(blocks(page)), f"{name(page)}: a fence without a language, or never closed"


def medaug_lines(page: Path) -> Iterator[tuple[str, list[str]]]:
    for block in blocks(page):
        if block.kind != "sh":
            continue
        for line in block.body.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0] == "medaug":
                yield f"{block.where}: {line.strip()}", words[1:]


@pytest.mark.parametrize("page", [p for p in pages() if any(medaug_lines(p))], ids=name)
def test_commands_shown_exist(page: Path) -> None:
    from typer.main import get_command

    from medaug.cli.main import app

    group = get_command(app)
    commands = getattr(group, "commands")  # noqa: B009
    everywhere = {option for parameter in group.params for option in parameter.opts} | {"--help"}
    for where, words in medaug_lines(page):
        verb = next((word for word in words if not word.startswith("-")), None)
        if verb is None:
            continue
        assert verb in commands, f"{where}: there is no `medaug {verb}`"
        known = {o for p in commands[verb].params for o in (*p.opts, *p.secondary_opts)} | everywhere
        unknown = [word for word in words if word.startswith("-") and word.split("=")[0] not in known]
        assert not unknown, f"{where}: no option {', '.join(unknown)}"
