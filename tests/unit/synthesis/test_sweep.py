"""Sweeps are read as they were meant."""

from __future__ import annotations

import pytest

from medaug.core.errors import ConfigError
from medaug.synthesis.sweep import Sweep, parse_sweep


def test_values_are_sorted_and_named_once():
    assert parse_sweep("diameter_mm=8, 4,12,8") == Sweep("diameter_mm", (4.0, 8.0, 12.0))
    assert parse_sweep("contrast=0,1") == Sweep("contrast", (0.0, 1.0))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("size=1,2", "one of diameter_mm, contrast, sharpness"),
        ("contrast", "cannot read 'contrast'"),
        ("contrast=a,b", "'a,b' are no numbers"),
        ("contrast=1", "two or more values of 0 to 4"),
        ("contrast=1,9", "two or more values of 0 to 4"),
        ("contrast=nan,1", "two or more values"),
        ("sharpness=0,1", "two or more values of 0.1 to 10"),
        ("diameter_mm=0,4", "two or more values"),
        ("diameter_mm=-2,4", "two or more values"),
    ],
)
def test_bad_sweeps_are_named(text, words):
    with pytest.raises(ConfigError, match=words):
        parse_sweep(text)
