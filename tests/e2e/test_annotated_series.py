"""A folder of CT, SEG and RT structure sets becomes the label maps that were drawn."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from medaug.core.case import Manifest, read_manifest
from medaug.core.errors import ConfigError, DataError, DependencyError
from medaug.core.runs import NoProgress
from medaug.io.dataset import load_case
from medaug.io.headers import scan
from medaug.workflows.ingest import IngestOptions, ingest
from tests.unit.io.series import reread, stored_values, write_seg, write_series
from tests.unit.io.structure_sets import Drawn, write_structures

SQUARE = ((1.5, 0.5), (4.5, 0.5), (4.5, 3.5), (1.5, 3.5))
HOLE = ((2.5, 1.5), (3.5, 1.5), (3.5, 2.5), (2.5, 2.5))


def _ingest(source: Path, out: Path, **options: object) -> Manifest:
    ingest(IngestOptions.model_validate({"sources": (source,), "out": out, **options}), NoProgress())
    return read_manifest(out)


def _findings(out: Path) -> list[tuple[str, str, str]]:
    found = json.loads((out / "findings.json").read_text())["findings"]
    return [(f["severity"], f["code"], f["message"]) for f in found]


def _labels(out: Path, manifest: Manifest, number: int = 0) -> np.ndarray:
    case = load_case(out, manifest.cases[number], manifest.classes)
    assert case.label_map is not None
    return case.label_map.labels


def _annotated(folder: Path) -> np.ndarray:
    """A series with a SEG and a structure set; the label map that both together mean, as (slice, row, column)."""
    files = write_series(folder / "ct", stored_values())
    files.sort(key=lambda path: -int(reread(path).InstanceNumber))
    masks = np.zeros((5, 6, 7, 1), np.uint8)
    masks[3:, 4:, 5:, 0] = 1
    write_seg(folder / "seg.dcm", files, masks, ["Mass 1"])
    write_structures(
        folder / "rt.dcm",
        files,
        {
            "GTV": [Drawn(1, SQUARE), Drawn(1, HOLE), Drawn(2, HOLE)],
            "BODY": [Drawn(n, ((0.5, 0.5), (6.2, 0.5), (6.2, 5.2), (0.5, 5.2))) for n in range(5)],
            "Isocentre": [Drawn(2, ((3, 3),), "POINT")],
        },
    )
    expected = np.zeros((5, 6, 7), np.uint8)
    expected[1, 1:4, 2:5], expected[1, 2, 3], expected[2, 2, 3] = 2, 0, 2
    expected[3:, 4:, 5:] = 1
    return expected


def _in_ras(stored: np.ndarray) -> np.ndarray:
    """The made series has columns to the left, rows to the back and slices upwards."""
    return stored.transpose(2, 1, 0)[::-1, ::-1]


def test_seg_and_structure_set_become_one_label_map(tmp_path: Path) -> None:
    expected = _annotated(tmp_path / "in")
    manifest = _ingest(tmp_path / "in", tmp_path / "out", class_map="Mass 1=mass,GTV=tumour,BODY=background")
    assert manifest.classes == ("mass", "tumour")
    assert np.array_equal(_labels(tmp_path / "out", manifest), _in_ras(expected))
    assert len(manifest.cases[0].source_sha256) == 7
    assert [code for _, code, _ in _findings(tmp_path / "out")] == [
        "segment-empty",
        "single-lesion-class",
        "single-lesion-class",
    ]
    text = (tmp_path / "out" / "findings.json").read_text()
    assert "Isocentre" not in text
    assert "4711" not in text


def test_overlap_needs_a_priority_and_unknown_names_are_refused(tmp_path: Path) -> None:
    expected = _annotated(tmp_path / "in")
    with pytest.raises(DataError, match="say --priority"):
        _ingest(tmp_path / "in", tmp_path / "all")
    assert ("overlapping-segments") in [code for _, code, _ in _findings(tmp_path / "all")]
    with pytest.raises(DataError, match="--class-map"):
        _ingest(tmp_path / "in", tmp_path / "some", class_map="GTV=tumour")
    assert ("label-name-unknown") in [code for _, code, _ in _findings(tmp_path / "some")]
    with pytest.raises(ConfigError, match="no class Mass; expected of GTV, Mass 1, BODY"):
        _ingest(tmp_path / "in", tmp_path / "slip", priority="Mass,GTV")
    manifest = _ingest(tmp_path / "in", tmp_path / "ordered", priority="Mass 1,GTV")
    assert set(manifest.classes) == {"Mass 1", "GTV", "BODY"}
    labels = _labels(tmp_path / "ordered", manifest)
    for name, number in (("Mass 1", 1), ("GTV", 2)):
        assert np.array_equal(labels == manifest.classes.index(name) + 1, _in_ras(expected) == number)
    # the body covers all of the tumour and none of the last row and column, where a part of the mass lies
    covered = np.zeros_like(expected, bool)
    covered[:, 1:6, 1:7] = True
    shared = np.count_nonzero(covered & (expected > 0))
    assert ("fixed", "overlapping-segments") in [f[:2] for f in _findings(tmp_path / "ordered")]
    assert any(f"classes share {shared} voxels" in f[2] for f in _findings(tmp_path / "ordered"))


def test_a_table_names_structures_by_number(tmp_path: Path) -> None:
    expected = _annotated(tmp_path / "in")
    table = "case_id,patient_id,image,label,lesion_classes,label_ids\nc1,p1,ct,rt.dcm,lump;background,1;2\n"
    (tmp_path / "in" / "cases.csv").write_text(table)
    manifest = _ingest(tmp_path / "in", tmp_path / "out")
    assert manifest.classes == ("lump",)
    assert np.array_equal(_labels(tmp_path / "out", manifest) == 1, _in_ras(expected) == 2)


def test_broken_structures_refuse_their_case_and_the_others_go_on(tmp_path: Path) -> None:
    _annotated(tmp_path / "in" / "good")
    (tmp_path / "in" / "good" / "rt.dcm").unlink()
    files = write_series(tmp_path / "in" / "bad", stored_values(seed=5), lambda d, _: _other_patient(d))
    made = write_structures(tmp_path / "in" / "rt.dcm", files, {"GTV": [Drawn(1, SQUARE, off=0.4)]})
    manifest = _ingest(tmp_path / "in", tmp_path / "out")
    assert len(manifest.cases) == 1
    refused = [f for f in _findings(tmp_path / "out") if f[0] == "refused"]
    assert [code for _, code, _ in refused] == ["contour-off-slice"]
    content = made.read_bytes()
    made.write_bytes(content[: len(content) // 2])
    _ingest(tmp_path / "in", tmp_path / "torn")
    assert [code for severity, code, _ in _findings(tmp_path / "torn") if severity == "refused"] == [
        "truncated-file"
    ]


def _other_patient(dataset: object) -> None:
    dataset.PatientID, dataset.PatientName = "PAT-9", "Other^One"  # type: ignore[attr-defined]


def test_packages_that_lack_refuse_cases_and_end_the_run_only_where_all_need_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _annotated(tmp_path / "in")

    def without(*_: object, **__: object) -> None:
        raise DependencyError("reading JPEG-LS needs a plugin", hint="install medaug[dicom]")

    monkeypatch.setattr("medaug.ingest.labels.read_seg", without)
    with pytest.raises(DependencyError, match=r"medaug\[dicom\]"):
        _ingest(tmp_path / "in", tmp_path / "out")
    assert [code for _, code, _ in _findings(tmp_path / "out")][:1] == ["dependency-missing"]
    files = write_series(tmp_path / "in" / "other", stored_values(seed=5), lambda d, _: _other_patient(d))
    assert len(files) == 5
    assert len(_ingest(tmp_path / "in", tmp_path / "some").cases) == 1


REAL = {
    "liver.dcm": "dcmqi/ct-3slice",
    "sparse-labelmap-noppv.dcm": "dcmqi/24x38x3/image",
    "sparse-labelmap-ppv5.dcm": "dcmqi/24x38x3/image",
    "23x38x3/seg/label.seg": "dcmqi/23x38x3/image",
    "24x38x3/seg/label.seg": "dcmqi/24x38x3/image",
    "highdicom/seg_image_cr_binary.dcm": "highdicom/sources/CR1",
    "highdicom/seg_image_ct_binary_single_frame.dcm": "highdicom/ct_image.dcm",
}


@pytest.mark.parametrize("name", sorted(REAL))
def test_real_segmentations_become_label_maps_of_the_staged_size(
    tmp_path: Path, medaug_data: Path, name: str
) -> None:
    folder = medaug_data / "dicom" / "seg"
    answer = json.loads((folder.parent / "answers.json").read_text())["seg"][name]
    (tmp_path / "in").mkdir()
    home = folder / REAL[name]
    for number, path in enumerate([home] if home.is_file() else sorted(home.iterdir())):
        shutil.copy(path, tmp_path / "in" / f"{number}.dcm")
    shutil.copy(
        folder / name if "/" in name and "highdicom" in name else folder / "dcmqi" / name,
        tmp_path / "in" / "seg",
    )
    manifest = _ingest(tmp_path / "in", tmp_path / "out")
    labels = _labels(tmp_path / "out", manifest)
    assert {str(n): int((labels == n).sum()) for n in range(1, labels.max() + 1)} == answer[
        "voxels_per_segment"
    ]


def test_real_structure_sets_are_refused_with_a_reason_each(tmp_path: Path, medaug_data: Path) -> None:
    source = medaug_data / "dicom" / "rtstruct" / "mock_data"
    assert len(scan(sorted(source.iterdir())).images) == 1
    with pytest.raises(DataError, match="none of 1 case"):
        _ingest(source, tmp_path / "out")
    refused = [f for f in _findings(tmp_path / "out") if f[0] == "refused"]
    assert [code for _, code, _ in refused] == ["reference-missing"] * 3
    assert ["frame of reference" in message for _, _, message in refused].count(True) == 1
    with pytest.raises(DataError):
        _ingest(source.parent / "empty", tmp_path / "empty")
    assert [code for _, code, _ in _findings(tmp_path / "empty")] == ["image-missing"]
