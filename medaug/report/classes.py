"""The quality figures of each class, every one beside the same figure of real lesions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from medaug.core.assessment import ClassQuality, Figure, QualityReport, SampleScore, SpaceQuality
from medaug.report.drawing import Drawing, Scale, line
from medaug.report.figures import MARK_WIDTH, Strip, dot_plot
from medaug.report.judged import Reading, interval, number, reading

_MARK_HEIGHT = 30
_DOTS = 300
_SPACES: Final = {
    "figures": "Radiological features",
    "encoder": "Encoder, trained without labels on the training patients",
    "extractor": "The extractor that was brought",
}


@final
@dataclass(frozen=True, slots=True)
class Measure:
    """A figure of a space: its field, its name, what is good, and whether it is a share."""

    field: str
    name: str
    note: str
    low_is_good: bool
    is_share: bool


_MEASURES: Final = (
    Measure("frechet", "Fréchet distance", "low is good", low_is_good=True, is_share=False),
    Measure("kernel", "kernel distance", "low is good", low_is_good=True, is_share=False),
    Measure("precision", "precision", "synthetic that look real", low_is_good=False, is_share=True),
    Measure("recall", "recall", "real that are reached", low_is_good=False, is_share=True),
    Measure("density", "density", "high is good", low_is_good=False, is_share=False),
    Measure("coverage", "coverage", "real with a neighbour", low_is_good=False, is_share=True),
)


@final
@dataclass(frozen=True, slots=True)
class FigureRow:
    """One figure: of synthetic lesions, and of real ones; both with a mark."""

    name: str
    note: str
    mark: str
    value: str
    interval: str
    floor: str
    floor_interval: str
    reading: Reading
    tone: str


@final
@dataclass(frozen=True, slots=True)
class FigureGroup:
    """Figures of one kind."""

    title: str
    rows: tuple[FigureRow, ...]


@final
@dataclass(frozen=True, slots=True)
class ClassView:
    """Everything that was measured of one class."""

    name: str
    counts: str
    is_open: bool
    groups: tuple[FigureGroup, ...]


def class_views(quality: QualityReport) -> tuple[ClassView, ...]:
    """One view a class that has synthetic lesions, in the order of the class table."""
    made = [one for one in quality.classes if one.n_synthetic]
    return tuple(_class_view(one, is_open=number < 2) for number, one in enumerate(made))


def _class_view(one: ClassQuality, *, is_open: bool) -> ClassView:
    groups = (
        *(FigureGroup(_SPACES[space.space], tuple(_space(space))) for space in one.spaces),
        FigureGroup("Diversity and labels", tuple(_labels(one))),
        FigureGroup("Distributions: distance from the real one, in real deviations", tuple(_spreads(one))),
    )
    counts = f"{one.n_synthetic} synthetic, {one.n_training} training, {one.n_held_out} held-out lesions"
    return ClassView(one.class_name, counts, is_open, tuple(g for g in groups if g.rows))


def _space(space: SpaceQuality) -> Iterator[FigureRow]:
    for measure in _MEASURES:
        figure: Figure | None = getattr(space, measure.field)
        floor: Figure | None = getattr(space, f"{measure.field}_floor")
        if figure is not None:
            said = reading(figure, floor, low_is_good=measure.low_is_good)
            yield _row((measure.name, measure.note), figure, floor, said, is_share=measure.is_share)


def _labels(one: ClassQuality) -> Iterator[FigureRow]:
    guess = _exactly(0.5)
    usual = None if one.score_real is None else _exactly(one.score_real)
    asked = (
        ("alikeness (MS-SSIM)", "near 1: all alike", one.ms_ssim, one.ms_ssim_real, True),
        ("class recovered", "by a judge of real lesions", one.recovered, one.recovered_real, False),
        ("Dice of a segmenter", "on the drawn labels", one.label_dice, one.label_dice_real, False),
        ("seam detector", "AUC; 0.5: unseen", one.seam_auc, one.seam_auc_real or guess, True),
        ("score", "mean of its parts", one.score, usual, False),
    )
    for name, note, figure, floor, low_is_good in asked:
        if figure is not None:
            said = reading(figure, floor, low_is_good=low_is_good)
            yield _row((name, note), figure, floor, said, is_share=True)


def _exactly(value: float) -> Figure:
    return Figure(value=value, low=value, high=value)


def _spreads(one: ClassQuality) -> Iterator[FigureRow]:
    for spread in one.spreads:
        if spread.distance is not None:
            said = reading(spread.distance, spread.floor, low_is_good=True)
            yield _row((spread.name, ""), spread.distance, spread.floor, said, is_share=False)


def _row(
    names: tuple[str, str], figure: Figure, floor: Figure | None, said: Reading, *, is_share: bool
) -> FigureRow:
    return FigureRow(
        name=names[0],
        note=names[1],
        mark=pair_mark(figure, floor, is_share=is_share).inline(),
        value=number(figure.value),
        interval=interval(figure),
        floor="" if floor is None else number(floor.value),
        floor_interval="" if floor is None or floor.low == floor.high else interval(floor),
        reading=said,
        tone={"worse": "harm", "better": "gain"}.get(said, "none"),
    )


def pair_mark(figure: Figure, floor: Figure | None, *, is_share: bool) -> Drawing:
    """Two intervals on one axis from 0: the synthetic one above, that of real lesions below."""
    both = [figure] if floor is None else [figure, floor]
    top = max(one.high for one in both)
    low = min(0.0, *(one.low for one in both)) if len(both) > 1 else min(0.0, figure.low)
    high = 1.0 if is_share else max(1.08 * top, low + 1e-6)
    scale = Scale(low, high, 8.0, MARK_WIDTH - 8.0)
    body = line("zero", (scale.at(0), 0), (scale.at(0), _MARK_HEIGHT))
    body += _bar("made", scale, figure, 10)
    body += "" if floor is None else _bar("real", scale, floor, 21)
    told = "" if floor is None else f"; real {number(floor.value)}, {interval(floor)}"
    label = f"synthetic {number(figure.value)}, 95% {interval(figure)}{told}"
    return Drawing("pair", MARK_WIDTH, _MARK_HEIGHT, label, body)


def _bar(kind: str, scale: Scale, figure: Figure, y: float) -> str:
    a, b, x = scale.at(figure.low), scale.at(figure.high), scale.at(figure.value)
    ends = "".join(line("ci", (end, y - 3), (end, y + 3)) for end in (a, b))
    square = f'<rect class="mean" x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7"/>'
    return f'<g class="{kind}">{line("ci", (a, y), (b, y))}{ends}{square}</g>'


def score_plot(samples: Sequence[SampleScore], classes: Sequence[str]) -> Drawing | None:
    """The scores of all samples, class by class; the diamond is the median, the bar its middle half."""
    strips = []
    for name in classes:
        scores = np.sort([sample.score for sample in samples if sample.class_name == name])
        if len(scores):
            low, middle, high = (float(v) for v in np.quantile(scores, (0.25, 0.5, 0.75)))
            kept = scores[np.linspace(0, len(scores) - 1, min(len(scores), _DOTS)).astype(int)]
            strips.append(Strip(name, tuple(float(v) for v in kept), middle, low, high, is_baseline=False))
    return dot_plot(strips, "score of a synthetic lesion") if strips else None
