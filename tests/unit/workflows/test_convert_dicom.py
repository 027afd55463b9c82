"""medaug convert --to dicom: valid, keyed, read back by ingest, and still marked after a second de-identification."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from medaug.core.case import Manifest, Origin, read_manifest
from medaug.core.errors import ConfigError, PrivacyError
from medaug.core.runs import NoProgress
from medaug.core.volume import Unit
from medaug.io.dataset import load_case
from medaug.workflows.convert import ConvertOptions, ConvertSummary, convert
from medaug.workflows.deidentify import DeidentifyOptions, deidentify
from medaug.workflows.ingest import IngestOptions, ingest
from scripts.check_dicom_out import contradictions, errors_of, is_unknown, missing
from tests.unit.privacy.synthetic_set import CLASSES, make_real, make_set


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make_set(tmp_path).dataset


def run(dataset: Path, out: Path, key: str = "key", **more: object) -> ConvertSummary:
    asked = {"dataset": dataset, "to": "dicom", "out": out, "key_file": out.parent / key}
    return convert(ConvertOptions.model_validate(asked | more), NoProgress())


def with_cases(dataset: Path, **update: object) -> Manifest:
    manifest = read_manifest(dataset)
    cases = tuple(record.model_copy(update=update) for record in manifest.cases)
    changed = manifest.model_copy(update={"cases": cases})
    changed.write(dataset / "manifest.json")
    return changed


def headers(folder: Path) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(path, stop_before_pixels=True) for path in sorted(folder.rglob("*.dcm"))]


def uids(folder: Path) -> set[str]:
    words = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
    return {str(one[word].value) for one in headers(folder) for word in words}


@pytest.mark.parametrize("segmentation", ["binary", "labelmap"])
@pytest.mark.parametrize("unit", [Unit.HU, Unit.ARBITRARY])
def test_ingest_gives_back_volumes_places_and_classes(tmp_path: Path, segmentation: str, unit: Unit) -> None:
    dataset = make_set(tmp_path, unit=unit, channels=("CT" if unit is Unit.HU else "MR",)).dataset
    summary = run(dataset, tmp_path / "out", segmentation=segmentation)
    assert (summary.cases, summary.labelled, summary.images, summary.new_key) == (2, 2, 8, True)
    ingest(IngestOptions(sources=(tmp_path / "out" / "dicom",), out=tmp_path / "back"), NoProgress())
    found, wanted = read_manifest(tmp_path / "back"), read_manifest(dataset)
    assert set(found.classes) == set(CLASSES)
    matched = 0
    for record in found.cases:
        back = load_case(tmp_path / "back", record, found.classes)
        for other in wanted.cases:
            case = load_case(dataset, other, CLASSES)
            step = 0.0 if unit is Unit.HU else 1 / 16
            if back.volume.image.shape != case.volume.image.shape or (
                np.abs(back.volume.image - case.volume.image).max() > step
            ):
                continue
            matched += 1
            assert back.volume.grid.agrees_with(case.volume.grid, tolerance_mm=1e-3)
            assert back.volume.unit is case.volume.unit
            assert back.label_map is not None
            assert case.label_map is not None
            for name in CLASSES:
                assert np.array_equal(back.label_map.mask(name), case.label_map.mask(name))
    assert matched == 2


@pytest.mark.skipif(bool(missing()), reason="dciodvfy and dcentvfy are not installed (Debian: dicom3tools)")
@pytest.mark.parametrize("origin", list(Origin))
def test_whole_output_is_valid(tmp_path: Path, origin: Origin) -> None:
    dataset = make_set(tmp_path, unit=Unit.ARBITRARY, channels=("FLAIR", "T1/T2 map")).dataset
    with_cases(dataset, origin=origin)
    run(dataset, tmp_path / "out")
    paths = sorted((tmp_path / "out").rglob("*.dcm"))
    assert len(paths) == 2 * (2 * 4 + 1)
    assert not any(map(is_unknown, paths))
    assert {path: errors_of(path) for path in paths} == dict.fromkeys(paths, ())
    assert contradictions(paths) == ()


def test_channels_are_series_of_one_study_in_one_space(tmp_path: Path) -> None:
    dataset = make_set(tmp_path, unit=Unit.ARBITRARY, channels=("FLAIR", "T1/T2 map")).dataset
    run(dataset, tmp_path / "out")
    folder = tmp_path / "out" / "dicom" / "syn_0"
    assert sorted(path.name for path in folder.iterdir()) == ["FLAIR", "T1-T2-map", "seg.dcm"]
    found = headers(folder)
    assert (
        len({one.StudyInstanceUID for one in found}) == len({one.FrameOfReferenceUID for one in found}) == 1
    )
    series = {one.SeriesDescription: one.SeriesInstanceUID for one in found}
    assert set(series) == {"FLAIR", "T1/T2 map", "Segmentation"}
    assert len(set(series.values())) == 3
    (seg,) = (one for one in found if one.Modality == "SEG")
    (referred,) = seg.ReferencedSeriesSequence
    assert referred.SeriesInstanceUID == series["FLAIR"]
    images = {one.SOPInstanceUID for one in found if one.SeriesInstanceUID == series["FLAIR"]}
    named = {
        source.ReferencedSOPInstanceUID
        for frame in seg.PerFrameFunctionalGroupsSequence
        for derivation in frame.DerivationImageSequence
        for source in derivation.SourceImageSequence
    }
    assert named
    assert named <= images


def test_uids_follow_from_key_and_content(tmp_path: Path, dataset: Path) -> None:
    for name in ("one", "same"):
        run(dataset, tmp_path / name)
    run(dataset, tmp_path / "other", "another_key")
    one = {p.relative_to(tmp_path / "one"): p.read_bytes() for p in (tmp_path / "one").rglob("*.dcm")}
    same = {p.relative_to(tmp_path / "same"): p.read_bytes() for p in (tmp_path / "same").rglob("*.dcm")}
    assert one == same
    assert not uids(tmp_path / "one") & uids(tmp_path / "other")
    # other voxels under the ids of these cases are other instances
    changed = make_set(tmp_path / "again", unit=Unit.ARBITRARY).dataset
    run(changed, tmp_path / "changed")
    assert not uids(tmp_path / "one") & uids(tmp_path / "changed")


def test_the_mark_of_real_cases_and_of_others(tmp_path: Path, dataset: Path) -> None:
    for origin in Origin:
        with_cases(dataset, origin=origin)
        run(dataset, tmp_path / origin)
        for one in headers(tmp_path / origin):
            assert one[0x0008, 0x001C].value == ("NO" if origin is Origin.REAL else "YES")
            assert ("ContributingEquipmentSequence" in one) is (origin is not Origin.REAL)
            if one.Modality == "CT":
                assert one.StudyDescription in ("syn_0", "syn_1")
                assert {"REAL": "of a scan", "SYNTHETIC": "Synthesised", "AUGMENTED": "Changed copy"}[
                    origin.name
                ] in one.DerivationDescription


def test_nobody_is_named_where_another_tool_made_the_set(tmp_path: Path, dataset: Path) -> None:
    (dataset / "recipes.jsonl").unlink()
    run(dataset, tmp_path / "out")
    for one in headers(tmp_path / "out"):
        assert one[0x0008, 0x001C].value == "YES"
        assert "ContributingEquipmentSequence" not in one


def test_a_second_deidentification_keeps_the_marks(tmp_path: Path, dataset: Path) -> None:
    run(dataset, tmp_path / "out")
    asked = {"source": tmp_path / "out" / "dicom", "out": tmp_path / "clean", "key_file": tmp_path / "secret"}
    summary = deidentify(DeidentifyOptions.model_validate(asked), NoProgress())
    assert (summary.written, summary.quarantined, summary.refused) == (10, 0, 0)
    cleaned = headers(tmp_path / "clean")
    assert not uids(tmp_path / "clean") & uids(tmp_path / "out")
    for one in cleaned:
        assert one[0x0008, 0x001C].value == "YES"
        (equipment,) = one.ContributingEquipmentSequence
        (purpose,) = equipment.PurposeOfReferenceCodeSequence
        assert (purpose.CodeValue, purpose.CodingSchemeDesignator) == ("109100", "DCM")
        assert equipment.Manufacturer == "medaug"
    ingest(IngestOptions(sources=(tmp_path / "clean",), out=tmp_path / "back"), NoProgress())
    assert {record.classes for record in read_manifest(tmp_path / "back").cases} == {
        (name,) for name in CLASSES
    }


@pytest.mark.parametrize(
    ("said", "origin", "codes"),
    [
        (None, Origin.REAL, ("synthetic-data",)),
        (Origin.REAL, Origin.REAL, ()),
        (Origin.SYNTHETIC, Origin.SYNTHETIC, ()),
    ],
)
def test_what_a_header_calls_synthetic_is_told_unless_somebody_says_what_it_is(
    tmp_path: Path, dataset: Path, said: Origin | None, origin: Origin, codes: tuple[str, ...]
) -> None:
    run(dataset, tmp_path / "out")
    asked = IngestOptions(sources=(tmp_path / "out" / "dicom",), out=tmp_path / "back", origin=said)
    summary = ingest(asked, NoProgress())
    cases = read_manifest(tmp_path / "back").cases
    assert {record.origin for record in cases} == {origin}
    assert {record.findings for record in cases} == {codes}
    told = [line for line in summary.lines() if "--origin synthetic" in line]
    assert ["(and 1 more like this)" in line for line in told] == [True for _ in codes]
    run(tmp_path / "back", tmp_path / "again")
    marks = {one.SyntheticData for one in headers(tmp_path / "again")}
    assert marks == {"NO" if said is Origin.REAL else "YES"}
    if said is None:
        # the answer is another call: it is not skipped as done
        with pytest.raises(ConfigError, match="another says_real"):
            ingest(asked.model_copy(update={"origin": Origin.REAL}), NoProgress())


def test_scans_are_not_called_synthetic(tmp_path: Path) -> None:
    run(make_real(tmp_path).dataset, tmp_path / "out")
    ingest(IngestOptions(sources=(tmp_path / "out" / "dicom",), out=tmp_path / "back"), NoProgress())
    assert {record.findings for record in read_manifest(tmp_path / "back").cases} == {()}


def test_what_has_no_geometry_or_another_modality_is_captured(tmp_path: Path, dataset: Path) -> None:
    with_cases(dataset, spacing="nominal")
    run(dataset, tmp_path / "nominal")
    with_cases(dataset, modality="PT", spacing="known")
    run(dataset, tmp_path / "other")
    with_cases(dataset, modality="weird one", spacing="nominal")
    run(dataset, tmp_path / "both")
    for folder, modality, is_placed in (
        ("nominal", "CT", False),
        ("other", "PT", True),
        ("both", "OT", False),
    ):
        (images,) = (
            [one for one in headers(tmp_path / folder / "dicom" / "syn_0") if one.Modality == modality],
        )
        assert {one.SOPClassUID.name for one in images} == {"Secondary Capture Image Storage"}
        assert {"ImagePositionPatient" in one for one in images} == {is_placed}


@pytest.mark.parametrize("segmentation", ["binary", "labelmap"])
@pytest.mark.parametrize(
    ("modality", "spacing"), [("CT", "nominal"), ("weird one", "nominal"), ("PT", "known"), ("XA", "known")]
)
def test_captures_come_back_voxel_by_voxel(
    tmp_path: Path, modality: str, spacing: str, segmentation: str
) -> None:
    dataset = make_set(tmp_path, channels=("x", "y")).dataset
    wanted = with_cases(dataset, modality=modality, spacing=spacing)
    run(dataset, tmp_path / "out", segmentation=segmentation)
    summary = ingest(
        IngestOptions(sources=(tmp_path / "out" / "dicom",), out=tmp_path / "back"), NoProgress()
    )
    assert (summary.cases, summary.labelled, summary.patients, summary.refused) == (4, 2, 2, ())
    found = read_manifest(tmp_path / "back")
    assert {record.modality for record in found.cases} == {"OT" if " " in modality else modality}
    cases = [load_case(tmp_path / "back", record, found.classes) for record in found.cases]
    for record in wanted.cases:
        case = load_case(dataset, record, CLASSES)
        for channel, image in enumerate(case.volume.image):
            (back,) = (one for one in cases if np.array_equal(one.volume.image[0], image))
            assert back.volume.unit is Unit.HU
            assert (back.label_map is not None) is (channel == 0)
            if back.label_map is not None and case.label_map is not None:
                for name in CLASSES:
                    assert np.array_equal(back.label_map.mask(name), case.label_map.mask(name))
            is_known = spacing == "known"
            assert back.volume.spacing_known is is_known
            assert back.volume.grid.agrees_with(case.volume.grid) is is_known
    told = {line.split(":")[0] for record in found.cases for line in record.findings}
    assert ("spacing-nominal" in told) is (spacing == "nominal")


@pytest.mark.parametrize(("unit", "guess"), [(Unit.HU, "CT"), (Unit.ARBITRARY, "MR")])
def test_an_unknown_modality_is_guessed_and_said(tmp_path: Path, unit: Unit, guess: str) -> None:
    dataset = make_set(tmp_path, unit=unit).dataset
    with_cases(dataset, modality="OT")
    run(dataset, tmp_path / "out")
    images = [one for one in headers(tmp_path / "out") if one.Modality != "SEG"]
    assert {(one.Modality, one.SOPClassUID.name) for one in images} == {(guess, f"{guess} Image Storage")}
    assert all(f"not known, {guess} is a guess" in one.DerivationDescription for one in images)
    ingest(IngestOptions(sources=(tmp_path / "out" / "dicom",), out=tmp_path / "back"), NoProgress())
    assert len(read_manifest(tmp_path / "back").cases) == 2


def test_the_same_call_is_skipped_and_another_refused(tmp_path: Path, dataset: Path) -> None:
    first = run(dataset, tmp_path / "out")
    assert run(dataset, tmp_path / "out") == first.model_copy(update={"new_key": False})
    for more in ({"segmentation": "labelmap"}, {"class_codes": "solid=99A:1"}, {"key": "other"}):
        with pytest.raises(ConfigError, match=r"another (segmentation|class_codes|key_check)"):
            run(dataset, tmp_path / "out", **more)
    assert not (tmp_path / "other").exists()


def test_options_that_do_not_fit_are_refused(tmp_path: Path, dataset: Path) -> None:
    out = tmp_path / "out"
    for more, said in (
        ({"key_file": None}, "need a key"),
        ({"key_file": out / "key"}, "beside the data"),
        ({"key_file": dataset / "key"}, "beside the data"),
        ({"to": "nifti"}, "dicom alone"),
        ({"to": "nifti", "key_file": None, "segmentation": "labelmap"}, "dicom alone"),
        ({"to": "nifti", "key_file": None, "class_codes": "a=SCT:1"}, "dicom alone"),
        ({"class_codes": "solid"}, "gives no class its code"),
        ({"class_codes": "solid=99A:1,plaque=SCT:1522000"}, "no class is called plaque.*solid, ground_glass"),
    ):
        with pytest.raises(ConfigError, match=said):
            run(dataset, out, **more)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["assessment", "syn"]
    (tmp_path / "open").write_text("x" * 64)
    (tmp_path / "open").chmod(0o644)
    with pytest.raises(PrivacyError, match="read by others"):
        run(dataset, out, "open")
