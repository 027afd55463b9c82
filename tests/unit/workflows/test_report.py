"""The report of a run folder, finished or not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from medaug.core.errors import ConfigError, DataError, UnreadableError
from medaug.core.gallery import GALLERY, write_tiles
from medaug.core.results import ExperimentContext
from medaug.core.runs import RUN_FILE, NoProgress, RunRecord
from medaug.experiments.cell import ROWS
from medaug.experiments.context import CONTEXT as CONTEXT_FILE
from medaug.experiments.run import RESULTS
from medaug.workflows.report import ReportOptions, report
from tests.unit.experiments.fakes import FakeBench, experiment, go, study
from tests.unit.report.assessed import audit, quality
from tests.unit.report.sample import CONTEXT, RECORD, TILES, result


def run_folder(folder: Path) -> Path:
    result().write(folder / RESULTS)
    RECORD.write(folder / RUN_FILE)
    CONTEXT.write(folder / CONTEXT_FILE)
    write_tiles(folder / "cells/cgan_n8_fold0_seed0" / GALLERY, TILES[:9])
    write_tiles(folder / "scopes/n8_fold0/real" / GALLERY, TILES[9:])
    return folder


def test_the_page_lies_in_the_run_folder_and_may_be_written_again(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    summary = report(ReportOptions(runs=(run,)), NoProgress())
    assert summary.out == run / "report.html"
    assert summary.verdict.startswith("No evidence of a gain")
    first = summary.out.read_text()
    assert first.count("data:image/png") == len(TILES)
    assert report(ReportOptions(runs=(run,)), NoProgress()) == summary
    assert summary.out.read_text() == first


def test_an_assessment_beside_the_run_is_found(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    quality().write(tmp_path / "assessment/quality.json")
    audit().write(tmp_path / "assessment/audit.json")
    out = tmp_path / "page.html"
    report(ReportOptions(runs=(run,), out=out), NoProgress())
    assert "Realism and copying" in out.read_text()
    assert "assessment.html" not in out.read_text()
    (tmp_path / "assessment/assessment.html").write_text("")
    report(ReportOptions(runs=(run,), out=tmp_path / "a b/page.html"), NoProgress())
    assert '<a href="../assessment/assessment.html">' in (tmp_path / "a b/page.html").read_text()


def test_what_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no results\.json"):
        report(ReportOptions(runs=(tmp_path,)), NoProgress())
    run = run_folder(tmp_path / "run")
    with pytest.raises(DataError, match=r"quality\.json"):
        report(ReportOptions(runs=(run,), assessment=tmp_path / "nowhere"), NoProgress())
    (run / "cells/cgan_n8_fold0_seed0" / GALLERY).write_bytes(b"nothing")
    with pytest.raises(UnreadableError, match=r"gallery\.npz"):
        report(ReportOptions(runs=(run,)), NoProgress())


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two shards of one experiment, as run folders with made-up trainings."""
    place = tmp_path_factory.mktemp("shards")
    of = experiment(n_annotated=[2, None])
    for number in (1, 2):
        go(place / f"s{number}", FakeBench(), study(of, f"{number}/2"))
        context = ExperimentContext.read(place / f"s{number}" / CONTEXT_FILE)
        context.model_copy(update={"command": f"--shard {number}/2"}).write(
            place / f"s{number}" / CONTEXT_FILE
        )
    record = RunRecord.read(place / "s2" / RUN_FILE)
    record.model_copy(update={"environment": {**record.environment, "torch": "9.9"}}).write(
        place / "s2" / RUN_FILE
    )
    return place / "s1", place / "s2"


def test_shards_are_one_report_with_all_commands_and_environments(
    shards: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "report.html"
    part = report(ReportOptions(runs=shards[:1], out=out), NoProgress())
    assert part.warning.startswith("Preliminary: 4 of 8 trainings are done.")
    whole = report(ReportOptions(runs=shards, out=out), NoProgress())
    assert whole.complete
    page = out.read_text()
    assert "--shard 1/2\n--shard 2/2" in page
    assert "| 9.9" in page
    assert "8/8" in page
    assert page.count("data:image/png") > 0


def test_rows_alone_make_a_report_without_pictures(shards: tuple[Path, Path], tmp_path: Path) -> None:
    kept = {RUN_FILE, CONTEXT_FILE, ROWS}
    folders = []
    for run in shards:
        folders.append(tmp_path / run.name)
        for path in run.rglob("*.json"):
            if path.name in kept:
                copy = folders[-1] / path.relative_to(run)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)
    summary = report(ReportOptions(runs=tuple(folders), out=tmp_path / "report.html"), NoProgress())
    assert summary.complete
    page = (tmp_path / "report.html").read_text()
    assert "data:image" not in page
    assert "keep it where" not in page
    assert "Mean Dice by class" in page


def test_figures_and_tables_lie_beside_the_page_or_where_asked(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    beside = report(ReportOptions(runs=(run,), out=tmp_path / "page.html"), NoProgress())
    assert beside.figures == tmp_path / "page_files"
    assert {"forest_n8_vs_classical.svg", "patients_n8_solid.svg", "rows.csv", "comparisons.csv"} <= {
        path.name for path in beside.figures.iterdir()
    }
    asked = report(ReportOptions(runs=(run,), figures=tmp_path / "for_paper"), NoProgress())
    assert asked.figures == tmp_path / "for_paper"
    assert (tmp_path / "for_paper/scores.csv").is_file()
    assert not (run / "report_files").exists()


def test_several_runs_need_a_place_to_write_to(shards: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError, match="several runs and no file to write"):
        report(ReportOptions(runs=shards), NoProgress())
