"""``medaug keygen``: a key pair for signing releases."""

from __future__ import annotations

from pathlib import Path
from typing import final

from pydantic import Field, SecretStr

from medaug.core.config import Frozen
from medaug.core.runs import Progress
from medaug.core.storage import require_free_space
from medaug.core.summary import Summary
from medaug.privacy.keys import PRIVATE_KEY, PUBLIC_KEY, write_key_pair

_NEEDED_BYTES = 1 << 16


@final
class KeygenOptions(Frozen):
    """Where the keys go, and what protects the private one."""

    out: Path
    passphrase: SecretStr = Field(description="at least 8 characters; cannot be recovered")


@final
class KeygenSummary(Summary):
    """Where the keys are."""

    private_key: str
    public_key: str
    fingerprint: str = Field(description="SHA-256 of the public key")

    def lines(self) -> tuple[str, ...]:
        """What to do with each file."""
        return (
            f"private key {self.private_key} (keep it, with its passphrase; never hand it out)",
            f"public key {self.public_key} (hand it out apart from the releases)",
            f"fingerprint {self.fingerprint}",
        )


def keygen(options: KeygenOptions, progress: Progress) -> KeygenSummary:  # noqa: ARG001 - one signature for all verbs
    """Write a new Ed25519 key pair; the private key is encrypted and has mode 600.

    Raises:
        ConfigError: If a key is there already, or the passphrase is too short.
        StorageError: If a file cannot be written.
        DependencyError: If cryptography is not installed.
    """
    require_free_space(options.out, _NEEDED_BYTES)
    key = write_key_pair(options.out, options.passphrase.get_secret_value())
    return KeygenSummary(
        private_key=str(options.out / PRIVATE_KEY),
        public_key=str(options.out / PUBLIC_KEY),
        fingerprint=key.public.fingerprint,
    )
