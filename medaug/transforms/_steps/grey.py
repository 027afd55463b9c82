"""Steps of grey values that any modality bears: contrast, brightness, gamma and noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, Self, final

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from medaug.core.volume import Unit
from medaug.transforms._steps.step import Facts, GreyStep, Images

# Hounsfield units name the tissue: ground glass and solid differ by 600 HU, one normalised unit is 500 HU. What a grey
# value may change by is therefore a fifth of what it may in arbitrary units.
_HU_SHARE = 0.2


def strength(magnitude: float, facts: Facts) -> float:
    """The magnitude, or a fifth of it where grey values are Hounsfield units."""
    return magnitude * (_HU_SHARE if facts.unit is Unit.HU else 1.0)


def column(values: Sequence[float], images: Images) -> Float[Tensor, "B ..."]:
    """One number an image, shaped to multiply a batch."""
    numbers = torch.tensor(values, device=images.device, dtype=images.dtype)
    return numbers.view(-1, *([1] * (images.dim() - 1)))


def extremes(images: Images) -> tuple[Tensor, Tensor]:
    """Smallest and largest value of each channel, shaped to broadcast."""
    axes = tuple(range(2, images.dim()))
    return images.amin(axes, keepdim=True), images.amax(axes, keepdim=True)


def multiplied(own: Tensor, factor: Tensor) -> Tensor:
    """The product, written over the first factor where no gradient needs that."""
    return own * factor if own.requires_grad else own.mul_(factor)


@final
class Gamma(GreyStep):
    """Bend the grey scale between the channel's own extremes; 1 = exponents from 0.6 to 1.67, HU 0.9 to 1.1.

    ``((x - min) / (max - min)) ** exponent``, on the negative image where inverted.
    """

    rank = 1
    kind: Literal["gamma"] = "gamma"
    exponent: float = Field(gt=0)
    is_inverted: bool = False

    @classmethod
    def draw(cls, magnitude: float, rng: np.random.Generator, facts: Facts) -> Self:
        """Uniform in the logarithm; inverted every other time."""
        limit = math.log(1 / 0.6) * strength(magnitude, facts)
        return cls(exponent=math.exp(rng.uniform(-limit, limit)), is_inverted=bool(rng.random() < 0.5))

    @property
    def is_identity(self) -> bool:
        """An exponent of 1."""
        return self.exponent == 1

    @classmethod
    def apply(cls, images: Images, steps: Sequence[Self], facts: Sequence[Facts]) -> Images:
        """Power of the distance to the lower (inverted: upper) extreme; a constant channel stays as it is."""
        low, high = extremes(images)
        size = high - low
        safe = torch.where(size > 0, size, torch.ones_like(size))
        sign = column([-1.0 if step.is_inverted else 1.0 for step in steps], images)
        start = torch.where(sign > 0, low, high)
        # of 0 there is no logarithm, and no slope of its root
        share = (images - start).mul_(sign / safe).clamp_(torch.finfo(images.dtype).tiny, 1)
        bent = share.log_().mul_(column([step.exponent for step in steps], images)).exp_()
        return multiplied(bent, sign * size).add_(start)


@final
class Invert(GreyStep):
    """Mirror the grey scale of every channel between its extremes; at any magnitude above 0, every other time.

    For networks that shall follow shape alone (as between MR sequences); never drawn in Hounsfield units.
    """

    rank = 1
    kind: Literal["invert"] = "invert"
    is_on: bool = True

    @classmethod
    def draw(cls, magnitude: float, rng: np.random.Generator, facts: Facts) -> Self:
        """Heads or tails."""
        return cls(is_on=bool(rng.random() < 0.5) and magnitude > 0 and facts.unit is not Unit.HU)

    @property
    def is_identity(self) -> bool:
        """Not inverted."""
        return not self.is_on

    @classmethod
    def apply(cls, images: Images, steps: Sequence[Self], facts: Sequence[Facts]) -> Images:
        """``min + max - x``."""
        low, high = extremes(images)
        return (low + high) - images


@final
class Brightness(GreyStep):
    """Add a constant; 1 = by up to 0.3 normalised units, HU 0.06 (30 HU)."""

    rank = 1
    kind: Literal["brightness"] = "brightness"
    shift: float

    @classmethod
    def draw(cls, magnitude: float, rng: np.random.Generator, facts: Facts) -> Self:
        """Uniform within the limit."""
        limit = 0.3 * strength(magnitude, facts)
        return cls(shift=float(rng.uniform(-limit, limit)))

    @property
    def is_identity(self) -> bool:
        """No shift."""
        return self.shift == 0

    @classmethod
    def apply(cls, images: Images, steps: Sequence[Self], facts: Sequence[Facts]) -> Images:
        """One sum."""
        return images + column([step.shift for step in steps], images)


@final
class Contrast(GreyStep):
    """Stretch about the channel's mean; 1 = by up to 1.35, HU 1.06."""

    rank = 1
    kind: Literal["contrast"] = "contrast"
    factor: float = Field(gt=0)

    @classmethod
    def draw(cls, magnitude: float, rng: np.random.Generator, facts: Facts) -> Self:
        """Uniform in the logarithm."""
        limit = math.log(1.35) * strength(magnitude, facts)
        return cls(factor=math.exp(rng.uniform(-limit, limit)))

    @property
    def is_identity(self) -> bool:
        """A factor of 1."""
        return self.factor == 1

    @classmethod
    def apply(cls, images: Images, steps: Sequence[Self], facts: Sequence[Facts]) -> Images:
        """``mean + factor * (x - mean)``."""
        factor = column([step.factor for step in steps], images)
        mean = images.mean(tuple(range(2, images.dim())), keepdim=True)
        return torch.addcmul(mean * (1 - factor), images, factor)


@final
class GaussianNoise(GreyStep):
    """Add white noise; 1 = a standard deviation of 0.25 normalised units, HU 0.05 (25 HU)."""

    rank = 5
    kind: Literal["gaussian_noise"] = "gaussian_noise"
    sigma: float = Field(ge=0)
    seed: int = Field(ge=0)

    @classmethod
    def draw(cls, magnitude: float, rng: np.random.Generator, facts: Facts) -> Self:
        """Uniform up to the limit."""
        return cls(
            sigma=float(rng.uniform(0, 0.25 * strength(magnitude, facts))), seed=int(rng.integers(1 << 62))
        )

    @property
    def is_identity(self) -> bool:
        """No noise."""
        return self.sigma == 0

    @classmethod
    def apply(cls, images: Images, steps: Sequence[Self], facts: Sequence[Facts]) -> Images:
        """``x + sigma * noise``; each image from its own seed, whatever stands beside it in the batch."""
        noise = white_noise(images, [step.seed for step in steps], [step.sigma for step in steps])
        return noise.add_(images)


def white_noise(images: Images, seeds: Sequence[int], sigmas: Sequence[float] | None = None) -> Images:
    """Normal noise of the images' shape, each image from its own seed, of standard deviation 1 or its own one."""
    # one order in memory whatever that of the images: it is the order of drawing
    noise = torch.empty(images.shape, dtype=images.dtype, device=images.device)
    generator = torch.Generator(images.device)
    for one, seed, sigma in zip(noise, seeds, sigmas or [1.0] * len(seeds), strict=True):
        one.normal_(0, sigma, generator=generator.manual_seed(seed))
    return noise


@final
class MultiplicativeNoise(GreyStep):
    """Scale every voxel by its own factor, from the channel's minimum up; 1 = a standard deviation of 0.2, HU 0.04."""

    rank = 5
    kind: Literal["multiplicative_noise"] = "multiplicative_noise"
    sigma: float = Field(ge=0)
    seed: int = Field(ge=0)

    @classmethod
    def draw(cls, magnitude: float, rng: np.random.Generator, facts: Facts) -> Self:
        """Uniform up to the limit."""
        sigma = float(rng.uniform(0, 0.2 * strength(magnitude, facts)))
        return cls(sigma=sigma, seed=int(rng.integers(1 << 62)))

    @property
    def is_identity(self) -> bool:
        """No noise."""
        return self.sigma == 0

    @classmethod
    def apply(cls, images: Images, steps: Sequence[Self], facts: Sequence[Facts]) -> Images:
        """``low + (x - low) * (1 + sigma * noise)``."""
        low, _ = extremes(images)
        noise = white_noise(images, [step.seed for step in steps], [step.sigma for step in steps])
        return (images - low).mul_(noise).add_(images)


@final
class HistogramWarp(GreyStep):
    """Bend the grey scale by a rising curve through a few points; 1 = points move by up to 0.45 of their distance.

    Straight between the points and fixed at the channel's extremes, so the order of grey values is kept.
    """

    rank = 1
    kind: Literal["histogram_warp"] = "histogram_warp"
    shifts: tuple[float, ...] = Field(
        description="of the inner points, in distances between points, below 0.5 each"
    )

    @classmethod
    def draw(cls, magnitude: float, rng: np.random.Generator, facts: Facts) -> Self:
        """Four inner points, each uniform within the limit."""
        limit = 0.45 * strength(magnitude, facts)
        return cls(shifts=tuple(float(rng.uniform(-limit, limit)) for _ in range(4)))

    @property
    def is_identity(self) -> bool:
        """No point moves."""
        return not any(self.shifts)

    @classmethod
    def apply(cls, images: Images, steps: Sequence[Self], facts: Sequence[Facts]) -> Images:
        """Straight pieces between the points; curves of one length are read in one gather."""
        counts = {len(step.shifts) for step in steps}
        if len(counts) == 1:
            return _bent(images, [step.shifts for step in steps])
        changed = torch.empty_like(images)
        for count in sorted(counts):
            place = [n for n, step in enumerate(steps) if len(step.shifts) == count]
            changed[place] = _bent(images[place], [steps[n].shifts for n in place])
        return changed


def _bent(images: Images, shifts: Sequence[tuple[float, ...]]) -> Images:
    low, high = extremes(images)
    size = torch.where(high > low, high - low, torch.ones_like(low))
    cells = len(shifts[0]) + 1
    points = torch.tensor([(0.0, *row, 0.0) for row in shifts], device=images.device, dtype=images.dtype)
    heights = (torch.arange(cells + 1, device=images.device, dtype=images.dtype) + points) / cells
    place = (images - low) / size * cells
    cell = place.detach().floor().clamp_(0, cells - 1)
    index = cell.flatten(1).long()
    left = heights.gather(1, index).view_as(images)
    right = heights.gather(1, index + 1).view_as(images)
    return low + size * (left + (place - cell) * (right - left))
