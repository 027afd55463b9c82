"""Run folders: skipped, resumed or refused."""

import json
from pathlib import Path

import pytest

from medaug.core.config import Frozen
from medaug.core.errors import ConfigError, DataError, StorageError
from medaug.core.runs import WORKING, finished, open_run


class Settings(Frozen):
    """What a step is asked."""

    steps: int


def interrupted(out: Path, settings: Settings, inputs: dict[str, str]) -> None:
    with open_run(out, "fit", settings, inputs) as run:
        assert not run.resumed
        (out / ".1234.partial.model.pt").write_text("half")
        raise KeyboardInterrupt


def test_a_finished_run_is_skipped_and_an_interrupted_one_resumes(tmp_path: Path) -> None:
    out, settings, inputs = tmp_path / "run", Settings(steps=1), {"dataset": "abc"}
    assert not finished(out, "fit", settings, inputs)
    with pytest.raises(KeyboardInterrupt):
        interrupted(out, settings, inputs)
    assert not finished(out, "fit", settings, inputs)
    with open_run(out, "fit", settings, inputs) as run:
        assert run.resumed
        assert not list(out.glob(".*partial*"))
        run.log("step", loss=0.5)
    assert finished(out, "fit", settings, inputs)
    assert json.loads((out / "log.jsonl").read_text())["loss"] == 0.5


@pytest.mark.parametrize(
    ("step", "settings", "inputs", "message"),
    [
        ("train", Settings(steps=1), {"dataset": "abc"}, "a run of fit"),
        ("fit", Settings(steps=2), {"dataset": "abc"}, "holds a fit run with another steps"),
        ("fit", Settings(steps=1), {"dataset": "xyz"}, r"other inputs \(dataset\)"),
    ],
)
def test_a_changed_run_is_refused(
    tmp_path: Path, step: str, settings: Settings, inputs: dict[str, str], message: str
) -> None:
    with open_run(tmp_path / "run", "fit", Settings(steps=1), {"dataset": "abc"}):
        pass
    with pytest.raises(ConfigError, match=message):
        finished(tmp_path / "run", step, settings, inputs)


def test_a_folder_that_is_no_run_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="no run folder"):
        finished(tmp_path, "fit", Settings(steps=1), {})


def test_a_file_is_no_place_for_a_run(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(ConfigError, match=f"--out: {tmp_path}/notes is a file"):
        finished(tmp_path / "notes", "fit", Settings(steps=1), {})
    assert not finished(tmp_path / "notes" / "run", "fit", Settings(steps=1), {})
    with (
        pytest.raises(StorageError, match="run: Not a directory"),
        open_run(tmp_path / "notes" / "run", "fit", Settings(steps=1), {}),
    ):
        pass


def test_steps_have_their_article(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", "ingest", Settings(steps=1), {}):
        pass
    with pytest.raises(ConfigError, match="holds an ingest run with another steps"):
        finished(tmp_path / "run", "ingest", Settings(steps=2), {})


def test_a_refused_run_gives_its_folder_to_any_other_call_of_the_step(tmp_path: Path) -> None:
    def refused() -> None:
        with open_run(tmp_path / "run", "ingest", Settings(steps=1), {}) as run:
            run.refuse()
            raise DataError("nothing to keep")

    with pytest.raises(DataError):
        refused()
    assert not finished(tmp_path / "run", "ingest", Settings(steps=1), {})
    assert not finished(tmp_path / "run", "ingest", Settings(steps=2), {"a": "b"})
    with pytest.raises(ConfigError, match="holds a run of ingest"):
        finished(tmp_path / "run", "fit", Settings(steps=1), {})
    (tmp_path / "left" / WORKING).mkdir(parents=True)
    assert not finished(tmp_path / "left", "ingest", Settings(steps=1), {})
