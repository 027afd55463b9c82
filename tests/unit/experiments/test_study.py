"""An experiment divided among calls: shards, joined folders, and one result of several folders."""

from __future__ import annotations

import json
import shutil
import threading
import time
from pathlib import Path

import pytest

from medaug.core.claims import CLAIMS, Claims
from medaug.core.errors import ConfigError, DataError
from medaug.core.results import ExperimentResult
from medaug.core.runs import RUN_FILE
from medaug.experiments.cell import ROWS, CellResult
from medaug.experiments.context import CONTEXT
from medaug.experiments.run import CELLS, RESULTS, merge, run_experiment
from medaug.experiments.study import Shard
from medaug.experiments.subset import SharedRun
from tests.unit.experiments.fakes import FakeBench, Lines, experiment, go, study

CONFIG = experiment(n_annotated=[2, None], seeds=[0, 1])  # 4 training subsets of 4 cells


def test_a_shard_takes_whole_training_subsets_and_together_they_are_all() -> None:
    shares = [study(CONFIG, f"{number}/3").mine for number in (1, 2, 3)]
    scopes = [{cell.scope for cell in share} for share in shares]
    assert scopes == [{"n2_fold0", "nall_fold1"}, {"n2_fold1"}, {"nall_fold0"}]
    names = [cell.name for share in shares for cell in share]
    assert sorted(names) == sorted(cell.name for cell in study(CONFIG).planned)


def test_more_shards_than_training_subsets_divide_the_cells() -> None:
    shares = [study(CONFIG, f"{number}/5").mine for number in range(1, 6)]
    assert [len(share) for share in shares] == [4, 3, 3, 3, 3]
    assert len({cell.name for share in shares for cell in share}) == 16
    with pytest.raises(ConfigError, match="16 trainings cannot be shared by 17"):
        study(CONFIG, "1/17")


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "a/b", "-1/2", "1/2/3"])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(ConfigError, match="is no shard; expected I/N"):
        Shard.parse(text)


@pytest.fixture
def shards(tmp_path: Path) -> tuple[Path, Path]:
    """Two shards in folders of their own."""
    for number in (1, 2):
        result = go(tmp_path / f"s{number}", FakeBench(), study(CONFIG, f"{number}/2"))
        assert (result.complete, result.cells_done, result.cells_planned) == (False, 8, 16)
    return tmp_path / "s1", tmp_path / "s2"


def reduced(run: Path, to: Path) -> Path:
    """A folder with the rows alone: no picture, no weight."""
    shutil.copytree(run, to, ignore=lambda _, names: {n for n in names if "." in n and n not in KEPT})
    shutil.rmtree(to / "scopes")
    return to


KEPT = {RUN_FILE, CONTEXT, ROWS}


def test_shards_merge_into_what_one_run_gives_also_without_pictures(
    shards: tuple[Path, Path], tmp_path: Path
) -> None:
    whole = go(tmp_path / "whole", FakeBench(), study(CONFIG))
    assert merge(shards) == whole
    assert merge(tuple(reversed(shards))) == whole
    assert merge([reduced(run, tmp_path / f"rows_{run.name}") for run in shards]) == whole
    assert merge([tmp_path / "whole"]) == whole


def published(run: Path, to: Path) -> Path:
    """A folder as docs/results keeps it: ``results.json`` in place of the cells."""
    to.mkdir()
    for name in (RUN_FILE, CONTEXT, RESULTS):
        shutil.copy(run / name, to)
    return to


def test_shards_of_which_the_results_were_kept_merge_as_well(
    shards: tuple[Path, Path], tmp_path: Path
) -> None:
    whole = go(tmp_path / "whole", FakeBench(), study(CONFIG))
    kept = [published(run, tmp_path / f"kept_{run.name}") for run in shards]
    assert merge(kept) == whole
    assert merge([kept[0], shards[1]]) == whole
    other = ExperimentResult.read(kept[1] / RESULTS).model_copy(update={"dataset_sha256": "other"})
    other.write(kept[1] / RESULTS)
    with pytest.raises(DataError, match="of another experiment; take the"):
        merge(kept)


def test_folders_without_a_finished_cell_do_not_merge(shards: tuple[Path, Path], tmp_path: Path) -> None:
    kept = published(shards[0], tmp_path / "kept")
    (kept / RESULTS).unlink()
    with pytest.raises(DataError, match="no training is done in kept"):
        merge([kept])
    assert merge([kept, shards[1]]) == merge([shards[1]])  # a shard that has just begun
    (kept / f"{RESULTS}.gz").touch()
    with pytest.raises(DataError, match="of kept is packed; unpack it"):
        merge([kept, shards[1]])


def test_missing_cells_make_the_merged_result_incomplete(shards: tuple[Path, Path]) -> None:
    alone = merge(shards[:1])
    assert (alone.complete, alone.cells_done, alone.cells_planned) == (False, 8, 16)
    shutil.rmtree(shards[1] / CELLS / "real_n2_fold1_seed0")
    both = merge(shards)
    assert (both.complete, both.cells_done) == (False, 15)


def test_a_cell_that_is_twice_must_have_the_same_rows(shards: tuple[Path, Path], tmp_path: Path) -> None:
    name = "real_n2_fold0_seed0"
    shutil.copytree(shards[0] / CELLS / name, shards[1] / CELLS / name)
    assert merge(shards).complete
    path = shards[1] / CELLS / name / ROWS
    result = CellResult.read(path)
    result.model_copy(update={"rows": result.rows[1:]}).write(path)
    with pytest.raises(DataError, match=f"s2 holds other rows of {name}"):
        merge(shards)


@pytest.mark.parametrize(
    ("key", "message"), [("config", "s2 has another config than s1"), ("inputs", "another dataset or folds")]
)
def test_shards_of_other_experiments_do_not_merge(shards: tuple[Path, Path], key: str, message: str) -> None:
    path = shards[1] / RUN_FILE
    record = json.loads(path.read_text())
    record[key] = record[key] | {"dataset" if key == "inputs" else "name": "other"}
    path.write_text(json.dumps(record))
    with pytest.raises(DataError, match=message):
        merge(shards)


def test_what_is_no_experiment_does_not_merge(shards: tuple[Path, Path]) -> None:
    with pytest.raises(DataError, match="holds a run of experiment cell"):
        merge([shards[0] / CELLS / "real_n2_fold0_seed0"])
    name = "real_n2_fold0_seed0"
    shutil.copytree(shards[0] / CELLS / name, shards[0] / CELLS / "real_n9_fold0_seed0")
    with pytest.raises(DataError, match="a cell real_n9_fold0_seed0 of another experiment"):
        merge(shards)


def test_shards_of_one_folder_make_it_whole(tmp_path: Path) -> None:
    one, two = FakeBench(), FakeBench()
    assert not go(tmp_path / "run", one, study(CONFIG, "1/2")).complete
    assert go(tmp_path / "run", two, study(CONFIG, "2/2")).complete
    assert (len(one.trained), len(two.trained)) == (8, 8)
    assert not (tmp_path / "run" / CLAIMS).exists()


def test_a_second_call_on_a_folder_joins_the_first(tmp_path: Path) -> None:
    """Each does its part, nobody does a cell twice, and both end with the whole result."""
    run, of = tmp_path / "run", study(CONFIG)
    benches, results = (FakeBench(seconds=0.05), FakeBench(seconds=0.05)), []

    def work(bench: FakeBench) -> None:
        with Claims(run / CLAIMS) as claims:
            results.append(run_experiment(of, bench, SharedRun(run, claims, Lines())))

    threads = [threading.Thread(target=work, args=(bench,)) for bench in benches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(benches[0].trained + benches[1].trained) == sorted(cell.name for cell in of.planned)
    assert all(bench.trained for bench in benches)
    assert [result.complete for result in results] == [True, True]
    assert (run / RESULTS).is_file()


def test_a_cell_that_somebody_else_holds_is_left_until_it_is_free(tmp_path: Path) -> None:
    run, held = tmp_path / "run", "real_nall_fold0_seed0"
    bench, lines = FakeBench(), Lines()
    with Claims(run / CLAIMS) as other:
        assert other.take(held)

        def give_back_when_waited_for() -> None:
            while "waiting for 1 trainings that are under way elsewhere" not in lines.said:
                time.sleep(0.05)
            other.give_back(held)

        thread = threading.Thread(target=give_back_when_waited_for, daemon=True)
        thread.start()
        with Claims(run / CLAIMS) as claims:
            result = run_experiment(study(), bench, SharedRun(run, claims, lines))
        thread.join()
    assert result.complete
    assert bench.trained[-1] == held
