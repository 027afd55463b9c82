"""Plugins are found by the name of their one public file; third parties add an entry point."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoints, entry_points
from types import ModuleType
from typing import Literal

from pydantic import ValidationError

from medaug.core.config import Frozen, explain
from medaug.core.errors import ConfigError

Family = Literal["generators", "translators", "tasks", "layouts", "transforms"]


def kinds(family: Family) -> tuple[str, ...]:
    """Names of all plugins of a family, sorted; imports none of them."""
    package = importlib.import_module(f"medaug.{family}")
    own = {
        m.name
        for m in pkgutil.iter_modules(package.__path__)
        if not m.name.startswith("_") and m.name != "base"
    }
    return tuple(sorted(own | _of_others(family).names))


@cache
def _of_others(family: Family) -> EntryPoints:
    """Plugins of other packages; found once, since that reads the metadata of everything installed."""
    return entry_points(group=f"medaug.{family}")


def load_plugin(family: Family, kind: str) -> ModuleType:
    """Import the module of a plugin.

    Raises:
        ConfigError: If no plugin has that name; the line lists those there are.
    """
    known = kinds(family)
    if kind not in known:
        close = difflib.get_close_matches(kind, known, n=1)
        hint = f"did you mean {close[0]}?" if close else ""
        raise ConfigError(f"no {family[:-1]} is called {kind!r}", expected=", ".join(known), hint=hint)
    for entry in _of_others(family).select(name=kind):
        return importlib.import_module(entry.module)
    return importlib.import_module(f"medaug.{family}.{kind}")


def parse_config(family: Family, raw: Mapping[str, object]) -> Frozen:
    """Check a plugin's settings, as they stand in a YAML file, against the ``Config`` of their ``kind``.

    Raises:
        ConfigError: If ``kind`` is missing or unknown, or a key is unknown, missing or out of range.
    """
    kind = raw.get("kind")
    if not isinstance(kind, str):
        raise ConfigError("key kind is missing", where=family, expected=", ".join(kinds(family)))
    model: type[Frozen] = load_plugin(family, kind).Config
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(explain(error, model), where=f"{family}: {kind}") from error
