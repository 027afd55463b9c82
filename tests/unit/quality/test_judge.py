"""A judge knows whether a lesion looks like its class."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medaug.core.case import Case
from medaug.lesions.bank import bank_of_cases
from medaug.quality.judge import ClassJudge
from tests.small_cases import CLASSES, chest, fold_of, labels_of

CASES = [chest(n, (CLASSES[n % 2],)) for n in range(8)]
BANK = bank_of_cases(CASES, fold_of(CASES))


def drawn(number: int, class_name: str, *, said: str | None = None) -> Case:
    """An unseen case, with the site of its lesion; ``said`` is what it is labelled as."""
    case = chest(number, (class_name,))
    labels = labels_of(case)
    site = tuple(int(axis[len(axis) // 2]) for axis in np.nonzero(labels))
    named = np.where(labels > 0, CLASSES.index(said or class_name) + 1, 0).astype(np.uint8)
    assert case.label_map is not None
    return replace(case, label_map=replace(case.label_map, labels=named), site=(site[0], site[1], site[2]))


@pytest.mark.parametrize("dims", [2, 3])
def test_lesions_that_look_like_their_class_score_high_and_others_low(dims):
    judge = ClassJudge(BANK, dims)
    right = judge([drawn(20 + n, name) for n, name in enumerate(CLASSES)])
    wrong = judge([drawn(20, CLASSES[0], said=CLASSES[1]), drawn(21, CLASSES[1], said=CLASSES[0])])
    assert min(right) > 0.7
    assert max(wrong) < 0.3


def test_scores_stay_with_their_cases_and_a_case_without_a_lesion_has_none():
    judge = ClassJudge(BANK, 2)
    good, poor = drawn(20, CLASSES[0]), drawn(20, CLASSES[0], said=CLASSES[1])
    bare = replace(drawn(20, CLASSES[0]), site=None)
    assert judge([bare, good, poor]) == [0.0, *judge([good]), *judge([poor])]
    assert judge([bare]) == [0.0]


def test_a_site_beside_its_lesion_finds_the_nearest_one():
    judge, case = ClassJudge(BANK, 2), drawn(20, CLASSES[0])
    assert case.site is not None
    beside = replace(case, site=(case.site[0] + 8, case.site[1], case.site[2]))
    assert labels_of(case)[beside.site] == 0
    assert judge([beside]) == judge([case])
