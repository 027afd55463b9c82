"""carvemix answers with a carved region of the donor; its label is what was carved of the lesion."""

from __future__ import annotations

import numpy as np
import pytest

from medaug.core.errors import ConfigError
from medaug.core.lesion import Lesion
from medaug.generators.base import load_generator, parse_generator
from medaug.generators.carvemix import Config
from medaug.lesions.harmonise import ring_around
from medaug.lesions.mix import carve_region
from tests import made_lesions


def carved(seed: int, **options: bool) -> Lesion:
    asked = made_lesions.request(radius=9.0)
    return Config(**options).build().generate([asked], [np.random.default_rng(seed)])[0]


def area_of(lesion: Lesion) -> int:
    assert lesion.region is not None
    return int(lesion.region.sum())


def test_region_is_carvemixs():
    asked = made_lesions.request(radius=9.0)
    lesion = carved(3)
    region = carve_region(asked.mask, asked.spacing_mm, np.random.default_rng(3))
    assert lesion.region is not None
    np.testing.assert_array_equal(lesion.region, region)
    np.testing.assert_array_equal(lesion.mask, region & asked.mask)
    np.testing.assert_array_equal(lesion.image, asked.texture)


def test_regions_shrink_and_grow():
    asked = made_lesions.request(radius=9.0)
    sizes = {int(np.sign(area_of(carved(n)) - asked.mask.sum())) for n in range(12)}
    assert {-1, 1} <= sizes
    assert all(carved(n).mask.any() for n in range(12))


def test_the_donor_is_fitted_to_the_host_by_option():
    asked = made_lesions.request(radius=9.0)
    ring = ring_around(asked.mask)
    fitted = carved(0, match_noise=True, match_tissue=True).image
    assert np.median(fitted[:, ring]) == pytest.approx(np.median(asked.host[:, ring]), abs=1.0)


def test_needs_no_training():
    assert load_generator("carvemix").kind == "carvemix"
    with pytest.raises(ConfigError, match="blending"):
        parse_generator({"kind": "carvemix", "blending": "hard"})
