"""The gate: each reason alone is enough, and a clean set has none."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medaug.core.assessment import (
    REJECTED,
    AuditReport,
    CopyFlag,
    QualityReport,
    Rejection,
    RejectionsFile,
    Verdict,
    read_rejections,
)
from medaug.core.case import Case, FindingsFile, Origin, StoredFile
from medaug.core.certificate import Tier
from medaug.core.errors import DataError
from medaug.core.geometry import Grid
from medaug.core.plan import Recipe, Translation, read_lines, write_lines
from medaug.core.storage import sha256_file
from medaug.core.synthetic import read_origins
from medaug.core.volume import Unit, Volume
from medaug.io.dataset import CaseFacts, write_case
from medaug.privacy._deidentify.text import Scrubber
from medaug.privacy.deface import DefaceReport
from medaug.privacy.defaced import DEFACED, DefacedCase, DefacedFile
from medaug.privacy.gate import ReleaseRequest, check_faces, check_release
from tests.unit.privacy.synthetic_set import (
    AUDIT,
    QUALITY,
    Material,
    assess,
    change_manifest,
    make_real,
    make_set,
)


@pytest.fixture
def material(tmp_path: Path) -> Material:
    return make_set(tmp_path)


def request(
    material: Material,
    *,
    tier: Tier = "hosted",
    licence: str | None = None,
    accept: bool = False,
    terms: str | None = None,
    no_faces: bool = False,
    listed: Scrubber | None = None,
) -> ReleaseRequest:
    recipes, translations = read_origins(material.dataset)
    audit, quality = material.assessment / AUDIT, material.assessment / QUALITY
    return ReleaseRequest(
        dataset=material.dataset,
        manifest=material.manifest,
        findings=FindingsFile.read(material.dataset / "findings.json"),
        recipes=recipes,
        translations=translations,
        rejected=read_rejections(material.dataset),
        audit=AuditReport.read(audit) if audit.is_file() else None,
        quality=QualityReport.read(quality) if quality.is_file() else None,
        tier=tier,
        licence=licence,
        terms=terms,
        accept_inconclusive=accept,
        no_faces=no_faces,
        listed=listed,
    )


def reasons(asked: ReleaseRequest) -> tuple[str, ...]:
    found = check_release(asked)
    told = tuple(one.reason for one in found)
    if any(one.path for one in found):
        return told
    return told + tuple(one.reason for one in check_faces(asked) if one.outcome == "refused")


def reason(asked: ReleaseRequest) -> str:
    """The one reason there must be."""
    found = reasons(asked)
    assert len(found) == 1, found
    return found[0]


def test_clean_set_passes_as_hosted(material: Material) -> None:
    assert reasons(request(material)) == ()


@pytest.mark.parametrize(("name", "words"), [(AUDIT, "no copying audit"), (QUALITY, "no quality report")])
def test_missing_assessment(material: Material, name: str, words: str) -> None:
    (material.assessment / name).unlink()
    assert words in reason(request(material))


def test_stale_assessment(material: Material) -> None:
    first, second = material.manifest.cases
    change_manifest(material, first.model_copy(update={"terms": "other"}), second, reassess=False)
    found = reasons(request(material))
    assert len(found) == 2
    assert all("stale" in text for text in found)


@pytest.mark.parametrize("accept", [False, True])
@pytest.mark.parametrize("tier", ["hosted", "synthetic-only", "internal"])
def test_failed_lesion_verdict_is_always_refused(material: Material, tier: Tier, accept: bool) -> None:
    assess(material, lesion="fail", background="pass", membership="pass")
    assert "copies" in reason(request(material, tier=tier, accept=accept))


@pytest.mark.parametrize("tier", ["hosted", "internal"])
def test_inconclusive_needs_a_person(material: Material, tier: Tier) -> None:
    assess(material, lesion="inconclusive")
    assert "--accept-inconclusive" in reason(request(material, tier=tier))
    assert reasons(request(material, tier=tier, accept=True)) == ()


@pytest.mark.parametrize(
    ("lesion", "background", "refused"),
    [
        ("pass", "pass", False),
        ("pass", "fail", True),
        ("pass", "inconclusive", True),
        ("inconclusive", "pass", True),
    ],
)
def test_synthetic_only_needs_both(
    material: Material, lesion: Verdict, background: Verdict, refused: bool
) -> None:
    assess(material, lesion=lesion, background=background, membership="pass")
    assert bool(reasons(request(material, tier="synthetic-only", accept=True))) is refused


def test_audit_that_contradicts_itself(material: Material) -> None:
    flag = CopyFlag(case_id="syn_0", source_case_id="x", part="lesion", score=1.0, transform="none")
    assess(material, flagged=(flag,))
    assert "yet passes" in reason(request(material))


def test_audit_of_another_fold_or_of_nothing(material: Material) -> None:
    assess(material, fold=1)
    assert "fold 1" in reason(request(material))
    assess(material, n_synthetic=0)
    assert "no synthetic sample" in reason(request(material))
    assess(material, n_training=0)
    assert "no training case" in reason(request(material))


def test_licence(tmp_path: Path) -> None:
    without = make_set(tmp_path / "a", licence=None)
    assert "no licence" in reason(request(without))
    assert reasons(request(without, licence="CC0-1.0")) == ()
    licensed = make_set(tmp_path / "b")
    assert "contradicts" in reason(request(licensed, licence="CC0-1.0"))


def test_terms(tmp_path: Path) -> None:
    without = make_set(tmp_path / "a", terms=None)
    assert reasons(request(without, terms="Ask first.")) == ()
    told = make_set(tmp_path / "b")
    assert reason(request(told, terms="Ask first.")) == "--terms contradicts the manifest"


def test_changed_and_missing_file(material: Material) -> None:
    path = material.dataset / material.manifest.cases[0].images[0].path
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert "changed since" in reason(request(material))
    path.unlink()
    assert "missing" in reason(request(material))


def test_linked_file(material: Material, tmp_path: Path) -> None:
    path = material.dataset / material.manifest.cases[0].images[0].path
    path.rename(tmp_path / "elsewhere.nii.gz")
    path.symlink_to(tmp_path / "elsewhere.nii.gz")
    assert "no plain file" in reason(request(material))


def _stored_again(material: Material) -> None:
    """Let the manifest agree with the first image on disk, whatever is in it now."""
    first, second = material.manifest.cases
    path = first.images[0].path
    image = StoredFile(path=path, sha256=sha256_file(material.dataset / path))
    change_manifest(material, first.model_copy(update={"images": (image,)}), second)


@pytest.mark.parametrize("field", ["descrip", "aux_file", "intent_name", "db_name"])
def test_text_in_a_nifti_header(material: Material, field: str) -> None:
    path = material.dataset / material.manifest.cases[0].images[0].path
    stored = nib.Nifti1Image.from_filename(path)
    image = nib.Nifti1Image(np.asanyarray(stored.dataobj), stored.affine, stored.header)
    image.header[field] = b"John Doe"
    path.write_bytes(_packed(image))
    _stored_again(material)
    assert f"text in {field}" in reason(request(material))


def test_extension_in_a_nifti_header(material: Material) -> None:
    path = material.dataset / material.manifest.cases[0].images[0].path
    stored = nib.Nifti1Image.from_filename(path)
    image = nib.Nifti1Image(np.asanyarray(stored.dataobj), stored.affine, stored.header)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"John Doe"))
    path.write_bytes(_packed(image))
    _stored_again(material)
    assert "header extensions" in reason(request(material))


def _packed(image: nib.Nifti1Image) -> bytes:
    import gzip

    return gzip.compress(image.to_bytes(), mtime=0)


def test_bytes_behind_the_voxels_and_names_in_gzip(material: Material) -> None:
    import gzip

    path = material.dataset / material.manifest.cases[0].images[0].path
    content = path.read_bytes()
    for hidden in (
        content + b"John Doe",
        gzip.compress(gzip.decompress(content) + b"John Doe", mtime=0),
        content[:3] + b"\x08" + content[4:10] + b"John Doe\0" + content[10:],
    ):
        path.write_bytes(hidden)
        _stored_again(material)
        assert "carries" in reason(request(material))


@pytest.mark.parametrize("path", ["/etc/passwd", "../syn/manifest.json", "sources.private.json", "a\\b"])
def test_manifest_that_points_outside(material: Material, path: str) -> None:
    first, second = material.manifest.cases
    image = StoredFile(path=path, sha256="0" * 64)
    change_manifest(material, first.model_copy(update={"images": (image,)}), second)
    assert "no release may hold" in reason(request(material))


def test_synthetic_and_other_cases_are_released_apart(material: Material) -> None:
    first, second = material.manifest.cases
    change_manifest(material, first.model_copy(update={"origin": Origin.REAL}), second)
    found = reasons(request(material))
    assert "syn_1 is synthetic and others are not; release them apart" in found


@pytest.mark.parametrize("tier", ["hosted", "internal", "synthetic-only"])
def test_scans_of_patients_need_no_audit_and_are_never_synthetic_only(tmp_path: Path, tier: Tier) -> None:
    found = reasons(request(make_real(tmp_path), tier=tier))
    words = "the set holds scans of patients, and tier synthetic-only holds none"
    assert found == ((words,) if tier == "synthetic-only" else ())


def test_a_changed_copy_of_a_scan_is_no_release(tmp_path: Path) -> None:
    real = make_real(tmp_path)
    first, second = real.manifest.cases
    change_manifest(real, first.model_copy(update={"origin": Origin.AUGMENTED}), second, reassess=False)
    assert reason(request(real)) == "syn_0 is a changed copy of a scan; release the scan"


def test_a_synthetic_set_cannot_dodge_its_audit_by_another_name(material: Material) -> None:
    cases = [record.model_copy(update={"origin": Origin.REAL}) for record in material.manifest.cases]
    change_manifest(material, *cases)
    assert any("recipes or edit masks" in one for one in reasons(request(material)))
    assert any("leave --assessment out" in one for one in reasons(request(material)))


def test_what_headers_call_synthetic_leaves_as_no_scan(tmp_path: Path) -> None:
    real = make_real(tmp_path)
    first, second = real.manifest.cases
    change_manifest(real, first, second.model_copy(update={"findings": ("synthetic-data",)}), reassess=False)
    assert "headers or folders say of 1 case that it is synthetic; ingest again and say --origin" in reasons(
        request(real)
    )


def test_case_without_recipe_or_edit_mask(material: Material) -> None:
    first, second = material.manifest.cases
    change_manifest(material, first.model_copy(update={"edit_mask": None}), second)
    assert "no edit mask" in reason(request(material))
    lines = (material.dataset / "recipes.jsonl").read_text().splitlines()
    (material.dataset / "recipes.jsonl").write_text(lines[0] + "\n")
    change_manifest(material, first, second)
    assert "no recipe" in reason(request(material))


def test_recipe_of_another_case_or_patient(material: Material) -> None:
    first, second = material.manifest.cases
    change_manifest(material, first.model_copy(update={"patient_id": "p9"}), second)
    assert "another host patient" in reason(request(material))
    change_manifest(material, first)
    assert "belong to no case" in reason(request(material))


def _recipe(material: Material, **changed: object) -> None:
    """Let the first recipe say something else."""
    path = material.dataset / "recipes.jsonl"
    first, *rest = read_lines(path, Recipe)
    write_lines(path, (first.model_copy(update=changed), *rest))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"class_name": "ground_glass"}, "holds no ground_glass where its recipe put one"),
        ({"class_name": "cyst"}, "class that the set does not have"),
        ({"site_mm": (-3.8, 60.0, 15.25)}, "changed elsewhere"),
    ],
)
def test_recipe_that_the_voxels_contradict(
    material: Material, changed: dict[str, object], words: str
) -> None:
    _recipe(material, **changed)
    assert words in reason(request(material))


def test_null_paste_leaves_no_label(material: Material) -> None:
    _recipe(material, class_name="ground_glass", use="null")
    assert reasons(request(material)) == ()


def test_audit_and_quality_of_two_datasets(material: Material) -> None:
    path = material.assessment / QUALITY
    QualityReport.read(path).model_copy(update={"dataset_sha256": "e" * 64}).write(path)
    assert "different datasets" in reason(request(material))


def test_folder_that_leads_out_of_the_dataset(material: Material, tmp_path: Path) -> None:
    (material.dataset / "imagesTr").rename(tmp_path / "elsewhere")
    (material.dataset / "imagesTr").symlink_to(tmp_path / "elsewhere")
    found = reasons(request(material))
    assert found
    assert all("behind a link" in one for one in found)


@pytest.mark.parametrize("tier", ["hosted", "internal", "synthetic-only"])
def test_dates_in_ids_and_names_do_not_leave_the_house(material: Material, tier: Tier) -> None:
    manifest = material.manifest.model_copy(update={"name": "scans of 12.03.1985"})
    manifest.write(material.dataset / "manifest.json")
    assess(material, background="pass", membership="pass")
    found = reasons(request(material, tier=tier))
    assert (found == ()) if tier == "internal" else "looks like a date" in "".join(found)


def test_listed_identifiers_are_searched_for_in_all_words(material: Material) -> None:
    listed = Scrubber(names=("Zzyzx",), ids=("MRN-4711",))
    assert reasons(request(material, listed=listed)) == ()
    first, second = material.manifest.cases
    for changed in ({"licence": "by Zzyzx"}, {"terms": "ask zzyzx"}, {"patient_id": "MRN-4711"}):
        change_manifest(material, first.model_copy(update=changed), second)
        found = reasons(request(material, listed=listed))
        assert any("listed identifier" in one for one in found)
        assert not any("zzyzx" in one.lower() or "4711" in one for one in found if "listed" in one)


def _head(material: Material, *, modality: str = "MR", mm: float = 3.0) -> None:
    """Let the first image be as large as a head, with air around it."""
    first, second = material.manifest.cases
    grid = Grid((72, 80, 6), np.diag([mm, mm, 20.0, 1.0]))
    x, y = np.meshgrid(np.arange(72) - 36, np.arange(80) - 40, indexing="ij")
    body = (np.hypot(x / 26, y / 33) < 1)[..., None] & np.ones(6, bool)
    image = np.where(body, 300.0, 0.0).astype(np.float32)
    hu = modality == "CT"
    case = Case(
        case_id=first.case_id,
        patient_id=first.patient_id,
        volume=Volume((image - 1000 if hu else image)[None], grid, Unit.HU if hu else Unit.ARBITRARY, ("x",)),
        label_map=None,
        origin=Origin.SYNTHETIC,
    )
    record = write_case(material.dataset, case, CaseFacts(modality=modality))
    change_manifest(
        material,
        record.model_copy(update={"edit_mask": None, "licence": "CC0-1.0", "terms": "x"}),
        second.model_copy(update={"edit_mask": None}),
    )
    (material.dataset / "recipes.jsonl").unlink(missing_ok=True)


@pytest.mark.parametrize("tier", ["hosted", "internal"])
def test_heads_are_not_released_as_hosted_unless_a_person_has_looked(material: Material, tier: Tier) -> None:
    _head(material)
    found = reasons(request(material, tier=tier))
    assert (["may show a face" in one for one in found] == [True]) is (tier == "hosted")
    assert reasons(request(material, tier=tier, no_faces=True)) == ()


def _record(material: Material, outcome: str, reason: str, images: tuple[str, ...] | None = None) -> None:
    """What `medaug deface` would say of the first case."""
    first = material.manifest.cases[0]
    hashes = tuple(file.sha256 for file in first.images) if images is None else images
    report = DefaceReport.model_validate({"outcome": outcome, "reason": reason})
    case = DefacedCase(case_id=first.case_id, images=hashes, report=report)
    DefacedFile(cases=(case,)).write(material.dataset / DEFACED)


@pytest.mark.parametrize(
    ("outcome", "reason", "verdict"),
    [
        ("defaced", "face-removed", "removed before"),
        ("nothing", "said-to-be-no-head", "said"),
        ("nothing", "skull-stripped", "refused"),
        ("quarantined", "face-left", "refused"),
    ],
)
def test_heads_that_a_record_calls_defaced_are_believed(
    material: Material, outcome: str, reason: str, verdict: str
) -> None:
    _head(material)
    _record(material, outcome, reason)
    assert check_faces(request(material))[0].outcome == verdict


def test_a_record_of_other_images_says_nothing_and_a_damaged_one_is_refused(material: Material) -> None:
    _head(material)
    _record(material, "defaced", "face-removed", ("0" * 64,))
    assert check_faces(request(material))[0].outcome == "refused"
    _record(material, "defaced", "face-removed", ())
    assert check_faces(request(material))[0].outcome == "refused"
    (material.dataset / DEFACED).write_text("{", encoding="utf-8")
    with pytest.raises(DataError):
        check_faces(request(material))


def test_images_that_may_be_written_upon_are_no_hosts(material: Material) -> None:
    _head(material, modality="US")
    assert "written in its pixels" in reason(request(material, no_faces=True))
    assert reasons(request(material, tier="internal")) == ()


def test_edit_mask_of_another_case(material: Material) -> None:
    first, second = material.manifest.cases
    change_manifest(material, first.model_copy(update={"edit_mask": second.edit_mask}), second)
    assert "another edit mask" in reason(request(material))


@pytest.mark.parametrize("name", ["../x", "a/b", "", "CT of Mr. Doe, born 1950"])
def test_channel_names_become_file_names(material: Material, name: str) -> None:
    first, second = material.manifest.cases
    change_manifest(material, first.model_copy(update={"channels": (name,)}), second)
    assert "no plain word" in reason(request(material))


def test_case_that_stands_twice(material: Material) -> None:
    first, second = material.manifest.cases
    change_manifest(material, first, second, first)
    assert "stand twice" in reason(request(material))


def test_empty_set(material: Material) -> None:
    change_manifest(material)
    assert "there is no case" in reasons(request(material))


def _whole(material: Material, **changed: object) -> None:
    """Let a translator have made both cases."""
    rows = tuple(
        Translation.model_validate(
            {
                "case_id": record.case_id, "source_case_id": None, "source_sha256": (), "donor_patient_ids": ("p7",),
                "translator": "whole_image", "translator_sha256": "e" * 64, "fold": 0, "training_scope_sha256": "c" * 64,
                "class_name": "solid", "seed": 0, **changed,
            }
        )
        for record in material.manifest.cases
    )  # fmt: skip
    (material.dataset / "recipes.jsonl").unlink(missing_ok=True)
    write_lines(material.dataset / "translations.jsonl", rows)
    bare = [record.model_copy(update={"edit_mask": None}) for record in material.manifest.cases]
    change_manifest(material, *bare)


def test_cases_that_are_nobodys_need_no_edit_mask(material: Material) -> None:
    _whole(material)
    assess(material, background="pass", membership="pass")
    assert reasons(request(material, tier="synthetic-only")) == ()
    _whole(material, fold=1)
    assert "fold 0, the set of fold 1" in reason(request(material))
    change_manifest(material, material.manifest.cases[0])
    assert "belong to no case" in reasons(request(material))[1]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"source_case_id": "c1"}, "changed scan of a patient"),
        ({"source_sha256": ("f" * 64,)}, "changed scan of a patient"),
        ({"donor_patient_ids": ("p0", "p1")}, "bears a patient's name"),
    ],
)
def test_a_whole_case_of_a_patient_is_refused(
    material: Material, changed: dict[str, object], words: str
) -> None:
    _whole(material, **changed)
    assert [words in one for one in reasons(request(material))] == [True, True]


def test_a_set_of_another_tool_passes_as_hosted(material: Material) -> None:
    (material.dataset / "recipes.jsonl").unlink()
    assert "has no recipe" in reasons(request(material))[0]
    bare = [record.model_copy(update={"edit_mask": None}) for record in material.manifest.cases]
    change_manifest(material, *bare)
    assert reasons(request(material)) == ()
    assert any(
        "background verdict is fail" in one for one in reasons(request(material, tier="synthetic-only"))
    )


def test_what_was_left_out_stands_in_the_quality_report(material: Material) -> None:
    gone = (Rejection(case_id="syn_7", reason="", rule="score>0.4"),)
    RejectionsFile(rejections=gone).write(material.dataset / REJECTED)
    assert "does not say what was left out" in reason(request(material))
    path = material.assessment / QUALITY
    QualityReport.read(path).model_copy(update={"rejected": gone}).write(path)
    assert reasons(request(material)) == ()


@pytest.mark.parametrize("tier", ["hosted", "internal", "synthetic-only"])
def test_patients_that_an_attack_finds_are_not_released(material: Material, tier: Tier) -> None:
    for verdict, refused in (("fail", True), ("inconclusive", False), ("pass", False)):
        assess(material, background="pass", membership=verdict)  # type: ignore[arg-type]
        assert bool(reasons(request(material, tier=tier))) is refused
    assess(material, background="pass")
    assert bool(reasons(request(material, tier=tier))) is (tier == "synthetic-only")
