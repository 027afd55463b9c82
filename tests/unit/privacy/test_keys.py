"""Keys: encrypted, private to their owner, never replaced."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from medaug.core.errors import ConfigError, DependencyError, PrivacyError, StorageError
from medaug.privacy.keys import (
    PRIVATE_KEY,
    PUBLIC_KEY,
    SigningKey,
    load_public_key,
    load_signing_key,
    write_key_pair,
)

PASSPHRASE = "correct horse"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    write_key_pair(folder, PASSPHRASE)
    return folder


def test_pair_belongs_together(folder: Path) -> None:
    key, public = load_signing_key(folder / PRIVATE_KEY, PASSPHRASE), load_public_key(folder / PUBLIC_KEY)
    assert public.accepts(b"message", key.sign(b"message"))
    assert not public.accepts(b"massage", key.sign(b"message"))
    assert key.public.fingerprint == public.fingerprint


def test_private_key_is_encrypted_and_closed_to_others(folder: Path) -> None:
    assert b"ENCRYPTED PRIVATE KEY" in (folder / PRIVATE_KEY).read_bytes()
    assert (folder / PRIVATE_KEY).stat().st_mode & 0o777 == 0o600


def test_keys_do_not_show_in_print(folder: Path) -> None:
    key = load_signing_key(folder / PRIVATE_KEY, PASSPHRASE)
    assert repr(key) == "SigningKey()"


def test_wrong_passphrase(folder: Path) -> None:
    with pytest.raises(ConfigError, match="passphrase"):
        load_signing_key(folder / PRIVATE_KEY, "wrong horse")


def test_short_passphrase_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="too short"):
        write_key_pair(tmp_path, "short")
    assert list(tmp_path.iterdir()) == []


def test_keys_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / PUBLIC_KEY).write_text("mine")
    with pytest.raises(ConfigError, match="never replaced"):
        write_key_pair(tmp_path, PASSPHRASE)
    assert (tmp_path / PUBLIC_KEY).read_text() == "mine"


def test_a_pair_that_was_stopped_half_way_is_completed_by_its_passphrase(tmp_path: Path) -> None:
    key = write_key_pair(tmp_path, PASSPHRASE)
    private = (tmp_path / PRIVATE_KEY).read_bytes()
    (tmp_path / PUBLIC_KEY).unlink()
    (tmp_path / f".0a1b.partial.{PUBLIC_KEY}").write_bytes(b"half")
    with pytest.raises(ConfigError, match="cannot be opened"):
        write_key_pair(tmp_path, "another passphrase")
    assert write_key_pair(tmp_path, PASSPHRASE).public.fingerprint == key.public.fingerprint
    assert (tmp_path / PRIVATE_KEY).read_bytes() == private
    assert {path.name for path in tmp_path.iterdir()} == {PRIVATE_KEY, PUBLIC_KEY}


def test_key_that_others_can_read(folder: Path, tmp_path: Path) -> None:
    (tmp_path / PRIVATE_KEY).write_bytes((folder / PRIVATE_KEY).read_bytes())
    (tmp_path / PRIVATE_KEY).chmod(0o644)
    with pytest.raises(PrivacyError, match="600"):
        load_signing_key(tmp_path / PRIVATE_KEY, PASSPHRASE)


def test_key_without_encryption(tmp_path: Path) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / PRIVATE_KEY).write_bytes(pem)
    (tmp_path / PRIVATE_KEY).chmod(0o600)
    with pytest.raises(PrivacyError, match="not encrypted"):
        load_signing_key(tmp_path / PRIVATE_KEY, PASSPHRASE)


def test_missing_and_foreign_files(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="not found"):
        load_public_key(tmp_path / "none.pub")
    with pytest.raises(ConfigError, match="no public key"):
        load_public_key(folder / PRIVATE_KEY)


def test_derived_secrets_differ_by_purpose_and_key() -> None:
    key = SigningKey.generate()
    assert len(key.derive("a")) == 32
    assert key.derive("a") == key.derive("a")
    assert len({key.derive("a"), key.derive("b"), SigningKey.generate().derive("a")}) == 3


def test_without_cryptography_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "medaug.privacy.keys")
    with pytest.raises(DependencyError, match=r"medaug\[sign\]"):
        importlib.import_module("medaug.privacy.keys")
