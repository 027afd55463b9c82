"""The rows that docs/results keeps become the means that its pages tell."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from medaug.core.runs import RUN_FILE
from medaug.experiments.context import CONTEXT
from medaug.experiments.run import RESULTS, merge
from tests.docs.pages import ROOT

PAGES = {"lidc_dp": "docs/results/dp.md"}  # where a page has another name than its rows
STUDIES = sorted({packed.parents[1] for packed in (ROOT / "docs/results").glob(f"*/shard_*/{RESULTS}.gz")})


def unpacked(shard: Path, to: Path) -> Path:
    to.mkdir()
    for name in (RUN_FILE, CONTEXT):
        (to / name).write_bytes((shard / name).read_bytes())
    (to / RESULTS).write_bytes(gzip.decompress((shard / f"{RESULTS}.gz").read_bytes()))
    return to


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_the_page_tells_the_mean_of_every_arm_in_the_class_under_study(study: Path, tmp_path: Path) -> None:
    result = merge([unpacked(shard, tmp_path / shard.name) for shard in sorted(study.glob("shard_*"))])
    page = (ROOT / PAGES.get(study.name, f"docs/results/{study.name}.md")).read_text(encoding="utf-8")
    told = {
        cell.strip(" *") for line in page.splitlines() if line.startswith("|") for cell in line.split("|")
    }
    studied = [score for score in result.scores if result.limit_class in {None, score.class_name}]
    assert studied
    means = {(score.arm, score.n_annotated, score.class_name): f"{score.mean_dice:.3f}" for score in studied}
    assert not {arm: mean for arm, mean in means.items() if not any(cell.startswith(mean) for cell in told)}
