"""One offline HTML page: everything inline, no script, light and dark, fit for print."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import final

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from medaug.core.gallery import Tile
from medaug.core.results import AuditReport, ExperimentContext, ExperimentResult, QualityReport
from medaug.core.runs import RunRecord
from medaug.report.verdict import verdict
from medaug.report.view import size_views


@final
@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Everything a report is made of.

    Attributes:
        result: The experiment's figures.
        record: The run folder's record: settings, environment.
        context: What the experiment said of its data.
        tiles: Slices to show.
        quality: Realism of a synthetic set, where it was assessed.
        audit: Copying audit of that set.
    """

    result: ExperimentResult
    record: RunRecord
    context: ExperimentContext
    tiles: tuple[Tile, ...]
    quality: QualityReport | None = None
    audit: AuditReport | None = None


@final
@dataclass(frozen=True, slots=True)
class Fact:
    """A figure of the head of the page."""

    value: str
    label: str


def render(evidence: Evidence) -> str:
    """The whole page as text."""
    environment = Environment(
        loader=PackageLoader("medaug.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    record = evidence.record
    started = dt.datetime.fromtimestamp(record.started, tz=dt.UTC)
    return environment.get_template("report.html.j2").render(
        result=evidence.result,
        context=evidence.context,
        record=record,
        quality=evidence.quality,
        audit=evidence.audit,
        verdict=verdict(evidence.result),
        sizes=size_views(evidence.result, evidence.tiles),
        facts=_facts(evidence),
        started=started.strftime("%d %B %Y").lstrip("0"),
        settings=yaml.safe_dump(record.config, sort_keys=False, width=100),
        patients_shown=bool(evidence.tiles),
    )


def _facts(evidence: Evidence) -> tuple[Fact, ...]:
    result = evidence.result
    scored = len({row.patient_id for row in result.rows})
    steps = result.costs[0].optimiser_steps if result.costs else 0
    folds = len({row.fold for row in result.rows})
    seeds = len({row.seed for row in result.rows})
    return (
        Fact(str(scored), "patients scored"),
        Fact(str(len(result.arms)), "arms"),
        Fact(str(folds), "outer fold" if folds == 1 else "outer folds"),
        Fact(str(seeds), "seed" if seeds == 1 else "seeds"),
        Fact(f"{steps:,}".replace(",", "\N{THIN SPACE}"), "steps a training"),
        Fact(f"{result.cells_done}/{result.cells_planned}", "trainings done"),
    )
