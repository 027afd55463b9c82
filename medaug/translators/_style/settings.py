"""The configuration of style transfer: two domains, and how to go from one to the other."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal, Self, final

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from medaug.core.case import CaseRecord
from medaug.core.config import Frozen
from medaug.translators._style.look import Look


@final
class Domain(Frozen):
    """Which images belong to a domain; what is left out is no condition."""

    channel: str | None = Field(
        default=None, description="one channel of each case; null: all of them, together"
    )
    modality: str | None = Field(default=None, description="DICOM modality code")
    cases: tuple[str, ...] = Field(
        default=(), description="case ids of, say, one scanner; * stands for anything"
    )
    patients: tuple[str, ...] = Field(default=(), description="pseudonyms of patients; * stands for anything")
    look: Look | None = Field(default=None, description="a scanner simulated on these images while training")

    def holds(self, record: CaseRecord) -> bool:
        """Whether a case belongs to the domain."""
        return (
            (self.channel is None or self.channel in record.channels)
            and (self.modality is None or self.modality == record.modality)
            and _one_of(record.case_id, self.cases)
            and _one_of(record.patient_id, self.patients)
        )


def _one_of(name: str, patterns: tuple[str, ...]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


@final
class LossWeights(Frozen):
    """How much each term counts beside the adversarial one, whose weight is 1."""

    cycle: float = Field(default=10.0, ge=0, description="there and back again is where one was")
    identity: float = Field(default=5.0, ge=0, description="what looks like the target stays as it is")


@final
class Config(Frozen):
    """``kind: style``: the look of one domain turned into that of another, learnt without pairs."""

    kind: Literal["style"] = "style"
    source: Domain = Domain()
    target: Domain = Domain()
    disjoint_patients: bool = Field(
        default=False, description="no training patient in both domains: every second one in each"
    )
    base: int = Field(default=16, ge=4, le=128, description="channels of the network's first level")
    blocks: int = Field(default=4, ge=1, le=16, description="residual blocks")
    code_size: int = Field(default=8, ge=1, le=128, description="numbers that say a volume's style")
    patch: int = Field(default=64, ge=16, le=512, description="training patch in plane, voxels")
    slices: PositiveInt = Field(default=512, description="training slices of a domain kept in memory")
    batch_size: PositiveInt = 4
    steps: PositiveInt = 1200
    learning_rate: PositiveFloat = 5e-4
    weights: LossWeights = LossWeights()
    device: str = Field(default="auto", description="auto, cpu, cuda or cuda:N")

    @model_validator(mode="after")
    def _check_domains(self) -> Self:
        if (self.source.channel is None) != (self.target.channel is None):
            raise ValueError("source and target must both name a channel, or neither")
        return self
