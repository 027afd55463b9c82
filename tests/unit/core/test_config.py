"""YAML in, JSON out, and one clear line for what is wrong."""

from pathlib import Path

import pytest

from medaug.core.config import Document, Frozen, load_yaml, read_json
from medaug.core.errors import ConfigError, DataError


class Settings(Frozen):
    """A small configuration."""

    steps: int
    rate: float = 0.1


class Note(Document):
    """A small document."""

    text: str


def test_yaml_is_read(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("steps: 3\n")
    assert load_yaml(tmp_path / "c.yaml", Settings) == Settings(steps=3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stps: 3\nsteps: 1", "did you mean steps"),
        ("steps: many", "steps: input should be a valid integer"),
        ("steps: 3\nrate: [", "not valid YAML: .* in line 2"),
        ("- 1", "not a mapping"),
        ("stps: 3", "unknown key stps, did you mean steps"),
        ("", "steps: is missing"),
        ("steps: 1\nrate: .nan", "rate"),
    ],
)
def test_bad_yaml_gives_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_yaml(tmp_path / "c.yaml", Settings)
    assert "\n" not in str(caught.value)


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"c\.yaml cannot be read"):
        load_yaml(tmp_path / "c.yaml", Settings)


def test_documents_round_trip_and_refuse_other_versions(tmp_path: Path) -> None:
    path = tmp_path / "n.json"
    Note(text="x").write(path)
    assert Note.read(path) == Note(text="x")
    path.write_text('{"schema_version": 99, "text": "x"}')
    with pytest.raises(DataError, match="schema version 99"):
        Note.read(path)


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"schema_version": 1}', '{"schema_version": 1, "text": "a", "b": 1}']
)
def test_broken_documents_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "n.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"n\.json"):
        Note.read(path)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' + "9" * 5000 + "}", '["\\ud800"]', "nul", ""])
def test_json_that_cannot_be_parsed_or_written_again_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match=r"x\.json is not valid JSON"):
        read_json(tmp_path / "x.json")
    (tmp_path / "x.json").write_text('["\\ud83d\\ude00"]')
    assert read_json(tmp_path / "x.json") == ["\U0001f600"]
