"""What the page shows of single cases: worst and best test cases, and synthetic lesions beside real ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from medaug.core.gallery import Tile
from medaug.core.results import ExperimentResult
from medaug.report.tiles import bracketed, overlay

SAMPLES = 6
_RANKS = ("worst", "median", "best")


@final
@dataclass(frozen=True, slots=True)
class Shown:
    """A tile with its caption."""

    svg: str
    caption: str


@final
@dataclass(frozen=True, slots=True)
class OverlayGrid:
    """Worst, median and best test case of every arm in one class."""

    class_name: str
    is_studied: bool
    arms: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Shown | None, ...]], ...]


@final
@dataclass(frozen=True, slots=True)
class SampleRow:
    """Real or synthetic lesions of one class."""

    label: str
    tiles: tuple[str, ...]


@final
@dataclass(frozen=True, slots=True)
class SampleGroup:
    """One class: real lesions above synthetic ones."""

    class_name: str
    rows: tuple[SampleRow, ...]


def overlays(result: ExperimentResult, tiles: Sequence[Tile], class_name: str) -> OverlayGrid | None:
    """Tiles sorted by Dice an arm: the first, the middle and the last; None where there is no tile."""
    columns: list[list[Tile | None]] = []
    arms = [arm for arm in result.arms if _of(tiles, arm, class_name)]
    for arm in arms:
        ranked = sorted(_of(tiles, arm, class_name), key=lambda t: (t.facts.dice or 0.0, t.facts.case_id))
        columns.append([ranked[0], ranked[len(ranked) // 2] if len(ranked) > 2 else None, ranked[-1]])
    if not arms:
        return None
    rows = tuple(
        (rank, tuple(None if (tile := column[n]) is None else _shown(tile) for column in columns))
        for n, rank in enumerate(_RANKS)
    )
    return OverlayGrid(class_name, class_name == result.limit_class, tuple(arms), rows)


def _of(tiles: Sequence[Tile], arm: str, class_name: str) -> list[Tile]:
    return [t for t in tiles if (t.facts.kind, t.facts.arm, t.facts.class_name) == ("test", arm, class_name)]


def _shown(tile: Tile) -> Shown:
    dice = "" if tile.facts.dice is None else f"{tile.facts.dice:.2f}"
    return Shown(overlay(tile), dice)


def samples(result: ExperimentResult, tiles: Sequence[Tile]) -> tuple[SampleGroup, ...]:
    """Real lesions above those of every generator, a class; none without synthetic ones."""
    groups = []
    for name in result.classes:
        real = [t for t in tiles if t.facts.kind == "real" and t.facts.class_name == name]
        made = [t for t in tiles if t.facts.kind == "synthetic" and t.facts.class_name == name]
        if not made:
            continue
        rows = [SampleRow("real", tuple(bracketed(t) for t in real[:SAMPLES]))] if real else []
        rows += [
            SampleRow(kind, tuple([bracketed(t) for t in made if t.facts.arm == kind][:SAMPLES]))
            for kind in dict.fromkeys(t.facts.arm for t in made)
        ]
        groups.append(SampleGroup(name, tuple(rows)))
    return tuple(groups)
