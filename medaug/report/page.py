"""What every page shares: its templates, and facts of the run it tells of."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cache
from typing import final

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from medaug.core.runs import RunRecord


@final
@dataclass(frozen=True, slots=True)
class Fact:
    """A figure of the head of the page."""

    value: str
    label: str


@cache
def templates() -> Environment:
    """The templates: escaped, and strict about what they are given."""
    return Environment(
        loader=PackageLoader("medaug.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def day(record: RunRecord) -> str:
    """When a run began, as people write it."""
    return dt.datetime.fromtimestamp(record.started, tz=dt.UTC).strftime("%d %B %Y").lstrip("0")


def settings(record: RunRecord) -> str:
    """What a run was asked, as YAML."""
    return yaml.safe_dump(record.config, sort_keys=False, width=100)


def spaced(count: int) -> str:
    """A count with thin spaces."""
    return f"{count:,}".replace(",", "\N{THIN SPACE}")
