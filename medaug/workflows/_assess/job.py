"""What an assessment is asked, and everything it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

from pydantic import Field, field_validator

from medaug.core.assessment import REJECTED
from medaug.core.case import CaseRecord, Manifest, Origin
from medaug.core.config import Frozen
from medaug.core.plan import Recipe, Translation
from medaug.core.seeding import SeedTree
from medaug.core.splits import Fold
from medaug.core.storage import sha256_file, sha256_text
from medaug.tasks.base import WEIGHTS

Piece = Literal["quality", "fidelity", "copying", "membership"]
PIECES: tuple[Piece, ...] = ("quality", "fidelity", "copying", "membership")


@final
class AssessOptions(Frozen):
    """What ``medaug assess`` is asked."""

    synthetic: Path
    against: Path
    out: Path
    fold: int = Field(default=0, ge=0)
    on_split: bool = Field(
        default=False,
        description="patients as the dataset's own split says (train, test), not those of a fold",
    )
    parts: tuple[Piece, ...] = Field(default=PIECES, description="what is measured")
    segmenter: Path | None = Field(default=None, description="run folder of a segmenter of the same fold")
    extractor: Path | None = Field(
        default=None, description="TorchScript file that makes features of lesions"
    )
    seed: int = 0

    @field_validator("parts")
    @classmethod
    def _in_order(cls, parts: tuple[Piece, ...]) -> tuple[Piece, ...]:
        """However they were named, the same parts are the same call."""
        return tuple(piece for piece in PIECES if piece in parts)

    def command(self) -> str:
        """What was typed, with names in place of paths."""
        said = [f"medaug assess {self.synthetic.name} --against {self.against.name}"]
        said += ["--on-split"] if self.on_split else [f"--fold {self.fold}"]
        said += [f"--parts {','.join(self.parts)}"] if self.parts != PIECES else []
        said += [f"--segmenter {self.segmenter.name}"] if self.segmenter else []
        said += [f"--extractor {self.extractor.name}"] if self.extractor else []
        said += [f"--seed {self.seed}"] if self.seed else []
        return " ".join([*said, f"--out {self.out.name}"])


@final
class Settings(Frozen):
    """What makes an assessment this one."""

    fold: int
    on_split: bool
    parts: tuple[Piece, ...]
    seed: int


@final
@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A call with everything it reads.

    Attributes:
        options: What was asked.
        made: Manifest of the synthetic set.
        real: Manifest of the real dataset.
        fold: Its training and held-out patients.
        recipes: Recipe of each case, for sets that medaug drew.
        translations: Likewise of each case that a translator made.
    """

    options: AssessOptions
    made: Manifest
    real: Manifest
    fold: Fold
    recipes: Mapping[str, Recipe]
    translations: Mapping[str, Translation]

    @property
    def settings(self) -> Settings:
        """What makes this call this one."""
        asked = self.options
        return Settings(fold=asked.fold, on_split=asked.on_split, parts=asked.parts, seed=asked.seed)

    @property
    def inputs(self) -> dict[str, str]:
        """Hashes of all that is read."""
        patients = "\n".join((*sorted(self.fold.train), "", *sorted(self.fold.held_out)))
        found = {
            "synthetic": self.made.content_sha256,
            "dataset": self.real.content_sha256,
            "fold": sha256_text(patients),
        }
        if (self.options.synthetic / REJECTED).is_file():
            found["rejected"] = sha256_file(self.options.synthetic / REJECTED)
        if self.options.extractor is not None:
            found["extractor"] = sha256_file(self.options.extractor)
        if self.options.segmenter is not None and (self.options.segmenter / WEIGHTS).is_file():
            found["segmenter"] = sha256_file(self.options.segmenter / WEIGHTS)
        return found

    @property
    def seeds(self) -> SeedTree:
        """Root of all randomness."""
        return SeedTree(self.options.seed).child("assess")

    def asks(self, piece: Piece) -> bool:
        """Whether a part shall be measured."""
        return piece in self.options.parts

    def host_of(self, case_id: str) -> str | None:
        """The scan that a synthetic case was made in, or of; None where nothing says."""
        recipe, translation = self.recipes.get(case_id), self.translations.get(case_id)
        if recipe is not None:
            return recipe.host_case_id
        return None if translation is None else translation.source_case_id

    def is_null(self, case_id: str) -> bool:
        """Whether healthy tissue was pasted, so that nothing is labelled."""
        recipe = self.recipes.get(case_id)
        return recipe is not None and recipe.use == "null"

    def training(self) -> tuple[CaseRecord, ...]:
        """Real cases of the training patients."""
        return tuple(r for r in self.real.of_patients(frozenset(self.fold.train)) if r.origin is Origin.REAL)

    def held_out(self) -> tuple[CaseRecord, ...]:
        """Real cases of the held-out patients."""
        return self.real.of_patients(frozenset(self.fold.held_out))
