"""``release`` and ``verify``: whole or not at all, and every later change shows."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydantic import SecretStr

from medaug.core.assessment import REJECTED, QualityReport, Rejection, RejectionsFile
from medaug.core.case import RECIPES, TRANSLATIONS, Manifest, read_manifest
from medaug.core.errors import ConfigError, DataError, GateRefusedError, MedaugError, UnreadableError
from medaug.core.plan import Translation, read_lines, write_lines
from medaug.core.runs import NoProgress, Progress
from medaug.core.volume import Unit
from medaug.io.annotations import combine, target_of
from medaug.io.dataset import load_case, load_edit_mask
from medaug.io.dicom import read_series
from medaug.io.segmentation import read_seg
from medaug.layouts.base import Export
from medaug.layouts.nnunet import NnunetLayout
from medaug.privacy.keys import PRIVATE_KEY, PUBLIC_KEY, SigningKey, load_public_key, write_key_pair
from medaug.privacy.provenance import keyed_hashes, verify_release
from medaug.workflows.release import ReleaseSummary, release
from medaug.workflows.verify import VerifyOptions, verify
from tests.unit.privacy.synthetic_set import CLASSES, QUALITY, Material, assess, change_manifest, make_set
from tests.unit.workflows.releasing import PASSPHRASE, options


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    write_key_pair(folder, PASSPHRASE)
    return folder


@pytest.fixture
def material(tmp_path: Path) -> Material:
    return make_set(tmp_path)


def run(material: Material, keys: Path, out: Path, **more: object) -> ReleaseSummary:
    return release(options(material, keys, out, **more), NoProgress())


def test_release_is_a_dataset_folder_and_verifies(material: Material, keys: Path, tmp_path: Path) -> None:
    out = tmp_path / "release"
    summary = run(material, keys, out)
    assert (summary.n_cases, summary.tier, summary.skipped) == (2, "hosted", False)
    checked = verify(VerifyOptions(release=out, public_key=keys / PUBLIC_KEY), NoProgress())
    assert (checked.n_cases, checked.licence, checked.fingerprint) == (2, "CC-BY-4.0", summary.fingerprint)
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert names >= {"dataset.json", "manifest.json", "findings.json", "recipes.jsonl", "DATASHEET.md"}
    assert {"certificate.dsse.json", "edits/syn_0.nii.gz", "labelsTr/syn_1.nii.gz"} <= names
    manifest = read_manifest(out)
    for record in manifest.cases:
        original = load_case(material.dataset, material.manifest.case(record.case_id), CLASSES)
        assert np.array_equal(load_case(out, record, CLASSES).volume.image, original.volume.image)
        assert (record.source_sha256, record.terms) == ((), "Research use alone.")


def test_without_terms_the_licence_is_all(keys: Path, tmp_path: Path) -> None:
    run(make_set(tmp_path, terms=None), keys, tmp_path / "release")
    terms = {record.terms for record in read_manifest(tmp_path / "release").cases}
    assert terms == {"No terms beyond the licence."}


def test_plain_source_hashes_stay_at_home(material: Material, keys: Path, tmp_path: Path) -> None:
    run(material, keys, tmp_path / "release")
    plain = [one for record in material.manifest.cases for one in record.source_sha256]
    content = b"".join(path.read_bytes() for path in (tmp_path / "release").rglob("*") if path.is_file())
    assert plain
    assert not any(one.encode() in content for one in plain)
    from medaug.privacy.keys import load_signing_key

    key = load_signing_key(keys / PRIVATE_KEY, PASSPHRASE)
    certificate = verify_release(tmp_path / "release", key.public)
    assert certificate.source_hmac == keyed_hashes(tuple(plain), key)
    assert certificate.lineage == ("p0", "p1", "p7")


@pytest.mark.parametrize("kind", ["nnunet", "nifti", "dicom", "msd", "bids"])
def test_characteristics_of_patients_stay_at_home(
    material: Material, keys: Path, tmp_path: Path, kind: str
) -> None:
    told = {"site": "Zzyzx North", "scanner": "Qwert 9000", "sex": "F", "age": "90+"}
    first, second = material.manifest.cases
    change_manifest(material, first.model_copy(update={"attributes": told}), second)
    run(material, keys, tmp_path / "release", format=kind)
    assert read_manifest(material.dataset).cases[0].attributes == told
    assert not any(record.attributes for record in read_manifest(tmp_path / "release").cases)
    content = b"".join(path.read_bytes() for path in (tmp_path / "release").rglob("*") if path.is_file())
    assert not any(value.encode() in content for value in ("Zzyzx", "Qwert", "90+"))


def test_nothing_is_left_where_the_gate_refuses(material: Material, keys: Path, tmp_path: Path) -> None:
    assess(material, lesion="fail")
    with pytest.raises(GateRefusedError, match="copies"):
        run(material, keys, tmp_path / "release")
    (material.assessment / "audit.json").unlink()
    with pytest.raises(GateRefusedError, match=r"no copying audit.*`medaug assess`"):
        run(material, keys, tmp_path / "release")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["assessment", "syn"]


def test_what_is_written_is_inspected_before_it_is_signed(keys: Path, tmp_path: Path) -> None:
    material = make_set(tmp_path, terms=None)
    with pytest.raises(GateRefusedError, match=r"DATASHEET\.md holds an e-mail address"):
        run(material, keys, tmp_path / "release", terms="Ask anna@example.org.")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["assessment", "syn"]


def test_what_is_written_is_read_back_before_it_is_signed(
    material: Material, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = NnunetLayout.write

    def damage(layout: NnunetLayout, export: Export, progress: Progress) -> Manifest:
        written = honest(layout, export, progress)
        _flip(export.out)
        return written

    monkeypatch.setattr(NnunetLayout, "write", damage)
    with pytest.raises(UnreadableError, match="differs from what was to be written"):
        run(material, keys, tmp_path / "release")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["assessment", "syn"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_nothing_is_left_after_a_break(
    material: Material, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("medaug.workflows.release.sign", fail)
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else MedaugError
    with pytest.raises(expected):
        run(material, keys, tmp_path / "release")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["assessment", "syn"]


def test_left_over_of_a_killed_run_is_cleared(material: Material, keys: Path, tmp_path: Path) -> None:
    left = tmp_path / ".release.partial.release"
    left.mkdir()
    (left / "half.nii.gz").write_bytes(b"x")
    run(material, keys, tmp_path / "release")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["assessment", "release", "syn"]


def test_second_call_is_skipped_and_a_changed_one_refused(
    material: Material, keys: Path, tmp_path: Path
) -> None:
    out = tmp_path / "release"
    first = run(material, keys, out)
    before = (out / "certificate.dsse.json").read_bytes()
    again = run(material, keys, out)
    assert again == first.model_copy(update={"skipped": True})
    assert (out / "certificate.dsse.json").read_bytes() == before
    (tmp_path / "list").write_text("Zzyzx\n")
    for change in ({"format": "nifti"}, {"tier": "internal"}, {"identifiers": tmp_path / "list"}):
        with pytest.raises(ConfigError, match="another release"):
            run(material, keys, out, **change)


def test_existing_folder_is_refused(material: Material, keys: Path, tmp_path: Path) -> None:
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / "mine.txt").write_text("x")
    with pytest.raises(ConfigError, match="exists"):
        run(material, keys, tmp_path / "release")
    assert (tmp_path / "release" / "mine.txt").read_text() == "x"


def test_wrong_passphrase(material: Material, keys: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="passphrase"):
        run(material, keys, tmp_path / "release", passphrase=SecretStr("wrong horse"))


def test_unknown_format(material: Material, keys: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="bids, dicom, msd, nifti, nnunet"):
        run(material, keys, tmp_path / "release", format="dcm")


def test_inconclusive_audit_that_a_person_accepts(material: Material, keys: Path, tmp_path: Path) -> None:
    assess(material, lesion="inconclusive")
    with pytest.raises(GateRefusedError, match="accept-inconclusive"):
        run(material, keys, tmp_path / "release")
    run(material, keys, tmp_path / "release", accept_inconclusive=True)
    assert "a person accepted" in (tmp_path / "release" / "DATASHEET.md").read_text()


def test_nifti_layout(material: Material, keys: Path, tmp_path: Path) -> None:
    out = tmp_path / "release"
    run(material, keys, out, format="nifti")
    assert (out / "cases.csv").read_text().splitlines()[1] == (
        "syn_0,p0,images/syn_0.nii.gz,labels/syn_0.nii.gz,solid;ground_glass,1;2,,CT,known,,CC-BY-4.0,Research use alone."
    )
    record = read_manifest(out).cases[0]
    original = load_case(material.dataset, material.manifest.cases[0], CLASSES)
    assert np.array_equal(load_case(out, record, CLASSES).volume.image, original.volume.image)


def test_dicom_options_are_heeded_and_stand_on_the_certificate(
    material: Material, keys: Path, tmp_path: Path
) -> None:
    more = {"format": "dicom", "segmentation": "labelmap", "class_codes": "solid=99ACME:17"}
    assert run(material, keys, tmp_path / "release", **more).layout == "dicom, LABELMAP, solid=99ACME:17"
    seg = pydicom.dcmread(tmp_path / "release" / "dicom" / "syn_0" / "seg.dcm")
    (term,) = (
        item.SegmentedPropertyTypeCodeSequence[0] for item in seg.SegmentSequence if item.SegmentNumber
    )
    assert (seg.SegmentationType, term.CodeValue) == ("LABELMAP", "17")
    assert run(material, keys, tmp_path / "release", **more).skipped
    with pytest.raises(ConfigError, match="holds another release"):
        run(material, keys, tmp_path / "release", format="dicom")
    with pytest.raises(ConfigError, match=r"--class-codes: no class is called plaque.*solid, ground_glass"):
        run(material, keys, tmp_path / "other", format="dicom", class_codes="plaque=SCT:1522000")
    with pytest.raises(ConfigError, match="segmentation"):
        run(material, keys, tmp_path / "other", segmentation="labelmap")


def test_dicom_layout(material: Material, keys: Path, tmp_path: Path) -> None:
    out = tmp_path / "release"
    run(material, keys, out, format="dicom")
    original = load_case(material.dataset, material.manifest.cases[1], CLASSES)
    series = read_series(sorted((out / "dicom" / "syn_1" / "CT").iterdir()))
    assert series.volume.grid.agrees_with(original.volume.grid, tolerance_mm=1e-3)
    edited = load_edit_mask(material.dataset, material.manifest.cases[1])
    assert np.array_equal(series.volume.image[0][~edited], original.volume.image[0][~edited])
    assert np.abs(series.volume.image - original.volume.image).max() <= 0.5
    seg = read_seg(out / "dicom" / "syn_1" / "seg.dcm", target_of(series))
    assert original.label_map is not None
    assert np.array_equal(combine(seg.segments, CLASSES).labels, original.label_map.labels)
    for path in out.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        assert dataset.SyntheticData == "YES"
        equipment = dataset.ContributingEquipmentSequence[0]
        assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109100"


def test_several_channels_in_every_layout(keys: Path, tmp_path: Path) -> None:
    material = make_set(tmp_path, unit=Unit.ARBITRARY, channels=("FLAIR", "T1"))
    for kind in ("nnunet", "nifti", "dicom", "msd", "bids"):
        assert run(material, keys, tmp_path / kind, format=kind).n_cases == 2
    assert (tmp_path / "nifti" / "images" / "syn_0_FLAIR.nii.gz").is_file()
    assert (tmp_path / "dicom" / "dicom" / "syn_0" / "T1" / "0004.dcm").is_file()
    assert (tmp_path / "msd" / "imagesTr" / "syn_0.nii.gz").is_file()
    assert (tmp_path / "bids" / "sub-p0" / "anat" / "sub-p0_desc-synthetic_FLAIR.nii.gz").is_file()


def _flip(release_folder: Path) -> None:
    path = release_folder / "imagesTr" / "syn_0_0000.nii.gz"
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(bytes(content))


def test_what_was_left_out_is_counted(material: Material, keys: Path, tmp_path: Path) -> None:
    gone = (Rejection(case_id="syn_7", reason="the man next door"),)
    RejectionsFile(rejections=gone).write(material.dataset / REJECTED)
    path = material.assessment / QUALITY
    QualityReport.read(path).model_copy(update={"rejected": gone}).write(path)
    out = tmp_path / "release"
    run(material, keys, out)
    checked = verify(VerifyOptions(release=out, public_key=keys / PUBLIC_KEY), NoProgress())
    assert (checked.n_cases, checked.n_rejected) == (2, 1)
    assert "2 cases (1 left out before)" in checked.lines()[0]
    assert "| a person | 1 | syn_7 |" in (out / "DATASHEET.md").read_text()
    assert not any(b"next door" in path.read_bytes() for path in out.rglob("*") if path.is_file())


def test_whole_cases_keep_their_lineage(material: Material, keys: Path, tmp_path: Path) -> None:
    rows = tuple(
        Translation(
            case_id=record.case_id, source_case_id=None, source_sha256=(), donor_patient_ids=("p7", "p8"),
            translator="whole_image", translator_sha256="e" * 64, fold=0, training_scope_sha256="c" * 64,
            class_name="solid", seed=0,
        )
        for record in material.manifest.cases
    )  # fmt: skip
    (material.dataset / RECIPES).unlink()
    write_lines(material.dataset / TRANSLATIONS, rows)
    bare = [record.model_copy(update={"edit_mask": None}) for record in material.manifest.cases]
    change_manifest(material, *bare)
    assess(material, background="pass", membership="pass")
    for form in ("nnunet", "dicom"):
        run(material, keys, tmp_path / form, tier="synthetic-only", format=form)
        certificate = verify_release(tmp_path / form, load_public_key(keys / PUBLIC_KEY))
        assert certificate.lineage == ("p7", "p8")
        assert certificate.generators == ("whole_image " + "e" * 64,)
        assert read_lines(tmp_path / form / TRANSLATIONS, Translation) == rows
        assert not (tmp_path / form / RECIPES).exists()


def test_a_set_of_another_tool_names_no_lineage(material: Material, keys: Path, tmp_path: Path) -> None:
    (material.dataset / RECIPES).unlink()
    bare = [record.model_copy(update={"edit_mask": None}) for record in material.manifest.cases]
    change_manifest(material, *bare)
    for form in ("nnunet", "bids", "dicom"):
        run(material, keys, tmp_path / form, format=form)
        certificate = verify_release(tmp_path / form, load_public_key(keys / PUBLIC_KEY))
        assert (certificate.lineage, certificate.generators) == ((), ())
        assert "Made by another tool" in (tmp_path / form / "DATASHEET.md").read_text()


TAMPERS: dict[str, Callable[[Path], object]] = {
    "byte": _flip,
    "sheet": lambda out: (out / "DATASHEET.md").write_text("# fine\n"),
    "added": lambda out: (out / "imagesTr" / "x.nii.gz").write_bytes(b"x"),
    "missing": lambda out: (out / "edits" / "syn_0.nii.gz").unlink(),
    "renamed": lambda out: (out / "recipes.jsonl").rename(out / "recipe.jsonl"),
    "certificate gone": lambda out: (out / "certificate.dsse.json").unlink(),
    "certificate edited": lambda out: (out / "certificate.dsse.json").write_text(
        (out / "certificate.dsse.json").read_text().replace("keyid", "keyId")
    ),
}


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Path:
    folder = tmp_path_factory.mktemp("released")
    run(make_set(folder), keys, folder / "release")
    return folder / "release"


@pytest.mark.parametrize("name", TAMPERS)
def test_tampering_is_seen(released: Path, keys: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(released, copy)
    asked = VerifyOptions(release=copy, public_key=keys / PUBLIC_KEY)
    verify(asked, NoProgress())
    TAMPERS[name](copy)
    with pytest.raises(GateRefusedError) as caught:
        verify(asked, NoProgress())
    assert caught.value.exit_code == 6


def test_only_the_given_key_is_trusted(released: Path, tmp_path: Path) -> None:
    (tmp_path / "other.pub").write_bytes(SigningKey.generate().public.pem())
    with pytest.raises(GateRefusedError, match="not by this key"):
        verify(VerifyOptions(release=released, public_key=tmp_path / "other.pub"), NoProgress())


def test_verify_needs_a_folder(keys: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder"):
        verify(VerifyOptions(release=tmp_path / "none", public_key=keys / PUBLIC_KEY), NoProgress())
