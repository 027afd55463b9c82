"""Prints the figures of conventions.md rule 9 in a short table: python -m tests.architecture.figures."""

from __future__ import annotations

import sys

from tests.architecture import source
from tests.architecture import test_figures as limits


def rows() -> list[tuple[str, str, str]]:
    """What is measured, the figure, the limit."""
    modules, functions = source.modules(), source.functions()
    count = max(1, len(functions))
    largest = max(modules, key=lambda m: m.lines)
    longest = max(functions, key=lambda f: f.length)
    annotated = sum(source.is_annotated(f) for f in functions) / count
    kwargs = sum(f.node.args.kwarg is not None for f in functions) / count
    lengths = [f.length for f in functions]
    return [
        ("modules / lines", f"{len(modules)} / {sum(m.lines for m in modules)}", ""),
        ("largest module", f"{largest.lines}  {largest.where}", f"<= {limits.LARGEST_MODULE}"),
        (
            "function length, 95th percentile",
            str(source.percentile_95(lengths)),
            f"<= {limits.FUNCTION_LENGTH_95}",
        ),
        ("longest function", f"{longest.length}  {longest.where}", f"<= {limits.LONGEST_FUNCTION}"),
        (
            "deepest nesting",
            str(max(source.nesting(f.node) for f in functions)),
            f"<= {limits.DEEPEST_NESTING}",
        ),
        ("annotated", f"{annotated:.1%}", "100%"),
        ("functions with **kwargs", f"{kwargs:.1%}", f"<= {limits.KWARGS_SHARE:.0%}"),
        ("import cycles", str(len(source.cycles())), "0"),
    ]


def main() -> int:
    """Print the table."""
    if not source.functions():
        print("no library code yet")
        return 0
    for what, figure, limit in rows():
        print(f"  {what:<34} {figure:<52} {limit}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
