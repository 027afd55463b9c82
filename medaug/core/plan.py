"""The plan of a synthesis, and how each case of a set was made: JSON Lines that a person can read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, TypeVar, final

from pydantic import Field, ValidationError, field_validator

from medaug.core.config import Frozen, explain
from medaug.core.errors import DataError, UnreadableError
from medaug.core.storage import write_text_atomic

PLAN = "plan.jsonl"
L = TypeVar("L", bound=Frozen)
Use = Literal["new", "swap", "null"]


@final
class PlannedLesion(Frozen):
    """One line of ``plan.jsonl``: a lesion to be drawn; what is null is left to the renderer."""

    case_id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_\-]{0,63}$", description="of the case to be made")
    host_case_id: str = Field(description="where it goes, a case of a training patient")
    class_name: str
    seed: int = Field(description="donor, shape, place and texture follow from it")
    use: Use = Field(
        default="new",
        description="new: into healthy tissue; swap: over a lesion of another class, in its outline; null: healthy tissue is "
        "pasted in the same way and labelled background",
    )
    diameter_mm: tuple[float, float] | None = Field(
        default=None, description="allowed range; null = as in the bank"
    )
    contrast: float | None = Field(
        default=None, ge=0, le=4, description="factor of its difference from the tissue around it"
    )
    sharpness: float | None = Field(
        default=None, ge=0.1, le=10, description="below 1 the edge is blurred, above it is steeper"
    )
    site_mm: tuple[float, float, float] | None = Field(
        default=None, description="its centre goes exactly here, RAS+; refused where it does not fit"
    )
    group: str | None = Field(
        default=None, description="cases of one sweep: the same lesion, one property changed"
    )
    room_mm: float | None = Field(
        default=None, gt=0, description="the place has room for this diameter, the largest of the group"
    )

    @field_validator("diameter_mm")
    @classmethod
    def _ordered(cls, allowed: tuple[float, float] | None) -> tuple[float, float] | None:
        if allowed is not None and not 0.0 < allowed[0] <= allowed[1] < math.inf:
            raise ValueError(f"{allowed[0]:g} to {allowed[1]:g} is no range of diameters")
        return allowed

    @field_validator("site_mm")
    @classmethod
    def _finite(cls, site: tuple[float, float, float] | None) -> tuple[float, float, float] | None:
        if site is not None and not all(map(math.isfinite, site)):
            raise ValueError("is no place")
        return site


@final
class Recipe(Frozen):
    """One line of ``recipes.jsonl``: how a synthetic case was made."""

    schema_version: int = 1
    case_id: str
    host_case_id: str
    host_patient_id: str
    donor_patient_ids: tuple[str, ...]
    generator: str = Field(description="kind, e.g. cgan")
    generator_sha256: str
    bank_sha256: str
    fold: int
    training_scope_sha256: str
    class_name: str
    use: Use = Field(default="new", description="null: healthy tissue was pasted, and nothing is labelled")
    site_mm: tuple[float, float, float] = Field(description="centre of the lesion, RAS+")
    diameter_mm: float = Field(description="of the ball of equal volume")
    wanted_mm: tuple[float, float] | None = Field(
        default=None, description="range asked for; null = as in the bank"
    )
    contrast: float | None = None
    sharpness: float | None = None
    group: str | None = None
    room_mm: float | None = None
    blending: Literal["feather", "poisson"] = "feather"
    match_noise: bool = False
    shapes: str = Field(
        default="bank", description="where its outline comes from: bank, pca, vae, or the host's lesion"
    )
    tissue: str = Field(default="auto", description="organ or class that its place was kept to")
    seed: int
    edit_mask: str = Field(description="path of the edit mask in the dataset folder")


@final
class AugmentedCopy(Frozen):
    """One line of ``augmentations.jsonl``: all that was drawn for a changed copy, so that it can be made again."""

    schema_version: int = 1
    case_id: str
    source_case_id: str
    source_sha256: tuple[str, ...] = Field(
        description="of the image files and the label file that were changed"
    )
    dims: Literal[2, 3] = Field(description="3: the volume as a whole, 2: every slice on its own")
    image: Literal["linear", "cubic", "nearest"] = Field(description="values between voxels")
    labels: Literal["nearest", "argmax"] = Field(description="ids between voxels")
    padding: Literal["border", "zeros", "reflection"] = Field(description="what lies outside the image")
    steps: tuple[tuple[dict[str, object], ...], ...] = Field(
        description="the steps with their parameters: of the volume, or of each slice in order of K"
    )


@final
class Translation(Frozen):
    """One line of ``translations.jsonl``: how a translator made a whole case."""

    schema_version: int = 1
    case_id: str
    source_case_id: str | None = Field(
        description="whose scan was changed; null where the case is nobody's scan"
    )
    source_sha256: tuple[str, ...] = Field(
        description="of the image files and the label file that were changed"
    )
    donor_patient_ids: tuple[str, ...] = Field(
        description="whose scan, or, for nobody's scan, whose label maps went into it"
    )
    translator: str = Field(description="kind, e.g. whole_image")
    translator_sha256: str
    fold: int
    training_scope_sha256: str
    class_name: str | None = Field(description="of the lesion that was asked for; null where none was")
    seed: int


def write_lines(path: Path, lines: Iterable[Frozen], *, mode: int | None = None) -> None:
    """Write JSON Lines, atomically."""
    write_text_atomic(path, "".join(line.model_dump_json() + "\n" for line in lines), mode=mode)


def read_lines(path: Path, model: type[L]) -> tuple[L, ...]:
    """Read JSON Lines; a broken line is named by its number."""
    return tuple(row for _, row in numbered_lines(path, model))


def numbered_lines(path: Path, model: type[L]) -> Iterator[tuple[int, L]]:
    """Each line of JSON Lines with its number, from 1; empty ones are passed over.

    Raises:
        UnreadableError: If the file cannot be read.
        DataError: If a line is broken; it is named by its number and key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(f"{path.name} cannot be read") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            yield number, model.model_validate_json(line)
        except ValidationError as error:
            raise DataError(f"{path.name} line {number}: {explain(error, model)}") from error
