"""Counts are read as they were meant, and balance fills up what is rare."""

from __future__ import annotations

import pytest

from medaug.core.errors import ConfigError
from medaug.synthesis.balance import Balance, ClassCount, balanced_counts, parse_counts

CLASSES = ("solid", "ground_glass")


def test_counts_are_read():
    assert parse_counts(["ground_glass=200", " solid = 3"], CLASSES) == (
        ClassCount("ground_glass", 200),
        ClassCount("solid", 3),
    )


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["ground_glas=2"], "did you mean ground_glass"),
        (["ground_glass"], "expected CLASS=COUNT"),
        (["solid=0"], "at least 1"),
        (["solid=-3"], "at least 1"),
        (["solid=many"], "cannot read 'solid=many'"),
        (["=3"], "cannot read"),
        (["solid=1", "solid=2"], "named twice"),
        ([], "no class is named"),
    ],
)
def test_bad_counts_are_named(texts, words):
    with pytest.raises(ConfigError, match=words):
        parse_counts(texts, CLASSES)


REAL = {"solid": 100, "part": 25, "ground_glass": 4}


def drawn(how: Balance, total: int | None = None, real: dict[str, int] | None = None) -> dict[str, int]:
    return {c.class_name: c.count for c in balanced_counts(real or REAL, how, total)}


def test_equal_fills_every_class_up_to_the_largest():
    assert drawn("equal") == {"part": 75, "ground_glass": 96}


def test_sqrt_keeps_the_order_and_halves_it():
    assert drawn("sqrt") == {"part": 25, "ground_glass": 16}  # 100, 50, 20


@pytest.mark.parametrize("total", [1, 10, 21, 22, 96, 171, 172, 500])
def test_a_total_is_used_up_by_the_rarest_first(total):
    for how in ("equal", "sqrt"):
        counts = drawn(how, total)
        assert sum(counts.values()) == total
    counts = drawn("equal", total)
    together = {name: REAL[name] + counts.get(name, 0) for name in REAL}
    filled = [together[name] for name in counts]
    assert max(filled) - min(filled) <= 1  # those that got some are level
    rest = [REAL[name] for name in REAL if name not in counts]
    assert not rest or min(rest) >= max(filled) - 1
    if total <= 21:
        assert counts == {"ground_glass": total}


def test_balanced_classes_need_a_total():
    with pytest.raises(ConfigError, match="balanced already; say how many"):
        balanced_counts({"a": 3, "b": 3}, "equal")
    assert drawn("sqrt", 5, {"a": 3, "b": 3}) == {"a": 3, "b": 2}
