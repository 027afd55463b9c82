"""The catalogue of findings: what every code means and what to do about it, read from ``findings.yaml`` beside this file.

``docs/reference/findings.md`` is written from it, and tests hold it against the codes.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final, final

from pydantic import Field

from medaug.core.config import Frozen, read_yaml
from medaug.core.findings import Code, Severity

CATALOGUE_FILE: Final = Path(__file__).with_name("findings.yaml")


@final
class Entry(Frozen):
    """What a code says."""

    severities: tuple[Severity, ...] = Field(min_length=1, description="the usual one first")
    meaning: str = Field(description="what was found, in one sentence")
    fix: str = Field(description="what a person can do about it, in one sentence")
    example: str = Field(description="a message as medaug writes it")


@cache
def read_catalogue() -> dict[Code, Entry]:
    """Every code with its entry, in the order of the file.

    Raises:
        ConfigError: If the file is damaged: the installation is not whole.
    """
    return {Code(name): Entry.model_validate(entry) for name, entry in read_yaml(CATALOGUE_FILE).items()}
