"""A chosen place is taken exactly, or the constraint that forbids it is named."""

from __future__ import annotations

import numpy as np
import pytest

from medaug.core.errors import DataError
from medaug.generators.copy_paste import Config
from medaug.lesions.bank import bank_of_cases
from medaug.synthesis.order import Order
from medaug.synthesis.render import Renderer
from tests.small_cases import CLASSES, chest, fold_of, labels_of

CASES = [chest(n, (CLASSES[n % 2],)) for n in range(6)]
MACHINE = Renderer(bank_of_cases(CASES, fold_of(CASES)), Config().build())


def draw(site_mm, use="new", host=0, diameter=7.0):
    order = Order("ground_glass", (diameter, diameter), use=use, site_mm=site_mm)
    return MACHINE.render([CASES[host]], [order], [np.random.default_rng(3)])[0]


def test_the_centre_is_where_it_was_asked_for():
    for site in ((51.0, 40.0, 8.0), (50.0, 24.0, 8.0)):
        made = draw(site)
        np.testing.assert_allclose(made.site_mm, site, atol=1.01)


@pytest.mark.parametrize(
    ("site", "words"),
    [
        ((200.0, 40.0, 8.0), r"site \\(200.0, 40.0, 8.0\\) mm lies outside the image"),
        ((2.0, 2.0, 8.0), "comes too near to another lesion or to the edge of the body|leaves the image"),
        ((36.0, 32.0, 8.0), "of itself in tissue that suits its class"),
        ((21.0, 23.0, 8.0), "covers another lesion"),
    ],
)
def test_the_constraint_is_named(site, words):
    with pytest.raises(DataError, match=words.replace("\\\\", "\\")):
        draw(site)


def test_a_swap_takes_the_lesion_that_covers_the_place():
    host = CASES[0]
    middle = host.volume.grid.to_mm(np.argwhere(labels_of(host) == 1).mean(axis=0))
    made = draw(tuple(float(v) for v in middle), use="swap")
    np.testing.assert_array_equal(labels_of(made.case) == 2, labels_of(host) == 1)
    with pytest.raises(DataError, match="no lesion of another class at"):
        draw((51.0, 40.0, 8.0), use="swap")
