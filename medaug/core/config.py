"""Frozen configuration models, and YAML and JSON at the file border."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import ClassVar, TypeVar, cast

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from medaug.core.errors import ConfigError, DataError, StorageError
from medaug.core.storage import write_text_atomic

_PLAIN_WORDS = {
    "missing": "is missing",
    "dict_type": "is no mapping of keys",
    "model_type": "is no mapping of keys",
}

T = TypeVar("T", bound="Frozen")
D = TypeVar("D", bound="Document")


class Frozen(BaseModel):
    """Base of everything that crosses a file: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Aliased(Frozen):
    """A model with a field that JSON calls by another name, such as ``class``; it is written so, and read by either."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)


class Document(Frozen):
    """A JSON file with a schema version; readers refuse versions they do not know."""

    VERSION: ClassVar[int] = 1
    schema_version: int = 1

    def write(self, path: Path) -> None:
        """Write as indented JSON, atomically."""
        write_text_atomic(path, self.model_dump_json(indent=1) + "\n")

    @classmethod
    def read(cls: type[D], path: Path) -> D:
        """Read and check a document.

        Raises:
            DataError: If the file is missing, is not JSON, is of another version or breaks the schema.
        """
        raw = read_json(path)
        found = raw.get("schema_version") if isinstance(raw, dict) else None
        hint = "write it again with this version of medaug"
        if found != cls.VERSION:
            said = "no schema version" if found is None else f"schema version {found}"
            raise DataError(f"{path.name} has {said}", expected=f"version {cls.VERSION}", hint=hint)
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            raise DataError(f"{path.name} breaks its schema: {explain(error)}", hint=hint) from error


def read_json(path: Path) -> object:
    """Parse a JSON file, or raise DataError saying which file is missing or damaged."""
    try:
        return _parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        hint = "name the folder an earlier medaug step wrote"
        raise DataError(f"{path.name} not found in {path.parent}", hint=hint) from error
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        hint = "restore it, or run again the step that wrote it"
        raise DataError(f"{path.name} is not valid JSON", hint=hint) from error
    except OSError as error:
        raise StorageError(f"{path.name} cannot be read: {error.strerror}") from error


def _parse_json(text: str) -> object:
    raw = cast(object, json.loads(text))
    if "\\ud" in text.lower():
        # half a character can be escaped in JSON, and written nowhere again
        json.dumps(raw, ensure_ascii=False).encode("utf-8")
    return raw


def load_yaml(path: Path, model: type[T]) -> T:
    """Read a YAML configuration into a model.

    Raises:
        ConfigError: If the file is missing, is not YAML, or a key is unknown, missing or out of range.
    """
    try:
        return model.model_validate(read_yaml(path))
    except ValidationError as error:
        raise ConfigError(explain(error, model), where=str(path)) from error


def read_yaml(path: Path) -> dict[str, object]:
    """The keys of a YAML file; none for an empty one.

    Raises:
        ConfigError: If the file is missing, is not YAML, or holds no mapping.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"configuration {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = _yaml_reason(error)
        raise ConfigError(f"configuration {path} is not valid YAML: {reason}") from error
    if not isinstance(raw, dict | None):
        raise ConfigError("not a mapping", where=str(path), expected="lines of KEY: VALUE")
    return dict(raw or {})


def _yaml_reason(error: Exception) -> str:
    """What is wrong where, in one clause."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"{error.problem} in line {error.problem_mark.line + 1}"
    return str(error).splitlines()[0]


def explain(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """The first problem of a validation error in one clause, with a did-you-mean for unknown keys.

    An unknown key comes first: it is often the misspelt one that another problem misses.
    """
    problems = sorted(error.errors(include_url=False), key=lambda one: one["type"] != "extra_forbidden")
    first = problems[0]
    key = ".".join(str(part) for part in first["loc"])
    said = _PLAIN_WORDS.get(first["type"]) or first["msg"].removeprefix("Value error, ")
    said = said[0].lower() + said[1:]
    text = f"{key}: {said}" if key else said
    if first["type"] == "extra_forbidden":
        known = list(model.model_fields) if model is not None else []
        close = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        text = f"unknown key {key}" + (f", did you mean {close[0]}?" if close else "")
    more = len(problems) - 1
    return text + (f" (and {more} more)" if more else "")
