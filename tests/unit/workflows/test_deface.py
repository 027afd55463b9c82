"""A dataset without faces: heads lose theirs, brains stay as they are, what cannot be told is left out and said."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medaug.core.case import Case, CaseRecord, Manifest, read_manifest
from medaug.core.errors import ConfigError, DataError
from medaug.core.runs import NoProgress
from medaug.core.storage import sha256_file
from medaug.io.dataset import CaseFacts, finish_dataset, load_case, write_case
from medaug.phantom.head import HeadSpec, draw_head
from medaug.privacy.defaced import DEFACED, DefacedFile
from medaug.workflows.deface import DefaceOptions, deface_dataset

MM = (3.0, 3.0, 5.0)


def _write(folder: Path, case_id: str, spec: HeadSpec, *, flip: bool = False) -> CaseRecord:
    scan = draw_head(spec, np.random.default_rng(1))
    volume, label_map = scan.volume, scan.label_map
    if flip:
        volume = replace(volume, image=volume.image[..., ::-1].copy())
        label_map = replace(label_map, labels=label_map.labels[..., ::-1].copy())
    facts = CaseFacts("MR", findings=())
    return write_case(folder, Case(case_id, case_id, volume, label_map), facts)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("heads") / "dataset"
    records = (
        _write(folder, "head", HeadSpec(spacing_mm=MM)),
        _write(folder, "stripped", HeadSpec(spacing_mm=MM, has_skin=False)),
        _write(folder, "fallen", HeadSpec(spacing_mm=MM), flip=True),
    )
    finish_dataset(folder, Manifest(name="heads", classes=("lesion",), cases=records), ())
    return folder


def test_faces_go_brains_stay_and_the_rest_is_said(dataset: Path, tmp_path: Path) -> None:
    options = DefaceOptions(dataset=dataset, out=tmp_path / "out", views=tmp_path / "views")
    summary = deface_dataset(options, NoProgress())
    assert (summary.defaced, summary.nothing, summary.quarantined) == (1, 1, 1)
    before, after = read_manifest(dataset), read_manifest(options.out)
    assert [record.case_id for record in after.cases] == ["head", "stripped"]
    assert after.case("stripped") == before.case("stripped")
    assert after.case("head").label == before.case("head").label
    assert after.case("head").images != before.case("head").images
    case = load_case(options.out, after.case("head"), after.classes)
    scan = draw_head(HeadSpec(spacing_mm=MM), np.random.default_rng(1))
    assert np.array_equal(case.volume.image[0][scan.brain], scan.volume.image[0][scan.brain])
    assert np.ptp(case.volume.image[0][scan.nose]) == 0
    told = {case.case_id: case for case in DefacedFile.read(options.out / DEFACED).cases}
    assert told["fallen"].images == ()
    assert told["head"].images == tuple(
        sha256_file(options.out / file.path) for file in after.case("head").images
    )
    picture = tmp_path / "views" / "head.png"
    assert picture.stat().st_mode & 0o077 == 0
    assert not list(options.out.rglob("*.png"))
    held = {path: path.read_bytes() for path in options.out.rglob("*") if path.is_file()}
    assert deface_dataset(options, NoProgress()) == summary
    assert held == {path: path.read_bytes() for path in options.out.rglob("*") if path.is_file()}


def test_pictures_and_output_lie_apart_from_the_set(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--out"):
        deface_dataset(DefaceOptions(dataset=dataset, out=dataset / "out"), NoProgress())
    options = DefaceOptions(dataset=dataset, out=tmp_path / "out", views=tmp_path / "out" / "views")
    with pytest.raises(ConfigError, match="--views"):
        deface_dataset(options, NoProgress())


def test_a_set_of_which_nothing_is_left_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    record = _write(folder, "fallen", HeadSpec(spacing_mm=(4.0, 4.0, 6.0)), flip=True)
    finish_dataset(folder, Manifest(name="heads", classes=("lesion",), cases=(record,)), ())
    with pytest.raises(DataError, match="no case is left"):
        deface_dataset(DefaceOptions(dataset=folder, out=tmp_path / "out"), NoProgress())
    assert not (tmp_path / "out" / "manifest.json").exists()
