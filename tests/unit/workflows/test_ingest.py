"""medaug ingest, as a user calls it: good sources, bad ones, and being stopped."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest

from medaug.core.case import Manifest, Origin, read_manifest
from medaug.core.errors import ConfigError, DataError, StorageError
from medaug.core.runs import NoProgress
from medaug.core.volume import Unit
from medaug.ingest import reading
from medaug.io.dataset import load_case
from medaug.workflows.ingest import IngestOptions, IngestSummary, ingest
from tests.unit.ingest.material import (
    AFFINE,
    CountingProgress,
    ct_set,
    ct_values,
    label_values,
    mr_values,
    row,
    save,
    write_table,
)
from tests.unit.io.series import stored_values, write_seg, write_series


def _ingest(*sources: Path, out: Path, **settings: object) -> IngestSummary:
    return ingest(IngestOptions.model_validate({"sources": sources, "out": out} | settings), NoProgress())


def _codes(out: Path) -> list[tuple[str, str, str | None]]:
    found = json.loads((out / "findings.json").read_text())["findings"]
    return [(f["code"], f["severity"], f["case_id"]) for f in found]


def _public_text(out: Path) -> str:
    files = [p for p in out.rglob("*") if p.is_file() and p.name != "sources.private.json"]
    names = " ".join(str(p.relative_to(out)) for p in files)
    return names + " ".join(p.read_bytes().decode("latin-1") for p in files)


def test_the_manifest_tells_site_scanner_sex_and_age_by_decade(tmp_path: Path) -> None:
    rows = ct_set(tmp_path / "src")
    told = {"site": "north", "scanner": "Brand X", "sex": "female", "age": "93", "ward": "Zzyzx 7"}
    write_table(tmp_path / "src", [rows[0] | told, *rows[1:]])
    _ingest(tmp_path / "src", out=tmp_path / "out")
    first, second, _ = read_manifest(tmp_path / "out").cases
    assert first.attributes == {"site": "north", "scanner": "Brand X", "sex": "F", "age": "90+"}
    assert second.attributes == {}
    public = _public_text(tmp_path / "out")
    assert "Zzyzx" not in public
    assert '"93"' not in public


def test_a_table_becomes_a_dataset(tmp_path: Path) -> None:
    rows = ct_set(tmp_path / "src")
    write_table(tmp_path / "src", rows)
    summary = _ingest(tmp_path / "src", out=tmp_path / "out")
    manifest = read_manifest(tmp_path / "out")
    assert [r.case_id for r in manifest.cases] == ["a1", "a2", "a3"]
    assert [r.patient_id for r in manifest.cases] == ["p_a1", "p_a2", "p_a3"]
    assert manifest.unit is Unit.HU
    case = load_case(tmp_path / "out", manifest.cases[1], manifest.classes)
    assert np.array_equal(case.volume.image[0], ct_values(1)[::-1, ::-1])
    assert (summary.cases, summary.labelled, summary.patients, summary.refused) == (3, 3, 3, ())
    assert "3 cases (3 labelled) of 3 patients" in summary.lines()[0]
    described = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert described["channel_names"] == {"0": "CT"}


def test_private_things_stand_in_one_file_alone(tmp_path: Path) -> None:
    rows = [r | {"remark": "Frau Huber"} for r in ct_set(tmp_path / "Meier_Anna")]
    write_table(tmp_path / "Meier_Anna", rows)
    (tmp_path / "ct").mkdir()
    write_series(tmp_path / "ct" / "PAT-4711", stored_values(3))
    save(tmp_path / "ct" / "Schulz.nii.gz", ct_values(9))
    save(tmp_path / "ct" / "Weber_seg.nii.gz", label_values(1))
    _ingest(tmp_path / "Meier_Anna", tmp_path / "ct", out=tmp_path / "out")
    private = tmp_path / "out" / "sources.private.json"
    text = private.read_text()
    secrets = ("Meier", "4711", "Schulz", "Weber", "Huber", str(tmp_path))
    assert all(secret in text for secret in secrets)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    public = _public_text(tmp_path / "out")
    assert [secret for secret in secrets if secret in public] == []


def test_the_same_call_is_skipped_and_another_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "src", ct_set(tmp_path / "src"))
    first = _ingest(tmp_path / "src", out=tmp_path / "out")
    before = (tmp_path / "out" / "manifest.json").stat().st_mtime_ns
    assert _ingest(tmp_path / "src", out=tmp_path / "out") == first
    assert (tmp_path / "out" / "manifest.json").stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match="another licence"):
        _ingest(tmp_path / "src", out=tmp_path / "out", licence="CC0")
    save(tmp_path / "src" / "images" / "a1.nii.gz", ct_values(77))
    with pytest.raises(ConfigError, match="other inputs"):
        _ingest(tmp_path / "src", out=tmp_path / "out")


def test_where_the_sources_lie_does_not_matter(tmp_path: Path) -> None:
    write_table(tmp_path / "src", ct_set(tmp_path / "src"))
    _ingest(tmp_path / "src", out=tmp_path / "out")
    shutil.copytree(tmp_path / "src", tmp_path / "moved" / "src")
    assert _ingest(tmp_path / "moved" / "src", out=tmp_path / "out").cases == 3


@pytest.mark.parametrize("after", [1, 2])
def test_a_stopped_run_goes_on_and_ends_as_if_never_stopped(tmp_path: Path, after: int) -> None:
    write_table(tmp_path / "src", ct_set(tmp_path / "src"))
    options = IngestOptions(sources=(tmp_path / "src",), out=tmp_path / "out", name="toy")
    with pytest.raises(KeyboardInterrupt):
        ingest(options, CountingProgress(stop_at=("ingesting cases", after)))
    assert not (tmp_path / "out" / "manifest.json").exists()
    done = (tmp_path / "out" / reading.RESUME).read_text().splitlines()
    assert len(done) == after
    # a line cut short, as a kill leaves it
    with (tmp_path / "out" / reading.RESUME).open("a") as handle:
        handle.write('2\t{"case_id": "a3", "sou')
    progress = CountingProgress()
    ingest(options, progress)
    _ingest(tmp_path / "src", out=tmp_path / "whole", name="toy")
    for name in ("manifest.json", "dataset.json", "findings.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert sorted(p.name for p in (tmp_path / "out").rglob("*")) == sorted(
        p.name for p in (tmp_path / "whole").rglob("*")
    )


def test_one_bad_case_among_good_ones_is_refused_by_name(tmp_path: Path) -> None:
    rows = ct_set(tmp_path / "src", ("good", "nan", "grid", "ids", "torn", "gone", "flat", "twin"))
    images, labels = tmp_path / "src" / "images", tmp_path / "src" / "labels"
    values = ct_values(5).astype(np.float32)
    values[2, 2, 2] = np.nan
    save(images / "nan.nii.gz", values)
    save(labels / "grid.nii.gz", label_values(1), np.eye(4))
    save(labels / "ids.nii.gz", label_values(1, 4))
    (images / "torn.nii.gz").write_bytes((images / "torn.nii.gz").read_bytes()[:90])
    (images / "gone.nii.gz").unlink()
    save(images / "flat.nii.gz", np.zeros((6, 5, 4), np.int16))
    shutil.copy(images / "good.nii.gz", images / "twin.nii.gz")
    write_table(tmp_path / "src", [*rows, rows[0] | {"patient_id": "p9"}])
    summary = _ingest(tmp_path / "src", out=tmp_path / "out")
    assert sorted((f.code, f.case_id) for f in summary.refused) == [
        ("constant-image", "flat"),
        ("duplicate-case-id", "good"),
        ("duplicate-image", "twin"),
        ("label-grid", "grid"),
        ("label-id-unknown", "ids"),
        ("not-finite", "nan"),
        ("source-row", "gone"),
        ("truncated-file", "torn"),
    ]
    assert [r.case_id for r in read_manifest(tmp_path / "out").cases] == ["good"]
    kept = sorted(p.name for p in (tmp_path / "out").rglob("*.nii.gz"))
    assert kept == ["good.nii.gz", "good_0000.nii.gz"]


def test_strict_and_nothing_kept_are_data_errors_that_leave_findings(tmp_path: Path) -> None:
    rows = ct_set(tmp_path / "src", ("a1", "a2"))
    (tmp_path / "src" / "images" / "a2.nii.gz").write_bytes(b"junk")
    write_table(tmp_path / "src", rows)
    with pytest.raises(DataError, match="1 refusal under --strict, the first: a2: image: "):
        _ingest(tmp_path / "src", out=tmp_path / "strict", strict=True)
    assert ("unreadable", "refused", "a2") in _codes(tmp_path / "strict")
    assert not (tmp_path / "strict" / "manifest.json").exists()
    (tmp_path / "src" / "images" / "a1.nii.gz").write_bytes(b"junk")
    with pytest.raises(DataError, match="none of 2 cases can be kept"):
        _ingest(tmp_path / "src", out=tmp_path / "none")
    assert len(_codes(tmp_path / "none")) >= 2


def test_images_without_label_are_unlabelled_cases_unless_labels_are_required(tmp_path: Path) -> None:
    save(tmp_path / "src" / "images" / "a.nii.gz", ct_values(1))
    save(tmp_path / "src" / "images" / "b.nii.gz", ct_values(2))
    save(tmp_path / "src" / "labels" / "b.nii.gz", label_values(3))
    summary = _ingest(tmp_path / "src", out=tmp_path / "out")
    assert (summary.cases, summary.labelled) == (2, 1)
    assert ("label-missing", "flagged", "case_0001") in _codes(tmp_path / "out")
    assert ("class-names-missing", "flagged", None) in _codes(tmp_path / "out")
    assert read_manifest(tmp_path / "out").classes == ("class_3",)
    named = _ingest(tmp_path / "src", out=tmp_path / "named", class_map="3=solid", require_labels=True)
    assert [c.class_name for c in named.classes] == ["solid"]
    assert [f.code for f in named.refused] == ["label-missing"]


def test_partners_that_are_missing_are_named_by_number_only(tmp_path: Path) -> None:
    save(tmp_path / "src" / "images" / "Anna.nii.gz", ct_values(1))
    save(tmp_path / "src" / "labels" / "Berta.nii.gz", label_values(1))
    summary = _ingest(tmp_path / "src", out=tmp_path / "out")
    assert (summary.cases, [f.message for f in summary.refused]) == (
        1,
        [
            "source_0001: label file has no image of its name; rename the files so that they pair, or name them in a cases.csv"
        ],
    )
    others = json.loads((tmp_path / "out" / "sources.private.json").read_text())["others"]
    assert others[0]["source_id"] == "source_0001"
    assert others[0]["files"][0].endswith("Berta.nii.gz")


def test_dicom_with_seg_beside_nifti_makes_one_set(tmp_path: Path) -> None:
    ct = write_series(tmp_path / "dicom" / "s1", stored_values(3))
    mask = np.zeros((3, 6, 7, 1), np.uint8)
    mask[1, 2:4, 2:4] = 1
    write_seg(tmp_path / "dicom" / "seg.dcm", ct, mask, ["solid"])
    (tmp_path / "dicom" / "README.txt").write_text("junk")
    write_table(tmp_path / "nifti", ct_set(tmp_path / "nifti"))
    summary = _ingest(tmp_path / "nifti", tmp_path / "dicom", out=tmp_path / "out")
    manifest = read_manifest(tmp_path / "out")
    assert [r.case_id for r in manifest.cases] == ["a1", "a2", "a3", "case_0001"]
    assert {(r.modality, r.unit, r.channels) for r in manifest.cases} == {("CT", Unit.HU, ("CT",))}
    assert (manifest.classes, summary.labelled) == (("solid",), 4)
    assert ("not-an-image", "flagged", None) in _codes(tmp_path / "out")


def test_a_patient_in_two_sources_is_one_patient(tmp_path: Path) -> None:
    write_table(tmp_path / "one", ct_set(tmp_path / "one", ("a1",)))
    ct_set(tmp_path / "two", ("b1",))
    save(tmp_path / "two" / "images" / "b1.nii.gz", ct_values(8))
    write_table(tmp_path / "two", [row("b1", patient_id="p_a1")])
    summary = _ingest(tmp_path / "one", tmp_path / "two", out=tmp_path / "out")
    assert (summary.cases, summary.patients) == (2, 1)
    assert ("patient-in-several-sources", "flagged", None) in _codes(tmp_path / "out")


def test_one_lesion_only_in_a_class_is_flagged_for_the_set(tmp_path: Path) -> None:
    rows = ct_set(tmp_path / "src", ("a1", "a2"))
    save(tmp_path / "src" / "labels" / "a2.nii.gz", label_values(1, 2))
    write_table(tmp_path / "src", [rows[0], rows[1] | {"lesion_classes": "solid;gg", "label_ids": "1;2"}])
    _ingest(tmp_path / "src", out=tmp_path / "out")
    assert ("single-lesion-class", "flagged", None) in _codes(tmp_path / "out")


def test_lesion_free_hosts_get_an_empty_label(tmp_path: Path) -> None:
    rows = ct_set(tmp_path / "src", ("a1", "host"))
    host = rows[1] | {"label": "", "lesion_free": "yes", "lesion_classes": "", "label_ids": ""}
    write_table(tmp_path / "src", [rows[0], host])
    _ingest(tmp_path / "src", out=tmp_path / "out", require_labels=True)
    record = read_manifest(tmp_path / "out").case("host")
    assert (record.lesion_free, record.lesions) == (True, ())
    assert record.label is not None


def test_several_channels(tmp_path: Path) -> None:
    rows = []
    for n, name in enumerate(("a1", "a2")):
        cells = {}
        for k, channel in enumerate(("FLAIR", "T1")):
            save(tmp_path / "src" / f"{name}_{channel}.nii.gz", mr_values(10 * n + k))
            cells[f"image_{channel}"] = f"{name}_{channel}.nii.gz"
        save(tmp_path / "src" / "labels" / f"{name}.nii.gz", label_values(1))
        rows.append(row(name, image=cells["image_FLAIR"], **cells))
    write_table(tmp_path / "src", rows)
    _ingest(tmp_path / "src", out=tmp_path / "out", spacing="nominal")
    manifest = read_manifest(tmp_path / "out")
    assert {r.channels for r in manifest.cases} == {("FLAIR", "T1")}
    assert {(r.modality, r.spacing, r.lesions[0].volume_mm3) for r in manifest.cases} == {
        ("MR", "nominal", None)
    }


def test_a_set_that_another_tool_made(tmp_path: Path) -> None:
    write_table(tmp_path / "src", ct_set(tmp_path / "src"))
    _ingest(tmp_path / "src", out=tmp_path / "out", origin="synthetic", modality="ct")
    cases = read_manifest(tmp_path / "out").cases
    assert {(r.origin, r.edit_mask) for r in cases} == {(Origin.SYNTHETIC, None)}
    assert _codes(tmp_path / "out") == []


def test_nnunet_raw_sets_are_numbered_or_keep_their_ids(tmp_path: Path) -> None:
    described = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "solid": 1}, "numTraining": 1}
    save(tmp_path / "src" / "imagesTr" / "Maier_0000.nii.gz", ct_values(1))
    save(tmp_path / "src" / "labelsTr" / "Maier.nii.gz", label_values(1))
    save(tmp_path / "src" / "imagesTs" / "Beck_0000.nii.gz", ct_values(2))
    (tmp_path / "src" / "dataset.json").write_text(json.dumps(described))
    _ingest(tmp_path / "src", out=tmp_path / "out")
    manifest = read_manifest(tmp_path / "out")
    assert sorted((r.case_id, r.label is not None) for r in manifest.cases) == [
        ("case_0001", True),
        ("case_0002", False),
    ]
    assert (manifest.classes, manifest.unit) == (("solid",), Unit.HU)
    _ingest(tmp_path / "src", out=tmp_path / "kept", keep_ids=True)
    assert {r.case_id for r in read_manifest(tmp_path / "kept").cases} == {"Maier", "Beck"}


def test_a_dataset_can_be_ingested_again_and_stays_the_same(tmp_path: Path) -> None:
    write_table(tmp_path / "src", ct_set(tmp_path / "src"))
    _ingest(tmp_path / "src", out=tmp_path / "out")
    _ingest(tmp_path / "out", out=tmp_path / "again", keep_ids=True)
    first, second = (read_manifest(tmp_path / name) for name in ("out", "again"))
    assert _files(first) == _files(second)


def _files(manifest: Manifest) -> set[tuple[str, str]]:
    return {(f.path, f.sha256) for r in manifest.cases for f in (*r.images, *([r.label] if r.label else []))}


def test_a_full_disk_is_one_clear_line_and_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(tmp_path / "src", ct_set(tmp_path / "src"))
    real = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if "a2" in path.name:
            real(path, content[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match="disk is full"):
        _ingest(tmp_path / "src", out=tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert not [p for p in (tmp_path / "out").rglob("*") if "a2" in p.name]
    monkeypatch.undo()
    assert _ingest(tmp_path / "src", out=tmp_path / "out").cases == 3


def test_space_is_checked_before_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_table(tmp_path / "src", ct_set(tmp_path / "src"))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(StorageError, match="MiB free"):
        _ingest(tmp_path / "src", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_progress_counts_every_case(tmp_path: Path) -> None:
    write_table(tmp_path / "src", ct_set(tmp_path / "src"))
    progress = CountingProgress()
    ingest(IngestOptions(sources=(tmp_path / "src",), out=tmp_path / "out"), progress)
    assert progress.started[-1] == "ingesting cases"
    assert progress.units == 3


@pytest.mark.slow
def test_the_lidc_nodules_come_in_as_their_table_says(medaug_data: Path, tmp_path: Path) -> None:
    summary = _ingest(medaug_data / "lidc_nodules", out=tmp_path / "out")
    counts = {c.class_name: (c.cases, c.patients) for c in summary.classes}
    assert counts == {
        "solid": (230, 230),
        "part_solid": (70, 65),
        "calcified": (90, 69),
        "ground_glass": (56, 42),
    }
    assert (summary.cases, summary.patients, summary.refused) == (446, 345, ())
    assert read_manifest(tmp_path / "out").unit is Unit.HU


def test_the_broken_hippocampus_singles_are_not_paired_by_order(medaug_data: Path, tmp_path: Path) -> None:
    summary = _ingest(medaug_data / "hippocampus" / "broken", out=tmp_path / "out")
    assert (summary.cases, summary.labelled, len(summary.refused)) == (1, 0, 2)


def test_four_channels_of_ms_brain(medaug_data: Path, tmp_path: Path) -> None:
    summary = _ingest(medaug_data / "ms_brain", out=tmp_path / "out")
    manifest = read_manifest(tmp_path / "out")
    assert manifest.cases[0].channels == ("FLAIR", "T1", "T2", "T1POST")
    assert summary.classes[0].lesions == 98 + 19
    assert manifest.cases[0].lesions[0].volume_mm3 == pytest.approx(49769)
    assert manifest.unit is Unit.ARBITRARY


def test_the_affine_of_a_table_case_is_that_of_its_file(tmp_path: Path) -> None:
    write_table(tmp_path / "src", ct_set(tmp_path / "src", ("a1",)))
    _ingest(tmp_path / "src", out=tmp_path / "out")
    manifest = read_manifest(tmp_path / "out")
    grid = load_case(tmp_path / "out", manifest.cases[0], manifest.classes).volume.grid
    assert np.allclose(grid.to_mm((5, 4, 0)), AFFINE[:3, 3], atol=1e-5)
