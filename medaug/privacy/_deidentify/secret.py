"""The secret behind pseudonyms, UIDs and dates: a file that its owner alone can read, and what is derived from it."""

from __future__ import annotations

import hmac
import os
import secrets
import stat
import uuid
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final, final

from medaug.core.errors import ConfigError, PrivacyError, StorageError
from medaug.core.storage import storage_error, write_bytes_atomic

MIN_KEY_BYTES: Final = 32
_MOST_KEY_BYTES = 4096
_GROUP_AND_OTHERS = 0o077
_SALT = b"medaug deidentify v1"
_LONGEST_SHIFT_DAYS = 3650
_SHORTEST_SHIFT_DAYS = 30


@final
@dataclass(frozen=True, slots=True)
class Secret:
    """Secret bytes; shows nothing of itself when printed."""

    _material: bytes = field(repr=False)

    @staticmethod
    def of(material: bytes) -> Secret:
        """A secret from bytes.

        Raises:
            ConfigError: If there are too few.
        """
        if not MIN_KEY_BYTES <= len(material) <= _MOST_KEY_BYTES:
            raise ConfigError(
                f"key holds {len(material)} bytes",
                where="--key-file",
                expected=f"{MIN_KEY_BYTES} to {_MOST_KEY_BYTES}",
                hint="make one with `head -c 32 /dev/urandom > FILE; chmod 600 FILE`",
            )
        return Secret(material)

    def save(self, path: Path) -> None:
        """Write it into a file, mode 600.

        Raises:
            StorageError: If it cannot be written.
        """
        write_bytes_atomic(path, self._material + b"\n", mode=0o600)

    def derive(self, purpose: str) -> bytes:
        """32 secret bytes for one purpose (HKDF-SHA-256, RFC 5869); other purposes tell nothing about them."""
        extracted = hmac.digest(_SALT, self._material, "sha256")
        return hmac.digest(extracted, purpose.encode("ascii") + b"\x01", "sha256")


def new_secret() -> Secret:
    """A secret of 256 bits that is in no file yet."""
    return Secret.of(secrets.token_hex(MIN_KEY_BYTES).encode("ascii"))


def write_secret(path: Path, secret: Secret | None = None) -> Secret:
    """Write a secret, a new one where none is given, mode 600; a file that is there is never replaced.

    Raises:
        ConfigError: If the file is there.
        StorageError: If it cannot be written.
    """
    if path.exists() or path.is_symlink():
        raise ConfigError(f"{path} is there already", where="--key-file", hint="keys are never replaced")
    (secret or new_secret()).save(path)
    return load_secret(path)


def load_secret(path: Path) -> Secret:
    """Read a secret; blanks and line ends around it do not count.

    Raises:
        ConfigError: If it is too short or too long.
        PrivacyError: If others may read the file, or it is no plain file.
        StorageError: If it cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise StorageError("key file not found", where="--key-file", hint="make one first") from error
    except OSError as error:
        raise storage_error(error, path) from error
    try:
        # asked of the open file, so that no other can take its place in between
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            raise PrivacyError("key is no plain file", where="--key-file")
        if mode & _GROUP_AND_OTHERS:
            hint = "chmod 600 it, or make a new key if others may have read it"
            raise PrivacyError(
                "key can be read by others", where="--key-file", expected="mode 600", hint=hint
            )
        material = os.read(handle, _MOST_KEY_BYTES + 1)
    except OSError as error:
        raise storage_error(error, path) from error
    finally:
        os.close(handle)
    return Secret.of(material.strip())


@final
class Pseudonyms:
    """Replacements that the same secret gives again, and that say nothing without it."""

    def __init__(self, secret: Secret) -> None:
        self._uids, self._patients = secret.derive("uid"), secret.derive("patient id")
        self._dates, self._marker = secret.derive("date shift"), secret.derive("marker")

    def uid(self, uid: str) -> str:
        """A UID below 2.25 (PS3.5 B.2): 122 bits of a keyed hash, so that two never meet."""
        digest = hmac.digest(self._uids, uid.encode("utf-8"), "sha256")
        return f"2.25.{uuid.UUID(bytes=digest[:16], version=4).int}"

    def patient_id(self, patient: str) -> str:
        """``P`` and 16 hexadecimal digits."""
        return "P" + hmac.digest(self._patients, patient.encode("utf-8"), "sha256").hex()[:16].upper()

    def shift_days(self, patient: str) -> int:
        """By how many whole days all dates of a patient move: 30 days to ten years back."""
        number = int.from_bytes(hmac.digest(self._dates, patient.encode("utf-8"), "sha256")[:8], "big")
        return -(_SHORTEST_SHIFT_DAYS + number % (_LONGEST_SHIFT_DAYS - _SHORTEST_SHIFT_DAYS))

    def seal(self, *parts: bytes) -> str:
        """32 hexadecimal digits over exactly these bytes."""
        whole = hmac.new(self._marker, digestmod=sha256)
        for part in parts:
            whole.update(len(part).to_bytes(8, "big"))
            whole.update(part)
        return whole.hexdigest()[:32]
