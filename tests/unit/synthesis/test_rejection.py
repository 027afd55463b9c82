"""Draws that a judge refuses are made again, and nothing else changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from medaug.core.case import Case
from medaug.core.seeding import SeedTree
from medaug.synthesis.rejection import Acceptance, RejectionSource
from tests.unit.experiments.fakes import case, record


@final
class Numbers:
    """Cases whose identity is a random number; counts what it draws."""

    classes = ("solid",)
    donor_patient_ids = frozenset({"p1"})

    def __init__(self) -> None:
        self.drawn = 0

    def draw(
        self, class_names: tuple[str | None, ...], rngs: tuple[np.random.Generator, ...]
    ) -> tuple[Case, ...]:
        self.drawn += len(rngs)
        return tuple(case(record(f"n{rng.integers(100):02d}", "p1", "solid")) for rng in rngs)


def number(of: Case) -> float:
    return float(of.case_id[1:])


def judge(cases: Sequence[Case]) -> list[float]:
    return [number(one) for one in cases]


def draw(score: float, tries: int, names: tuple[str | None, ...], order: Sequence[int]) -> list[Case]:
    rngs = tuple(SeedTree(0).child(n).rng() for n in order)
    return list(RejectionSource(Numbers(), judge, Acceptance(score, tries)).draw(names, rngs))


LESIONS = ("solid",) * 6


def test_poor_draws_are_made_again_until_they_pass() -> None:
    passed = draw(60, 50, LESIONS, range(6))
    once = draw(60, 1, LESIONS, range(6))
    assert all(number(one) >= 60 for one in passed)
    assert any(number(one) < 60 for one in once)
    good = [n for n, one in enumerate(once) if number(one) >= 60]
    assert [passed[n].case_id for n in good] == [once[n].case_id for n in good]


def test_the_best_try_is_taken_where_none_passes() -> None:
    for seed, best in enumerate(draw(1000, 5, LESIONS, range(6))):
        rng = SeedTree(0).child(seed).rng()
        assert number(best) == max(rng.integers(100) for _ in range(5))


def test_each_draw_depends_on_its_own_randomness_alone() -> None:
    forward = [one.case_id for one in draw(60, 4, LESIONS, range(6))]
    backward = [one.case_id for one in draw(60, 4, LESIONS, range(5, -1, -1))]
    assert forward == backward[::-1]


def test_pasted_healthy_tissue_is_not_judged() -> None:
    source = Numbers()
    rngs = tuple(SeedTree(0).child(n).rng() for n in range(3))
    RejectionSource(source, judge, Acceptance(1000, 4)).draw((None, "solid", None), rngs)
    assert source.drawn == 3 + 3
