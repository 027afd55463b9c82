"""Mixing two patches: which region comes from the donor, and how it is joined to the host; labels follow the region.

CutMix (Yun et al., ICCV 2019), CarveMix (Zhang et al., MICCAI 2021), copy-paste (Ghiasi et al., CVPR 2021) and MixUp (Zhang
et al., ICLR 2018). The one implementation: training transforms and generators both call it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from jaxtyping import Float, Float32
from scipy import ndimage, sparse
from scipy.sparse import linalg

from medaug.core.errors import GeometryError
from medaug.core.geometry import Box
from medaug.core.volume import Image, Labels, Mask
from medaug.lesions.blend import Feather, blend

Joint = Literal["hard", "feather", "poisson"]

_SOLVER_TOLERANCE = 1e-5
_DIRECT_UNKNOWNS = 4000


@final
@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """Two patches become one.

    Attributes:
        image: (C, I, J, K) float32.
        labels: (I, J, K) ids: the donor's inside the region, the host's outside.
    """

    image: Image
    labels: Labels


def cut_region(shape: tuple[int, int, int], rng: np.random.Generator, *, share: float | None = None) -> Mask:
    """The box of CutMix: its middle anywhere, its size a share of the patch, cut off at the border.

    Args:
        shape: Of the patch; an axis of one voxel is not cut.
        rng: Draws place and, where it is not given, share.
        share: Volume of the uncut box over that of the patch; None draws it uniformly (a Beta(1, 1), as in the paper).

    Returns:
        (I, J, K) bool.
    """
    wanted = float(rng.random()) if share is None else share
    cut_axes = [axis for axis, n in enumerate(shape) if n > 1]
    side = wanted ** (1 / max(len(cut_axes), 1))
    region = np.zeros(shape, dtype=bool)
    spans = []
    for n in shape:
        half, middle = n * side / 2, rng.uniform(0, n)
        spans.append(
            slice(max(round(middle - half), 0), min(round(middle + half), n)) if n > 1 else slice(0, 1)
        )
    region[tuple(spans)] = True
    return region


def carve_region(lesion: Mask, spacing_mm: tuple[float, float, float], rng: np.random.Generator) -> Mask:
    """The region of CarveMix: the lesion shrunk or grown by a random distance, so its shape and surroundings vary.

    With the signed distance ``d`` (negative inside) and its deepest value ``m``, voxels with ``d <= t`` are carved, where
    ``t`` is uniform in ``[-|m| / 2, 0]`` or in ``[0, |m|]``, either with probability one half (equation 3 of the paper).

    Args:
        lesion: (I, J, K) bool, at least one voxel.
        spacing_mm: Of the patch: distances are in mm.
        rng: Draws the threshold.

    Raises:
        GeometryError: If the lesion is empty.
    """
    if not lesion.any():
        raise GeometryError("no lesion to carve", expected="at least one voxel")
    # a frame of background lets distances be taken in a patch that the lesion fills
    framed = np.pad(lesion, 1)
    inside = ndimage.distance_transform_edt(framed, sampling=spacing_mm)
    outside = ndimage.distance_transform_edt(~framed, sampling=spacing_mm)
    depth = float(inside.max())
    low, high = (-depth / 2, 0.0) if rng.random() < 0.5 else (0.0, depth)
    carved = (outside - inside) <= rng.uniform(low, high)
    return np.asarray(carved[1:-1, 1:-1, 1:-1])


def join(
    host: Mixture, donor: Mixture, region: Mask, joint: Joint = "hard", edge: Feather | None = None
) -> Mixture:
    """The host with the donor's image and labels inside a region; the host is not changed.

    Args:
        host: Where the region is put.
        donor: Where it comes from, on the same grid.
        region: (I, J, K) bool.
        joint: ``hard`` replaces the voxels; ``feather`` fades over the outline; ``poisson`` keeps the donor's gradients
            and the host's values around the region (Perez et al., SIGGRAPH 2003), so that brightness fits.
        edge: Of a feathered joint.

    Raises:
        GeometryError: If the shapes do not agree.
    """
    if host.image.shape != donor.image.shape or host.image.shape[1:] != region.shape:
        raise GeometryError(
            f"host {host.image.shape}, donor {donor.image.shape} and region {region.shape} do not agree"
        )
    labels = np.where(region, donor.labels, host.labels).astype(host.labels.dtype)
    if joint == "feather":
        return Mixture(blend(host.image, donor.image, region, edge or Feather())[0], labels)
    source = donor.image if joint == "hard" else poisson(host.image, donor.image, region)
    return Mixture(np.where(region, source, host.image), labels)


def poisson(host: Image, donor: Image, region: Mask) -> Image:
    """The donor's gradients continued from the host's values around the region (the guided interpolation of Perez et al.).

    Solves ``laplace(f) = laplace(donor)`` inside with ``f = host`` on the voxels around; at the edge of the patch, where
    there is no host, the gradient across it is that of the donor.

    Returns:
        (C, I, J, K) float32; outside the region, the host.
    """
    if not region.any() or region.all():
        return donor.copy() if region.any() else host.copy()
    part = Box.around(region)
    grown = Box(
        (part.start[0] - 1, part.start[1] - 1, part.start[2] - 1),
        (part.stop[0] + 1, part.stop[1] + 1, part.stop[2] + 1),
    ).clipped((region.shape[0], region.shape[1], region.shape[2]))
    joined = host.copy()
    inner = (slice(None), *grown.slices)
    joined[inner] = _solve(host[inner], donor[inner], region[grown.slices])
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


def mix_up(host: Image, donor: Image, share: float) -> Image:
    """``share * host + (1 - share) * donor``: MixUp's image; :func:`soft_labels` gives its labels."""
    return np.asarray(np.float32(share) * host + np.float32(1 - share) * donor)


def soft_labels(host: Labels, donor: Labels, share: float, classes: int) -> Float32[np.ndarray, "N I J K"]:
    """The share of each class at each voxel under MixUp, background first; sums to 1.

    Args:
        host: Ids 0 to ``classes``.
        donor: Ids 0 to ``classes``.
        share: Weight of the host.
        classes: Number of classes beside the background.
    """
    ids = np.arange(classes + 1).reshape(-1, 1, 1, 1)
    shares = np.float32(share) * (host == ids) + np.float32(1 - share) * (donor == ids)
    return np.asarray(shares, dtype=np.float32)
