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
    MembershipResult,
    QualityReport,
    Rejection,
    RejectionsFile,
    Verdict,
    read_rejections,
)
from medaug.core.case import Origin, StoredFile
from medaug.core.plan import Translation, write_lines
from medaug.core.results import Tier
from medaug.core.storage import sha256_file
from medaug.core.synthetic import read_origins
from medaug.privacy.gate import ReleaseRequest, check_release
from tests.unit.privacy.synthetic_set import AUDIT, QUALITY, Material, assess, change_manifest, make_set


@pytest.fixture
def material(tmp_path: Path) -> Material:
    return make_set(tmp_path)


def request(
    material: Material, *, tier: Tier = "hosted", licence: str | None = None, accept: bool = False
) -> ReleaseRequest:
    recipes, translations = read_origins(material.dataset)
    audit, quality = material.assessment / AUDIT, material.assessment / QUALITY
    return ReleaseRequest(
        dataset=material.dataset,
        manifest=material.manifest,
        recipes=recipes,
        translations=translations,
        rejected=read_rejections(material.dataset),
        audit=AuditReport.read(audit) if audit.is_file() else None,
        quality=QualityReport.read(quality) if quality.is_file() else None,
        tier=tier,
        licence=licence,
        accept_inconclusive=accept,
    )


def reason(asked: ReleaseRequest) -> str:
    """The one reason there must be."""
    reasons = check_release(asked)
    assert len(reasons) == 1, reasons
    return reasons[0]


def test_clean_set_passes_as_hosted(material: Material) -> None:
    assert check_release(request(material)) == ()


@pytest.mark.parametrize(("name", "words"), [(AUDIT, "no copying audit"), (QUALITY, "no quality report")])
def test_missing_assessment(material: Material, name: str, words: str) -> None:
    (material.assessment / name).unlink()
    assert words in reason(request(material))


def test_stale_assessment(material: Material) -> None:
    first, second = material.manifest.cases
    change_manifest(material, first.model_copy(update={"terms": "other"}), second, reassess=False)
    assert [text for text in check_release(request(material)) if "stale" in text] == list(
        check_release(request(material))
    )
    assert len(check_release(request(material))) == 2


@pytest.mark.parametrize("accept", [False, True])
@pytest.mark.parametrize("tier", ["hosted", "synthetic-only", "internal"])
def test_failed_lesion_verdict_is_always_refused(material: Material, tier: Tier, accept: bool) -> None:
    assess(material, lesion="fail", background="pass")
    assert "copies" in reason(request(material, tier=tier, accept=accept))


@pytest.mark.parametrize("tier", ["hosted", "internal"])
def test_inconclusive_needs_a_person(material: Material, tier: Tier) -> None:
    assess(material, lesion="inconclusive")
    assert "--accept-inconclusive" in reason(request(material, tier=tier))
    assert check_release(request(material, tier=tier, accept=True)) == ()


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
    assess(material, lesion=lesion, background=background)
    assert bool(check_release(request(material, tier="synthetic-only", accept=True))) is refused


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
    assert check_release(request(without, licence="CC0-1.0")) == ()
    licensed = make_set(tmp_path / "b")
    assert "contradicts" in reason(request(licensed, licence="CC0-1.0"))


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


@pytest.mark.parametrize("origin", [Origin.REAL, Origin.AUGMENTED])
def test_what_is_not_synthetic_is_no_release(material: Material, origin: Origin) -> None:
    first, second = material.manifest.cases
    change_manifest(material, first.model_copy(update={"origin": origin}), second)
    assert "not synthetic" in reason(request(material))


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
    assert "there is no case" in check_release(request(material))


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
    assess(material, background="pass")
    assert check_release(request(material, tier="synthetic-only")) == ()
    _whole(material, fold=1)
    assert "fold 0, the set of fold 1" in reason(request(material))
    change_manifest(material, material.manifest.cases[0])
    assert "belong to no case" in check_release(request(material))[1]


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
    assert [words in one for one in check_release(request(material))] == [True, True]


def test_a_set_of_another_tool_passes_as_hosted(material: Material) -> None:
    (material.dataset / "recipes.jsonl").unlink()
    assert "has no recipe" in check_release(request(material))[0]
    bare = [record.model_copy(update={"edit_mask": None}) for record in material.manifest.cases]
    change_manifest(material, *bare)
    assert check_release(request(material)) == ()
    assert "background verdict is fail" in reason(request(material, tier="synthetic-only"))


def test_what_was_left_out_stands_in_the_quality_report(material: Material) -> None:
    gone = (Rejection(case_id="syn_7", reason="", rule="score>0.4"),)
    RejectionsFile(rejections=gone).write(material.dataset / REJECTED)
    assert "does not say what was left out" in reason(request(material))
    path = material.assessment / QUALITY
    QualityReport.read(path).model_copy(update={"rejected": gone}).write(path)
    assert check_release(request(material)) == ()


def test_patients_that_an_attack_finds_are_not_released(material: Material) -> None:
    path = material.assessment / AUDIT
    for verdict, count in (("fail", 1), ("inconclusive", 0), ("pass", 0)):
        found = MembershipResult.model_validate(
            {
                "verdict": verdict, "auc": None, "control_auc": None, "tpr_at_1_percent": None, "n_members": 9,
                "n_others": 9, "reasons": (),
            }
        )  # fmt: skip
        AuditReport.read(path).model_copy(update={"membership": found}).write(path)
        assert len(check_release(request(material))) == count
