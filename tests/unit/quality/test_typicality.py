"""A lesion is as typical as the share of real lesions of its class that lie farther out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medaug.core.seeding import SeedTree
from medaug.quality.samples import LesionSample
from medaug.quality.typicality import Typicality, shrunk
from tests.unit.quality.seen import disc


def test_shares_are_even_for_real_lesions_of_other_patients() -> None:
    rng = np.random.default_rng(0)

    def drawn(count: int, shift: float = 0.0) -> list[LesionSample]:
        return [replace(disc(n, 0), figures=rng.normal(shift, 1.0, 36)) for n in range(count)]

    typicality = Typicality(drawn(300), SeedTree(1))
    assert np.mean(typicality.shares(drawn(400))) == pytest.approx(0.5, abs=0.05)
    assert np.mean(typicality.shares(drawn(50, 1.5))) < 0.05


def test_a_covariance_of_few_lesions_can_be_inverted() -> None:
    rng = np.random.default_rng(0)
    assert np.linalg.cond(shrunk(rng.normal(size=(5, 40)))) < 1e6
    wide = shrunk(rng.normal(size=(5000, 3)) * [1.0, 2.0, 3.0])
    assert np.diag(wide) == pytest.approx([1.0, 4.0, 9.0], rel=0.1)
