"""The journal of a transfer: private, whole to the last line, and of one transfer."""

from __future__ import annotations

from pathlib import Path

import pytest

from medaug.core.errors import ConfigError, DataError, StorageError
from medaug.io.journal import Entry, open_journal

ASKED = {"query": "a", "level": "series"}


def entry(key: str, state: str = "complete") -> Entry:
    return Entry(key=key, state=state, file=f"{key}.dcm")


def test_what_was_written_is_there_again_and_the_last_state_counts(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with open_journal(path, "pull", ASKED) as journal:
        journal.add(entry("1"))
        journal.add(entry("2", "refused"))
    assert path.stat().st_mode & 0o777 == 0o600
    with open_journal(path, "pull", ASKED) as journal:
        journal.add(entry("2"))
        assert journal.count("complete") == 2
    with open_journal(path, "pull", ASKED) as journal:
        assert journal.get("2") == entry("2")
        assert journal.get("3") is None


def test_a_line_cut_short_is_forgotten_and_written_over(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with open_journal(path, "pull", ASKED) as journal:
        for key in "123":
            journal.add(entry(key))
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with open_journal(path, "pull", ASKED) as journal:
            before = journal.count("complete")
            assert before == max(0, whole[:length].count(b"\n") - 1)
            journal.add(entry("9"))
        with open_journal(path, "pull", ASKED) as journal:
            assert journal.count("complete") == before + 1


def test_another_transfer_is_refused_without_its_values(tmp_path: Path) -> None:
    with open_journal(tmp_path / "j", "pull", ASKED):
        pass
    with (
        pytest.raises(ConfigError, match="another query") as refusal,
        open_journal(tmp_path / "j", "pull", ASKED | {"query": "Smith"}),
    ):
        pass
    assert "Smith" not in refusal.value.line()
    with pytest.raises(ConfigError, match="another step"), open_journal(tmp_path / "j", "push", ASKED):
        pass


def test_a_damaged_one_is_refused(tmp_path: Path) -> None:
    for content in (b"{}\n", b"no json\n", b'{"schema_version": 9, "step": "pull", "asked": {}}\n'):
        (tmp_path / "j").write_bytes(content)
        with pytest.raises(DataError), open_journal(tmp_path / "j", "pull", ASKED):
            pass


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    with (
        open_journal(tmp_path / "j", "pull", ASKED),
        pytest.raises(ConfigError, match="in use"),
        open_journal(tmp_path / "j", "pull", ASKED),
    ):
        pass


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "j").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError), open_journal(tmp_path / "j", "pull", ASKED):
        pass
    assert not (tmp_path / "elsewhere").exists()
