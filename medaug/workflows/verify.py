"""``medaug verify``: is a release, byte for byte, what the holder of a key signed?"""

from __future__ import annotations

from pathlib import Path
from typing import final

from medaug.core.assessment import PartVerdict
from medaug.core.config import Frozen
from medaug.core.errors import DataError
from medaug.core.results import Summary, Tier
from medaug.core.runs import Progress
from medaug.privacy.keys import load_public_key
from medaug.privacy.provenance import verify_release


@final
class VerifyOptions(Frozen):
    """A release, and the only key that is trusted."""

    release: Path
    public_key: Path


@final
class VerifySummary(Summary):
    """What the certificate of a release that held says."""

    tier: Tier
    created: str
    n_files: int
    n_cases: int
    n_rejected: int
    verdict: PartVerdict
    detection_limit: float
    licence: str
    statement: str
    fingerprint: str

    def lines(self) -> tuple[str, ...]:
        """The certificate in short."""
        left_out = f" ({self.n_rejected} left out before)" if self.n_rejected else ""
        return (
            f"verified: {self.n_files} files, {self.n_cases} cases{left_out}, tier {self.tier}, signed {self.created}",
            f"key {self.fingerprint}",
            f"copying audit: lesion {self.verdict.lesion}, background {self.verdict.background}",
            f"detection limit {self.detection_limit:.1%}",
            f"licence {self.licence}. {self.statement}",
        )


def verify(options: VerifyOptions, progress: Progress) -> VerifySummary:
    """Check a release against a public key.

    Raises:
        GateRefusedError: If a byte of it changed, a file is missing, added or renamed, or another key signed it.
        DataError: If there is no such folder.
        DependencyError: If cryptography is not installed.
    """
    key = load_public_key(options.public_key)
    if not options.release.is_dir():
        raise DataError(
            f"{options.release.name} is no folder", hint="name the folder that `medaug release` wrote"
        )
    progress.start("verify", 1)
    certificate = verify_release(options.release, key)
    progress.advance()
    return VerifySummary(
        tier=certificate.tier,
        created=certificate.created,
        n_files=len(certificate.files),
        n_cases=certificate.n_cases,
        n_rejected=certificate.n_rejected,
        verdict=certificate.verdict,
        detection_limit=certificate.detection_limit,
        licence=certificate.licence,
        statement=certificate.statement,
        fingerprint=key.fingerprint,
    )
