"""Every file and pair of the odd collection is read as its table says, or refused for the reason that it states."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from medaug.core.case import FINDINGS, FindingsFile, read_manifest
from medaug.core.errors import DataError
from medaug.core.geometry import Grid, to_ras
from medaug.core.runs import NoProgress
from medaug.io.dicom import read_series
from medaug.io.formats import kind_of
from medaug.io.images import read_image, read_label_file
from medaug.io.nifti import read_nifti
from medaug.workflows.ingest import IngestOptions, ingest

# The reason that the table gives in words, as a code; what is not named here and expected to be refused names its format
REASONS = {
    "resampled_anat_moved.nii": "not-finite",
    "mtr.nii.gz": "not-finite",
    "fmri_tsnr.nii.gz": "not-finite",
    "functional.nii": "four-axes",
    "example4d.nii.gz": "four-axes",
    "example_nifti2.nii.gz": "four-axes",
    "dmri.nii.gz": "four-axes",
    "venc.nii.gz": "four-axes",
    "nifti1.hdr": "unreadable",
    "nifti2.hdr": "unreadable",
    "csa_slice_norm.dcm": "no-pixel-data",
    # archives are refused before any table is read, so the row finds nothing
    "siemens_dwi_0.dcm.gz": "source-row",
}
# Soft labels are images that may be read; as labels they are refused (see the pairs)
READ_AS_IMAGES = {"mt1_gmseg.nii.gz"}
# Formats that may be read or refused by name; these are refused
REFUSED_BY_NAME = (".mgz", ".HEAD", ".PAR")


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / name).open(newline="", encoding="utf-8") as handle:
        return [row for row in csv.DictReader(handle) if row.get("expected") != "-"]


def stated_grid(row: dict[str, str]) -> Grid:
    affine = np.vstack([np.array(row["affine"].split(), float).reshape(3, 4), [0, 0, 0, 1]])
    shape = [int(n) for n in row["shape"].split("x")] + [1, 1]
    return Grid((shape[0], shape[1], shape[2]), affine)


def options(out: Path, source: Path, labels: Path | None = None, **more: object) -> IngestOptions:
    return IngestOptions.model_validate({"sources": (source,), "labels": labels, "out": out} | more)


@pytest.fixture(scope="module")
def odd(medaug_data: Path) -> Path:
    return medaug_data / "odd"


def table(path: Path, lines: list[dict[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    return path


def test_files_that_the_table_accepts_have_its_shape_affine_and_values(odd: Path) -> None:
    read = 0
    for row in rows(odd, "files.csv"):
        path = odd / row["file"]
        if row["expected"] not in ("accept", "refuse or warn") or kind_of(path) != "nifti":
            continue
        stored = read_nifti(path, as_stored=True)
        assert stored.grid.agrees_with(stated_grid(row), tolerance_mm=1e-3), path.name
        image = read_image(path)
        assert image.grid.agrees_with(to_ras(stated_grid(row))[0], tolerance_mm=1e-3), path.name
        values = image.image.astype(np.float64)
        assert values.size - np.count_nonzero(np.isfinite(values)) == int(row["non_finite"]), path.name
        assert np.isclose(values[np.isfinite(values)].min(), float(row["min"]), rtol=1e-4), path.name
        assert np.isclose(values[np.isfinite(values)].max(), float(row["max"]), rtol=1e-4), path.name
        read += 1
    assert read == 18


def test_frames_of_the_4d_files_are_read_when_asked_for(odd: Path) -> None:
    read = 0
    for row in rows(odd, "files.csv"):
        path = odd / row["file"]
        if row["expected"] != "choose frame" or kind_of(path) != "nifti":
            continue
        shape = [int(n) for n in row["shape"].split("x")]
        with pytest.raises(DataError, match="4D"):
            read_image(path)
        image = read_image(path, "channels")
        assert image.image.shape[0] == shape[3]
        assert sorted(image.image.shape[1:]) == sorted(shape[:3])
        assert np.isclose(image.image.astype(np.float64).max(), float(row["max"]), rtol=1e-4)
        last = read_image(path, shape[3] - 1)
        assert np.array_equal(last.image[0], image.image[-1])
        assert last.grid.agrees_with(to_ras(stated_grid(row))[0], tolerance_mm=1e-3)
        read += 1
    assert read == 5


def test_ingest_keeps_or_refuses_every_file_for_the_reason_stated(odd: Path, tmp_path: Path) -> None:
    lines, expected = [], {}
    for number, row in enumerate(rows(odd, "files.csv")):
        name = Path(row["file"]).name
        case_id = f"f{number:02d}"
        lines.append({"case_id": case_id, "patient_id": case_id, "image": row["file"], "modality": "MR"})
        accepted = row["expected"] == "accept" and not name.endswith(REFUSED_BY_NAME)
        plain = "" if accepted or name in READ_AS_IMAGES else "unsupported-format"
        expected[case_id] = REASONS.get(name, plain)
    out = tmp_path / "out"
    ingest(options(out, odd, table(tmp_path / "cases.csv", lines)), NoProgress())
    refused = {
        f.case_id: f.code for f in FindingsFile.read(out / FINDINGS).findings if f.severity == "refused"
    }
    names = {line["case_id"]: line["image"] for line in lines}
    assert {names[c]: refused.get(c, "") for c in names} == {names[c]: code for c, code in expected.items()}
    kept = {record.case_id for record in read_manifest(out).cases}
    assert kept == {case_id for case_id, code in expected.items() if not code}


def test_the_rescale_of_the_single_slice_is_applied(odd: Path) -> None:
    series = read_series([odd / "files/nibabel/dicom/decimal_rescale.dcm"])
    assert sorted(series.volume.image.shape) == [1, 1, 96, 128]
    assert np.unique(series.volume.image).tolist() == [-4096]


def test_pairs_are_kept_or_refused_as_their_table_says(odd: Path, tmp_path: Path) -> None:
    lines, expected = [], {}
    for number, row in enumerate(rows(odd, "pairs.csv")):
        case_id = f"p{number}"
        ids = [value for value in row["label_values"].split() if value.isdecimal() and value != "0"]
        lines.append(
            {
                "case_id": case_id,
                "patient_id": row["image"],
                "image": row["image"],
                "label": row["label"],
                "modality": "MR",
                "lesion_classes": ";".join(f"c{value}" for value in ids) or "c1",
                "label_ids": ";".join(ids) or "1",
            }
        )
        soft = "whole" in row["expected"]
        expected[case_id] = (
            "" if row["expected"].startswith("accept") else "label-not-whole" if soft else "label-grid"
        )
    out = tmp_path / "out"
    ingest(options(out, odd, table(tmp_path / "cases.csv", lines)), NoProgress())
    refused = {
        f.case_id: f.code for f in FindingsFile.read(out / FINDINGS).findings if f.severity == "refused"
    }
    assert {case_id: refused.get(case_id, "") for case_id in expected} == expected
    for row in rows(odd, "pairs.csv"):
        if row["expected"].startswith("accept"):
            labels = read_label_file(odd / row["label"]).labels
            assert " ".join(str(n) for n in np.unique(labels)) == row["label_values"]


def test_the_folder_alone_is_sorted_by_what_its_files_are(odd: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ingest(options(out, odd / "files" / "nibabel", modality="MR"), NoProgress())
    findings = FindingsFile.read(out / FINDINGS).findings
    formats = [f.message for f in findings if f.code == "unsupported-format" and f.case_id is None]
    for name in ("AFNI", "CIFTI", "FreeSurfer MGH", "Philips PAR/REC", "gzip"):
        assert any(name in message for message in formats), name
    assert len(read_manifest(out).cases) >= 3


def test_singles_without_a_partner_are_named_and_never_paired_by_order(
    medaug_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ingest(options(out, medaug_data / "hippocampus" / "broken", modality="MR"), NoProgress())
    findings = FindingsFile.read(out / FINDINGS).findings
    assert sorted(f.code for f in findings if f.severity == "refused") == ["image-missing"] * 2
    (case,) = read_manifest(out).cases
    assert case.label is None
    assert "hippocampus" not in (out / FINDINGS).read_text(encoding="utf-8")
