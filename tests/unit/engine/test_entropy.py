"""Random numbers from the operating system."""

import numpy as np
from scipy import stats

from medaug.core.seeding import SeedTree
from medaug.engine.entropy import SeededEntropy, SystemEntropy, gaussian


def test_uniform_numbers_lie_between_and_are_spread_evenly():
    drawn = SystemEntropy().uniform(20_000)
    assert 0 < drawn.min() < 0.001
    assert 0.999 < drawn.max() < 1
    assert stats.kstest(drawn, "uniform").pvalue > 1e-6


def test_sums_of_four_are_standard_normal():
    drawn = gaussian(SystemEntropy(), 20_000)
    assert stats.kstest(drawn, "norm").pvalue > 1e-6
    assert abs(drawn.std() - 1) < 0.05


def test_the_systems_numbers_do_not_come_again():
    assert not np.array_equal(SystemEntropy().uniform(8), SystemEntropy().uniform(8))


def test_seeded_numbers_do():
    first, second = (gaussian(SeededEntropy(SeedTree(3)), 8) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, gaussian(SeededEntropy(SeedTree(4)), 8))
