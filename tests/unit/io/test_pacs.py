"""What holds for every archive: trying again, and looking at what it sent."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest

from medaug.core.errors import ConfigError, DataError, NetworkError, UnreachableError, UnreadableError
from medaug.io.pacs import Instance, Tls, check_instance, persist, read_instance, silenced
from tests.unit.io.series import CT, instance, stored_values

UID = "1.2.3"


def file_of(**changes: str) -> bytes:
    dataset = instance(stored_values(1)[0], 0, CT, UID)
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def asked() -> Instance:
    dataset = instance(stored_values(1)[0], 0, CT, UID)
    return Instance(str(dataset.StudyInstanceUID), UID, str(dataset.SOPInstanceUID), CT)


def test_only_what_was_asked_for_is_taken() -> None:
    check_instance(file_of(), asked())
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        with pytest.raises(DataError, match="another instance") as refusal:
            check_instance(file_of(**{keyword: "9.9.9"}), asked())
        assert "9.9.9" not in refusal.value.line()


@pytest.mark.parametrize(
    "content", [b"", b"x" * 500, b"\0" * 128 + b"DICM", b"\0" * 128 + b"DICM" + b"\xff" * 300]
)
def test_what_is_no_file_is_refused(content: bytes) -> None:
    with pytest.raises(DataError):
        check_instance(content, asked())
    with pytest.raises(UnreadableError):
        read_instance(content)


def test_trying_again_is_bounded_and_for_what_may_pass_only() -> None:
    pauses: list[float] = []

    def fails() -> None:
        raise UnreachableError("archive does not answer")

    with pytest.raises(UnreachableError):
        persist(fails, 7, pauses.append)
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    answers = iter([UnreachableError("once"), None])

    def fails_once() -> str:
        if error := next(answers):
            raise error
        return "done"

    assert persist(fails_once, 1, pauses.append) == "done"

    def refuses() -> None:
        raise NetworkError("not let in")

    with pytest.raises(NetworkError):
        persist(refuses, 3, lambda _: pytest.fail("tried again"))


def test_certificates_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "a.pem").write_text("")
    Tls(tmp_path / "a.pem", tmp_path / "a.pem", tmp_path / "a.pem")
    for files in ((tmp_path / "no",), (None, tmp_path / "no"), (None, None, tmp_path / "a.pem")):
        with pytest.raises(ConfigError):
            Tls(*files)


def test_silence_ends(caplog: pytest.LogCaptureFixture) -> None:
    with silenced("some.package"):
        logging.getLogger("some.package.module").error("a name")
    logging.getLogger("some.package.module").error("a word")
    assert [record.message for record in caplog.records] == ["a word"]
