"""Sizes that nobody learnt are clamped once and said once."""

from __future__ import annotations

import pytest

from medaug.core.errors import DataError
from medaug.core.plan import PlannedLesion
from medaug.lesions.bank import bank_of_cases
from medaug.synthesis.sizes import SizeLimits, learnt_sizes
from tests.small_cases import chest, fold_of

LEARNT = {"solid": (5.0, 10.0)}


def test_learnt_sizes_are_those_of_the_bank_and_a_fifth_more():
    cases = [chest(n, ("solid", "ground_glass")) for n in range(3)]
    bank = bank_of_cases(cases, fold_of(cases))
    sizes = [e.diameter_mm for e in bank.entries("solid")]
    assert learnt_sizes(bank)["solid"] == pytest.approx((0.8 * min(sizes), 1.2 * max(sizes)))
    assert set(learnt_sizes(bank)) == {"solid", "ground_glass"}


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        ((5.0, 10.0), (5.0, 10.0)),
        ((6.0, 7.0), (6.0, 7.0)),
        ((2.0, 7.0), (5.0, 7.0)),
        ((8.0, 40.0), (8.0, 10.0)),
        ((20.0, 40.0), (10.0, 10.0)),
        ((1.0, 2.0), (5.0, 5.0)),
    ],
)
def test_ranges_are_cut_to_what_was_learnt(wanted, kept):
    limits = SizeLimits(LEARNT)
    assert limits.clamp("solid", wanted) == kept
    assert len(limits.findings) == (wanted != kept)
    if wanted == kept:
        assert SizeLimits(LEARNT, strict=True).clamp("solid", wanted) == wanted
    else:
        assert limits.findings[0].code == "size-clamped"
        with pytest.raises(DataError, match="the bank knows 5 to 10 mm"):
            SizeLimits(LEARNT, strict=True).clamp("solid", wanted)


def test_many_lesions_make_one_finding_and_swaps_none():
    line = PlannedLesion(case_id="a", host_case_id="h", class_name="solid", seed=0, diameter_mm=(20.0, 30.0))
    swap = line.model_copy(update={"use": "swap"})
    limits = SizeLimits(LEARNT)
    first, second, third = limits.within((line, line, swap))
    assert first.diameter_mm == second.diameter_mm == (10.0, 10.0)
    assert third is swap
    assert len(limits.findings) == 1
    assert "20 to 30 mm; the bank knows 5 to 10 mm, so 10 mm is drawn" in limits.findings[0].message
