"""Where the passphrase of a key comes from."""

import io
from pathlib import Path

import pytest

from medaug.cli import main as cli


def test_a_piped_passphrase_opens_the_key_it_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse battery\n"))
    assert cli.main(["keygen", "--out", str(tmp_path / "keys")]) == 0
    assert (tmp_path / "keys" / "signing.key").stat().st_mode & 0o777 == 0o600
    assert "correct horse" not in "".join(capsys.readouterr())


def test_no_passphrase_at_all_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert cli.main(["keygen", "--out", str(tmp_path / "keys")]) == 2
    assert capsys.readouterr().err.startswith("medaug: --passphrase-file: there is no terminal")
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("content", ["", "\n", "\ncorrect horse battery\n"])
def test_a_file_without_a_passphrase_is_not_taken_for_a_key_without_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    (tmp_path / "pass").write_text(content)
    given = ["--passphrase-file", str(tmp_path / "pass")]
    assert cli.main(["keygen", "--out", str(tmp_path / "keys"), *given]) == 2
    said = "medaug: --passphrase-file: holds no passphrase; expected one line\n"
    assert capsys.readouterr().err == said
    (tmp_path / "signing.key").write_text("x")
    key = ["--key", str(tmp_path / "signing.key")]
    assert cli.main(["release", str(tmp_path), *key, "--out", str(tmp_path / "out"), *given]) == 2
    assert capsys.readouterr().err == said
