"""medaug convert: written once, skipped, resumed or refused after that; whatever is damaged is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from medaug.core.case import FINDINGS, MANIFEST, RECIPES, read_manifest
from medaug.core.errors import ConfigError, DataError, UnreadableError
from medaug.core.runs import NoProgress
from medaug.core.volume import Unit
from medaug.io.dataset import load_case
from medaug.workflows.convert import ConvertOptions, ConvertSummary, Form, convert
from medaug.workflows.ingest import IngestOptions, ingest
from tests.unit.ingest.material import CountingProgress
from tests.unit.privacy.synthetic_set import CLASSES, make_set


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make_set(tmp_path, unit=Unit.ARBITRARY, channels=("FLAIR", "T1")).dataset


def run(dataset: Path, out: Path, to: Form = "msd") -> ConvertSummary:
    return convert(ConvertOptions(dataset=dataset, to=to, out=out), NoProgress())


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_same_call_is_skipped_and_another_refused(dataset: Path, tmp_path: Path) -> None:
    before = contents(dataset)
    summary = run(dataset, tmp_path / "out")
    assert (summary.cases, summary.labelled, summary.images) == (2, 2, 2)
    assert summary.lines()[0] == f"2 cases (2 labelled) in 2 image files, as msd in {tmp_path / 'out'}"
    written = contents(tmp_path / "out")
    progress = CountingProgress()
    options = ConvertOptions(dataset=dataset, to="msd", out=tmp_path / "out")
    assert convert(options, progress) == summary
    assert not progress.started
    with pytest.raises(ConfigError, match="another to"):
        run(dataset, tmp_path / "out", "bids")
    assert contents(tmp_path / "out") == written
    assert contents(dataset) == before


def test_findings_and_recipes_come_along(dataset: Path, tmp_path: Path) -> None:
    run(dataset, tmp_path / "out")
    for name in (FINDINGS, RECIPES):
        assert (tmp_path / "out" / name).read_bytes() == (dataset / name).read_bytes()
    ingest(IngestOptions(sources=(tmp_path / "out",), out=tmp_path / "back"), NoProgress())
    assert (tmp_path / "back" / RECIPES).read_bytes() == (dataset / RECIPES).read_bytes()


def test_an_interrupted_run_goes_on(dataset: Path, tmp_path: Path) -> None:
    options = ConvertOptions(dataset=dataset, to="nifti", out=tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        convert(options, CountingProgress(stop_at=("write cases", 1)))
    assert not (tmp_path / "out" / MANIFEST).exists()
    first = tmp_path / "out" / "images" / "syn_0_FLAIR.nii.gz"
    made = first.stat().st_mtime_ns
    convert(options, NoProgress())
    assert first.stat().st_mtime_ns == made
    run(dataset, tmp_path / "whole", "nifti")
    fresh, resumed = contents(tmp_path / "whole"), contents(tmp_path / "out")
    assert fresh.keys() == resumed.keys()
    assert all(fresh[name] == resumed[name] for name in fresh if name not in ("run.json", "log.jsonl"))


def test_a_folder_that_holds_something_is_refused(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="no run folder"):
        run(dataset, tmp_path / "out")
    with pytest.raises(ConfigError, match="lies in the dataset"):
        run(dataset, dataset / "out")
    assert not (dataset / "out").exists()


def test_unknown_form() -> None:
    with pytest.raises(ValidationError, match="'bids', 'dicom', 'msd', 'nifti' or 'nnunet'"):
        ConvertOptions.model_validate({"dataset": "a", "to": "nrrd", "out": "b"})


@pytest.mark.parametrize("to", ["bids", "msd", "nifti", "nnunet"])
def test_a_damaged_dataset_is_refused(dataset: Path, tmp_path: Path, to: Form) -> None:
    image = dataset / "imagesTr" / "syn_1_0001.nii.gz"
    content = image.read_bytes()
    image.write_bytes(content[:-1] + b"x")
    with pytest.raises(UnreadableError, match=r"not the file the manifest describes|damaged"):
        run(dataset, tmp_path / to, to)
    assert not (tmp_path / to / MANIFEST).exists()
    image.unlink()
    with pytest.raises(UnreadableError, match="is missing"):
        run(dataset, tmp_path / "none", to)
    assert not (tmp_path / "none").exists()


def test_a_folder_that_is_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no dataset folder"):
        run(tmp_path, tmp_path.with_name("out"))


@pytest.mark.parametrize("to", ["bids", "nifti", "nnunet", "msd"])
def test_a_converted_folder_is_a_dataset_and_is_converted_again(
    dataset: Path, tmp_path: Path, to: Form
) -> None:
    run(dataset, tmp_path / "msd")
    summary = run(tmp_path / "msd", tmp_path / "again", to)
    assert summary.images == (2 if to == "msd" else 4)
    for before, after in zip(
        read_manifest(dataset).cases, read_manifest(tmp_path / "again").cases, strict=True
    ):
        wanted, found = (
            load_case(folder, record, CLASSES)
            for folder, record in ((dataset, before), (tmp_path / "again", after))
        )
        assert np.array_equal(found.volume.image, wanted.volume.image)
        assert found.volume.channels == wanted.volume.channels
    if to == "nnunet":
        manifest = read_manifest(tmp_path / "again")
        assert manifest.cases == read_manifest(dataset).cases


def test_a_dataset_of_dicom_series_is_refused(dataset: Path, tmp_path: Path) -> None:
    manifest = read_manifest(dataset)
    bare = tuple(record.model_copy(update={"images": ()}) for record in manifest.cases)
    manifest.model_copy(update={"cases": bare}).write(dataset / MANIFEST)
    with pytest.raises(UnreadableError, match="DICOM series"):
        run(dataset, tmp_path / "out")
