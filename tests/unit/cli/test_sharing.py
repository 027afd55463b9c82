"""Where the passphrase of a key comes from."""

import io
import os
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


def test_a_passphrase_that_others_may_read_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret, keys = tmp_path / "words", tmp_path / "keys"
    secret.write_text("correct horse battery\n")
    call = ["keygen", "--passphrase-file", str(secret), "--out", str(keys)]
    for mode in (0o644, 0o640, 0o604):
        secret.chmod(mode)
        assert cli.main(call) == 6
        said = "--passphrase-file: words can be read by others; expected mode 600; chmod 600 words"
        assert said in capsys.readouterr().err
        assert not keys.exists()
    secret.chmod(0o600)
    assert cli.main(call) == 0


def test_a_pipe_is_no_file_that_others_may_read(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"correct horse battery\n")
    os.close(writing)
    call = ["keygen", "--passphrase-file", f"/dev/fd/{reading}", "--out", str(tmp_path / "keys")]
    assert cli.main(call) == 0
    os.close(reading)
