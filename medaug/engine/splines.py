"""Uniform cubic B-splines over a patch: one small matrix an axis."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor


def smooth_field(control: Float[Tensor, "B *M"], shape: tuple[int, ...]) -> Float[Tensor, "B *S"]:
    """A field over a whole patch: point (1, 1, ...) lies on the first voxel, point (M - 2, ...) on the last one."""
    field = control
    for axis, size in enumerate(shape):
        basis = basis_like(size, control.shape[axis + 1], control)
        # the first axis that is left goes last: after all of them, the order is the old one
        field = torch.tensordot(field, basis, dims=([1], [1]))
    return field


def basis_like(count: int, points: int, like: Tensor) -> Float[Tensor, "N M"]:
    """:func:`basis` with the type and on the device of a tensor."""
    return torch.from_numpy(basis(count, points)).to(like)


@lru_cache(maxsize=256)
def basis(count: int, points: int) -> Float64[np.ndarray, "N M"]:
    """Weights of the control points at ``count`` places from control point 1 to ``points`` - 2; not to be written to.

    The cubic B-splines of Rueckert et al. (IEEE TMI 18, 1999); where all weights of a place multiply a linear function, its
    own value comes out.
    """
    place = np.arange(count) * ((points - 3) / max(count - 1, 1))
    cell = np.minimum(np.floor(place).astype(int), points - 4)
    u = place - cell
    pieces = (1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3
    weights = np.zeros((count, points))
    np.put_along_axis(weights, cell[:, None] + np.arange(4), np.stack(pieces, axis=1) / 6, axis=1)
    return weights
