"""``medaug report``: the evidence of an experiment as one HTML file that needs no network, and as SVG and CSV."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import final
from urllib.parse import quote

from pydantic import Field

from medaug.core.assessment import AuditReport, QualityReport
from medaug.core.config import D, Frozen
from medaug.core.errors import ConfigError, DataError
from medaug.core.gallery import GALLERY, Tile, read_tiles
from medaug.core.results import ExperimentContext, ExperimentResult
from medaug.core.runs import RUN_FILE, Progress, RunRecord
from medaug.core.storage import clear_leftovers, require_free_space, write_text_atomic
from medaug.core.summary import Summary
from medaug.experiments.context import CONTEXT
from medaug.experiments.run import CELLS, RESULTS, SCOPES, merge
from medaug.report.assessment import ASSESSMENT_PAGE
from medaug.report.files import figure_files, table_files
from medaug.report.html import Evidence, render
from medaug.report.panels import Panels
from medaug.report.verdict import verdict

QUALITY, AUDIT, ASSESSMENT = "quality.json", "audit.json", "assessment"
_PAGE_BYTES = 16 << 20


@final
class ReportOptions(Frozen):
    """Options of `medaug report`."""

    runs: tuple[Path, ...] = Field(
        min_length=1,
        description="run folders of one `medaug experiment`, such as its shards, finished or not",
    )
    out: Path | None = Field(default=None, description="HTML file; default: RUN/report.html")
    figures: Path | None = Field(
        default=None, description="folder for SVG and CSV files; default: NAME_files beside the HTML file"
    )
    assessment: Path | None = Field(
        default=None, description="folder of `medaug assess`; default: one called assessment beside RUN"
    )


@final
class ReportSummary(Summary):
    """Where the report is, and its verdict."""

    out: Path
    figures: Path
    verdict: str
    warning: str
    complete: bool

    def lines(self) -> tuple[str, ...]:
        """The verdict, and where to read on."""
        return (
            self.verdict,
            *((self.warning,) if self.warning else ()),
            f"report: {self.out}",
            f"figures and tables: {self.figures}",
        )


def report(options: ReportOptions, progress: Progress) -> ReportSummary:
    """Write the report; it may be written again at any moment, also while the experiment runs.

    Raises:
        ConfigError: If several runs are named without ``out``.
        DataError: If a folder holds no experiment, the folders are not of one, or a file of them is damaged.
        StorageError: If a file cannot be written.
    """
    out = _out(options)
    figures = options.figures or out.with_name(f"{out.stem}_files")
    result = _result(options.runs)
    require_free_space(out.parent, _PAGE_BYTES)
    assessment = options.assessment or options.runs[0].parent / ASSESSMENT
    evidence = Evidence(
        result=result,
        record=_record(options.runs),
        context=_context(options.runs),
        tiles=_tiles(options.runs, progress),
        quality=_assessed(options, assessment / QUALITY, QualityReport),
        audit=_assessed(options, assessment / AUDIT, AuditReport),
        assessment_page=_page_of(assessment, out),
        files=figures.name,
    )
    page = render(evidence)
    for name, content in (figure_files(Panels(result)) | table_files(result)).items():
        _write(figures / name, content)
    _write(out, page)
    said = verdict(result, is_inner=evidence.is_inner)
    return ReportSummary(
        out=out, figures=figures, verdict=said.sentence, warning=said.warning, complete=result.complete
    )


def _write(path: Path, content: str) -> None:
    clear_leftovers(path)
    write_text_atomic(path, content)


def _out(options: ReportOptions) -> Path:
    if options.out is None and len(options.runs) > 1:
        raise ConfigError("several runs and no file to write", where="--out", expected="an HTML file")
    return options.out or options.runs[0] / "report.html"


def _result(runs: Sequence[Path]) -> ExperimentResult:
    """The figures of one run as it wrote them, or those of several folders as one."""
    for run in runs:
        if not any((run / name).is_file() for name in (RESULTS, CONTEXT)):
            raise DataError(f"{run} holds no {RESULTS}", hint="name the --out of `medaug experiment`")
    alone = len(runs) == 1 and (runs[0] / RESULTS).is_file()
    return ExperimentResult.read(runs[0] / RESULTS) if alone else merge(runs)


def _record(runs: Sequence[Path]) -> RunRecord:
    """Settings and environment; where environments differ, all of them."""
    records = [RunRecord.read(run / RUN_FILE) for run in runs]
    names = dict.fromkeys(name for record in records for name in record.environment)
    environment = {
        name: " | ".join(dict.fromkeys(record.environment.get(name, "none") for record in records))
        for name in names
    }
    return records[0].model_copy(update={"environment": environment})


def _context(runs: Sequence[Path]) -> ExperimentContext:
    """What the experiment said of its data, with every command that was run."""
    contexts = [ExperimentContext.read(run / CONTEXT) for run in runs]
    commands = dict.fromkeys(context.command for context in contexts)
    return contexts[0].model_copy(update={"command": "\n".join(commands)})


def _tiles(runs: Sequence[Path], progress: Progress) -> tuple[Tile, ...]:
    """Every slice that the runs kept; none where only their figures were kept."""
    folders = [(run, part) for run in runs for part in (f"{CELLS}/*/{GALLERY}", f"{SCOPES}/*/*/{GALLERY}")]
    galleries = sorted(path for run, pattern in folders for path in run.glob(pattern))
    progress.start("reading tiles", len(galleries))
    tiles: list[Tile] = []
    for path in galleries:
        tiles += read_tiles(path)
        progress.advance(1)
    return tuple(tiles)


def _page_of(assessment: Path, out: Path) -> str:
    """Address of the assessment's own page, seen from the report."""
    page = assessment / ASSESSMENT_PAGE
    return quote(Path(os.path.relpath(page, out.parent)).as_posix()) if page.is_file() else ""


def _assessed(options: ReportOptions, path: Path, model: type[D]) -> D | None:
    """An assessment's document; missing is an error only where the folder was named."""
    if options.assessment is None and not path.is_file():
        return None
    return model.read(path)
