"""One case in, one case or its refusals out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medaug.core.case import Origin
from medaug.core.errors import DependencyError
from medaug.core.volume import Unit
from medaug.ingest.convert import Converted, convert
from medaug.ingest.discover import Identified
from medaug.ingest.sources import ClassId, ImageSource, LabelSource, Policy, SourceCase, Stated
from medaug.io.drawings import read_drawing
from tests.unit.ingest.material import AFFINE, SHAPE, ct_values, label_values, mr_values, save
from tests.unit.io.series import stored_values, write_seg, write_series

CLASSES = ("gg", "solid")
SILENT, ANY = Stated(), Policy()
TABLE = (ClassId(1, "solid"), ClassId(2, "gg"))


def _source(
    folder: Path, image: np.ndarray, label: np.ndarray | None = None, stated: Stated = SILENT
) -> SourceCase:
    labels = None
    if label is not None:
        labels = LabelSource("nifti", (save(folder / "l.nii.gz", label),))
    images = (ImageSource("nifti", (save(folder / "i.nii.gz", image),)),)
    return SourceCase(0, "key", "patient", False, images, labels, TABLE, stated)


def _seg(path: Path, *table: ClassId) -> LabelSource:
    return LabelSource("dicom", (path,), drawings=(read_drawing(path),), tables=(table,))


def _convert(source: SourceCase, policy: Policy = ANY, *, expected: bool = False) -> Converted:
    return convert(Identified(source, "c1", "p1"), CLASSES, policy, labels_expected=expected)


def _refusals(read: Converted) -> list[str]:
    assert read.case is None
    return [f.code for f in read.findings if f.severity == "refused"]


def test_a_labelled_case_is_turned_to_ras_with_its_labels(tmp_path: Path) -> None:
    image, label = ct_values(1), label_values(1, 2)
    read = _convert(_source(tmp_path, image, label))
    assert read.case is not None
    assert read.case.label_map is not None
    assert read.case.volume.grid.axcodes == "RAS"
    assert np.array_equal(read.case.volume.image[0], image[::-1, ::-1])
    assert np.array_equal(read.case.label_map.labels == 2, label[::-1, ::-1] == 1)
    assert np.array_equal(read.case.label_map.labels == 1, label[::-1, ::-1] == 2)
    assert (read.findings, read.is_guessed, read.looks_like_hu) == ((), True, True)
    assert len(read.facts.source_sha256) == 2


def test_what_the_command_line_says_wins_over_the_table(tmp_path: Path) -> None:
    stated = Stated(modality="MR", spacing="known", licence="CC0", terms="t", split="test")
    source = _source(tmp_path, ct_values(1), stated=stated)
    read = _convert(source, Policy(Origin.SYNTHETIC, "CT", "nominal", "MIT", "u"))
    assert read.case is not None
    assert (read.case.volume.unit, read.case.volume.spacing_known, read.case.origin) == (
        Unit.HU,
        False,
        Origin.SYNTHETIC,
    )
    assert (read.facts.modality, read.facts.licence, read.facts.terms, read.facts.split) == (
        "CT",
        "MIT",
        "u",
        "test",
    )
    read = _convert(source)
    assert read.case is not None
    assert (read.case.volume.unit, read.facts.modality, read.facts.licence) == (Unit.ARBITRARY, "MR", "CC0")


def test_one_slice_has_a_nominal_spacing(tmp_path: Path) -> None:
    read = _convert(_source(tmp_path, ct_values(1)[:, :, :1], label_values(1)[:, :, 1:2]))
    assert read.case is not None
    assert (read.case.volume.spacing_known, read.findings) == (False, ())


def test_mr_never_looks_like_hu(tmp_path: Path) -> None:
    read = _convert(_source(tmp_path, mr_values(1)))
    assert (read.is_guessed, read.looks_like_hu) == (True, False)


def test_bad_voxels_are_refused(tmp_path: Path) -> None:
    broken = ct_values(1).astype(np.float32)
    broken[1, 1, 1] = np.nan
    assert _refusals(_convert(_source(tmp_path, broken))) == ["not-finite"]
    huge = ct_values(1).astype(np.float64)
    huge[1, 1, 1] = 1e300
    assert _refusals(_convert(_source(tmp_path, huge))) == ["not-finite"]
    blank = np.zeros(SHAPE, np.int16)
    assert _refusals(_convert(_source(tmp_path, blank, label_values(1)))) == ["constant-image"]
    kept = _convert(_source(tmp_path, blank))
    assert kept.case is not None
    assert "constant-image" in [finding.code for finding in kept.findings]


def test_an_image_that_may_be_a_label_map_is_told_where_it_has_no_label(tmp_path: Path) -> None:
    drawn = label_values(1, 2)
    assert [f.code for f in _convert(_source(tmp_path, drawn)).findings] == ["label-like"]
    labelled = _convert(_source(tmp_path, drawn, label_values(1)))
    assert "label-like" not in [f.code for f in labelled.findings]


def test_bad_labels_are_refused(tmp_path: Path) -> None:
    image = ct_values(1)
    assert _refusals(_convert(_source(tmp_path, image, label_values(1, 9)))) == ["label-id-unknown"]
    assert _refusals(_convert(_source(tmp_path, image, label_values(1) * 0.5))) == ["label-not-whole"]
    assert _refusals(_convert(_source(tmp_path, image, label_values(1)[:, :, :3]))) == ["label-grid"]
    source = _source(tmp_path, image, label_values(1))
    save(tmp_path / "l.nii.gz", label_values(1), AFFINE + np.eye(4, k=3))
    assert _refusals(_convert(source)) == ["label-grid"]
    free = replace(_source(tmp_path, image, label_values(1)), stated=Stated(lesion_free=True))
    assert _refusals(_convert(free)) == ["lesion-free-labelled"]


def test_a_label_in_another_order_of_axes_lies_on_the_same_grid(tmp_path: Path) -> None:
    label = label_values(1)
    source = _source(tmp_path, ct_values(1), label)
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = SHAPE[0] - 1
    save(tmp_path / "l.nii.gz", label[::-1], AFFINE @ flip)
    read = _convert(source)
    assert read.case is not None
    assert read.case.label_map is not None
    assert np.array_equal(read.case.label_map.labels == 2, label[::-1, ::-1] == 1)


def test_empty_and_incomplete_labels_are_flagged(tmp_path: Path) -> None:
    read = _convert(_source(tmp_path, ct_values(1), label_values()))
    assert [f.code for f in read.findings] == ["label-empty"]
    read = _convert(_source(tmp_path, ct_values(1), label_values(2), Stated(classes=("solid",))))
    assert [f.code for f in read.findings] == ["class-not-found"]
    assert read.facts.findings == ("class-not-found",)
    whole_table = _source(tmp_path, ct_values(1), label_values(1), Stated(classes=("solid", "gg")))
    assert _convert(whole_table).findings == ()


def test_missing_labels_are_flagged_where_others_have_one_and_refused_where_required(tmp_path: Path) -> None:
    source = _source(tmp_path, ct_values(1))
    assert _convert(source).findings == ()
    assert [f.code for f in _convert(source, expected=True).findings] == ["label-missing"]
    assert _refusals(_convert(source, Policy(require_labels=True))) == ["label-missing"]
    host = replace(source, stated=Stated(lesion_free=True))
    assert _convert(host, Policy(require_labels=True)).case is not None


def test_channels_must_share_a_grid(tmp_path: Path) -> None:
    a, b = save(tmp_path / "a.nii.gz", mr_values(1)), save(tmp_path / "b.nii.gz", mr_values(2))
    images = (ImageSource("nifti", (a,), "FLAIR"), ImageSource("nifti", (b,), "T1"))
    source = SourceCase(0, "k", "p", False, images, None)
    read = _convert(source)
    assert read.case is not None
    assert (read.case.volume.channels, read.facts.modality, read.is_guessed) == (("FLAIR", "T1"), "MR", False)
    save(tmp_path / "b.nii.gz", mr_values(2), np.eye(4))
    assert _refusals(_convert(source)) == ["channel-grid"]


@pytest.mark.parametrize("kind", ["nifti", "dicom"])
def test_dicom_series_take_segmentations_and_label_maps(tmp_path: Path, kind: str) -> None:
    files = write_series(tmp_path / "ct", stored_values(3))
    mask = np.zeros((3, 6, 7, 2), np.uint8)
    mask[1, 2:4, 2:4, 0] = mask[2, 4, 5, 1] = 1
    write_seg(tmp_path / "seg", files, mask, ["solid", "gg"])
    image = (ImageSource("dicom", tuple(files)),)
    read = _convert(SourceCase(0, "k", "p", False, image, _seg(tmp_path / "seg", *TABLE)))
    assert read.case is not None
    assert read.case.label_map is not None
    assert np.bincount(read.case.label_map.labels.ravel()).tolist() == [3 * 6 * 7 - 5, 1, 4]
    assert (read.case.volume.unit, read.facts.modality, read.is_guessed) == (Unit.HU, "CT", False)
    if kind == "nifti":
        grid = read.case.volume.grid
        label = save(
            tmp_path / "l.nii.gz", (read.case.label_map.labels == 2).astype(np.uint8), np.array(grid.affine)
        )
        again = _convert(SourceCase(0, "k", "p", False, image, LabelSource("nifti", (label,)), TABLE))
        assert again.case is not None
        assert again.case.label_map is not None
        assert np.array_equal(again.case.label_map.labels == 2, read.case.label_map.labels == 2)


def test_a_segmentation_on_another_grid_than_its_nifti_image_is_refused(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", stored_values(3))
    write_seg(tmp_path / "seg", files, np.ones((3, 6, 7, 1), np.uint8), ["solid"])
    source = replace(_source(tmp_path, ct_values(1)), label=_seg(tmp_path / "seg", TABLE[0]))
    assert _refusals(_convert(source)) == ["label-grid"]
    undeclared = LabelSource("dicom", (tmp_path / "seg",))
    assert _refusals(_convert(replace(source, label=undeclared))) == ["unreadable"]


def test_a_missing_package_refuses_the_case_that_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(*_: object, **__: object) -> None:
        raise DependencyError("reading JPEG-LS needs a plugin", hint="install medaug[dicom]")

    monkeypatch.setattr("medaug.ingest.convert.read_image", without)
    read = _convert(_source(tmp_path, ct_values(1)))
    assert _refusals(read) == ["dependency-missing"]
    assert "medaug[dicom], then ingest again" in read.findings[0].message


def test_what_was_wrong_before_reading_is_said(tmp_path: Path) -> None:
    source = replace(_source(tmp_path, ct_values(1)), problem="row names no image")
    read = _convert(source)
    assert _refusals(read) == ["source-row"]
    assert read.findings[0].message == "row names no image"
