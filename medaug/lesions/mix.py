"""Mixing two patches: which region comes from the donor, and how it is joined to the host; labels follow the region.

CutMix (Yun et al., ICCV 2019), CarveMix (Zhang et al., MICCAI 2021), copy-paste (Ghiasi et al., CVPR 2021) and MixUp (Zhang
et al., ICLR 2018). The one implementation: training transforms and generators both call it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from jaxtyping import Float64
from scipy import ndimage

from medaug.core.errors import GeometryError
from medaug.core.geometry import NEIGHBOURS_4, NEIGHBOURS_26, Box
from medaug.core.volume import Image, Labels, Mask
from medaug.lesions.blend import Feather, blend
from medaug.lesions.poisson import poisson

Joint = Literal["hard", "feather", "poisson"]
Channels = Float64[np.ndarray, "C 1 1 1"]

_PASTE_MARGIN = 2  # voxels in plane that come with a lesion, and that are left around the host's own
_RING = 4
_LIKE_SHARE = 0.85
_SLACK = 0.5
_TRIES = 24


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
    box = Box.around(lesion)
    # a frame of background lets distances be taken in a patch that the lesion fills
    inside = ndimage.distance_transform_edt(np.pad(lesion[box.slices], 1), sampling=spacing_mm)
    depth = float(inside.max())
    low, high = (-depth / 2, 0.0) if rng.random() < 0.5 else (0.0, depth)
    threshold = rng.uniform(low, high)
    carved = np.zeros_like(lesion)
    if threshold < 0:
        carved[box.slices] = inside[1:-1, 1:-1, 1:-1] >= -threshold
        return carved
    i, j, k = (math.ceil(threshold / mm) for mm in spacing_mm)
    near = box.grown((i, j, k)).clipped(lesion.shape).slices
    carved[near] = ndimage.distance_transform_edt(~lesion[near], sampling=spacing_mm) <= threshold
    return carved


def pasted_region(labels: Labels, rng: np.random.Generator) -> Mask | None:
    """One lesion of a donor with a margin in plane; None where it has none that the patch does not cut off.

    Args:
        labels: (I, J, K) ids of the donor.
        rng: Chooses the lesion.
    """
    if not labels.any():
        return None
    near = Box.around(labels > 0, (_PASTE_MARGIN, _PASTE_MARGIN, 0)).slices
    parts, _ = ndimage.label(labels[near] > 0, NEIGHBOURS_26)
    whole = []
    for number, spans in enumerate(ndimage.find_objects(parts), start=1):
        places = zip(spans, near, labels.shape, strict=True)
        room = [n == 1 or (s.start + at.start > 0 and s.stop + at.start < n) for s, at, n in places]
        whole += [number] if all(room) else []
    if not whole:
        return None
    lesion = parts == whole[int(rng.integers(len(whole)))]
    region = np.zeros(labels.shape, dtype=bool)
    region[near] = ndimage.binary_dilation(lesion, NEIGHBOURS_4, iterations=_PASTE_MARGIN)
    return region


def like_place(
    host: Mixture, donor: Mixture, region: Mask, rng: np.random.Generator
) -> tuple[int, int, int] | None:
    """By how many voxels to move a region of the donor so that it lies in like tissue of the host, clear of its lesions.

    Tissue is alike where the smoothed grey values are those of the ring around the region; nearly all of the region has to
    lie in such tissue. A random few of the places whose middle is alike are looked at.

    Args:
        host: Where it is to go.
        donor: Where it comes from; on a grid of the same shape.
        region: (I, J, K) bool, not empty.
        rng: Chooses the place.

    Returns:
        The shift along I, J, K; None where no place was found.
    """
    box = Box.around(region)
    limits = _ring_limits(donor, region, box)
    if limits is None:
        return None
    low, high = limits
    middle = tuple(n // 2 for n in box.shape)
    room = tuple(n - size + 1 for n, size in zip(region.shape, box.shape, strict=True))
    middles = tuple(slice(m, m + n) for m, n in zip(middle, room, strict=True))
    is_alike = (
        (host.image[(slice(None), *middles)] >= low) & (host.image[(slice(None), *middles)] <= high)
    ).all(axis=0)
    starts = np.flatnonzero(is_alike & (host.labels[middles] == 0))
    kernel = region[box.slices]
    for chosen in rng.permutation(len(starts))[:_TRIES]:
        start = np.unravel_index(int(starts[chosen]), room)
        i, j, k = (int(place) for place in start)
        there = Box((i, j, k), (i + box.shape[0], j + box.shape[1], k + box.shape[2]))
        if _fits(host, there, kernel, (low, high)):
            return i - box.start[0], j - box.start[1], k - box.start[2]
    return None


def _ring_limits(donor: Mixture, region: Mask, box: Box) -> tuple[Channels, Channels] | None:
    """Smallest and largest smoothed value of the tissue around a region, a channel each; None where nothing is around."""
    near = box.grown((_RING, _RING, 0)).clipped(region.shape).slices
    outer = ndimage.binary_dilation(region[near], NEIGHBOURS_4, iterations=_RING)
    ring = outer & ~region[near] & (donor.labels[near] == 0)
    if not ring.any():
        return None
    values = _smoothed(donor.image[(slice(None), *near)])[:, ring]
    low, middle, high = np.percentile(values, (10, 50, 90), axis=1).reshape(3, -1, 1, 1, 1)
    # each side opens by its own spread: bright vessels beside a lesion in the lung do not open it to the air outside
    return low - _SLACK * (middle - low) - 1e-3, high + _SLACK * (high - middle) + 1e-3


def _fits(host: Mixture, there: Box, kernel: Mask, limits: tuple[Channels, Channels]) -> bool:
    """Whether a region of that form lies in like tissue there, and clear of the host's lesions."""
    around = there.grown((_PASTE_MARGIN, _PASTE_MARGIN, 0)).clipped(host.labels.shape)
    near = around.slices
    form = np.zeros(around.shape, dtype=bool)
    form[there.index_in(around)] = kernel
    if host.labels[near][ndimage.binary_dilation(form, NEIGHBOURS_4, iterations=_PASTE_MARGIN)].any():
        return False
    smooth = _smoothed(host.image[(slice(None), *near)])
    alike = np.asarray(((smooth >= limits[0]) & (smooth <= limits[1])).all(axis=0))
    return bool(alike[form].mean() >= _LIKE_SHARE)


def _smoothed(image: Image) -> Image:
    """Without grain, slice by slice."""
    return np.asarray(ndimage.gaussian_filter(image, (0.0, 1.0, 1.0, 0.0)))


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


def mix_share(alpha: float, rng: np.random.Generator) -> float:
    """The host's share under MixUp: Beta distributed, and the larger of the two, so that the host stays what it is."""
    share = float(rng.beta(alpha, alpha))
    return max(share, 1 - share)
