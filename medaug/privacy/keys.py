"""Ed25519 keys (RFC 8032): the private one always encrypted on disk, the public one the only thing trusted."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from medaug.core.errors import ConfigError, DependencyError, PrivacyError, StorageError
from medaug.core.storage import clear_leftovers, storage_error, write_bytes_atomic

try:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        PublicFormat,
        load_pem_private_key,
        load_pem_public_key,
    )
except ImportError as error:
    raise DependencyError(
        "signing and verifying releases needs cryptography",
        hint="install it with `pip install medaug[sign]`",
    ) from error

MIN_PASSPHRASE = 8
PRIVATE_KEY, PUBLIC_KEY = "signing.key", "signing.pub"
_GROUP_AND_OTHERS = 0o077


@final
@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that can check signatures."""

    _key: Ed25519PublicKey = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the 32 key bytes, in hexadecimal."""
        return hashlib.sha256(self._key.public_bytes_raw()).hexdigest()

    def accepts(self, message: bytes, signature: bytes) -> bool:
        """Whether the signature is this key's over exactly this message."""
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def pem(self) -> bytes:
        """SubjectPublicKeyInfo in PEM."""
        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@final
@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that can sign; shows nothing of itself when printed."""

    _key: Ed25519PrivateKey = field(repr=False)

    @staticmethod
    def generate() -> SigningKey:
        """A new key from the system's randomness."""
        return SigningKey(Ed25519PrivateKey.generate())

    @property
    def public(self) -> PublicKey:
        """The key to hand out."""
        return PublicKey(self._key.public_key())

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of the signature."""
        return self._key.sign(message)

    def derive(self, purpose: str) -> bytes:
        """32 secret bytes for one purpose (HKDF, RFC 5869); other purposes tell nothing about them."""
        kdf = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=f"medaug {purpose} v1".encode())
        return kdf.derive(self._key.private_bytes_raw())

    def encrypted_pem(self, passphrase: str) -> bytes:
        """PKCS8 in PEM, encrypted.

        Raises:
            ConfigError: If the passphrase is too short.
        """
        if len(passphrase) < MIN_PASSPHRASE:
            raise ConfigError(
                "passphrase is too short", where="passphrase", expected=f"{MIN_PASSPHRASE} characters or more"
            )
        encryption = BestAvailableEncryption(passphrase.encode("utf-8"))
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def write_key_pair(folder: Path, passphrase: str) -> SigningKey:
    """Write a new ``signing.key`` (mode 600) and ``signing.pub``; existing keys are never replaced.

    The public key is written last: where a stop left the private one alone, the same passphrase completes the pair.

    Raises:
        ConfigError: If a key is there already, or the passphrase is too short.
        StorageError: If a file cannot be written.
    """
    for name in (PRIVATE_KEY, PUBLIC_KEY):
        clear_leftovers(folder / name)
    if (folder / PUBLIC_KEY).exists():
        raise ConfigError(
            f"{PUBLIC_KEY} is there already",
            where="--out",
            hint="name another folder; keys are never replaced",
        )
    if (folder / PRIVATE_KEY).exists():
        key = load_signing_key(folder / PRIVATE_KEY, passphrase)
    else:
        key = SigningKey.generate()
        write_bytes_atomic(folder / PRIVATE_KEY, key.encrypted_pem(passphrase), mode=0o600)
    write_bytes_atomic(folder / PUBLIC_KEY, key.public.pem())
    return key


def load_signing_key(path: Path, passphrase: str) -> SigningKey:
    """Read an encrypted private key.

    Raises:
        ConfigError: If the passphrase is wrong or the file holds no Ed25519 key.
        PrivacyError: If the key is not encrypted, or others may read the file.
        StorageError: If the file cannot be read.
    """
    content = _read(path)
    try:
        if path.stat().st_mode & _GROUP_AND_OTHERS:
            raise PrivacyError(f"{path} can be read by others", expected="mode 600", hint=f"chmod 600 {path}")
        key = load_pem_private_key(content, passphrase.encode("utf-8"))
    except TypeError as error:
        raise PrivacyError(f"{path} is not encrypted", hint="make a key with `medaug keygen`") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        hint = "check --key and the passphrase"
        raise ConfigError(
            f"{path} cannot be opened with this passphrase", where="--key", hint=hint
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path} is no Ed25519 key", where="--key", hint="make one with `medaug keygen`")
    return SigningKey(key)


def load_public_key(path: Path) -> PublicKey:
    """Read a public key.

    Raises:
        ConfigError: If the file holds no Ed25519 public key.
        StorageError: If the file cannot be read.
    """
    try:
        key = load_pem_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path} is no public key", where="--public-key") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{path} is no Ed25519 key", where="--public-key")
    return PublicKey(key)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise StorageError(f"{path} not found", hint="make keys with `medaug keygen`") from error
    except OSError as error:
        raise storage_error(error, path) from error
