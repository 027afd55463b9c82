"""The command line: help with an example each, one line for every failure, the documented exit codes."""

import errno
import json
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import typer
from pydantic import BaseModel, ValidationError
from typer.models import CommandInfo

from medaug.cli import main as cli
from medaug.core.errors import ConfigError, GateRefusedError
from medaug.core.summary import Summary

COMMANDS = [
    command.name or command.callback.__name__
    for command in cli.app.registered_commands
    if command.callback is not None
]


class Told(Summary):
    """A summary of one line."""

    cases: int = 2

    def lines(self) -> tuple[str, ...]:
        return (f"{self.cases} cases",)


def fail_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the split workflow by one that fails so."""

    def split(*_: object) -> Summary:
        raise error

    monkeypatch.setattr("medaug.workflows.split.split", split)


def invalid() -> ValidationError:
    """A pydantic error, as a workflow's options raise it."""

    class Options(BaseModel):
        fold: int

    with pytest.raises(ValidationError) as caught:
        Options.model_validate({"fold": "x"})
    return caught.value


def test_every_command_of_the_contract_is_there() -> None:
    contract = "demo ingest inspect split bank fit synthesize assess train predict evaluate experiment report"
    assert set(COMMANDS) >= {*contract.split(), "keygen", "release", "verify", "convert"}


# what a command writes, or makes where there is none; sources of an ingest are told by their number
MADE = {"out", "key_file", "report", "views", "sheet", "preview", "figures", "state", "sources"}


@pytest.mark.parametrize("command", cli.app.registered_commands, ids=COMMANDS)
def test_a_path_that_a_command_reads_must_be_there(command: CommandInfo) -> None:
    assert command.callback is not None
    for name, hint in get_type_hints(command.callback, include_extras=True).items():
        if "Path" in str(hint):
            assert get_args(hint)[1].exists == (name not in MADE), name


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, "--help"]) == 0
    assert f"medaug {command}" in capsys.readouterr().out.split("Example:")[1]


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    assert "not a medical device" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ingst"], "ingest"),
        (["split"], "DATASET"),
        (["split", "x", "--folds", "many"], "--folds"),
        (["split", "x", "--fold", "2"], "--fold"),
        (["ingest", "x", "--out", "y", "--origin", "made"], "--origin: "),
        (["keygen", "--passphrase-file", "no/where"], "--passphrase-file: no/where does not exist"),
        # before the passphrase is asked for
        (["release", ".", "--key", "no/where", "--out", "y"], "--key: no/where does not exist"),
        (["verify", ".", "--public-key", "no/where"], "--public-key: no/where does not exist"),
        (
            ["inspect", "no/where"],
            "DATASET: no/where does not exist; check the path, or make one with `medaug ingest",
        ),
        (["report", "no/where"], "RUN: no/where does not exist"),
        (["deidentify", "MEIER", "--out", "y", "--key-file", "k"], "SRC: does not exist"),
    ],
)
def test_usage_errors_are_one_line_and_exit_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert words in err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ConfigError("no such fold", where="--fold"), 2, "--fold: no such fold"),
        (GateRefusedError("no audit"), 6, "no audit"),
        (OSError(errno.ENOSPC, "No space left on device"), 7, "disk is full"),
        (PermissionError(errno.EACCES, "Permission denied"), 7, "permissions"),
        (KeyboardInterrupt(), 130, "same command again"),
        (typer.Abort(), 130, "same command again"),
        (invalid(), 2, "fold"),
        (
            typer.BadParameter("path '/scans/MEIER' is not readable.", param_hint="'SRC'"),
            7,
            "SRC: may not be read;",
        ),
        (
            typer.BadParameter("path './sets/a' is not readable.", param_hint="'DATASET'"),
            7,
            "DATASET: ./sets/a may not be read;",
        ),
    ],
)
def test_failures_are_one_line_with_their_exit_code(
    error: BaseException,
    code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fail_with(error, monkeypatch)
    assert cli.main(["split", "."]) == code
    err = capsys.readouterr().err.strip()
    assert words in err.splitlines()[-1]
    assert "Traceback" not in err


def test_debug_shows_the_traceback_wherever_it_stands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(ConfigError("x"), monkeypatch)
    assert cli.main(["split", ".", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_defect_of_medaug_itself_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(ZeroDivisionError(), monkeypatch)
    with pytest.raises(ZeroDivisionError):
        cli.main(["split", "."])


def test_results_are_lines_or_json_on_standard_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("medaug.workflows.split.split", lambda *_: Told())
    assert cli.main(["split", "."]) == 0
    assert capsys.readouterr().out == "2 cases\n"
    assert cli.main(["split", ".", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"cases": 2}


def test_a_polite_kill_ends_like_ctrl_c(tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(
        "import os, signal, sys, time\n"
        "from medaug.cli import main\n"
        "import medaug.workflows.split as split\n"
        # another thread may take the signal: the handler then runs a moment later
        "split.split = lambda *_: (os.kill(os.getpid(), signal.SIGTERM), time.sleep(30))\n"
        "sys.exit(main.main(['split', '.']))\n"
    )
    ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert ended.returncode == 130
    assert "same command again" in ended.stderr
