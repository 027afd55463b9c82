"""Print the tables of an experiment as Markdown, for docs/results: scripts/results_table.py RUN [RUN ...].

Several folders, such as shards or the rows in docs/results, become one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from medaug.core.results import ArmScore, Comparison, ExperimentResult
from medaug.experiments.run import RESULTS, merge

FIGURES: tuple[tuple[str, Callable[[ArmScore], float | None], str], ...] = (
    ("surface Dice", lambda s: s.surface_dice, ".3f"),
    ("HD95 mm", lambda s: s.hd95_mm, ".1f"),
    ("volume error", lambda s: s.volume_error, "+.0%"),
    ("lesion precision", lambda s: s.lesion_precision, ".2f"),
    ("lesion recall", lambda s: s.lesion_recall, ".2f"),
    ("lesion F1", lambda s: s.lesion_f1, ".2f"),
    ("panoptic quality", lambda s: s.panoptic_quality, ".2f"),
    ("calibration error", lambda s: s.calibration_error, ".3f"),
)


def tables(result: ExperimentResult) -> str:
    """Means, further figures and differences for every number of annotated patients; then curves and savings."""
    parts: list[str] = []
    sizes = dict.fromkeys(score.n_annotated for score in result.scores)
    for n in sizes:
        scores = [s for s in result.scores if s.n_annotated == n]
        compared = [c for c in result.comparisons if c.n_annotated == n]
        parts += [f"### {_size(n)}"] if len(sizes) > 1 else []
        parts += [_means(result, scores), _figures(scores)]
        parts += [_differences(compared, name) for name in dict.fromkeys(c.baseline for c in compared)]
    parts += [_curves(result), "\n".join(f"- {saving.said}" for saving in result.savings)]
    return "\n\n".join(part for part in parts if part)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) if rows else ""


def _size(n_annotated: int | None) -> str:
    return "all annotated patients" if n_annotated is None else f"{n_annotated} annotated patients"


def _means(result: ExperimentResult, scores: Sequence[ArmScore]) -> str:
    found = {(s.arm, s.class_name): s for s in scores}
    rows = [[arm, *(_mean(found.get((arm, name))) for name in result.classes)] for arm in result.arms]
    return _table(["arm", *result.classes], rows)


def _mean(score: ArmScore | None) -> str:
    if score is None:
        return "-"
    held = "" if score.coverage is None else f"; {score.coverage:.0%}"
    return f"{score.mean_dice:.3f} ({score.ci_low:.2f} to {score.ci_high:.2f}{held}), n {score.n_patients}"


def _figures(scores: Sequence[ArmScore]) -> str:
    """What is known besides the Dice."""
    known = [(name, read, form) for name, read, form in FIGURES if any(read(s) is not None for s in scores)]
    rows = [[s.arm, s.class_name, *(_figure(read(s), form) for _, read, form in known)] for s in scores]
    return _table(["arm", "class", *(name for name, _, _ in known)], rows) if known else ""


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _differences(comparisons: Sequence[Comparison], baseline: str) -> str:
    head = [
        f"arm against {baseline}",
        "class",
        "difference",
        "95% CI",
        "n",
        "Holm p",
        "MDE",
        "coverage",
        "verdict",
    ]
    return _table(
        head,
        [
            [
                c.arm,
                c.class_name,
                f"{c.mean_difference:+.3f}",
                f"{c.ci_low:+.3f} to {c.ci_high:+.3f}",
                str(c.n_patients),
                f"{c.p_holm:.3f}",
                _figure(c.mde, ".3f"),
                _figure(c.coverage, ".0%"),
                c.verdict,
            ]
            for c in comparisons
            if c.baseline == baseline
        ],
    )


def _curves(result: ExperimentResult) -> str:
    """Mean Dice by arm and number of patients, where there is more than one number."""
    sizes = dict.fromkeys(point.n_annotated for point in result.curves)
    if len(sizes) < 2:
        return ""
    found = {(p.arm, p.class_name, p.n_annotated): p for p in result.curves}
    rows = []
    for name in result.classes:
        for arm in result.arms:
            points = [found.get((arm, name, n)) for n in sizes]
            shown = [
                "-" if p is None else f"{p.mean:.3f} ({p.ci_low:.2f} to {p.ci_high:.2f})" for p in points
            ]
            rows += [[arm, name, *shown]] if any(points) else []
    return _table(["arm", "class", *(_size(n) for n in sizes)], rows)


def main() -> int:
    """Read the folders and print."""
    runs = [Path(name) for name in sys.argv[1:]]
    if not runs:
        print("usage: scripts/results_table.py RUN [RUN ...]", file=sys.stderr)
        return 2
    alone = len(runs) == 1 and (runs[0] / RESULTS).is_file()
    print(tables(ExperimentResult.read(runs[0] / RESULTS) if alone else merge(runs)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
