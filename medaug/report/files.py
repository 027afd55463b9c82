"""Figures as SVG files and their numbers as CSV (RFC 4180), for papers and for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Final

from medaug.core.config import Frozen
from medaug.core.results import ExperimentResult
from medaug.report.panels import Panels

# Fields that no flat table can hold; sizes have one of their own
_NESTED: Final = ("sizes", "patch_size")


def figure_files(panels: Panels) -> dict[str, str]:
    """File name and content of every figure that is drawn from numbers; none shows a scan."""
    return {f"{name}.svg": drawing.file() for name, drawing in panels.files()}


def table_files(result: ExperimentResult) -> dict[str, str]:
    """File name and content of every table, one observation a row; tables without rows are left out."""
    tables: dict[str, Sequence[dict[str, object]]] = {
        "scores.csv": [_flat(s) for s in result.scores],
        "sizes.csv": _sizes(result),
        "comparisons.csv": [_flat(c) for c in result.comparisons],
        "curves.csv": [_flat(p) for p in result.curves],
        "savings.csv": [_flat(s) for s in result.savings],
        "costs.csv": [_flat(c) for c in result.costs],
        "rows.csv": [_flat(row) for row in result.rows],
    }
    return {name: _csv(rows) for name, rows in tables.items() if rows}


def _sizes(result: ExperimentResult) -> list[dict[str, object]]:
    return [
        {"arm": s.arm, "n_annotated": _count(s.n_annotated), "class": s.class_name, **_flat(size)}
        for s in result.scores
        for size in s.sizes
    ]


def _flat(record: Frozen) -> dict[str, object]:
    """The fields of a record; those of a part, and the keys of a table, get its name in front."""
    found: dict[str, object] = {}
    for name, field in type(record).model_fields.items():
        value = getattr(record, name)
        if isinstance(value, Frozen):
            found |= {f"{name}_{part}": one for part, one in _flat(value).items()}
        elif isinstance(value, dict):
            found |= {f"{name}_{key}": one for key, one in value.items()}
        elif name not in _NESTED:
            found[field.alias or name] = _count(value) if name == "n_annotated" else value
    return found


def _count(n_annotated: int | None) -> int | str:
    return "all" if n_annotated is None else n_annotated


def _csv(rows: Sequence[dict[str, object]]) -> str:
    columns = dict.fromkeys(key for row in rows for key in row)
    columns.pop("lesions", None)  # null in rows of earlier versions; where it is known its parts stand for it
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(columns), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
