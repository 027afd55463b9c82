"""What a release says of itself, and what became of each file on the way."""

from __future__ import annotations

from typing import Literal, final

from pydantic import Field

from medaug.core.assessment import PartVerdict, Verdict
from medaug.core.config import Document, Frozen

FileOutcome = Literal["written", "quarantined", "refused"]
Tier = Literal["synthetic-only", "hosted", "internal"]
Content = Literal["synthetic", "real"]
Faces = Literal[
    "not looked for", "none seen", "none, says a person", "removed before, says a record", "removed"
]


@final
class ReportLine(Frozen):
    """One line of ``--report``: what became of one file; its paths may identify, so it is never released."""

    input: str = Field(description="path relative to the source")
    output: str | None = Field(description="path relative to the output")
    outcome: FileOutcome
    reasons: tuple[str, ...]


@final
class ReleasedFile(Frozen):
    """A file of a release."""

    path: str
    sha256: str


@final
class ReleaseCertificate(Document):
    """The statement that a release signs (in-toto predicate)."""

    tier: Tier
    content: Content = Field(
        default="synthetic",
        description="real: scans of patients, nothing was synthesised",
    )
    layout: str = Field(
        default="nnunet",
        description="form of the files: nnunet, nifti, msd, bids or dicom; after commas what else it was asked",
    )
    created: str
    medaug_version: str
    files: tuple[ReleasedFile, ...]
    n_cases: int
    n_rejected: int = Field(default=0, description="cases that a rule or a person left out before")
    generators: tuple[str, ...] = Field(description="generators and translators, each with its hash")
    lineage: tuple[str, ...] = Field(
        description="pseudonyms of host and donor patients; empty where another tool made the set"
    )
    source_hmac: tuple[str, ...] = Field(description="keyed hashes of the source cases")
    audit_sha256: str | None = Field(description="null for real content: there is nothing to audit")
    verdict: PartVerdict | None = Field(description="null for real content")
    membership: Verdict | None = Field(
        default=None, description="can it be told who was trained on? null: not measured"
    )
    detection_limit: float | None = Field(
        description="largest share of copies that could have gone unseen, 95%; null for real content"
    )
    accepted_inconclusive: bool
    faces: Faces = Field(
        default="not looked for", description="in the scans of hosts or patients; looked for in tier hosted"
    )
    identifiers_searched: bool = Field(
        default=False, description="whether a list of known identifiers was searched for in every text"
    )
    dp_epsilon: float | None = Field(
        description="of the generator's weights, unit patient; null: not trained with differential privacy, or not shown"
    )
    dp_delta: float | None = Field(default=None, description="goes with dp_epsilon")
    licence: str
    terms: str
    statement: str = "Research use, not a medical device."
