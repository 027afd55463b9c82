"""The figures of conventions.md rule 9, measured on the library's source."""

from __future__ import annotations

import math

from tests.architecture import source

LARGEST_MODULE = 500
FUNCTION_LENGTH_95 = 40
LONGEST_FUNCTION = 80
DEEPEST_NESTING = 3
MOST_PARAMETERS = 6
KWARGS_SHARE = 0.01


def listing(rows: list[str]) -> str:
    """One offender a line, under the assertion's message."""
    return "\n  " + "\n  ".join(rows)


def test_the_library_is_there() -> None:
    assert source.modules(), "no module found below medaug/: every other figure would pass on nothing"
    assert source.functions(), "no function found below medaug/"


def test_modules_are_short() -> None:
    long = [f"{m.where}: {m.lines} lines" for m in source.modules() if m.lines > LARGEST_MODULE]
    assert not long, f"modules of more than {LARGEST_MODULE} lines; split by topic:{listing(long)}"


def test_functions_are_short_at_the_95th_percentile() -> None:
    lengths = [f.length for f in source.functions()]
    figure = source.percentile_95(lengths)
    longest = sorted(source.functions(), key=lambda f: -f.length)[: math.ceil(len(lengths) * 0.06)]
    rows = [f"{f.where}: {f.length} lines" for f in longest]
    assert figure <= FUNCTION_LENGTH_95, (
        f"95th percentile of function length is {figure}, at most {FUNCTION_LENGTH_95}; the longest:{listing(rows)}"
    )


def test_no_function_is_very_long() -> None:
    long = [f"{f.where}: {f.length} lines" for f in source.functions() if f.length > LONGEST_FUNCTION]
    assert not long, f"functions of more than {LONGEST_FUNCTION} lines:{listing(long)}"


def test_nesting_is_shallow() -> None:
    depths = [(f, source.nesting(f.node)) for f in source.functions()]
    deep = [f"{f.where}: {depth} blocks deep" for f, depth in depths if depth > DEEPEST_NESTING]
    assert not deep, (
        f"blocks nested more than {DEEPEST_NESTING} deep; return early or name a step:{listing(deep)}"
    )


def test_everything_is_annotated() -> None:
    bare = [f.where for f in source.functions() if not source.is_annotated(f)]
    assert not bare, f"functions with a parameter or a result that has no annotation:{listing(bare)}"


def test_kwargs_are_rare() -> None:
    loose = [f.where for f in source.functions() if f.node.args.kwarg is not None]
    share = len(loose) / max(1, len(source.functions()))
    assert share <= KWARGS_SHARE, (
        f"{share:.1%} of functions take **kwargs, at most {KWARGS_SHARE:.0%}; name the parameters:{listing(loose)}"
    )


def test_functions_take_at_most_six_parameters() -> None:
    # A typer command has one parameter per option of the command line: its user never counts them.
    counted = [f for f in source.functions() if not f.module.name.startswith("medaug.cli.")]
    wide = [f"{f.where}: {len(f.parameters)}" for f in counted if len(f.parameters) > MOST_PARAMETERS]
    assert not wide, (
        f"functions of more than {MOST_PARAMETERS} parameters; group what belongs together:{listing(wide)}"
    )


def test_no_import_cycles() -> None:
    rows = [" <-> ".join(group) for group in source.cycles()]
    assert not rows, f"modules that import each other:{listing(rows)}"
