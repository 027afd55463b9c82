"""The coarse lesion: the first draft in the lesion's place, which the network refines.

The zone (the lesion and a few voxels around it) is first filled smoothly from the tissue around it, then the
figures of a real lesion of the class (level, edge, and noise in three bands) are drawn into the mask with noise. Nobody's
voxels are pasted; the network has to make the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from medaug.generators._patches.layers import zone_mean

LEVEL, CONTRAST, EDGE, SPREAD, KNOT, GRAIN, NOISE = range(7)

Anchor = Literal["level", "contrast"]
_ZONE = 3.0  # in-plane voxels outside the mask that are emptied and drawn anew
_NOISE_LIMIT = 4.0
_REMIX = 0.3  # share of a texture's variance that is drawn anew, so that one texture gives many lesions
_STRETCH = 1.2  # a texture is made livelier or calmer at most so much
_FEATHER, _INSIDE = 2.0, 1.0  # where the blend into the host ends outside the mask, and is whole inside it


def feather(distance: Float[Tensor, "B 1 *S"]) -> Float[Tensor, "B 1 *S"]:
    """How much of the lesion each voxel gets when it is blended into the host; as ``medaug.lesions.blend`` does."""
    return ((distance + _FEATHER) / (_FEATHER + _INSIDE)).clamp(0, 1)


def zone_of(distance: Float[Tensor, "B 1 *S"]) -> Float[Tensor, "B 1 *S"]:
    """1 in the lesion and three voxels around it: what the network does not see, and draws anew."""
    return (distance > -_ZONE).to(distance.dtype)


def fill(image: Float[Tensor, "B C *S"], zone: Float[Tensor, "B 1 *S"]) -> Float[Tensor, "B C *S"]:
    """The image with its zone (1 inside) filled smoothly from what is around it, by pull and push.

    Gortler et al., The Lumigraph (SIGGRAPH 1996), section 3.3: average down until every place knows a value,
    then interpolate up where there is none.
    """
    known = 1 - zone
    shape = image.shape[2:]
    if min(shape) <= 2 or max(shape) <= 4:
        mean = (image * known).flatten(2).sum(2) / (known.flatten(2).sum(2) + 1e-6)
        flat = mean.reshape(*mean.shape, *(1,) * len(shape))
        return image * known + zone * flat
    half = [max(2, n // 2) if n > 4 else n for n in shape]
    weight = functional.interpolate(known, size=half, mode="area")
    down = functional.interpolate(image * known, size=half, mode="area") / (weight + 1e-6)
    lower = fill(down, (weight < 1e-3).to(image.dtype))
    mode = "bilinear" if len(shape) == 2 else "trilinear"
    return image * known + zone * functional.interpolate(lower, size=shape, mode=mode, align_corners=False)


def smooth(image: Float[Tensor, "B C *S"], reach: int = 1) -> Float[Tensor, "B C *S"]:
    """Weighted mean (1, 2, 1) of voxels ``reach`` apart along every axis; edges repeated."""
    for axis in range(2, image.ndim):
        n = image.shape[axis]
        step = min(reach, n)
        before = image.narrow(axis, 0, 1).expand(*(step if a == axis else -1 for a in range(image.ndim)))
        after = image.narrow(axis, n - 1, 1).expand(*(step if a == axis else -1 for a in range(image.ndim)))
        padded = torch.cat([before, image, after], dim=axis)
        image = (padded.narrow(axis, 0, n) + 2 * image + padded.narrow(axis, 2 * step, n)) / 4
    return image


def bands(
    image: Float[Tensor, "B C *S"], mask: Float[Tensor, "B 1 *S"]
) -> tuple[Float[Tensor, "B C *S"], Float[Tensor, "B C *S"], Float[Tensor, "B C *S"]]:
    """Broad, middle and fine parts of an image inside a mask; what lies outside it does not leak in.

    The three add up to the image. A weighted mean whose weights are 0 outside the mask (normalised convolution,
    Knutsson and Westin, CVPR 1993) makes each coarser part.
    """
    first = smooth(image * mask) / (smooth(mask) + 1e-3)
    second = smooth(first * mask, 2) / (smooth(mask, 2) + 1e-3)
    return second, first - second, image - first


def energies(image: Float[Tensor, "B C *S"], distance: Float[Tensor, "B 1 *S"]) -> Float[Tensor, "B C 3"]:
    """Deviation of the broad, the middle and the fine part over the lesion, with the edge slope taken out."""
    mask = (distance > 0).to(image.dtype)
    shape = profile(distance)
    centred = image - _flat(zone_mean(image, mask), image)
    rest = centred - _flat(_slope(centred, shape, mask), image) * shape
    parts = bands(rest, mask)
    return torch.stack([(zone_mean(part**2, mask) + 1e-6).sqrt() for part in parts], dim=-1)


def lesion_figures(
    image: Float[Tensor, "B C *S"], filled: Float[Tensor, "B C *S"], distance: Float[Tensor, "B 1 *S"]
) -> Float[Tensor, "B C 7"]:
    """Level, contrast to the filled tissue, edge slope, spread, knots and grain of each lesion, noise of its scan.

    All in normalised units. The edge slope is the deviation that a regression on :func:`profile` explains; spread, knots and grain are the
    :func:`energies` of the broad, middle and fine rest.
    """
    mask = (distance > 0).to(image.dtype)
    level = zone_mean(image, mask)
    contrast = level - zone_mean(filled, mask)
    shape = profile(distance)
    edge = _slope(image - _flat(level, image), shape, mask) * zone_mean(shape**2, mask).sqrt()
    own = torch.stack([level, contrast, edge], dim=-1)
    return torch.cat([own, energies(image, distance), scan_noise(image, distance)[..., None]], dim=-1)


def scan_noise(image: Float[Tensor, "B C *S"], distance: Float[Tensor, "B 1 *S"]) -> Float[Tensor, "B C"]:
    """Deviation of the fine part of the tissue around a lesion, robust against vessels and edges in it."""
    fine = (image - smooth(image)).abs()
    outside = torch.where(zone_of(distance) > 0, torch.full_like(fine, torch.nan), fine)
    middle = outside.flatten(2).nanmedian(dim=2).values
    return torch.nan_to_num(middle) / 0.6745 + 1e-3


def at_noise(figures: Float[Tensor, "B C 7"], noise: Float[Tensor, "B C"]) -> Float[Tensor, "B C 7"]:
    """The figures of lesions as another scan would show them: knots and grain grow with its noise, within limits."""
    ratio = (noise / figures[..., NOISE]).clamp(1 / _NOISE_LIMIT, _NOISE_LIMIT)
    scaled = [figures[..., KNOT] * ratio.sqrt(), figures[..., GRAIN] * ratio, noise]
    return torch.cat([figures[..., :KNOT], torch.stack(scaled, dim=-1)], dim=-1)


def soft_cumulative(
    image: Float[Tensor, "B C *S"], mask: Float[Tensor, "B 1 *S"], edges: Float[Tensor, "C E"]
) -> Float[Tensor, "B C E"]:
    """Share of the mask's voxels below each edge, with soft steps so that gradients flow.

    The mean absolute difference of two is the earth mover's distance in units of the edges' range.
    """
    width = (edges[:, 1:] - edges[:, :-1]).mean(dim=1).reshape(1, -1, *(1,) * (image.ndim - 2))
    levels = [edge.reshape(1, -1, *(1,) * (image.ndim - 2)) for edge in edges.unbind(1)]
    return torch.stack(
        [zone_mean(torch.sigmoid(2 * (level - image) / width), mask) for level in levels], dim=-1
    )


def profile(distance: Float[Tensor, "B 1 *S"]) -> Float[Tensor, "B 1 *S"]:
    """How far inside the lesion a voxel is, squeezed, with zero mean over the lesion."""
    depth = torch.tanh(distance.clamp(min=0) / 3)
    mask = (distance > 0).to(distance.dtype)
    return depth - _flat(zone_mean(depth, mask), depth)


@final
@dataclass(frozen=True, slots=True)
class CoarseInput:
    """What the coarse lesion of each frame is made of.

    Attributes:
        figures: (B, C, 7) of :func:`lesion_figures`, from a real lesion of the class.
        anchor: Whether the level or the contrast to the surroundings is kept.
        fine: (B, C, *S) standard normal, white.
        broad: (B, C, *T) standard normal, of any smaller size; interpolated.
        texture: (B, C, *S) a real lesion's voxels to use with figures and noise, or None: they are brought to the
            level and liveliness of the figures, and remixed with the noise.
        covered: (B, 1, *S) 1 where the texture is of the lesion; elsewhere figures and noise stand in for it.
    """

    figures: Tensor
    anchor: Anchor
    fine: Tensor
    broad: Tensor
    texture: Tensor | None = None
    covered: Tensor | None = None


def draw_coarse(
    filled: Float[Tensor, "B C *S"], distance: Float[Tensor, "B 1 *S"], source: CoarseInput
) -> Float[Tensor, "B C *S"]:
    """The patch whose zone was emptied by :func:`fill`, with the coarse lesion drawn into it."""
    mask = (distance > 0).to(filled.dtype)
    level = _flat(source.figures[..., LEVEL], filled)
    if source.anchor == "contrast":
        level = _flat(zone_mean(filled, mask) + source.figures[..., CONTRAST], filled)
    change = _drawn(filled, distance, source)
    if source.texture is not None and source.covered is not None:
        remixed = (1 - _REMIX) ** 0.5 * _livened(source) + _REMIX**0.5 * change
        change = torch.where(source.covered > 0, remixed, change)
    return filled + zone_of(distance) * torch.sigmoid(3 * distance) * (level + change - filled)


def _livened(source: CoarseInput) -> Tensor:
    """The texture about its mean, as lively as the figures say, within limits."""
    texture, covered = source.texture, source.covered
    if texture is None or covered is None:
        raise ValueError("no texture")
    centred = texture - _flat(zone_mean(texture, covered), texture)
    own = (zone_mean(centred**2, covered) + 1e-6).sqrt()
    wanted = source.figures[..., EDGE:NOISE].square().sum(dim=-1).sqrt()
    return centred * _flat((wanted / own).clamp(1 / _STRETCH, _STRETCH), texture)


def _drawn(filled: Tensor, distance: Tensor, source: CoarseInput) -> Tensor:
    """Edge slope, and noise in three bands, everywhere."""
    mask = (distance > 0).to(filled.dtype)
    edge, spread, knot, grain = (_flat(source.figures[..., n], filled) for n in (EDGE, SPREAD, KNOT, GRAIN))
    mode = "bilinear" if filled.ndim == 4 else "trilinear"
    broad = functional.interpolate(source.broad, size=filled.shape[2:], mode=mode, align_corners=False)
    broad = broad - _flat(zone_mean(broad, mask), broad)
    _, middle, fine = bands(source.fine, torch.ones_like(mask))
    noise = spread * _unit(broad, mask) + knot * _unit(middle, mask) + grain * _unit(fine, mask)
    return edge * _unit(profile(distance), mask) + noise


def _unit(noise: Tensor, mask: Tensor) -> Tensor:
    """Noise brought to unit deviation over the lesion."""
    return noise / _flat(zone_mean(noise**2, mask).sqrt() + 0.05, noise)


def _slope(centred: Tensor, shape: Tensor, mask: Tensor) -> Tensor:
    """Regression of an image on a profile of zero mean, over the lesion."""
    return zone_mean(centred * shape, mask) / (zone_mean(shape * shape, mask) + 1e-3)


def _flat(figure: Tensor, like: Tensor) -> Tensor:
    return figure.reshape(*figure.shape, *(1,) * (like.ndim - 2))
