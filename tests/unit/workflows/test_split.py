"""medaug split: written once, kept after that."""

from __future__ import annotations

from pathlib import Path

import pytest

from medaug.core.case import SPLITS, Manifest, read_manifest
from medaug.core.errors import ConfigError, DataError
from medaug.core.runs import NoProgress
from medaug.core.splits import read_splits
from medaug.workflows.split import SplitOptions, split
from tests.unit.ingest.material import record


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    records = tuple(record(f"c{n}", f"p{n}", ("rare",) if n < 4 else ("common",)) for n in range(20))
    Manifest(name="toy", classes=("common", "rare"), cases=records).write(tmp_path / "manifest.json")
    return tmp_path


def test_folds_are_written_and_the_same_call_changes_nothing(dataset: Path) -> None:
    options = SplitOptions(dataset=dataset, folds=4, seed=1, test=0.2)
    summary = split(options, NoProgress())
    written = (dataset / SPLITS).read_bytes()
    assert split(options, NoProgress()) == summary
    assert (dataset / SPLITS).read_bytes() == written
    splits = read_splits(dataset, read_manifest(dataset))
    assert [len(fold.held_out) for fold in splits.folds] == [fold.held_out for fold in summary.folds]
    assert summary.test == 4
    assert summary.lines()[0] == "4 folds, seed 1, 4 test patients"
    assert "held out (common 3, rare 1)" in "".join(summary.lines())


def test_another_split_is_refused_while_one_stands(dataset: Path) -> None:
    split(SplitOptions(dataset=dataset, folds=4), NoProgress())
    for other in (SplitOptions(dataset=dataset, folds=5), SplitOptions(dataset=dataset, folds=4, seed=2)):
        with pytest.raises(ConfigError, match=r"delete splits\.json"):
            split(other, NoProgress())


def test_a_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no dataset folder"):
        split(SplitOptions(dataset=tmp_path), NoProgress())


def test_too_many_folds_are_refused_and_nothing_is_written(dataset: Path) -> None:
    with pytest.raises(ConfigError, match="20 labelled patients for 30 folds"):
        split(SplitOptions(dataset=dataset, folds=30), NoProgress())
    assert not (dataset / SPLITS).exists()
