"""The report of a run folder, finished or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from medaug.core.errors import DataError, UnreadableError
from medaug.core.gallery import GALLERY, write_tiles
from medaug.core.runs import RUN_FILE, NoProgress
from medaug.experiments.context import CONTEXT as CONTEXT_FILE
from medaug.experiments.run import RESULTS
from medaug.workflows.report import ReportOptions, report
from tests.unit.report.sample import CONTEXT, RECORD, TILES, result
from tests.unit.report.test_html import AUDIT, QUALITY


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
    QUALITY.write(tmp_path / "assessment/quality.json")
    AUDIT.write(tmp_path / "assessment/audit.json")
    out = tmp_path / "page.html"
    report(ReportOptions(runs=(run,), out=out), NoProgress())
    assert "Copying audit" in out.read_text()


def test_what_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no results\.json"):
        report(ReportOptions(runs=(tmp_path,)), NoProgress())
    run = run_folder(tmp_path / "run")
    with pytest.raises(DataError, match=r"quality\.json"):
        report(ReportOptions(runs=(run,), assessment=tmp_path / "nowhere"), NoProgress())
    (run / "cells/cgan_n8_fold0_seed0" / GALLERY).write_bytes(b"nothing")
    with pytest.raises(UnreadableError, match=r"gallery\.npz"):
        report(ReportOptions(runs=(run,)), NoProgress())
