"""Poisson blending: the gradients of one image continued from the values of another."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy import sparse
from scipy.sparse import linalg

from medaug.core.geometry import Box
from medaug.core.volume import Image, Mask

_SOLVER_TOLERANCE = 1e-5
_DIRECT_UNKNOWNS = 4000


def poisson(host: Image, donor: Image, region: Mask) -> Image:
    """The donor's gradients continued from the host's values around the region (the guided interpolation of Perez et al.).

    Solves ``laplace(f) = laplace(donor)`` inside with ``f = host`` on the voxels around; at the edge of the patch, where
    there is no host, the gradient across it is that of the donor.

    Returns:
        (C, I, J, K) float32; outside the region, the host.
    """
    if not region.any() or region.all():
        return donor.copy() if region.any() else host.copy()
    near = Box.around(region, (1, 1, 1)).slices
    joined = host.copy()
    inner = (slice(None), *near)
    joined[inner] = _solve(host[inner], donor[inner], region[near])
    return joined


def _solve(host: Image, donor: Image, region: Mask) -> Image:
    """The difference f - donor is harmonic inside and equals host - donor outside: one matrix for all channels."""
    number = np.full(region.shape, -1)
    number[region] = np.arange(int(region.sum()))
    degree = np.zeros(int(region.sum()))
    fixed = np.zeros((len(host), int(region.sum())))
    gap = host.astype(np.float64) - donor
    rows, columns = [], []
    for axis in range(3):
        low: list[slice] = [slice(None)] * 3
        high: list[slice] = [slice(None)] * 3
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        for here, there in ((tuple(low), tuple(high)), (tuple(high), tuple(low))):
            is_inside, is_next_inside = region[here], region[there]
            degree[number[here][is_inside]] += 1
            pair = is_inside & is_next_inside
            rows.append(number[here][pair])
            columns.append(number[there][pair])
            edge = is_inside & ~is_next_inside
            fixed[:, number[here][edge]] += gap[(slice(None), *there)][:, edge]
    row, column = np.concatenate(rows), np.concatenate(columns)
    matrix = sparse.coo_matrix((-np.ones(len(row)), (row, column)), shape=(len(degree), len(degree)))
    solved = np.stack([_solve_one((matrix + sparse.diags(degree)).tocsr(), right) for right in fixed])
    joined = host.copy()
    joined[:, region] = (donor[:, region] + solved).astype(np.float32)
    return joined


def _solve_one(matrix: sparse.csr_matrix, right: Float[np.ndarray, "N"]) -> Float[np.ndarray, "N"]:
    """Directly where that is quick, else by conjugate gradients: the matrix is symmetric and positive."""
    if len(right) <= _DIRECT_UNKNOWNS:
        return np.asarray(linalg.spsolve(matrix.tocsc(), right))
    solved, _ = linalg.cg(matrix, right, rtol=_SOLVER_TOLERANCE, maxiter=500)
    return np.asarray(solved)
