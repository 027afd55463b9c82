"""The command line of pull and push: tokens that stay secret, and exit codes."""

from __future__ import annotations

import gc
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from medaug.cli import main as cli

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
PULL = ("pull", "--query", "PatientID=Smith", "--out", "out", "--retries", "0", "--timeout", "1")


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """pynetdicom leaves the socket of a failed connection to the garbage collector: let it come while we expect it."""
    yield
    gc.collect()


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = cli.main([*arguments])
    return code, capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--dicomweb", "http://127.0.0.1:1/x"), 8, "does not answer"),
        (("--dimse", "A@127.0.0.1:1"), 8, "does not answer"),
        ((), 2, "name one archive"),
        (("--dimse", "127.0.0.1"), 2, "AE@HOST:PORT"),
        (("--dimse", "A@127.0.0.1:1", "--level", "image"), 2, "--level"),
        (("--dimse", "A@127.0.0.1:1", "--query", "Name=Smith"), 2, "--query: key 2 is unknown"),
        (
            ("--dicomweb", "https://127.0.0.1:1/x", "--ca-file", "none.pem"),
            2,
            "--ca-file: none.pem does not exist",
        ),
        (
            ("--dicomweb", "https://127.0.0.1:1/x", "--token-file", "none"),
            2,
            "--token-file: none does not exist",
        ),
    ],
)
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # a socket that pynetdicom leaves
def test_a_failure_is_one_line_without_the_query(
    options: tuple[str, ...],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    got, line = ask(capsys, *PULL, *options)
    assert (got, said in line, "Smith" in line) == (code, True, False), line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "\n", "two words\n", "söme\n"])
def test_what_is_no_token_is_not_quoted(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "token").write_text(content)
    got, line = ask(
        capsys, *PULL, "--dicomweb", "https://127.0.0.1:1/", "--token-file", str(tmp_path / "token")
    )
    assert (got, line) == (2, "medaug: --token-file: holds no token; expected one word")


def test_a_token_may_be_piped(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("abc\n"))
    got, line = ask(capsys, *PULL, "--dimse", "A@127.0.0.1:1", "--ask-token")
    assert (got, "DIMSE knows no token" in line, "abc" in line) == (2, True, False)


def test_push_needs_somebody_who_answers_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    got, line = ask(capsys, "push", str(tmp_path), "--dimse", "A@127.0.0.1:1")
    assert (got, "--allow-unverified" in line) == (2, True)
