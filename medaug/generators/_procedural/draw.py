"""Drawing a hand-crafted lesion into a host patch from its figures."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from medaug.core.volume import Image, Mask
from medaug.generators._procedural.figures import CORE, HALO, LEVEL, PROFILE, RIM, depth_profile
from medaug.generators._procedural.region import REACH, Region
from medaug.lesions.harmonise import fine_part, robust_deviation

_HALVES = (0.25, 0.75)  # middles of rim and core
_MOST_HALO = 0.8
_SOFT_HALO = 0.25  # what a point spread leaves one voxel outside
_BROAD = 3.0
_POINT_SPREAD = 0.7  # in-plane voxels
_NOISE_LIMIT = 2.5
_OCCUPIED = 3.0  # deviations from the tissue around from which on a zone is emptied first


def draw_lesion(
    host: Image,
    region: Region,
    figures: Float[np.ndarray, "C 9"],
    texture: Float[np.ndarray, "C I J K"],
) -> tuple[Image, Mask]:
    """The window of a host with a lesion in it.

    Inside, the signal is level + profile(depth) + power(depth) * texture, blurred in plane as by a scanner's point spread,
    and mixed with the host by the blurred mask, the more the softer the edge is by its halo; its mean is then brought
    back to the level. Outside, at distance d in voxels, the outline's value has the share ``halo ** d``, up to 3 voxels.
    The fine noise of the host stays everywhere.
    A zone that the host fills with something else than the tissue around it (a lesion of another class) is emptied first.

    Args:
        host: (C, I, J, K) the window, normalised units.
        region: The lesion's.
        figures: Of the lesion; ``level`` no longer anchored.
        texture: Of zero mean and unit deviation over the lesion, see :func:`texture_field`.

    Returns:
        The window, and where it was changed.
    """
    grain = _grain(host, region)
    base = _emptied(host, region, grain)
    profile = depth_profile(figures[:, PROFILE], region.depth)
    profile -= profile[:, region.mask].mean(axis=1)[:, None, None, None]
    level = _flat(figures[:, LEVEL])
    power = np.exp([np.interp(region.depth, _HALVES, row) for row in figures[:, [RIM, CORE]]])
    outline = level + profile[:, region.mask][:, np.argmin(region.depth[region.mask])][:, None, None, None]
    signal = _blurred(np.where(region.mask, level + profile + power * texture, outline))
    halo = _flat(np.clip(figures[:, HALO], 0.0, _MOST_HALO))
    softness = np.minimum(halo / _SOFT_HALO, 1.0)
    inside = 1.0 - softness * (1.0 - _blurred(region.mask[None].astype(np.float64)))
    share = np.where(region.mask, inside, np.where(region.outside <= REACH, halo**region.outside, 0.0))
    drawn = base + share * (signal + grain - base)
    missing = level[:, 0, 0, 0] - (drawn - grain)[:, region.mask].mean(axis=1)
    weight = share[:, region.mask].mean(axis=1)
    return (drawn + share * _flat(missing / weight)).astype(np.float32), region.outside <= REACH


def _blurred(image: Float[np.ndarray, "C I J K"]) -> Float[np.ndarray, "C I J K"]:
    return np.asarray(ndimage.gaussian_filter(image, (0.0, _POINT_SPREAD, _POINT_SPREAD, 0.0), truncate=3.0))


def texture_field(
    region: Region,
    grain_mm: Float[np.ndarray, " C"],
    spacing_mm: tuple[float, float, float],
    white: Float[np.ndarray, "C I J K"],
) -> Float[np.ndarray, "C I J K"]:
    """White noise brought to a grain in mm, and to zero mean and unit deviation over the lesion, a channel each.

    Half of the variance has three times the grain where the lesion is wide enough for it: large lesions are mottled on
    more than one scale.
    """
    field = np.empty_like(white)
    wide_mm = 2.0 * float(region.inside_mm)
    for channel, grain, noise in zip(field, grain_mm, white, strict=True):
        ndimage.gaussian_filter(noise, _sigma(noise, grain, spacing_mm), output=channel, truncate=3.0)
        if 2.0 * _BROAD * grain <= wide_mm:
            broad = ndimage.gaussian_filter(
                noise[::-1, ::-1], _sigma(noise, _BROAD * grain, spacing_mm), truncate=3.0
            )
            channel[:] = channel / (channel.std() + 1e-9) + broad / (broad.std() + 1e-9)
    inside = field[:, region.mask]
    if inside.shape[1] < 3:
        return np.zeros_like(field)
    return np.asarray((field - _flat(inside.mean(axis=1))) / _flat(inside.std(axis=1) + 1e-9))


def _sigma(noise: np.ndarray, grain_mm: float, spacing_mm: tuple[float, float, float]) -> list[float]:
    return [0.0 if n == 1 else grain_mm / mm for n, mm in zip(noise.shape, spacing_mm, strict=True)]


def _grain(host: Image, region: Region) -> Image:
    """The fine noise of the host, cut where it is more than noise."""
    fine = fine_part(host)
    limit = _flat(_NOISE_LIMIT * robust_deviation(fine[:, region.ring]))
    return np.asarray(np.clip(fine, -limit, limit))


def _emptied(host: Image, region: Region, grain: Image) -> Image:
    """The host, its zone filled from around it where it is not of the tissue there."""
    ring = host[:, region.ring]
    low, middle, high = np.percentile(ring, (25.0, 50.0, 75.0), axis=1)
    strange = (
        np.abs(np.median(host[:, region.mask], axis=1) - middle) > _OCCUPIED * (high - low) / 1.35 + 0.05
    )
    if not strange.any():
        return host
    known = (region.outside > REACH).astype(np.float32)
    size = [1, *(2 * n // 3 + 1 for n in host.shape[1:3]), 1]
    weight = ndimage.uniform_filter(known, size[1:])
    sums = ndimage.uniform_filter(host * known, size)
    filled = np.where(weight > 1e-3, sums / np.maximum(weight, 1e-3), _flat(middle))
    return np.where(region.outside <= REACH, filled + grain, host)


def _flat(values: Float[np.ndarray, " C"]) -> Float[np.ndarray, "C 1 1 1"]:
    return np.asarray(values).reshape(-1, 1, 1, 1)
