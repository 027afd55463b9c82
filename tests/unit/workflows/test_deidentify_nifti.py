"""NIfTI files go out with their voxels and what tells how they were taken; names, texts and all else stay at home."""

import gzip
import json
import os
import re
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Extension

from medaug.cli import main as cli
from medaug.core.certificate import ReportLine
from medaug.core.errors import DataError
from medaug.workflows.deidentify import DeidentifyOptions
from tests.unit.privacy.canaries import base
from tests.unit.workflows.cleaning import options_for, report_lines, run, tree

WORDS = (b"kowalczyk", b"bronislawa", b"nowak", b"20200301", b"mrn4711", b"st. mary", b"scanner7")
SESSION = "sub-Kowalczyk/ses-20200301"
STEM = "sub-Kowalczyk_ses-20200301"
SIDECAR = {
    "EchoTime": 0.09,
    "PatientName": "Kowalczyk^Bronislawa",
    "AcquisitionDateTime": "20200301101112",
    "DeviceSerialNumber": "MRN4711",
    "InstitutionName": "St. Mary",
    "StationName": "SCANNER7",
}


def _image(seed: int = 0, *, number: int = 4) -> bytes:
    voxels = np.random.default_rng(seed).integers(0, 99, (5, 4, number), dtype=np.int16)
    made = nib.Nifti1Image(voxels, np.diag([1.0, 1.0, 3.0, 1.0]))
    made.header["descrip"], made.header["aux_file"] = b"Kowalczyk 20200301", b"Nowak.dcm"
    made.header["db_name"], made.header["intent_name"] = b"MRN4711", b"Bronislawa"
    made.header.extensions.append(Nifti1Extension(6, b"patient: Kowalczyk at St. Mary on SCANNER7"))
    return bytes(made.to_bytes())


def _named(content: bytes) -> bytes:
    """Packed, with a name, a comment and a time."""
    packed = gzip.compress(content, mtime=1583020800)
    return packed[:3] + b"\x18" + packed[4:10] + b"Kowalczyk.nii\0MRN4711\0" + packed[10:]


def _save(folder: Path, name: str, content: bytes | str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """One session of BIDS, a flat file, what is damaged or of another kind, and one DICOM file."""
    folder = tmp_path / "source"
    _save(folder, f"{SESSION}/anat/{STEM}_run-1_T1w.nii.gz", _named(_image()))
    _save(folder, f"{SESSION}/anat/{STEM}_run-1_T1w.json", json.dumps(SIDECAR))
    _save(folder, f"{SESSION}/dwi/{STEM}_dwi.nii", _image(1))
    _save(folder, f"{SESSION}/dwi/{STEM}_dwi.bval", "0 1000\t1000\r\n")
    _save(folder, f"{SESSION}/dwi/{STEM}_dwi.bvec", "0 1 0\n0 0 .5\n0 0 -1e-3\n")
    _save(folder, "Nowak_MRN4711.nii.gz", _named(_image(2)))
    _save(folder, "Nowak_MRN4711.bval", "Nowak 20200301")
    _save(folder, "cut.nii.gz", _named(_image(3))[:-30])
    _save(folder, "cut.json", json.dumps(SIDECAR))
    _save(folder, "dataset_description.json", json.dumps({"Name": "Kowalczyk"}))
    _save(folder, "participants.tsv", "Kowalczyk\t71")
    pair = bytearray(_image(4))
    pair[344:348] = b"ni1\0"
    _save(folder, "pair.hdr", bytes(pair[:348]))
    _save(folder, "pair.img", bytes(pair[352:]))
    base().save_as(folder / "one.dcm", enforce_file_format=True)
    return folder


def _report(options: DeidentifyOptions) -> dict[str, ReportLine]:
    return {line.input: line for line in report_lines(options)}


def test_each_file_is_written_or_named_with_its_reason(source: Path) -> None:
    options = options_for(source)
    summary = run(options)
    assert {name: (line.outcome, line.reasons) for name, line in _report(options).items()} == {
        f"{SESSION}/anat/{STEM}_run-1_T1w.nii.gz": ("written", ("face-not-looked-at",)),
        f"{SESSION}/anat/{STEM}_run-1_T1w.json": ("written", ("fields-removed:5",)),
        f"{SESSION}/dwi/{STEM}_dwi.nii": ("written", ("face-not-looked-at",)),
        f"{SESSION}/dwi/{STEM}_dwi.bval": ("written", ()),
        f"{SESSION}/dwi/{STEM}_dwi.bvec": ("written", ()),
        "Nowak_MRN4711.nii.gz": ("written", ("face-not-looked-at",)),
        "Nowak_MRN4711.bval": ("refused", ("damaged-file",)),
        "cut.nii.gz": ("refused", ("damaged-file",)),
        "cut.json": ("quarantined", ("image-not-written",)),
        "dataset_description.json": ("refused", ("no-image-beside",)),
        "participants.tsv": ("refused", ("not-dicom",)),
        "pair.hdr": ("refused", ("two-files",)),
        "pair.img": ("refused", ("two-files",)),
        "one.dcm": ("written", ()),
    }
    assert (summary.written, summary.quarantined, summary.refused) == (7, 1, 6)
    assert (summary.patients, summary.faces_not_looked_at) == (1, 3)
    assert any("face-not-looked-at: 3" in line for line in summary.lines())


def test_nothing_that_identifies_comes_out_and_voxels_stay(source: Path) -> None:
    options = options_for(source)
    summary = run(options)
    for name, content in tree(options.out).items():
        whole = name.encode() + content + (gzip.decompress(content) if name.endswith(".gz") else b"")
        assert [word for word in WORDS if word in whole.lower()] == []
        assert not name.endswith(".gz") or content[3:8] == bytes(5)
    shown = " ".join(summary.lines()).lower().encode()
    assert [word for word in WORDS if word in shown] == []
    for name, line in _report(options).items():
        if line.outcome == "written" and ".nii" in name:
            before, after = nib.load(source / name), nib.load(options.out / (line.output or ""))
            assert isinstance(before, nib.Nifti1Image)
            assert isinstance(after, nib.Nifti1Image)
            assert np.array_equal(np.asanyarray(before.dataobj), np.asanyarray(after.dataobj))
            assert np.array_equal(before.affine, after.affine)


def test_what_stands_beside_an_image_follows_it(source: Path) -> None:
    options = options_for(source)
    run(options)
    outputs = {name: line.output or "" for name, line in _report(options).items()}
    image = outputs[f"{SESSION}/anat/{STEM}_run-1_T1w.nii.gz"]
    sidecar = outputs[f"{SESSION}/anat/{STEM}_run-1_T1w.json"]
    assert re.fullmatch(r"(sub-\w{24})/(ses-\w{24})/anat/\1_\2_run-1_T1w\.nii\.gz", image)
    assert sidecar == image.replace("nii.gz", "json")
    assert json.loads((options.out / sidecar).read_text("utf-8")) == {"EchoTime": 0.09}
    bvec = outputs[f"{SESSION}/dwi/{STEM}_dwi.bvec"]
    assert (options.out / bvec).read_text("ascii") == "0 1 0\n0 0 .5\n0 0 -1e-3\n"


def test_own_output_is_left_as_it_is_and_another_key_makes_other_names(source: Path) -> None:
    options = options_for(source)
    run(options)
    second = options_for(options.out, out=source.parent / "second", report=source.parent / "second.jsonl")
    run(second)
    assert tree(second.out) == tree(options.out)
    lines = _report(second)
    assert lines.pop("deidentification.json").reasons == ("no-image-beside",)
    assert all(line.reasons[0] == "own-output" for line in lines.values())
    third = options_for(source, out=source.parent / "third", key_file=source.parent / "key3")
    run(third)
    assert tree(third.out).keys() & tree(options.out).keys() == {"deidentification.json"}


def test_own_output_that_somebody_wrote_into_is_cleaned_again(source: Path) -> None:
    options = options_for(source)
    run(options)
    before = tree(options.out)
    path = next(options.out.rglob("*_dwi.nii"))
    changed = bytearray(path.read_bytes())
    changed[148:157] = b"Kowalczyk"
    path.write_bytes(bytes(changed))
    second = options_for(options.out, out=source.parent / "second")
    run(second)
    assert tree(second.out) == before
    name = path.relative_to(options.out).as_posix()
    assert _report(second)[name].reasons == ("face-not-looked-at",)


def test_same_call_again_goes_on_and_takes_back_what_may_not_go_out(source: Path) -> None:
    options = options_for(source)
    run(options)
    before = tree(options.out)
    next(options.out.rglob("*.bvec")).unlink()
    assert not run(options).new_key
    assert tree(options.out) == before
    (source / f"{SESSION}/anat/{STEM}_run-1_T1w.nii.gz").write_bytes(b"damaged")
    run(options)
    assert {name for name in before if "_T1w" in name} == before.keys() - tree(options.out).keys()


def test_any_number_of_processes_and_any_copy_of_the_folder_give_the_same(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medaug.workflows.deidentify._WORTH_WORKERS", 1)
    for number in range(70):
        _save(source, f"many/Kowalczyk {number}.nii", _image(number, number=1))
    alone = options_for(source)
    run(alone)
    copy = source.parent / "elsewhere"
    shutil.copytree(source, copy)
    shared = options_for(copy, out=source.parent / "shared", workers=2)
    run(shared)
    assert tree(alone.out) == tree(shared.out)


def test_capitals_links_and_colours(tmp_path: Path) -> None:
    source = tmp_path / "source"
    _save(source, "a.nii", _image())
    _save(source, "a.NII", _image(1))
    (source / "link.nii").symlink_to(source / "a.nii")
    os.mkfifo(source / "pipe.nii")
    colour = bytearray(_image(number=1)[:352]) + bytes(60)
    colour[70:74] = (128).to_bytes(2, "little") + (24).to_bytes(2, "little")
    colour[108:112] = np.float32(352).tobytes()
    _save(source, "colour.nii", bytes(colour))
    options = options_for(source)
    run(options)
    lines = {name: (line.outcome, line.reasons[0]) for name, line in _report(options).items()}
    assert lines == {
        "a.NII": ("written", "face-not-looked-at"),
        "a.nii": ("refused", "name-taken"),
        "link.nii": ("refused", "no-plain-file"),
        "pipe.nii": ("refused", "no-plain-file"),
        "colour.nii": ("quarantined", "burned-in-text-possible"),
    }


def test_one_file_alone_and_nothing_but_damaged_ones(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = source.parent
    arguments = ["deidentify", str(source / "Nowak_MRN4711.nii.gz"), "--out", str(place / "out")]
    assert cli.main([*arguments, "--key-file", str(place / "key")]) == 0
    said = capsys.readouterr().out
    assert "1 file written to" in said
    assert "face-not-looked-at: 1 NIfTI image;" in said
    with pytest.raises(DataError, match="damaged-file"):
        run(options_for(source / "cut.nii.gz", out=place / "none"))
