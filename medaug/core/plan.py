"""What shall be synthesised, and what was: both are files a person can read."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeVar, final

from pydantic import Field, ValidationError

from medaug.core.config import Frozen, explain
from medaug.core.errors import DataError, UnreadableError
from medaug.core.storage import write_text_atomic

L = TypeVar("L", bound=Frozen)
Use = Literal["new", "swap", "null"]


@final
class PlannedLesion(Frozen):
    """One line of ``plan.jsonl``: a lesion to be drawn; site and diameter may be left to the renderer."""

    case_id: str
    host_case_id: str
    class_name: str
    seed: int
    diameter_mm: tuple[float, float] | None = Field(
        default=None, description="allowed range; null = as in the bank"
    )


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
    site_mm: tuple[float, float, float] = Field(description="centre of the lesion, RAS+")
    diameter_mm: float = Field(description="of the ball of equal volume")
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


def write_lines(path: Path, lines: tuple[L, ...]) -> None:
    """Write JSON Lines, atomically."""
    write_text_atomic(path, "".join(line.model_dump_json() + "\n" for line in lines))


def read_lines(path: Path, model: type[L]) -> tuple[L, ...]:
    """Read JSON Lines; a broken line is named by its number."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(f"{path.name} cannot be read") from error
    rows: list[L] = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            rows.append(model.model_validate_json(line))
        except ValidationError as error:
            raise DataError(f"{path.name} line {number}: {explain(error, model)}") from error
    return tuple(rows)
