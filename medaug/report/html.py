"""One offline HTML page: everything inline, no script, light and dark, fit for print."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from medaug.core.assessment import AuditReport, QualityReport
from medaug.core.gallery import Tile
from medaug.core.results import ExperimentContext, ExperimentResult
from medaug.core.runs import RunRecord
from medaug.report.assessment import AssessedView, assessed_view
from medaug.report.cases import samples
from medaug.report.page import Fact, day, settings, spaced, templates
from medaug.report.panels import Panels
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
        assessment_page: Where the assessment's own page lies, seen from this one; empty where there is none.
        files: Name of the folder with the figures and their numbers; empty where there is none.
    """

    result: ExperimentResult
    record: RunRecord
    context: ExperimentContext
    tiles: tuple[Tile, ...]
    quality: QualityReport | None = None
    audit: AuditReport | None = None
    assessment_page: str = ""
    files: str = ""

    def assessed(self) -> AssessedView | None:
        """What the assessment found; None unless both of its files are there."""
        if self.quality is None or self.audit is None:
            return None
        return assessed_view(self.quality, self.audit)

    @property
    def is_inner(self) -> bool:
        """Whether inner folds of training patients were scored."""
        return self.record.config.get("inner_folds") is not None


@final
@dataclass(frozen=True, slots=True)
class CurveView:
    """The learning curves of a class, and what they save in words."""

    class_name: str
    is_studied: bool
    svg: str
    savings: tuple[str, ...]


def render(evidence: Evidence) -> str:
    """The whole page as text."""
    record, result = evidence.record, evidence.result
    panels = Panels(result)
    return (
        templates()
        .get_template("report.html.j2")
        .render(
            result=result,
            context=evidence.context,
            record=record,
            assessed=evidence.assessed(),
            assessment_page=evidence.assessment_page,
            files=evidence.files,
            verdict=verdict(result, is_inner=evidence.is_inner),
            sizes=size_views(result, evidence.tiles, panels),
            curves=_curves(result, panels),
            samples=samples(result, evidence.tiles),
            tolerances=sorted(
                {r.surface_tolerance_mm for r in result.rows if r.surface_tolerance_mm is not None}
            ),
            facts=_facts(evidence),
            started=day(record),
            settings=settings(record),
            patients_shown=bool(evidence.tiles),
        )
    )


def _curves(result: ExperimentResult, panels: Panels) -> tuple[CurveView, ...]:
    views = []
    for name in panels.classes:
        drawing = panels.curve(name)
        if drawing is not None:
            said = tuple(s.said for s in result.savings if s.class_name == name)
            views.append(CurveView(name, name == result.limit_class, drawing.inline(), said))
    return tuple(views)


def _facts(evidence: Evidence) -> tuple[Fact, ...]:
    result = evidence.result
    scored = len({row.patient_id for row in result.rows})
    steps = result.costs[0].optimiser_steps if result.costs else 0
    folds = len({row.fold for row in result.rows})
    seeds = len({row.seed for row in result.rows})
    kind = "inner" if evidence.is_inner else "outer"
    return (
        Fact(str(scored), "patient scored" if scored == 1 else "patients scored"),
        Fact(str(len(result.arms)), "arm" if len(result.arms) == 1 else "arms"),
        Fact(str(folds), f"{kind} fold" if folds == 1 else f"{kind} folds"),
        Fact(str(seeds), "seed" if seeds == 1 else "seeds"),
        Fact(spaced(steps), "steps a training"),
        Fact(f"{result.cells_done}/{result.cells_planned}", "trainings done"),
    )
