"""Labels on the grid of their image, as the command line wants them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset

from medaug.core.geometry import lps_to_ras
from medaug.ingest.classes import class_table
from medaug.ingest.convert import Converted, convert
from medaug.ingest.discover import Identified
from medaug.ingest.naming import ClassMap, name_segments
from medaug.ingest.series import pair_series
from medaug.ingest.sources import Choices, ClassId, ImageSource, LabelSource, Policy, SourceCase
from tests.unit.ingest.material import AFFINE, SHAPE, ct_values, label_values, save
from tests.unit.io.series import NORMAL, ORIGIN, STEP_MM, reread, stored_values, write_seg, write_series
from tests.unit.io.structure_sets import Drawn, write_structures

ASKED = Choices()
SQUARE = ((1.5, 0.5), (4.5, 0.5), (4.5, 3.5), (1.5, 3.5))
TABLE = (ClassId(1, "solid"), ClassId(2, "gg"))


def _nifti(folder: Path, label: np.ndarray, affine: np.ndarray) -> SourceCase:
    image = ImageSource("nifti", (save(folder / "i.nii.gz", ct_values(1)),))
    path = save(folder / "l.nii.gz", label, affine)
    return SourceCase(0, "k", "p", False, (image,), LabelSource("nifti", (path,)), TABLE)


def _read(source: SourceCase, choices: Choices = ASKED) -> Converted:
    found = Identified(source, "c1", "p1")
    return convert(found, class_table([source]), Policy(choices=choices), labels_expected=True)


def _codes(read: Converted, *severities: str) -> list[str]:
    return [f.code for f in read.findings if not severities or f.severity in severities]


def _labels(read: Converted) -> np.ndarray:
    assert read.case is not None, read.findings
    assert read.case.label_map is not None
    return read.case.label_map.labels


def _paired(folder: Path, choices: Choices = ASKED) -> list[SourceCase]:
    """The cases of a folder of DICOM files, with their segments named."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    cases = pair_series(files, 0, choices=choices).cases
    return [name_segments(c, c.label, ClassMap()) if c.label is not None else c for c in cases]


def test_label_maps_on_another_grid_are_resampled_only_when_asked(tmp_path: Path) -> None:
    fine = np.repeat(np.repeat(label_values(1, 2), 2, axis=0), 2, axis=1)
    half = np.array(AFFINE) @ np.diag([0.5, 0.5, 1, 1])
    half[:3, 3] -= AFFINE[:3, :2].sum(axis=1) / 4
    source = _nifti(tmp_path, fine, half)
    assert _codes(_read(source)) == ["label-grid"]
    read = _read(source, Choices(resample_labels=True))
    straight = _read(_nifti(tmp_path, label_values(1, 2), AFFINE))
    assert np.array_equal(_labels(read), _labels(straight))
    assert [(f.code, f.severity, f.case_id) for f in read.findings] == [("label-resampled", "fixed", "c1")]
    assert _codes(_read(_nifti(tmp_path, label_values(1), AFFINE), Choices(resample_labels=True))) == []


def test_what_resampling_would_lose_is_refused_or_flagged(tmp_path: Path) -> None:
    away = np.array(AFFINE)
    away[:3, 3] += AFFINE[:3, 0] * 100
    read = _read(_nifti(tmp_path, label_values(1), away), Choices(resample_labels=True))
    assert _codes(read) == ["label-grid"]
    assert "100% of the label" in read.findings[0].message
    label = np.zeros(SHAPE, np.uint8)
    label[0:3, 1, 1] = 1
    aside = np.array(AFFINE)
    aside[:3, 3] -= AFFINE[:3, 0]
    read = _read(_nifti(tmp_path, label, aside), Choices(resample_labels=True))
    assert [(f.code, f.severity) for f in read.findings] == [("label-resampled", "flagged")]
    assert "33.3%" in read.findings[0].message


def test_choices_reach_the_segments(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", stored_values())
    fractions = np.zeros((5, 6, 7, 2))
    fractions[1, 2:4, 2:4, 0], fractions[1, 3:5, 3:5, 1] = 0.9, 0.4
    write_seg(tmp_path / "seg", files, fractions, ["solid", "gg"], "FRACTIONAL")
    (source,) = _paired(tmp_path)
    read = _read(source)
    assert np.bincount(_labels(read).ravel()).tolist() == [206, 4]
    assert _codes(read) == ["fractions-thresholded", "segment-empty"]
    assert {f.case_id for f in read.findings} == {"c1"}
    low = Choices(fraction_threshold=0.3)
    assert _codes(_read(source, low), "refused") == ["overlapping-segments"]
    read = _read(source, replace(low, priority=("gg",)))
    assert np.bincount(_labels(read).ravel()).tolist() == [203, 3, 4]
    assert _codes(read) == ["fractions-thresholded", "overlapping-segments"]


def test_every_broken_annotation_of_a_case_is_told(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", stored_values())
    write_structures(tmp_path / "a", files, {"x": [Drawn(1, SQUARE, off=0.4)]})
    masks = np.zeros((5, 6, 7, 1), np.uint8)
    masks[1, 2, 3] = 1
    write_seg(tmp_path / "b", files, masks, ["x"])
    write_structures(
        tmp_path / "c", files, {"x": [Drawn(1, SQUARE), Drawn(1, ((3, 2), (9, 2), (9, 9), (3, 9)))]}
    )
    (source,) = _paired(tmp_path)
    read = _read(source)
    assert sorted(_codes(read, "refused")) == ["contour-off-slice", "contours-cross"]
    assert {f.message[:19] for f in read.findings} <= {f"annotation {n} of 3: "[:19] for n in (1, 2, 3)}


def test_annotations_of_another_patient_refuse_the_case(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", stored_values())
    write_structures(tmp_path / "rt", files, {"x": [Drawn(1, SQUARE)]})
    made = reread(tmp_path / "rt")
    made.PatientID = "PAT-9"
    made.save_as(tmp_path / "rt")
    (source,) = _paired(tmp_path)
    assert _codes(_read(source)) == ["mixed-patients"]


def _tilted(dataset: FileDataset, number: int) -> None:
    """Slices pushed sideways: a gantry that was tilted by 15 degrees."""
    step = NORMAL * STEP_MM + np.array([0.0, 0.9701425, -0.2425356]) * STEP_MM * np.tan(np.radians(15))
    dataset.ImagePositionPatient = [f"{value:.6f}" for value in ORIGIN + step * number]


def test_annotations_follow_the_slices_of_a_tilted_gantry(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", stored_values(), _tilted)
    files.sort(key=lambda path: -int(reread(path).InstanceNumber))
    masks = np.zeros((5, 6, 7, 1), np.uint8)
    masks[:, 1:4, 2:5] = 1
    write_seg(tmp_path / "seg", files, masks, ["seg"])
    centres = [np.array([float(v) for v in reread(path).ImagePositionPatient]) for path in files]
    # three rows further down and three columns to the left of the first pixel, in the plane of each slice
    expected = np.mean(centres, axis=0) + np.array([1.0, 0, 0]) * 3 * 0.6
    expected += np.array([0.0, 0.9701425, -0.2425356]) * 2 * 0.8
    (seg,) = _paired(tmp_path)
    read = _read(seg)
    assert _codes(read, "fixed") == ["gantry-tilt", "label-resampled"]
    assert np.count_nonzero(_labels(read)) == 45
    assert _distance_mm(read, expected) < 0.4
    (tmp_path / "seg").unlink()
    write_structures(tmp_path / "rt", files, {"rt": [Drawn(n, SQUARE) for n in range(5)]})
    (rt,) = _paired(tmp_path)
    read = _read(rt)
    assert _codes(read, "refused") == []
    assert np.count_nonzero(_labels(read)) == 45
    assert _distance_mm(read, expected) < 0.4


def _distance_mm(read: Converted, expected_lps: np.ndarray) -> float:
    """From the centre of the label to where it should be."""
    assert read.case is not None
    centre = np.argwhere(_labels(read) > 0).mean(axis=0)
    expected = (lps_to_ras(np.eye(4)) @ np.array([*expected_lps, 1.0]))[:3]
    return float(np.linalg.norm(read.case.volume.grid.to_mm(centre) - expected))


def test_a_segmentation_of_one_echo_lies_on_all_of_them(tmp_path: Path) -> None:
    files = []
    for echo in (1, 2):

        def timed(dataset: FileDataset, number: int, echo: int = echo) -> None:
            dataset.EchoTime, dataset.EchoNumbers = str(echo * 10), echo
            dataset.SOPInstanceUID = f"1.2.{echo}.{number}"
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID

        files = write_series(
            tmp_path / f"echo{echo}", stored_values(seed=echo), timed, "1.2.840.10008.5.1.4.1.1.4", "1.2.3.4"
        )
    masks = np.zeros((5, 6, 7, 1), np.uint8)
    masks[1, 2, 3] = 1
    write_seg(tmp_path / "seg", files, masks, ["lesion"])
    (source,) = _paired(tmp_path)
    read = _read(source)
    assert read.case is not None
    assert len(read.case.volume.channels) == 2
    assert np.count_nonzero(_labels(read)) == 1
    assert "reference-missing" not in _codes(read)
    apart = _paired(tmp_path, Choices(frames="cases"))
    assert [case.label is not None for case in apart] in ([True, False], [False, True])


def test_a_real_multi_frame_image_takes_segmentations(tmp_path: Path, medaug_data: Path) -> None:
    (tmp_path / "mf").write_bytes(
        (medaug_data / "dicom" / "seg" / "dcmqi" / "24x38x3" / "multiframe" / "mf.dcm").read_bytes()
    )
    masks = np.zeros((3, 38, 24, 1), np.uint8)
    masks[1, 5:9, 3:8], masks[2, 30, 20] = 1, 1
    write_seg(tmp_path / "seg", [tmp_path / "mf"], masks, ["liver"])
    (source,) = _paired(tmp_path)
    read = _read(source)
    assert _codes(read, "refused", "flagged") in ([], ["rescale-not-hu"])
    assert np.array_equal(_labels(read), masks[..., 0].transpose(2, 1, 0)[::-1, ::-1])
