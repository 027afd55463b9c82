"""From finished results to what the page shows: text and figures; the template computes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar, final

from medaug.core.gallery import Tile
from medaug.core.results import ArmCost, ArmScore, Comparison, ExperimentResult
from medaug.report.cases import OverlayGrid, overlays
from medaug.report.drawing import Drawing
from medaug.report.figures import forest_axis, forest_mark, forest_scale
from medaug.report.panels import Panels, file_name
from medaug.report.verdict import interval_text, p_text, share_text, signed, tone_of

T = TypeVar("T")
DASH = "\N{EN DASH}"


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
    coverage: str
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
class Forest:
    """All comparisons with one arm."""

    baseline: str
    is_named: bool
    groups: tuple[ForestGroup, ...]
    axis: str


@final
@dataclass(frozen=True, slots=True)
class Panel:
    """What there is of one class besides means and differences."""

    class_name: str
    is_open: bool
    dots: str
    sizes: str
    headings: tuple[tuple[str, str], ...]
    metrics: tuple[tuple[str, tuple[str, ...]], ...]


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
    anchor: str
    classes: tuple[str, ...]
    n_by_class: tuple[int, ...]
    scores: tuple[ScoreRow, ...]
    forests: tuple[Forest, ...]
    panels: tuple[Panel, ...]
    overlays: tuple[OverlayGrid, ...]
    costs: tuple[CostRow, ...]


@final
@dataclass(frozen=True, slots=True)
class Metric:
    """A column of the table of further figures."""

    name: str
    note: str
    read: Callable[[ArmScore], float | None]
    form: str = ".3f"


METRICS: Final = (
    Metric("Dice", "mean", lambda s: s.mean_dice),
    Metric("surface", "Dice", lambda s: s.surface_dice),
    Metric("HD95", "mm, median", lambda s: s.hd95_mm, ".1f"),
    Metric("volume", "error", lambda s: s.volume_error, "+.0%"),
    Metric("lesion", "precision", lambda s: s.lesion_precision, ".2f"),
    Metric("lesion", "recall", lambda s: s.lesion_recall, ".2f"),
    Metric("lesion", "F1", lambda s: s.lesion_f1, ".2f"),
    Metric("panoptic", "quality", lambda s: s.panoptic_quality, ".2f"),
    Metric("calibration", "error", lambda s: s.calibration_error),
    Metric(
        "false voxels",
        "an empty case",
        lambda s: s.false_positive_voxels / s.n_empty if s.n_empty else None,
        ".1f",
    ),
)


def size_views(result: ExperimentResult, tiles: Sequence[Tile], panels: Panels) -> tuple[SizeView, ...]:
    """One view a number of annotated patients, in the order of the rows."""
    return tuple(_size_view(result, tiles, panels, n) for n in panels.sizes)


def _size_view(
    result: ExperimentResult, tiles: Sequence[Tile], panels: Panels, n_annotated: int | None
) -> SizeView:
    scores = [s for s in result.scores if s.n_annotated == n_annotated]
    classes = tuple(name for name in panels.classes if any(s.class_name == name for s in scores))
    here = [t for t in tiles if t.facts.kind == "test" and t.facts.n_annotated == n_annotated]
    return SizeView(
        title=size_title(result, n_annotated),
        anchor=file_name("size", n_annotated),
        classes=classes,
        n_by_class=tuple(max(s.n_patients for s in scores if s.class_name == c) for c in classes),
        scores=tuple(_score_row(result, scores, arm, classes) for arm in distinct(s.arm for s in scores)),
        forests=_forests(result, panels, n_annotated),
        panels=tuple(_panel(scores, panels, name, is_open=n == 0) for n, name in enumerate(classes)),
        overlays=tuple(grid for name in classes if (grid := overlays(result, here, name)) is not None),
        costs=_costs(result, n_annotated),
    )


def size_title(result: ExperimentResult, n_annotated: int | None) -> str:
    """A number of annotated patients in words."""
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
        ScoreCell(f"{s.mean_dice:.3f}", _score_interval(s), s.mean_dice >= best[name])
        if (s := by_class.get(name)) is not None
        else None
        for name in classes
    )
    return ScoreRow(arm, arm == result.baseline, cells)


def _score_interval(score: ArmScore) -> str:
    held = "" if score.coverage is None else f" ({share_text(score.coverage)})"
    return f"{score.ci_low:.2f}{DASH}{score.ci_high:.2f}{held}"


def _forests(result: ExperimentResult, panels: Panels, n_annotated: int | None) -> tuple[Forest, ...]:
    """The comparisons with the baseline first, then those with every other arm that was named."""
    here = [c for c in result.comparisons if c.n_annotated == n_annotated]
    against = sorted(distinct(c.baseline for c in here), key=lambda name: name != result.baseline)
    return tuple(_forest(result, panels, [c for c in here if c.baseline == name]) for name in against)


def _forest(result: ExperimentResult, panels: Panels, comparisons: Sequence[Comparison]) -> Forest:
    """All of them with one arm, class by class."""
    scale, baseline = forest_scale(comparisons), comparisons[0].baseline
    groups = []
    for name in panels.classes:
        rows = [_forest_row(c, forest_mark(scale, c).inline()) for c in comparisons if c.class_name == name]
        groups += [ForestGroup(name, name == result.limit_class, tuple(rows))] if rows else []
    return Forest(baseline, baseline != result.baseline, tuple(groups), forest_axis(scale).inline())


def _forest_row(c: Comparison, mark: str) -> ForestRow:
    return ForestRow(
        arm=c.arm,
        mark=mark,
        difference=signed(c.mean_difference),
        interval=interval_text(c),
        n=c.n_patients,
        coverage=share_text(c.coverage),
        p=p_text(c.p),
        p_holm=p_text(c.p_holm),
        mde=DASH if c.mde is None else f"{c.mde:.3f}",
        verdict=c.verdict,
        tone=tone_of(c),
    )


def _panel(scores: Sequence[ArmScore], panels: Panels, class_name: str, *, is_open: bool) -> Panel:
    members = [s for s in scores if s.class_name == class_name]
    n_annotated = members[0].n_annotated
    known = [m for m in METRICS if any(m.read(s) is not None for s in members)]
    return Panel(
        class_name=class_name,
        is_open=is_open,
        dots=_inline(panels.patients(n_annotated, class_name)),
        sizes=_inline(panels.found(n_annotated, class_name)),
        headings=tuple((m.name, m.note) for m in known),
        metrics=tuple((s.arm, tuple(_figure(m, s) for m in known)) for s in members),
    )


def _inline(drawing: Drawing | None) -> str:
    return "" if drawing is None else drawing.inline()


def _figure(metric: Metric, score: ArmScore) -> str:
    value = metric.read(score)
    return DASH if value is None else format(value, metric.form).replace("-", "\N{MINUS SIGN}")


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
        return texts[0] if texts[0] == texts[1] else f"{texts[0]}{DASH}{texts[1]}"

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


def distinct(items: Iterable[T]) -> list[T]:
    """Each item once, in the order in which it comes."""
    return list(dict.fromkeys(items))
