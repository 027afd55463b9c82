"""Dataset folders: what is written comes back bit-identical, and what changed is refused."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medaug.core.case import Case, Manifest, Origin, read_manifest
from medaug.core.errors import DataError, GeometryError, LabelError, UnreadableError
from medaug.core.findings import Finding
from medaug.core.geometry import Grid
from medaug.core.volume import LabelMap, Unit, Volume
from medaug.io.dataset import CaseFacts, count_lesions, finish_dataset, load_case, load_edit_mask, write_case

CLASSES = ("solid", "ground_glass")
GRID = Grid((8, 7, 5), np.diag([0.5, 0.5, 2.0, 1.0]))
FACTS = CaseFacts(modality="MR", licence="CC0")


def _case(case_id: str = "case_0001", *, labelled: bool = True, channels: tuple[str, ...] = ("MR",)) -> Case:
    image = np.random.default_rng(3).normal(size=(len(channels), *GRID.shape)).astype(np.float32)
    labels = np.zeros(GRID.shape, np.uint8)
    labels[1, 1, 1] = labels[2, 2, 2] = labels[6, 6, 4] = 1
    label_map = LabelMap(labels, GRID, CLASSES) if labelled else None
    return Case(case_id, "patient_0001", Volume(image, GRID, Unit.ARBITRARY, channels), label_map)


def test_a_case_comes_back_bit_identical(tmp_path: Path) -> None:
    case = _case(channels=("FLAIR", "T1"))
    record = write_case(tmp_path, case, FACTS)
    back = load_case(tmp_path, record, CLASSES)
    assert [f.path for f in record.images] == [
        "imagesTr/case_0001_0000.nii.gz",
        "imagesTr/case_0001_0001.nii.gz",
    ]
    assert back.volume.image.tobytes() == case.volume.image.tobytes()
    assert back.volume.channels == ("FLAIR", "T1")
    assert back.label_map is not None
    assert case.label_map is not None
    assert np.array_equal(back.label_map.labels, case.label_map.labels)
    assert back.volume.grid.agrees_with(GRID)


def test_lesions_are_26_connected_components_with_mm3(tmp_path: Path) -> None:
    record = write_case(tmp_path, _case(), FACTS)
    (solid,) = record.lesions
    assert (solid.class_name, solid.count, solid.voxels, solid.volume_mm3) == ("solid", 2, 3, 1.5)


def test_nominal_spacing_gives_no_mm3() -> None:
    label_map = _case().label_map
    assert label_map is not None
    assert count_lesions(label_map, spacing_known=False)[0].volume_mm3 is None


def test_unlabelled_and_lesion_free_cases_have_their_places(tmp_path: Path) -> None:
    unlabelled = write_case(tmp_path, _case(labelled=False), FACTS)
    host = write_case(tmp_path, _case("host_1", labelled=False), CaseFacts(modality="MR", lesion_free=True))
    assert unlabelled.label is None
    assert unlabelled.images[0].path.startswith("imagesTs/")
    assert load_case(tmp_path, unlabelled, CLASSES).label_map is None
    label_map = load_case(tmp_path, host, CLASSES).label_map
    assert label_map is not None
    assert not label_map.labels.any()


def test_edit_mask_round_trip(tmp_path: Path) -> None:
    mask = np.zeros(GRID.shape, bool)
    mask[2:4, 1:3, 1] = True
    record = write_case(tmp_path, _case(), FACTS, edit_mask=mask)
    assert np.array_equal(load_edit_mask(tmp_path, record), mask)
    with pytest.raises(DataError, match="no edit mask"):
        load_edit_mask(tmp_path, write_case(tmp_path, _case("c2"), FACTS))


def test_wrong_cases_are_refused(tmp_path: Path) -> None:
    case = _case()
    assert case.label_map is not None
    labels = case.label_map.labels.copy()
    labels[0, 0, 0] = 3
    too_high = Case("c", "p", case.volume, LabelMap(labels, GRID, CLASSES))
    with pytest.raises(LabelError, match="label id 3"):
        write_case(tmp_path, too_high, FACTS)
    with pytest.raises(LabelError, match="lesion-free"):
        write_case(tmp_path, case, CaseFacts(modality="MR", lesion_free=True))
    moved = Grid(GRID.shape, GRID.affine + np.eye(4, k=3))
    with pytest.raises(GeometryError, match="another grid"):
        write_case(
            tmp_path, Case("c", "p", case.volume, LabelMap(case.label_map.labels, moved, CLASSES)), FACTS
        )
    with pytest.raises(GeometryError, match="edit mask"):
        write_case(tmp_path, case, FACTS, edit_mask=np.zeros((1, 1, 1), bool))
    flipped = Grid(GRID.shape, np.diag([-0.5, 0.5, 2.0, 1.0]))
    lps = Volume(case.volume.image, flipped, Unit.ARBITRARY, ("MR",))
    with pytest.raises(GeometryError, match="LAS"):
        write_case(tmp_path, Case("c", "p", lps, None), FACTS)
    assert list(tmp_path.iterdir()) == []


def test_finish_writes_nnunet_and_manifest(tmp_path: Path) -> None:
    records = (write_case(tmp_path, _case(), FACTS), write_case(tmp_path, _case("u1", labelled=False), FACTS))
    manifest = Manifest(name="toy", classes=CLASSES, cases=records)
    finding = Finding(code="label-missing", severity="flagged", case_id="u1", message="no label")
    finish_dataset(tmp_path, manifest, [finding])
    described = json.loads((tmp_path / "dataset.json").read_text())
    assert described["labels"] == {"background": 0, "solid": 1, "ground_glass": 2}
    assert described["channel_names"] == {"0": "MR"}
    assert described["numTraining"] == 1
    assert described["file_ending"] == ".nii.gz"
    assert read_manifest(tmp_path) == manifest
    assert json.loads((tmp_path / "findings.json").read_text())["findings"][0]["code"] == "label-missing"


def test_finish_refuses_mixed_channels_and_no_case(tmp_path: Path) -> None:
    records = (
        write_case(tmp_path, _case(), FACTS),
        write_case(tmp_path, _case("b", channels=("T1", "T2")), FACTS),
    )
    with pytest.raises(DataError, match="one list of channels"):
        finish_dataset(tmp_path, Manifest(name="toy", classes=CLASSES, cases=records), [])
    with pytest.raises(DataError, match="no case"):
        finish_dataset(tmp_path, Manifest(name="toy", classes=CLASSES, cases=()), [])
    assert not (tmp_path / "manifest.json").exists()


def test_changed_missing_and_misplaced_files_are_refused(tmp_path: Path) -> None:
    record = write_case(tmp_path, _case(), FACTS)
    path = tmp_path / record.images[0].path
    image = nib.Nifti1Image.from_filename(path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj) + 1, image.affine), path)
    with pytest.raises(UnreadableError, match="not the file the manifest describes"):
        load_case(tmp_path, record, CLASSES)
    path.unlink()
    with pytest.raises(UnreadableError, match="case_0001"):
        load_case(tmp_path, record, CLASSES)


def test_origin_is_kept(tmp_path: Path) -> None:
    case = _case()
    made = Case(case.case_id, case.patient_id, case.volume, case.label_map, Origin.SYNTHETIC)
    assert load_case(tmp_path, write_case(tmp_path, made, FACTS), CLASSES).origin is Origin.SYNTHETIC
