"""Print the tables of an experiment as Markdown, for docs/results: scripts/results_table.py RUN."""

from __future__ import annotations

import sys
from pathlib import Path

from medaug.core.results import ExperimentResult


def tables(result: ExperimentResult) -> str:
    """Mean Dice by arm and class, and every difference from the baseline."""
    lines = [f"| arm | {' | '.join(result.classes)} |", f"|---|{'---|' * len(result.classes)}"]
    found = {(s.arm, s.class_name): s for s in result.scores}
    for arm in result.arms:
        cells = [found.get((arm, name)) for name in result.classes]
        shown = [
            "-" if c is None else f"{c.mean_dice:.3f} ({c.ci_low:.2f} to {c.ci_high:.2f}), n {c.n_patients}"
            for c in cells
        ]
        lines.append(f"| {arm} | {' | '.join(shown)} |")
    lines += ["", f"| arm against {result.baseline} | class | difference | 95% CI | Holm p | MDE | verdict |"]
    lines.append("|---|---|---|---|---|---|---|")
    lines += [
        f"| {c.arm} | {c.class_name} | {c.mean_difference:+.3f} | {c.ci_low:+.3f} to {c.ci_high:+.3f} | "
        f"{c.p_holm:.3f} | {'-' if c.mde is None else f'{c.mde:.3f}'} | {c.verdict} |"
        for c in result.comparisons
    ]
    return "\n".join(lines)


def main() -> int:
    """Read RUN/results.json and print."""
    if len(sys.argv) != 2:
        print("usage: scripts/results_table.py RUN", file=sys.stderr)
        return 2
    print(tables(ExperimentResult.read(Path(sys.argv[1]) / "results.json")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
