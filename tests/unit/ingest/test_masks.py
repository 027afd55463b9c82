"""Mask files of one picture: white is the class, several are one label map, and nothing is overwritten in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medaug.core.errors import DataError
from medaug.core.findings import Code
from medaug.ingest.masks import label_files, read_label_files
from medaug.ingest.sources import ClassId, LabelSource
from tests.unit.ingest.material import label_values, save

ONE, TWO = (ClassId(3, "mass"),), (ClassId(1, "core"), ClassId(2, "edge"))


def mask(path: Path, columns: slice, value: int = 255, size: int = 6) -> Path:
    pixels = np.zeros((4, size), np.uint8)
    pixels[1, columns] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def picture(*files: Path, names: tuple[str, ...] = ()) -> LabelSource:
    return LabelSource("picture", files, names=names)


def row(labels: np.ndarray) -> list[int]:
    """The drawn row as it is seen: RAS+ order turns a picture round."""
    return [int(n) for n in labels[::-1, ::-1, 0][:, 1]]


def refusal(label: LabelSource, classes: tuple[ClassId, ...]) -> str:
    with pytest.raises(DataError) as caught:
        read_label_files(label, classes, None)
    return caught.value.code


def test_white_is_the_only_class_of_a_picture(tmp_path: Path) -> None:
    path = mask(tmp_path / "a.png", slice(2, 4))
    assert row(read_label_files(picture(path), ONE, None).labels) == [0, 0, 3, 3, 0, 0]
    assert row(read_label_files(picture(path), TWO, None).labels) == [0, 0, 255, 255, 0, 0]
    assert row(read_label_files(picture(path), (ClassId(255, "x"),), None).labels) == [0, 0, 255, 255, 0, 0]
    grey = mask(tmp_path / "b.png", slice(2, 4), 3)
    assert row(read_label_files(picture(grey), ONE, None).labels) == [0, 0, 3, 3, 0, 0]


def test_white_in_a_volume_is_an_id(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", label_values(255))
    read = read_label_files(LabelSource("nifti", (path,)), ONE, None)
    assert set(np.unique(read.labels)) == {0, 255}


def test_several_masks_are_one_label_map(tmp_path: Path) -> None:
    files = [mask(tmp_path / f"{n}.png", slice(n, n + 2)) for n in (0, 1, 4)]
    read = read_label_files(picture(*files), ONE, None)
    assert row(read.labels) == [3, 3, 3, 0, 3, 3]
    assert [note.code for note in read.findings] == [Code.MASKS_MERGED]
    assert len(read.sha256) == 3
    ids = [mask(tmp_path / f"id{n}.png", slice(2 * n, 2 * n + 1), n) for n in (1, 2)]
    assert row(read_label_files(picture(*ids), TWO, None).labels) == [0, 0, 1, 0, 2, 0]


def test_folders_name_the_classes(tmp_path: Path) -> None:
    files = [mask(tmp_path / "core.png", slice(0, 2)), mask(tmp_path / "edge.png", slice(2, 5), 7)]
    read = read_label_files(picture(*files, names=("core", "edge")), TWO, None)
    assert row(read.labels) == [1, 1, 2, 2, 2, 0]
    lone = read_label_files(picture(files[1], names=("edge",)), TWO, None)
    assert row(lone.labels) == [0, 0, 2, 2, 2, 0]
    assert lone.findings == ()
    assert refusal(picture(*files, names=("core", "rim")), TWO) == Code.LABEL_NAME_UNKNOWN


def test_overlaps_are_refused_unless_a_class_wins(tmp_path: Path) -> None:
    files = [mask(tmp_path / "core.png", slice(0, 3)), mask(tmp_path / "edge.png", slice(2, 5))]
    label = picture(*files, names=("core", "edge"))
    assert refusal(label, TWO) == Code.OVERLAPPING_SEGMENTS
    won = read_label_files(label, TWO, None, priority=("edge",))
    assert row(won.labels) == [1, 1, 2, 2, 2, 0]
    ids = [mask(tmp_path / "1.png", slice(0, 3), 1), mask(tmp_path / "2.png", slice(2, 5), 2)]
    assert refusal(picture(*ids), TWO) == Code.OVERLAPPING_SEGMENTS


def test_masks_of_other_sizes_are_refused(tmp_path: Path) -> None:
    files = [mask(tmp_path / "1.png", slice(0, 2)), mask(tmp_path / "2.png", slice(0, 2), size=7)]
    assert refusal(picture(*files), ONE) == Code.LABEL_GRID


def test_empty_masks_stay_empty(tmp_path: Path) -> None:
    files = [mask(tmp_path / f"{n}.png", slice(0, 0)) for n in (1, 2)]
    assert not read_label_files(picture(*files), ONE, None).labels.any()


def test_files_that_hold_voxels_for_another_are_no_labels(tmp_path: Path) -> None:
    label = LabelSource("metaimage", (tmp_path / "a.mhd", tmp_path / "a.raw"))
    assert label_files(label) == (tmp_path / "a.mhd",)
