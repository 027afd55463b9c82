"""``medaug report``: the evidence of an experiment as one HTML file that needs no network."""

from __future__ import annotations

from pathlib import Path
from typing import final

from pydantic import Field

from medaug.core.config import D, Frozen
from medaug.core.errors import DataError
from medaug.core.gallery import GALLERY, Tile, read_tiles
from medaug.core.results import AuditReport, ExperimentContext, ExperimentResult, QualityReport, Summary
from medaug.core.runs import RUN_FILE, Progress, RunRecord
from medaug.core.storage import clear_leftovers, require_free_space, write_text_atomic
from medaug.experiments.run import CELLS, RESULTS, SCOPES
from medaug.report.html import Evidence, render
from medaug.report.verdict import verdict
from medaug.workflows.experiment import CONTEXT

QUALITY, AUDIT, ASSESSMENT = "quality.json", "audit.json", "assessment"
_PAGE_BYTES = 16 << 20


@final
class ReportOptions(Frozen):
    """Options of `medaug report`."""

    run: Path = Field(description="run folder of `medaug experiment`, finished or not")
    out: Path | None = Field(default=None, description="HTML file; default: RUN/report.html")
    assessment: Path | None = Field(
        default=None, description="folder of `medaug assess`; default: one called assessment beside RUN"
    )


@final
class ReportSummary(Summary):
    """Where the report is, and its verdict."""

    out: Path
    verdict: str
    warning: str
    complete: bool

    def lines(self) -> tuple[str, ...]:
        """The verdict, and where to read on."""
        return (self.verdict, *((self.warning,) if self.warning else ()), f"report: {self.out}")


def report(options: ReportOptions, progress: Progress) -> ReportSummary:
    """Write the report; it may be written again at any moment, also while the experiment runs.

    Raises:
        DataError: If the folder holds no experiment, or a file of it is damaged.
        StorageError: If the page cannot be written.
    """
    run = options.run
    if not (run / RESULTS).is_file():
        raise DataError(f"{run.name} holds no {RESULTS}", hint="name the --out of `medaug experiment`")
    out = options.out or run / "report.html"
    require_free_space(out.parent, _PAGE_BYTES)
    galleries = _galleries(run)
    progress.start("reading tiles", len(galleries))
    tiles: list[Tile] = []
    for path in galleries:
        tiles += read_tiles(path)
        progress.advance(1)
    result = ExperimentResult.read(run / RESULTS)
    assessment = options.assessment or run.parent / ASSESSMENT
    evidence = Evidence(
        result=result,
        record=RunRecord.read(run / RUN_FILE),
        context=ExperimentContext.read(run / CONTEXT),
        tiles=tuple(tiles),
        quality=_assessed(options, assessment / QUALITY, QualityReport),
        audit=_assessed(options, assessment / AUDIT, AuditReport),
    )
    clear_leftovers(out)
    write_text_atomic(out, render(evidence))
    said = verdict(result)
    return ReportSummary(out=out, verdict=said.sentence, warning=said.warning, complete=result.complete)


def _galleries(run: Path) -> list[Path]:
    return sorted([*(run / CELLS).glob(f"*/{GALLERY}"), *(run / SCOPES).glob(f"*/*/{GALLERY}")])


def _assessed(options: ReportOptions, path: Path, model: type[D]) -> D | None:
    """An assessment's document; missing is an error only where the folder was named."""
    if options.assessment is None and not path.is_file():
        return None
    return model.read(path)
