"""From finished results to what the page shows: text and figures, no reckoning left for the template."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar, final

import numpy as np

from medaug.core.gallery import Tile
from medaug.core.results import ArmCost, ArmScore, Comparison, ExperimentResult
from medaug.report.figures import Strip, bracketed, dot_plot, forest_axis, forest_mark, forest_scale, overlay
from medaug.report.verdict import MINUS, p_text, signed

T = TypeVar("T")
_RANKS = ("worst", "median", "best")


@final
@dataclass(frozen=True, slots=True)
class ScoreCell:
    """Mean Dice of an arm in a class."""

    mean: str
    interval: str
    is_best: bool


@final
@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One arm of the table of means."""

    arm: str
    is_baseline: bool
    cells: tuple[ScoreCell | None, ...]


@final
@dataclass(frozen=True, slots=True)
class ForestRow:
    """One comparison with its mark."""

    arm: str
    mark: str
    difference: str
    interval: str
    n: int
    p: str
    p_holm: str
    mde: str
    verdict: str
    tone: str


@final
@dataclass(frozen=True, slots=True)
class ForestGroup:
    """The comparisons of one class."""

    class_name: str
    is_studied: bool
    rows: tuple[ForestRow, ...]


@final
@dataclass(frozen=True, slots=True)
class Figure:
    """A titled drawing."""

    title: str
    svg: str


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


@final
@dataclass(frozen=True, slots=True)
class CostRow:
    """What an arm was given."""

    arm: str
    steps: str
    patch: str
    lesion_share: str
    synthetic_share: str
    patients: str
    cases: str
    seconds: str


@final
@dataclass(frozen=True, slots=True)
class SizeView:
    """Everything about one number of annotated patients."""

    title: str
    classes: tuple[str, ...]
    n_by_class: tuple[int, ...]
    scores: tuple[ScoreRow, ...]
    forests: tuple[ForestGroup, ...]
    axis: str
    dots: tuple[Figure, ...]
    overlays: tuple[OverlayGrid, ...]
    samples: tuple[SampleGroup, ...]
    costs: tuple[CostRow, ...]


def size_views(result: ExperimentResult, tiles: Sequence[Tile]) -> tuple[SizeView, ...]:
    """One view a number of annotated patients, in the order of the rows."""
    return tuple(_size_view(result, tiles, n) for n in _distinct(row.n_annotated for row in result.rows))


def _size_view(result: ExperimentResult, tiles: Sequence[Tile], n_annotated: int | None) -> SizeView:
    scores = [s for s in result.scores if s.n_annotated == n_annotated]
    classes = tuple(c for c in result.classes if any(s.class_name == c for s in scores))
    comparisons = [c for c in result.comparisons if c.n_annotated == n_annotated]
    scale = forest_scale([(c.ci_low, c.ci_high) for c in comparisons])
    groups = []
    for name in classes:
        rows = tuple(
            _forest_row(c, forest_mark(scale, c.mean_difference, c.ci_low, c.ci_high, _tone(c)))
            for c in comparisons
            if c.class_name == name
        )
        groups.append(ForestGroup(name, name == result.limit_class, rows))
    here = [t for t in tiles if t.facts.n_annotated == n_annotated or t.facts.kind != "test"]
    return SizeView(
        title=_size_title(result, n_annotated),
        classes=classes,
        n_by_class=tuple(max(s.n_patients for s in scores if s.class_name == c) for c in classes),
        scores=tuple(_score_row(result, scores, arm, classes) for arm in _distinct(s.arm for s in scores)),
        forests=tuple(g for g in groups if g.rows),
        axis=forest_axis(scale),
        dots=tuple(Figure(name, _dots(result, scores, n_annotated, name)) for name in classes),
        overlays=tuple(grid for name in classes if (grid := _overlays(result, here, name)) is not None),
        samples=_samples(result, here),
        costs=_costs(result, n_annotated),
    )


def _size_title(result: ExperimentResult, n_annotated: int | None) -> str:
    if n_annotated is None:
        return "All annotated training patients"
    whose = f" with {result.limit_class}" if result.limit_class else ""
    return f"{n_annotated} annotated training patients{whose}"


def _score_row(
    result: ExperimentResult, scores: Sequence[ArmScore], arm: str, classes: Sequence[str]
) -> ScoreRow:
    best = {name: max(s.mean_dice for s in scores if s.class_name == name) for name in classes}
    by_class = {s.class_name: s for s in scores if s.arm == arm}
    cells = tuple(
        ScoreCell(
            f"{s.mean_dice:.3f}", f"{s.ci_low:.2f}\N{EN DASH}{s.ci_high:.2f}", s.mean_dice >= best[name]
        )
        if (s := by_class.get(name)) is not None
        else None
        for name in classes
    )
    return ScoreRow(arm, arm == result.baseline, cells)


def _forest_row(c: Comparison, mark: str) -> ForestRow:
    return ForestRow(
        arm=c.arm,
        mark=mark,
        difference=signed(c.mean_difference),
        interval=f"{c.ci_low:+.3f} to {c.ci_high:+.3f}".replace("-", MINUS),
        n=c.n_patients,
        p=p_text(c.p),
        p_holm=p_text(c.p_holm),
        mde="" if c.mde is None else f"{c.mde:.3f}",
        verdict=c.verdict,
        tone=_tone(c),
    )


def _tone(c: Comparison) -> str:
    return {"gain": "gain", "harm": "harm"}.get(c.verdict, "none")


def _dots(
    result: ExperimentResult, scores: Sequence[ArmScore], n_annotated: int | None, class_name: str
) -> str:
    strips = []
    for score in (s for s in scores if s.class_name == class_name):
        values: dict[str, list[float]] = {}
        for row in result.rows:
            if (row.arm, row.n_annotated, row.class_name) == (score.arm, n_annotated, class_name):
                values.setdefault(row.patient_id, []).extend([] if row.dice is None else [row.dice])
        dots = tuple(float(np.mean(v)) for v in values.values() if v)
        strips.append(
            Strip(score.arm, dots, score.mean_dice, score.ci_low, score.ci_high, score.arm == result.baseline)
        )
    return dot_plot(strips)


def _overlays(result: ExperimentResult, tiles: Sequence[Tile], class_name: str) -> OverlayGrid | None:
    """Tiles sorted by Dice an arm; the first, the middle and the last."""
    columns: list[list[Tile | None]] = []
    arms = [arm for arm in result.arms if _of(tiles, arm, class_name)]
    for arm in arms:
        ranked = sorted(_of(tiles, arm, class_name), key=lambda t: (t.facts.dice or 0.0, t.facts.case_id))
        columns.append([ranked[0], ranked[len(ranked) // 2] if len(ranked) > 2 else None, ranked[-1]])
    if not arms:
        return None
    rows = tuple(
        (rank, tuple(None if column[n] is None else _shown(column[n]) for column in columns))
        for n, rank in enumerate(_RANKS)
    )
    return OverlayGrid(class_name, class_name == result.limit_class, tuple(arms), rows)


def _of(tiles: Sequence[Tile], arm: str, class_name: str) -> list[Tile]:
    return [t for t in tiles if (t.facts.kind, t.facts.arm, t.facts.class_name) == ("test", arm, class_name)]


def _shown(tile: Tile | None) -> Shown | None:
    if tile is None:
        return None
    dice = "" if tile.facts.dice is None else f"{tile.facts.dice:.2f}"
    return Shown(overlay(tile), dice)


def _samples(result: ExperimentResult, tiles: Sequence[Tile]) -> tuple[SampleGroup, ...]:
    groups = []
    for name in result.classes:
        real = [t for t in tiles if t.facts.kind == "real" and t.facts.class_name == name]
        made = [t for t in tiles if t.facts.kind == "synthetic" and t.facts.class_name == name]
        if not made:
            continue
        rows = [SampleRow("real", tuple(bracketed(t) for t in real[:6]))] if real else []
        rows += [
            SampleRow(kind, tuple(bracketed(t) for t in made if t.facts.arm == kind)[:6])
            for kind in _distinct(t.facts.arm for t in made)
        ]
        groups.append(SampleGroup(name, tuple(rows)))
    return tuple(groups)


def _costs(result: ExperimentResult, n_annotated: int | None) -> tuple[CostRow, ...]:
    rows = []
    for arm in result.arms:
        costs = [c for c in result.costs if c.arm == arm and c.n_annotated == n_annotated]
        if costs:
            rows.append(_cost_row(arm, costs))
    return tuple(rows)


def _cost_row(arm: str, costs: Sequence[ArmCost]) -> CostRow:
    def span(values: Iterable[float], form: str) -> str:
        low, high = min(values := list(values)), max(values)
        texts = [format(low, form), format(high, form)]
        return texts[0] if texts[0] == texts[1] else f"{texts[0]}\N{EN DASH}{texts[1]}"

    search = span([c.search_steps for c in costs], "d")
    searched = "" if search == "0" else f" + {search} to choose the augmentation"
    return CostRow(
        arm=arm,
        steps=span([c.optimiser_steps for c in costs], "d") + searched,
        patch=" \N{MULTIPLICATION SIGN} ".join(str(n) for n in costs[0].patch_size),
        lesion_share=span([c.lesion_patch_share for c in costs], ".0%"),
        synthetic_share=span([c.synthetic_patch_share for c in costs], ".0%"),
        patients=span([c.training_patients for c in costs], "d"),
        cases=span([c.training_cases for c in costs], "d"),
        seconds=span([c.seconds for c in costs], ".0f"),
    )


def _distinct(items: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(items))
