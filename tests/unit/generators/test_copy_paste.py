"""copy_paste answers with what it was given."""

from __future__ import annotations

import numpy as np
import pytest

from medaug.core.geometry import Box
from medaug.core.intensity import CaseScale
from medaug.core.lesion import LesionRequest
from medaug.generators.base import load_generator
from medaug.generators.copy_paste import Config
from medaug.lesions.harmonise import ring_around
from tests import made_lesions


def request(value: float) -> LesionRequest:
    mask = np.zeros((4, 4, 1), dtype=bool)
    mask[1:3, 1:3] = True
    host = np.zeros((1, 4, 4, 1), dtype=np.float32)
    scale = CaseScale((0.0,), (1.0,), (-9.0,), (9.0,))
    box = Box((0, 0, 0), (4, 4, 1))
    return LesionRequest("solid", mask, host, host + value, scale, (1.0, 1.0, 1.0), box, ("donor",))


def test_each_request_gets_its_own_texture_and_mask():
    asked = [request(1.0), request(2.0)]
    drawn = Config().build().generate(asked, [np.random.default_rng(n) for n in range(2)])
    assert [float(lesion.image.mean()) for lesion in drawn] == [1.0, 2.0]
    assert all(
        lesion.mask is r.mask and lesion.class_name == "solid" for lesion, r in zip(drawn, asked, strict=True)
    )


def test_one_rng_a_request_is_required():
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        Config().build().generate([request(1.0)], [])


def test_is_known_by_its_kind():
    loaded = load_generator("copy_paste")
    assert loaded.kind == "copy_paste"
    assert loaded.sha256 == Config().build().sha256


def test_options_fit_the_donor_to_the_host():
    asked = made_lesions.request("faint")
    plain, fitted, noisy = (
        Config(**options).build().generate([asked], [np.random.default_rng(0)])[0]
        for options in ({}, {"match_tissue": True, "blending": "poisson"}, {"match_noise": True})
    )
    assert plain.image is asked.texture
    assert (plain.blending, fitted.blending) == ("feather", "poisson")
    ring = ring_around(asked.mask)
    assert np.median(fitted.image[:, ring]) == pytest.approx(np.median(asked.host[:, ring]), abs=1.0)
    assert noisy.image[:, ring].mean() == pytest.approx(asked.texture[:, ring].mean(), abs=5.0)
