"""Image files other than DICOM, from the folder to the dataset: pictures with masks, Slicer's files, a fourth axis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medaug.core.case import FINDINGS, FindingsFile, Manifest, read_manifest
from medaug.core.errors import DataError
from medaug.core.runs import NoProgress
from medaug.io.dataset import load_case
from medaug.workflows.ingest import IngestOptions, ingest
from tests.unit.ingest.material import mr_values, save
from tests.unit.io import test_metaimage, test_nrrd
from tests.unit.io.test_images import slicer

SHAPE = (12, 10)


def run(source: Path, out: Path, **more: Any) -> Manifest:
    ingest(IngestOptions.model_validate({"sources": (source,), "out": out} | more), NoProgress())
    return read_manifest(out)


def codes(out: Path, severity: str) -> set[str]:
    return {f.code for f in FindingsFile.read(out / FINDINGS).findings if f.severity == severity}


def picture(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def grey(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, SHAPE).astype(np.uint8)


def spot(row: int, column: int, value: int = 255) -> np.ndarray:
    pixels = np.zeros(SHAPE, np.uint8)
    pixels[row, column] = value
    return pixels


def test_ultrasound_pictures_with_several_masks_become_a_dataset(tmp_path: Path) -> None:
    source, out = tmp_path / "src", tmp_path / "out"
    picture(source / "benign/benign (1).png", np.stack([grey(1)] * 3, axis=-1))
    picture(source / "benign/benign (1)_mask.png", spot(2, 3))
    picture(source / "benign/benign (1)_mask_1.png", spot(9, 1))
    picture(source / "malignant/malignant (1).png", grey(2))
    picture(source / "malignant/malignant (1)_mask.png", spot(5, 5)[:-1])
    picture(source / "normal/normal (1).png", grey(3))
    manifest = run(source, out, class_map="1=mass", modality="US")
    assert manifest.classes == ("mass",)
    labelled, bare = manifest.cases
    assert [(count.class_name, count.count) for count in labelled.lesions] == [("mass", 2)]
    assert labelled.spacing == "nominal"
    assert bare.label is None
    case = load_case(out, labelled, manifest.classes)
    assert case.label_map is not None
    # turned to RAS+, the last pixel of the picture is the first voxel
    assert np.array_equal(case.volume.image[0, ::-1, ::-1, 0].T, grey(1))
    assert np.argwhere(case.label_map.labels[::-1, ::-1, 0].T).tolist() == [[2, 3], [9, 1]]
    assert codes(out, "fixed") == {"colour-converted", "masks-merged"}
    assert codes(out, "refused") == {"label-grid"}


def test_a_folder_a_class_names_the_classes(tmp_path: Path) -> None:
    source, out = tmp_path / "src", tmp_path / "out"
    for n in (1, 2):
        picture(source / f"images/x{n}.png", grey(n))
        picture(source / f"masks/core/x{n}.png", spot(2, n, 1))
        picture(source / f"masks/edge/x{n}.png", spot(3, n))
    manifest = run(source, out, modality="US")
    assert manifest.classes == ("core", "edge")
    assert [[count.class_name for count in record.lesions] for record in manifest.cases] == [
        ["core", "edge"]
    ] * 2
    picture(source / "masks/edge/x2.png", spot(2, 2))
    with pytest.raises(DataError, match="overlap"):
        run(source, tmp_path / "strict", modality="US", strict=True)
    won = run(source, tmp_path / "won", modality="US", priority=("edge",))
    assert [[count.class_name for count in record.lesions] for record in won.cases] == [
        ["core", "edge"],
        ["edge"],
    ]


def test_unnamed_white_is_one_made_up_class(tmp_path: Path) -> None:
    picture(tmp_path / "src/a.png", grey(1))
    picture(tmp_path / "src/a_mask.png", spot(1, 1))
    manifest = run(tmp_path / "src", tmp_path / "out", modality="US")
    assert manifest.classes == ("class_1",)
    assert codes(tmp_path / "out", "flagged") >= {"class-names-missing"}


def test_the_fourth_axis_is_what_it_is_said_to_be(tmp_path: Path) -> None:
    four = np.stack([mr_values(n) for n in range(3)], axis=-1)
    save(tmp_path / "src" / "a.nii.gz", four)
    with pytest.raises(DataError, match="image is 4D"):
        run(tmp_path / "src", tmp_path / "asked", modality="MR")
    assert codes(tmp_path / "asked", "refused") == {"four-axes"}
    (joint,) = run(tmp_path / "src", tmp_path / "channels", modality="MR", frames="channels").cases
    assert joint.channels == ("channel_1", "channel_2", "channel_3")
    apart = run(tmp_path / "src", tmp_path / "cases", modality="MR", frames="cases").cases
    assert len(apart) == 3
    assert len({record.patient_id for record in apart}) == 1
    (one,) = run(tmp_path / "src", tmp_path / "one", modality="MR", frames="1").cases
    stored = load_case(tmp_path / "one", one, ()).volume.image[0]
    assert np.array_equal(np.sort(stored, axis=None), np.sort(four[..., 1], axis=None))


def test_slicer_and_itk_files_become_a_dataset(tmp_path: Path) -> None:
    source, out = tmp_path / "src", tmp_path / "out"
    source.mkdir()
    values = np.random.default_rng(4).integers(1, 99, (4, 5, 6)).astype(np.int16)
    plain = {"sizes": "4 5 6", "space_directions": "(1,0,0) (0,1,0) (0,0,2)", "space_origin": "(0,0,0)"}
    test_nrrd.write(source / "a.nrrd", values.tobytes(order="F"), **plain)
    layers = np.zeros((2, 2, 3, 2), np.int16)
    layers[0, 0, 1, 0], layers[0, 1, 2, 1] = 1, 2
    slicer(source / "a.seg.nrrd", layers, "(1,0,4)")
    test_metaimage.write(source / "b.mhd", b"", ElementDataFile="b.raw")
    (source / "b.raw").write_bytes(test_metaimage.RAW)
    manifest = run(source, out, modality="MR")
    assert set(manifest.classes) == {"core", "edge", "whole"}
    first, second = manifest.cases
    case = load_case(out, first, manifest.classes)
    assert case.label_map is not None
    assert case.volume.image[0][case.label_map.mask("core")].tolist() == [values[1, 1, 2]]
    assert case.volume.image[0][case.label_map.mask("edge")].tolist() == [values[2, 2, 3]]
    assert second.spacing_mm == pytest.approx((0.6, 0.5, 1.2))
    assert codes(out, "refused") == set()
    named = run(
        source,
        tmp_path / "named",
        modality="MR",
        class_map="SCT:4147007=mass,edge=background,whole=background",
    )
    assert named.classes == ("mass",)
