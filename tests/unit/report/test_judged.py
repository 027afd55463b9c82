"""One sentence a verdict, and readings only where intervals lie apart."""

from __future__ import annotations

import pytest

from medaug.core.assessment import Figure
from medaug.report.judged import number, percent, reading, verdicts
from tests.unit.report.assessed import audit, quality


def figure(low: float, high: float) -> Figure:
    return Figure(value=(low + high) / 2, low=low, high=high)


@pytest.mark.parametrize(
    ("made", "floor", "low_is_good", "said"),
    [
        ((0.5, 0.6), (0.1, 0.2), True, "worse"),
        ((0.5, 0.6), (0.1, 0.2), False, "better"),
        ((0.1, 0.2), (0.5, 0.6), False, "worse"),
        ((0.1, 0.2), (0.5, 0.6), True, "better"),
        ((0.1, 0.56), (0.5, 0.6), True, "as real"),
        ((0.1, 0.54), (0.5, 0.6), True, "unclear"),
        ((0.1, 0.5), (0.5, 0.6), False, "unclear"),
        ((0.1, 0.49), (0.5, 0.6), False, "worse"),
        ((0.1, 0.2), None, True, "not judged"),
    ],
)
def test_readings(made, floor, low_is_good, said):
    other = None if floor is None else figure(*floor)
    assert reading(figure(*made), other, low_is_good=low_is_good) == said


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (-0.0004, "0"), (-0.02, "−0.020"), (0.5, "0.500"), (3.14159, "3.14"), (31.4159, "31.4"), (1234.5, "1234")],
)  # fmt: skip
def test_numbers(value, text):
    assert number(value) == text


def test_shares_are_whole_where_they_are():
    assert [percent(v) for v in (0.5, 0.018, 1.0, 0.0)] == ["50%", "1.8%", "100%", "0%"]


def test_every_verdict_is_one_sentence():
    said = {one.title: (one.tone, one.words) for one in verdicts(quality(), audit("fail", "fail", copied=17))}
    assert said["Lesion copies: fail"] == (
        "harm",
        (
            "17 of 170 synthetic lesions look like a training one (10%, 95% 9% to 11%); up to 1.8% could be copies that "
            "went unseen (95%)."
        ),
    )
    assert said["Background copies: fail"][0] == "harm"
    assert said["Membership: pass"] == (
        "gain",
        (
            "The set does not tell who was trained on: area under the curve 0.520 (95% 0.470 to 0.570; of the control 0.500; "
            "0.5 is a guess)."
        ),
    )
    assert said["Realism"] == (
        "harm",
        (
            "In 2 of 3 classes (part_solid, ground_glass) synthetic lesions lie farther from unseen real ones than real "
            "lesions do."
        ),
    )
    assert said["Bias"] == ("harm", "1 of 4 groups are flagged (size).")


def test_what_was_not_searched_is_not_passed():
    nothing = audit("inconclusive", "inconclusive").model_copy(update={"shares": (), "membership": None})
    bare = quality().model_copy(update={"classes": (), "bias": ()})
    said = verdicts(bare, nothing)
    assert [one.tone for one in said] == ["none"] * 4
    assert said[0].words == "No lesion was searched for copies."
    assert said[2].words.startswith("No class was compared")
    assert said[3].words == "It was not measured."


def test_nothing_flagged_without_a_threshold_is_no_good_news():
    found = audit("inconclusive", "fail")
    shares = tuple(share.model_copy(update={"recall": None}) for share in found.shares)
    said = verdicts(quality(), found.model_copy(update={"shares": shares}))
    assert said[0].words.startswith(
        "170 synthetic lesions were compared, but nothing says how alike chance makes them"
    )
    assert said[1].words.startswith("90 of 180 synthetic backgrounds look like a training one")


def test_what_is_unclear_is_named():
    first = quality().classes[0]
    wide = first.spaces[0].model_copy(update={"kernel": figure(0.002, 0.3)})
    one = first.model_copy(update={"spaces": (wide,)})
    said = verdicts(quality().model_copy(update={"classes": (one,)}), audit())
    assert said[3].words.endswith("than real lesions do; it is unclear in 1 of 1 (solid).")
