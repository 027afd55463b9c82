"""Signed certificates: whatever is changed afterwards shows."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import pytest

from medaug.core.assessment import PartVerdict
from medaug.core.certificate import ReleaseCertificate, ReleasedFile
from medaug.core.errors import GateRefusedError
from medaug.privacy.keys import SigningKey
from medaug.privacy.provenance import CERTIFICATE, keyed_hashes, list_files, sign, verify_release

KEY = SigningKey.generate()


def certify(files: tuple[ReleasedFile, ...]) -> ReleaseCertificate:
    return ReleaseCertificate(
        tier="hosted",
        created="2026-01-01T00:00:00+00:00",
        medaug_version="0",
        files=files,
        n_cases=1,
        generators=("copy_paste",),
        lineage=("p1",),
        source_hmac=(),
        audit_sha256="0" * 64,
        verdict=PartVerdict(lesion="pass", background="fail"),
        detection_limit=0.1,
        accepted_inconclusive=False,
        dp_epsilon=None,
        licence="CC0-1.0",
        terms="none",
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "release"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "a.nii.gz").write_bytes(b"voxels")
    (folder / "manifest.json").write_text("{}")
    sign(folder, certify(list_files(folder)), KEY)
    return folder


def test_untouched_release_holds(folder: Path) -> None:
    certificate = verify_release(folder, KEY.public)
    assert [file.path for file in certificate.files] == ["images/a.nii.gz", "manifest.json"]


def test_copied_release_holds(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    assert verify_release(tmp_path / "copy", KEY.public).n_cases == 1


def test_every_byte_counts(folder: Path) -> None:
    for path in (folder / "images" / "a.nii.gz", folder / "manifest.json", folder / CERTIFICATE):
        content = path.read_bytes()
        for place in range(0, len(content), 1 if len(content) < 100 else 11):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            with pytest.raises(GateRefusedError):
                verify_release(folder, KEY.public)
        for other in (content + b"\n", content[:-1], b""):
            path.write_bytes(other)
            with pytest.raises(GateRefusedError):
                verify_release(folder, KEY.public)
        path.write_bytes(content)
    verify_release(folder, KEY.public)


def test_added_missing_and_renamed_files_are_named(folder: Path) -> None:
    (folder / "images" / "b.nii.gz").write_bytes(b"more")
    with pytest.raises(GateRefusedError, match=r"added images/b\.nii\.gz"):
        verify_release(folder, KEY.public)
    (folder / "images" / "b.nii.gz").unlink()
    (folder / "manifest.json").rename(folder / "Manifest.json")
    with pytest.raises(GateRefusedError, match=r"missing manifest\.json; added Manifest\.json"):
        verify_release(folder, KEY.public)


def test_hidden_file_and_second_certificate_are_added_files(folder: Path) -> None:
    (folder / "images" / CERTIFICATE).write_bytes((folder / CERTIFICATE).read_bytes())
    with pytest.raises(GateRefusedError, match="added images"):
        verify_release(folder, KEY.public)
    (folder / "images" / CERTIFICATE).unlink()
    (folder / ".note").write_text("x")
    with pytest.raises(GateRefusedError, match=r"added \.note"):
        verify_release(folder, KEY.public)


def test_swapped_contents(folder: Path) -> None:
    first, second = folder / "images" / "a.nii.gz", folder / "manifest.json"
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)
    with pytest.raises(GateRefusedError, match="changed"):
        verify_release(folder, KEY.public)


def test_link_to_the_same_content(folder: Path, tmp_path: Path) -> None:
    path = folder / "manifest.json"
    path.rename(tmp_path / "away.json")
    path.symlink_to(tmp_path / "away.json")
    with pytest.raises(GateRefusedError, match="no plain file"):
        verify_release(folder, KEY.public)


def test_another_key(folder: Path) -> None:
    with pytest.raises(GateRefusedError, match="not by this key"):
        verify_release(folder, SigningKey.generate().public)


def test_signed_again_by_another_key(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"evil": 1}')
    sign(folder, certify(list_files(folder)), SigningKey.generate())
    with pytest.raises(GateRefusedError, match="not by this key"):
        verify_release(folder, KEY.public)


def test_edited_certificate_with_the_old_signature(folder: Path) -> None:
    envelope = json.loads((folder / CERTIFICATE).read_text())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    statement["predicate"]["tier"] = "synthetic-only"
    envelope["payload"] = base64.b64encode(json.dumps(statement, separators=(",", ":")).encode()).decode()
    (folder / CERTIFICATE).write_text(json.dumps(envelope, indent=1) + "\n")
    with pytest.raises(GateRefusedError, match="signature"):
        verify_release(folder, KEY.public)


def test_same_statement_spelled_otherwise(folder: Path) -> None:
    envelope = json.loads((folder / CERTIFICATE).read_text())
    (folder / CERTIFICATE).write_text(json.dumps(envelope))
    with pytest.raises(GateRefusedError, match="around its signature"):
        verify_release(folder, KEY.public)


def test_subject_and_predicate_must_agree(folder: Path) -> None:
    import medaug.privacy.provenance as module

    files = list_files(folder)
    payload = module._statement_bytes(certify(files))
    statement = json.loads(payload)
    statement["subject"] = statement["subject"][:1]
    payload = json.dumps(statement).encode()
    signature = KEY.sign(module._pre_authentication(payload))
    (folder / CERTIFICATE).write_bytes(module._envelope_bytes(payload, signature, KEY.public))
    with pytest.raises(GateRefusedError, match="contradicts itself"):
        verify_release(folder, KEY.public)


def test_missing_certificate(folder: Path) -> None:
    (folder / CERTIFICATE).unlink()
    with pytest.raises(GateRefusedError, match="missing"):
        verify_release(folder, KEY.public)


def test_envelope_is_what_dsse_and_in_toto_say(folder: Path) -> None:
    envelope = json.loads((folder / CERTIFICATE).read_text())
    payload = base64.b64decode(envelope["payload"])
    kind = envelope["payloadType"].encode()
    signed = b"DSSEv1 " + b" ".join([str(len(kind)).encode(), kind, str(len(payload)).encode(), payload])
    assert KEY.public.accepts(signed, base64.b64decode(envelope["signatures"][0]["sig"]))
    statement = json.loads(payload)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"][0]["name"] == "images/a.nii.gz"
    assert set(statement["subject"][0]["digest"]) == {"sha256"}


def test_source_hashes_are_keyed() -> None:
    plain = ("a" * 64, "b" * 64, "a" * 64)
    keyed = keyed_hashes(plain, KEY)
    assert len(keyed) == 2
    assert not set(keyed) & set(plain)
    assert keyed == keyed_hashes(plain[::-1], KEY)
    assert keyed != keyed_hashes(plain, SigningKey.generate())
