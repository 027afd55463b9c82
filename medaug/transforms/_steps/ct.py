"""What CT and PET scanners do to an image: calibration, quantum noise, metal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, Self, final

import numpy as np
import torch
from pydantic import Field

from medaug.transforms._steps.filters import blurred, gaussian_weights
from medaug.transforms._steps.grey import column, extremes, white_noise
from medaug.transforms._steps.step import Facts, GreyStep, Images

# The scheme of CT (medaug.core.intensity): 0 at -400 HU, 500 HU a normalised unit
_HU_PER_UNIT, _WATER = 500.0, 400.0 / 500.0


@final
class WindowJitter(GreyStep):
    """Shift and stretch the Hounsfield scale about water, as calibrations differ; 1 = by up to 15 HU and 2%."""

    rank = 1
    kind: Literal["window_jitter"] = "window_jitter"
    level_hu: float
    stretch: float = Field(gt=0)

    @classmethod
    def draw(cls, magnitude: float, rng: np.random.Generator, facts: Facts) -> Self:
        """Both uniform within the limits."""
        level, width = rng.uniform(-magnitude, magnitude, 2)
        return cls(level_hu=float(15 * level), stretch=float(1 + 0.02 * width))

    @property
    def is_identity(self) -> bool:
        """Neither shift nor stretch."""
        return self.level_hu == 0 and self.stretch == 1

    @classmethod
    def apply(cls, images: Images, steps: Sequence[Self], facts: Sequence[Facts]) -> Images:
        """``water + (x - water) * stretch + level``."""
        stretch = column([step.stretch for step in steps], images)
        level = column([step.level_hu / _HU_PER_UNIT for step in steps], images)
        return torch.addcmul(_WATER * (1 - stretch) + level, images, stretch)


@final
class LowDoseNoise(GreyStep):
    """Noise of fewer photons, grainy as a reconstruction leaves it; 1 = a standard deviation of 40 HU.

    White noise less its own blur in-plane, the high-pass texture of filtered back-projection, scaled to the wanted deviation.
    """

    rank = 5
    kind: Literal["low_dose_noise"] = "low_dose_noise"
    sigma_hu: float = Field(ge=0)
    grain_voxels: float = Field(gt=0, description="width of the blur that is taken away")
    seed: int = Field(ge=0)

    @classmethod
    def draw(cls, magnitude: float, rng: np.random.Generator, facts: Facts) -> Self:
        """Uniform up to the limit; grains from 1 to 2.5 voxels."""
        sigma, grain = float(rng.uniform(0, 40 * magnitude)), float(rng.uniform(1.0, 2.5))
        return cls(sigma_hu=sigma, grain_voxels=grain, seed=int(rng.integers(1 << 62)))

    @property
    def is_identity(self) -> bool:
        """No noise."""
        return self.sigma_hu == 0

    @classmethod
    def apply(cls, images: Images, steps: Sequence[Self], facts: Sequence[Facts]) -> Images:
        """``x + sigma * grain(noise)``."""
        noise = white_noise(images, [step.seed for step in steps])
        grains = [step.grain_voxels for step in steps]
        grain = noise.sub_(blurred(noise, [grains, grains, *([[0.0] * len(steps)] * (images.dim() - 4))]))
        # the share of its variance that white noise keeps: one less what a Gaussian of that width passes, twice
        kept = [math.sqrt(max(1 - _passed(step.grain_voxels), 1e-6)) for step in steps]
        factors = [step.sigma_hu / _HU_PER_UNIT / share for step, share in zip(steps, kept, strict=True)]
        return grain.mul_(column(factors, images)).add_(images)


def _passed(sigma: float) -> float:
    """Share of the variance that white noise loses when its 2D Gaussian blur is taken away."""
    (weights,) = gaussian_weights([sigma])
    return float(2 * weights.max() ** 2 - (weights**2).sum() ** 2)


@final
class Streaks(GreyStep):
    """Streaks from a bright object, as metal makes them; 1 = of up to 150 HU beside it, fading with the distance."""

    rank = 4
    kind: Literal["streaks"] = "streaks"
    place: tuple[float, float] = Field(description="of the object, as shares of the patch; may lie outside")
    angles_deg: tuple[float, ...]
    heights_hu: tuple[float, ...] = Field(description="of each streak beside the object; below 0 darkens")
    width_deg: float = Field(gt=0)

    @classmethod
    def draw(cls, magnitude: float, rng: np.random.Generator, facts: Facts) -> Self:
        """Four to twelve streaks of either sign."""
        count = int(rng.integers(4, 13))
        heights = rng.uniform(-150 * magnitude, 150 * magnitude, count)
        at = rng.uniform(-0.2, 1.2, 2)
        return cls(
            place=(float(at[0]), float(at[1])),
            angles_deg=tuple(float(angle) for angle in rng.uniform(0, 180, count)),
            heights_hu=tuple(float(height) for height in heights),
            width_deg=float(rng.uniform(1.0, 4.0)),
        )

    @property
    def is_identity(self) -> bool:
        """No streak has a height."""
        return not any(self.heights_hu)

    def field(self, shape: tuple[int, ...], spacing_mm: tuple[float, ...]) -> np.ndarray:
        """(I, J) normalised units: each streak a ridge through the object, a Gaussian of the angle to it."""
        i, j = (
            ((np.arange(n) + 0.5) / n - at) * n * s
            for n, s, at in zip(shape[:2], spacing_mm[:2], self.place, strict=True)
        )
        radius = np.hypot(i[:, None], j[None, :])
        angle = np.degrees(np.arctan2(j[None, :], i[:, None]))
        reach = 0.25 * max(n * s for n, s in zip(shape[:2], spacing_mm[:2], strict=True))
        field = np.zeros(shape[:2])
        for at, height in zip(self.angles_deg, self.heights_hu, strict=True):
            off = (angle - at + 90) % 180 - 90
            field += height / _HU_PER_UNIT * np.exp(-0.5 * (off / self.width_deg) ** 2)
        return field / (1 + radius / reach)

    @classmethod
    def apply(cls, images: Images, steps: Sequence[Self], facts: Sequence[Facts]) -> Images:
        """The same field on every slice."""
        shape = tuple(images.shape[2:])
        fields = np.stack(
            [step.field(shape, fact.spacing_mm) for step, fact in zip(steps, facts, strict=True)]
        )
        added = torch.from_numpy(fields).to(images).unsqueeze(1)
        return images + added.view(*added.shape, *([1] * (len(shape) - 2)))


@final
class PoissonNoise(GreyStep):
    """Noise of counted photons, from the channel's minimum up; 1 = 20 counts at the channel's maximum."""

    rank = 5
    kind: Literal["poisson_noise"] = "poisson_noise"
    counts: float = Field(ge=0, description="at the channel's maximum; 0 is no noise")
    seed: int = Field(ge=0)

    @classmethod
    def draw(cls, magnitude: float, rng: np.random.Generator, facts: Facts) -> Self:
        """Relative noise uniform up to the limit: the counts are its inverse square."""
        relative = float(rng.uniform(0, magnitude / math.sqrt(20)))
        return cls(counts=1 / relative**2 if relative > 1e-3 else 0.0, seed=int(rng.integers(1 << 62)))

    @property
    def is_identity(self) -> bool:
        """No noise."""
        return self.counts == 0

    @classmethod
    def apply(cls, images: Images, steps: Sequence[Self], facts: Sequence[Facts]) -> Images:
        """Counts in place of their expectation; the gradient is that of the identity."""
        low, high = extremes(images.detach())
        per_unit = column([step.counts for step in steps], images) / torch.where(
            high > low, high - low, torch.ones_like(low)
        )
        expected = ((images - low) * per_unit).detach().clamp_(min=0)
        counted = torch.stack(
            [
                torch.poisson(one, generator=torch.Generator(images.device).manual_seed(step.seed))
                for one, step in zip(expected, steps, strict=True)
            ]
        )
        return images + (counted - expected) / per_unit
