"""An elastic ellipsoid has the place and volume of its mask, and an outline of its own."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from medaug.lesions.ellipsoid import elastic_ellipsoid
from tests.made_lesions import ball

SPACING = (0.7, 0.7, 2.0)


@pytest.mark.parametrize("shape", [(48, 48, 1), (48, 48, 10)])
@pytest.mark.parametrize("elasticity", [0.0, 0.15])
def test_ellipsoid_has_place_and_volume_of_the_mask(shape, elasticity):
    mask = ball(shape, 10)
    made = elastic_ellipsoid(mask, SPACING, elasticity, np.random.default_rng(0))
    assert made.sum() == pytest.approx(mask.sum(), rel=0.1)
    assert ndimage.label(made, np.ones((3, 3, 3)))[1] == 1
    shift = np.argwhere(made).mean(axis=0) - np.argwhere(mask).mean(axis=0)
    assert (np.abs(shift) < 2.0).all()
    grown = ndimage.binary_dilation(mask, np.ones((5, 5, 1)))
    assert not (made & ~grown).any()


def test_elastic_outlines_differ():
    mask = ball((48, 48, 1), 10)
    one, other = (elastic_ellipsoid(mask, SPACING, 0.3, np.random.default_rng(n)) for n in range(2))
    assert (one != other).sum() > 10
