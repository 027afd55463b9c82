"""``medaug verify``: is a release, byte for byte, what the holder of a key signed?"""

from __future__ import annotations

from pathlib import Path
from typing import final

from pydantic import Field

from medaug.core.assessment import PartVerdict, Verdict
from medaug.core.certificate import Content, Faces, Tier
from medaug.core.config import Frozen
from medaug.core.errors import DataError
from medaug.core.runs import Progress
from medaug.core.summary import Summary
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
    content: Content
    verdict: PartVerdict | None = Field(description="null: scans of patients, nothing to audit")
    membership: Verdict | None
    detection_limit: float | None
    accepted_inconclusive: bool
    faces: Faces
    dp_epsilon: float | None
    licence: str
    terms: str
    statement: str
    fingerprint: str

    def lines(self) -> tuple[str, ...]:
        """The certificate in short."""
        left_out = f" ({self.n_rejected} left out before)" if self.n_rejected else ""
        return (
            f"verified: {self.n_files} files, {self.n_cases} cases{left_out}, tier {self.tier}, signed {self.created}",
            f"key {self.fingerprint}",
            *self._audit(),
            f"faces: {self.faces}",
            f"licence {self.licence}. {self.terms}",
            self.statement,
        )

    def _audit(self) -> tuple[str, ...]:
        if self.verdict is None or self.detection_limit is None:
            return ("scans of patients; nothing was synthesised",)
        accepted = ", accepted by a person" if self.accepted_inconclusive else ""
        private = (
            "none" if self.dp_epsilon is None else f"epsilon {self.dp_epsilon:.3g}, of the generator alone"
        )
        return (
            f"copying audit: lesion {self.verdict.lesion}{accepted}, background {self.verdict.background}",
            f"detection limit {self.detection_limit:.1%}; membership {self.membership or 'not measured'}",
            f"differential privacy: {private}",
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
        raise DataError(f"{options.release} is no folder", hint="name the folder that `medaug release` wrote")
    progress.start("verify", 1)
    certificate = verify_release(options.release, key)
    progress.advance()
    return VerifySummary(
        tier=certificate.tier,
        created=certificate.created,
        n_files=len(certificate.files),
        n_cases=certificate.n_cases,
        n_rejected=certificate.n_rejected,
        content=certificate.content,
        verdict=certificate.verdict,
        membership=certificate.membership,
        detection_limit=certificate.detection_limit,
        accepted_inconclusive=certificate.accepted_inconclusive,
        faces=certificate.faces,
        dp_epsilon=certificate.dp_epsilon,
        licence=certificate.licence,
        terms=certificate.terms,
        statement=certificate.statement,
        fingerprint=key.fingerprint,
    )
