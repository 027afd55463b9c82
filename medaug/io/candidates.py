"""Lesion candidates of other tools: a CSV file, or a JSON list of objects, with the same names."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from medaug.core.candidates import ScoredLesion
from medaug.core.config import read_json
from medaug.core.errors import DataError

_COLUMNS = ("case_id", "x_mm", "y_mm", "z_mm", "score")


def read_candidates(path: Path) -> tuple[ScoredLesion, ...]:
    """Candidates with case_id, x_mm, y_mm, z_mm (RAS+) and score; further columns are left alone.

    Raises:
        DataError: If the file is no such list, a column is missing, or a figure is none.
    """
    endings = {".csv": _csv_rows, ".json": _json_rows}
    rows = endings.get(path.suffix.lower())
    if rows is None:
        raise DataError(f"{path.name} is no list of lesions", where="PREDICTIONS", expected=".json or .csv")
    return tuple(_candidate(f"{path.name}, {where}", row) for where, row in rows(path))


def _csv_rows(path: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            table = csv.DictReader(handle)
            for number, row in enumerate(table, start=2):
                yield f"line {number}", row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path.name} cannot be read as CSV", where="PREDICTIONS") from error


def _json_rows(path: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    raw = read_json(path)
    if not isinstance(raw, list):
        raise DataError(f"{path.name} is no list of lesions", where="PREDICTIONS", expected="a JSON list")
    for number, row in enumerate(raw, start=1):
        if not isinstance(row, dict):
            raise DataError("is no object", where=f"entry {number}", expected=", ".join(_COLUMNS))
        yield f"entry {number}", row


def _candidate(where: str, row: Mapping[str, object]) -> ScoredLesion:
    missing = [name for name in _COLUMNS if row.get(name) is None]
    if missing:
        raise DataError(f"has no {missing[0]}", where=where, expected=", ".join(_COLUMNS))
    x, y, z, chance = (_figure(str(row[name]), where) for name in _COLUMNS[1:])
    return ScoredLesion(
        lesion_id=where, case_id=str(row["case_id"]), patient_id=None, x_mm=x, y_mm=y, z_mm=z, score=chance
    )


def _figure(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise DataError(f"{text!r} is no number", where=where) from error
    if not math.isfinite(value):
        raise DataError(f"{text} is no finite number", where=where)
    return value
