"""Ellipsoids with an elastic outline: new lesion masks that take no more from a mask than its second moments."""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy import ndimage

from medaug.core.geometry import NEIGHBOURS_4
from medaug.core.volume import Mask
from medaug.lesions.parts import largest_part

_STRAY = 2  # voxels in plane that an ellipsoid may leave the asked outline
_BUMP: Final = 0.2  # of the diameter: how long the waves of an elastic outline are


def elastic_ellipsoid(
    mask: Mask, spacing_mm: tuple[float, float, float], elasticity: float, rng: np.random.Generator
) -> Mask:
    """An ellipsoid with the place, axes and volume of a mask, and an outline bent by smooth noise.

    With ``r`` the Mahalanobis radius under the mask's second moments in mm, and ``g`` a smooth Gaussian field of unit
    deviation, the n voxels of smallest ``r (1 + elasticity g)`` are taken, n being those of the mask, none more than two
    voxels outside it.

    Args:
        mask: (I, J, K) the lesion that was asked for.
        spacing_mm: Of the patch.
        elasticity: Deviation of the outline, of its radius.
        rng: Draws the outline.

    Returns:
        (I, J, K) one connected lesion.
    """
    allowed = ndimage.binary_dilation(mask, NEIGHBOURS_4, iterations=_STRAY)
    places = np.argwhere(mask) * np.array(spacing_mm)
    middle = places.mean(axis=0)
    moments = np.cov(places.T, bias=True) + np.diag(np.array(spacing_mm) ** 2 / 12.0)
    away = np.argwhere(allowed) * np.array(spacing_mm) - middle
    radius = np.sqrt(np.einsum("ni,ij,nj->n", away, np.linalg.inv(moments), away))
    diameter = 4.0 * np.sqrt(np.linalg.eigvalsh(moments)[-1])
    sigma = [0.0 if n == 1 else _BUMP * diameter / mm for n, mm in zip(mask.shape, spacing_mm, strict=True)]
    bumps = ndimage.gaussian_filter(rng.standard_normal(mask.shape), sigma)[allowed]
    bent = radius * (1.0 + elasticity * (bumps - bumps.mean()) / (bumps.std() + 1e-9))
    drawn = np.zeros_like(mask)
    drawn[allowed] = bent <= np.partition(bent, len(places) - 1)[len(places) - 1]
    return largest_part(drawn)
