"""``defaced.json``: what `medaug deface` wrote of every case of a dataset, by the hashes of its images."""

from __future__ import annotations

from pathlib import Path
from typing import Final, final

from pydantic import Field

from medaug.core.config import Document, Frozen
from medaug.privacy.deface import DefaceReport

DEFACED: Final = "defaced.json"
Images = tuple[str, ...]


@final
class DefacedCase(Frozen):
    """What became of one case."""

    case_id: str
    images: Images = Field(description="SHA-256 of the images as they were written; none if left out")
    report: DefaceReport


@final
class DefacedFile(Document):
    """``defaced.json``: what became of every case of a dataset; those quarantined are not in the folder."""

    cases: tuple[DefacedCase, ...]


def read_defaced(dataset: Path) -> dict[Images, DefaceReport]:
    """What is told of the images of a dataset that were written; nothing where there is no record.

    Nobody signed it: like an assessment, it is believed because whoever may write into the folder is.

    Raises:
        DataError: If it is damaged.
    """
    path = dataset / DEFACED
    if not path.is_file():
        return {}
    return {case.images: case.report for case in DefacedFile.read(path).cases if case.images}
