"""Variety: 0 where all made lesions are one, 1 where they differ as real ones do."""

from __future__ import annotations

import pytest
import torch

from medaug.generators._patches.variety import mean_of_known, relative_variety


def patches(count: int, deviation: float, seed: int) -> torch.Tensor:
    return deviation * torch.randn(count, 2, 16, 16, generator=torch.Generator().manual_seed(seed))


def disc(count: int, radius: float = 6) -> torch.Tensor:
    axis = torch.arange(16) - 7.5
    return (radius - (axis[:, None] ** 2 + axis**2).sqrt()).expand(count, 1, 16, 16)


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_made_lesions_are_compared_with_real_ones(share: float) -> None:
    found = relative_variety(patches(4, share, 0), disc(1), patches(6, 1.0, 1), disc(6))
    assert found == pytest.approx(share, abs=0.1 * share + 1e-6)


def test_differences_outside_the_lesion_do_not_count() -> None:
    made = patches(4, 1.0, 0) * (disc(1) <= 0)
    assert relative_variety(made, disc(1), patches(6, 1.0, 1), disc(6)) == pytest.approx(0, abs=1e-4)


def test_what_cannot_be_compared_is_unknown() -> None:
    assert relative_variety(patches(4, 1.0, 0), disc(1), patches(1, 1.0, 1), disc(1)) is None
    assert relative_variety(patches(4, 1.0, 0), disc(1), patches(2, 1.0, 1), disc(2, radius=-1)) is None
    assert (
        relative_variety(patches(4, 1.0, 0), disc(1), patches(1, 1.0, 1).repeat(2, 1, 1, 1), disc(2)) is None
    )
    assert mean_of_known([None, None]) is None
    assert mean_of_known([1.0, None, 2.0]) == pytest.approx(1.5)
