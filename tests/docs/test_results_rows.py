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
def test_every_arm_has_the_mean_that_the_page_tells(study: Path, tmp_path: Path) -> None:
    shards = [unpacked(shard, tmp_path / shard.name) for shard in sorted(study.glob("shard_*"))]
    result = merge(shards)
    assert result.cells_done
    told = (ROOT / PAGES.get(study.name, f"docs/results/{study.name}.md")).read_text(encoding="utf-8")
    for arm in {score.arm for score in result.scores}:
        means = [f"{score.mean_dice:.3f}" for score in result.scores if score.arm == arm]
        assert any(mean in told for mean in means), f"{arm}: none of {', '.join(means)}"
