"""A signed release holds as it is and in no other form: any bit, any file, any name."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medaug.core.certificate import ReleaseCertificate
from medaug.core.errors import GateRefusedError
from medaug.core.runs import NoProgress
from medaug.privacy.keys import (
    PRIVATE_KEY,
    PUBLIC_KEY,
    PublicKey,
    SigningKey,
    load_public_key,
    write_key_pair,
)
from medaug.privacy.provenance import CERTIFICATE, list_files, sign, verify_release
from medaug.workflows.release import ReleaseOptions, release
from tests.unit.privacy.synthetic_set import make_set

PASSPHRASE = "correct horse"
MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two releases of one set by one key, the second in DICOM, and the keys."""
    home = tmp_path_factory.mktemp("home")
    write_key_pair(home / "keys", PASSPHRASE)
    material = make_set(home)
    for form in ("nifti", "dicom"):
        options = ReleaseOptions.model_validate(
            {
                "synthetic": material.dataset, "assessment": material.assessment, "key": home / "keys" / PRIVATE_KEY,
                "out": home / form, "passphrase": PASSPHRASE, "format": form,
            }
        )  # fmt: skip
        release(options, NoProgress())
    return home


@pytest.fixture(scope="module")
def key(home: Path) -> PublicKey:
    return load_public_key(home / "keys" / PUBLIC_KEY)


@pytest.fixture(scope="module", params=["nifti", "dicom"])
def copied(request: pytest.FixtureRequest, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copied") / "release"
    shutil.copytree(home / str(request.param), folder)
    return folder


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def refused(folder: Path, key: PublicKey) -> str:
    with pytest.raises(GateRefusedError) as caught:
        verify_release(folder, key)
    return caught.value.line()


@MANY
@given(chosen=st.data())
def test_any_bit_of_any_file(copied: Path, key: PublicKey, chosen: st.DataObject) -> None:
    path = chosen.draw(st.sampled_from(files(copied)))
    content = path.read_bytes()
    place = chosen.draw(st.integers(0, len(content) - 1))
    bit = chosen.draw(st.integers(0, 7))
    changed = bytearray(content)
    changed[place] ^= 1 << bit
    try:
        path.write_bytes(changed)
        refused(copied, key)
    finally:
        path.write_bytes(content)
    verify_release(copied, key)


@MANY
@given(chosen=st.data(), tail=st.binary(min_size=1, max_size=20))
def test_bytes_behind_before_or_less(
    copied: Path, key: PublicKey, chosen: st.DataObject, tail: bytes
) -> None:
    path = chosen.draw(st.sampled_from(files(copied)))
    content = path.read_bytes()
    for changed in (content + tail, tail + content, content[: -len(tail)]):
        try:
            path.write_bytes(changed)
            refused(copied, key)
        finally:
            path.write_bytes(content)


@MANY
@given(chosen=st.data())
def test_any_file_missing_renamed_or_in_another_case(
    copied: Path, key: PublicKey, chosen: st.DataObject
) -> None:
    path = chosen.draw(st.sampled_from(files(copied)))
    other = path.with_name(
        chosen.draw(st.sampled_from([path.name.swapcase(), path.name + "~", "." + path.name, path.stem]))
    )
    path.rename(other)
    try:
        assert "missing" in refused(copied, key)
    finally:
        other.rename(path)


@MANY
@given(chosen=st.data())
def test_any_file_as_a_link_to_its_own_content(
    copied: Path, key: PublicKey, chosen: st.DataObject, tmp_path: Path
) -> None:
    path = chosen.draw(st.sampled_from(files(copied)))
    away = tmp_path / "away"
    path.rename(away)
    try:
        path.symlink_to(away)
        refused(copied, key)
    finally:
        path.unlink()
        away.rename(path)


@pytest.mark.parametrize("name", ["note.txt", ".hidden", "edits/syn_9.nii.gz", f"edits/{CERTIFICATE}"])
def test_added_file(copied: Path, key: PublicKey, name: str) -> None:
    path = copied / name
    path.write_bytes(b"")
    try:
        assert "added" in refused(copied, key)
    finally:
        path.unlink()


def test_added_folder_pipe_and_link_to_a_folder(copied: Path, key: PublicKey, tmp_path: Path) -> None:
    (copied / "more").mkdir()
    assert "empty folder" in refused(copied, key)
    (copied / "more").rmdir()
    os.mkfifo(copied / "pipe")
    assert "no plain file" in refused(copied, key)
    (copied / "pipe").unlink()
    (copied / "link").symlink_to(tmp_path)
    assert "no plain file" in refused(copied, key)
    (copied / "link").unlink()
    verify_release(copied, key)


def test_certificate_of_another_release_by_the_same_key(home: Path, copied: Path, key: PublicKey) -> None:
    own = (copied / CERTIFICATE).read_bytes()
    others = [home / form / CERTIFICATE for form in ("nifti", "dicom")]
    (other,) = (path.read_bytes() for path in others if path.read_bytes() != own)
    try:
        (copied / CERTIFICATE).write_bytes(other)
        assert "not as it was signed" in refused(copied, key)
    finally:
        (copied / CERTIFICATE).write_bytes(own)


def test_everything_signed_anew_by_another_key(copied: Path, key: PublicKey) -> None:
    own = (copied / CERTIFICATE).read_bytes()
    sheet = (copied / "DATASHEET.md").read_bytes()
    try:
        (copied / "DATASHEET.md").write_bytes(sheet + b"better\n")
        certificate = _unchecked(own).model_copy(update={"files": list_files(copied)})
        other = SigningKey.generate()
        sign(copied, certificate, other)
        verify_release(copied, other.public)  # it is whole, but by a key that nobody gave us
        assert "not by this key" in refused(copied, key)
        claimed = json.loads((copied / CERTIFICATE).read_text())
        claimed["signatures"][0]["keyid"] = key.fingerprint
        (copied / CERTIFICATE).write_text(json.dumps(claimed, indent=1) + "\n")
        assert "not by this key" in refused(copied, key)
    finally:
        (copied / CERTIFICATE).write_bytes(own)
        (copied / "DATASHEET.md").write_bytes(sheet)


def _unchecked(content: bytes) -> ReleaseCertificate:
    payload = base64.b64decode(json.loads(content)["payload"])
    return ReleaseCertificate.model_validate(json.loads(payload)["predicate"])


def _payload_twice(text: str) -> str:
    """Two payloads: one reader sees the first, another the last."""
    return text.replace('{\n "payloadType"', '{\n "payload": "e30=",\n "payloadType"', 1)


@pytest.mark.parametrize(
    "change",
    [
        _payload_twice,
        lambda text: text.replace('"keyid"', '"keyid": "x",\n   "keyid"', 1),
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: json.dumps(json.loads(text)),
        lambda text: text.replace("=", "", 1),
        lambda text: text[: text.index('"signatures"')] + '"signatures": []\n}\n',
        lambda text: "[" * 50_000,
        lambda text: "{}",
        lambda text: "",
    ],
)
def test_certificate_in_any_other_spelling(
    copied: Path, key: PublicKey, change: Callable[[str], str]
) -> None:
    text = (copied / CERTIFICATE).read_text()
    try:
        (copied / CERTIFICATE).write_text(change(text), newline="")
        assert (copied / CERTIFICATE).read_bytes() != text.encode()
        refused(copied, key)
    finally:
        (copied / CERTIFICATE).write_text(text)
    verify_release(copied, key)
