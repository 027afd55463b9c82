"""How many lesions of each class: as asked, or so that rare classes catch up with common ones."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from jaxtyping import Float

from medaug.core.errors import ConfigError

Balance = Literal["equal", "sqrt"]
_WHERE = "--per-class"


@final
@dataclass(frozen=True, slots=True)
class ClassCount:
    """How many lesions of a class are wanted."""

    class_name: str
    count: int


def parse_counts(texts: Sequence[str], classes: tuple[str, ...]) -> tuple[ClassCount, ...]:
    """Read ``CLASS=COUNT`` texts.

    Raises:
        ConfigError: If a text is of another form, a class is unknown or named twice, or a count is not positive.
    """
    counts = tuple(_parse_count(text, classes) for text in texts)
    if not counts:
        raise ConfigError(
            "no class is named", where=_WHERE, expected="CLASS=COUNT, e.g. " + f"{classes[0]}=50"
        )
    names = [count.class_name for count in counts]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"class {name} is named twice", where=_WHERE)
    return counts


def _parse_count(text: str, classes: tuple[str, ...]) -> ClassCount:
    name, equals, number = text.rpartition("=")
    if not equals or not name.strip() or not number.strip().isdecimal() or int(number) < 1:
        raise ConfigError(
            f"cannot read {text!r}", where=_WHERE, expected="CLASS=COUNT with a count of at least 1"
        )
    name = name.strip()
    if name not in classes:
        close = difflib.get_close_matches(name, classes, n=1)
        raise ConfigError(
            f"no class is called {name!r}",
            where=_WHERE,
            expected=", ".join(classes),
            hint=f"did you mean {close[0]}?" if close else "",
        )
    return ClassCount(name, int(number))


def balanced_counts(
    real: Mapping[str, int], how: Balance, total: int | None = None
) -> tuple[ClassCount, ...]:
    """Lesions that bring the classes closer together; no class is ever thinned out.

    With synthetic ones, a class ``c`` of ``n_c`` real lesions has ``s * w_c`` of them, where ``w_c`` is 1 (``equal``) or the
    square root of ``n_c`` (``sqrt``), unless it has more already. Without a total, ``s`` is the smallest number with which no
    class has more; with a total, the one that uses it up.

    Args:
        real: Real lesions of each class, at least one each.
        how: What is aimed at.
        total: Lesions to draw; None = as many as it takes.

    Raises:
        ConfigError: If there is nothing to draw.
    """
    names = list(real)
    have = np.array([real[name] for name in names], dtype=np.float64)
    weight = np.ones(len(names)) if how == "equal" else np.sqrt(have)
    if total is None:
        counts = np.rint((have / weight).max() * weight - have).astype(int)
    else:
        counts = _whole(_filled(have, weight, total) * weight - have, total)
    if counts.sum() == 0:
        raise ConfigError(
            "the classes are balanced already", where="--balance", hint="say how many with --total"
        )
    return tuple(ClassCount(name, int(n)) for name, n in zip(names, counts, strict=True) if n > 0)


def _filled(have: Float[np.ndarray, " n"], weight: Float[np.ndarray, " n"], total: int) -> float:
    """The level ``s`` at which ``sum(max(0, s * weight - have))`` is the total."""
    order = np.argsort(have / weight)
    owned, width = np.cumsum(have[order]), np.cumsum(weight[order])
    levels = (total + owned) / width  # if the first n classes are the ones that are filled up
    level = levels[-1]
    for n, candidate in enumerate(levels[:-1]):
        if candidate <= (have / weight)[order[n + 1]]:
            level = candidate
            break
    return float(level)


def _whole(lacking: Float[np.ndarray, " n"], total: int) -> np.ndarray:
    """Whole numbers that sum up to the total, by largest remainders."""
    lacking = np.maximum(lacking, 0.0)
    counts = np.floor(lacking + 1e-9).astype(int)
    for n in np.argsort(counts - lacking, kind="stable")[: total - int(counts.sum())]:
        counts[n] += 1
    return counts
