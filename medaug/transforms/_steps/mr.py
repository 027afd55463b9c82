"""What MR scanners do to an image: uneven coils, noise of a magnitude image, and errors in k-space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, Self, final

import numpy as np
import torch
from jaxtyping import Complex, Float64
from pydantic import Field
from torch import Tensor

from medaug.engine.splines import smooth_field
from medaug.transforms._steps.filters import AxisMatrix, along_axes
from medaug.transforms._steps.grey import column, extremes, strength, white_noise
from medaug.transforms._steps.step import Facts, GreyStep, Images

_FIELD_POINTS = 5


@final
class BiasField(GreyStep):
    """Brighten and darken smoothly, from the channel's minimum up; 1 = factors from 0.6 to 1.67.

    The logarithm of the field is a cubic B-spline on a coarse lattice (as in N4, Tustison et al., IEEE TMI 29, 2010).
    """

    rank = 3
    kind: Literal["bias_field"] = "bias_field"
    strength: float = Field(ge=0, description="largest logarithm of the field at a control point")
    seed: int = Field(ge=0)

    @classmethod
    def draw(cls, magnitude: float, rng: np.random.Generator, facts: Facts) -> Self:
        """Uniform up to the limit."""
        limit = math.log(1 / 0.6) * strength(magnitude, facts)
        return cls(strength=float(rng.uniform(0, limit)), seed=int(rng.integers(1 << 62)))

    @property
    def is_identity(self) -> bool:
        """A flat field."""
        return self.strength == 0

    def control(self, dims: int) -> Float64[np.ndarray, "*M"]:
        """Logarithm of the field at the control points."""
        rng = np.random.default_rng(self.seed)
        return rng.uniform(-self.strength, self.strength, (_FIELD_POINTS,) * dims)

    @classmethod
    def apply(cls, images: Images, steps: Sequence[Self], facts: Sequence[Facts]) -> Images:
        """``low + (x - low) * exp(field)``, one field for all channels."""
        low, _ = extremes(images)
        control = np.stack([step.control(images.dim() - 2) for step in steps])
        field = smooth_field(torch.from_numpy(control).to(images), tuple(images.shape[2:]))
        return (images - low).mul_(field.exp_().unsqueeze(1)).add_(low)


@final
class RicianNoise(GreyStep):
    """Noise of a magnitude image (Gudbjartsson and Patz, MRM 34, 1995); 1 = a standard deviation of 0.25 normalised units."""

    rank = 5
    kind: Literal["rician_noise"] = "rician_noise"
    sigma: float = Field(ge=0)
    seed: int = Field(ge=0)

    @classmethod
    def draw(cls, magnitude: float, rng: np.random.Generator, facts: Facts) -> Self:
        """Uniform up to the limit."""
        sigma = float(rng.uniform(0, 0.25 * strength(magnitude, facts)))
        return cls(sigma=sigma, seed=int(rng.integers(1 << 62)))

    @property
    def is_identity(self) -> bool:
        """No noise."""
        return self.sigma == 0

    @classmethod
    def apply(cls, images: Images, steps: Sequence[Self], facts: Sequence[Facts]) -> Images:
        """``low + |x - low + sigma (n1 + i n2)|``."""
        low, _ = extremes(images)
        sigmas = [step.sigma for step in steps]
        real = white_noise(images, [step.seed for step in steps], sigmas).add_(images).sub_(low)
        imaginary = white_noise(images, [step.seed + 1 for step in steps], sigmas)
        return low + torch.hypot(real, imaginary)


@final
class Ghosting(GreyStep):
    """Copies along the phase-encoding axis, from lines of k-space that are too weak; 1 = by up to half.

    Every ``period``-th line but those near the middle of k-space is weakened. That is a linear map along one axis, so it
    needs no Fourier transform of the image.
    """

    rank = 4
    kind: Literal["ghosting"] = "ghosting"
    axis: int = Field(ge=0, le=2)
    period: int = Field(
        ge=2, description="lines of k-space from one weak line to the next: the number of ghosts"
    )
    weakening: float = Field(ge=0, le=1)

    @classmethod
    def draw(cls, magnitude: float, rng: np.random.Generator, facts: Facts) -> Self:
        """In-plane, 2 to 8 ghosts."""
        weakening = float(rng.uniform(0, 0.5 * magnitude))
        return cls(axis=int(rng.integers(2)), period=int(rng.integers(2, 9)), weakening=weakening)

    @property
    def is_identity(self) -> bool:
        """No line is weakened."""
        return self.weakening == 0

    def matrix(self, size: int) -> AxisMatrix:
        """The circulant matrix whose spectrum is 1, and less at the weak lines."""
        return np.eye(size) - self.weakening * _weak_lines(size, self.period)

    @classmethod
    def apply(cls, images: Images, steps: Sequence[Self], facts: Sequence[Facts]) -> Images:
        """One matrix product an axis."""
        matrices = [
            [step.matrix(n) if step.axis == axis else None for step in steps]
            for axis, n in enumerate(images.shape[2:])
        ]
        return along_axes(images, matrices)


@lru_cache(maxsize=256)
def _weak_lines(size: int, period: int) -> AxisMatrix:
    """What every so many-th line of k-space shows, those near its middle left out."""
    line = np.rint(np.fft.fftfreq(size) * size).astype(int)
    is_weak = (line % period == 0) & (np.abs(line) > 0.02 * size)
    row = np.fft.ifft(is_weak.astype(float)).real
    return np.asarray(row[(np.arange(size)[:, None] - np.arange(size)) % size])


@final
class Spikes(GreyStep):
    """Stripes from a point of k-space that is too strong; 1 = stripes of up to 0.3 normalised units."""

    rank = 4
    kind: Literal["spikes"] = "spikes"
    waves: tuple[float, float, float] = Field(description="periods over the patch along I, J, K")
    amplitude: float = Field(ge=0)
    phase: float

    @classmethod
    def draw(cls, magnitude: float, rng: np.random.Generator, facts: Facts) -> Self:
        """In-plane, from wide stripes to those of four pixels."""
        i, j = (float(rng.uniform(-n / 4, n / 4)) for n in facts.shape[:2])
        amplitude = float(rng.uniform(0, 0.3 * strength(magnitude, facts)))
        return cls(waves=(i, j, 0.0), amplitude=amplitude, phase=float(rng.uniform(0, 2 * math.pi)))

    @property
    def is_identity(self) -> bool:
        """No stripes."""
        return self.amplitude == 0

    @classmethod
    def apply(cls, images: Images, steps: Sequence[Self], facts: Sequence[Facts]) -> Images:
        """``x + amplitude * cos(2 pi waves . r + phase)``, by which a single point of k-space shows."""
        angle = column([step.phase for step in steps], images)
        for axis, n in enumerate(images.shape[2:]):
            place = torch.arange(n, device=images.device, dtype=images.dtype) / n
            waves = column([2 * math.pi * step.waves[axis] for step in steps], images)
            angle = angle + waves * place.view(-1, *([1] * (images.dim() - 3 - axis)))
        return torch.addcmul(images, angle.cos(), column([step.amplitude for step in steps], images))


@final
class Motion(GreyStep):
    """The patient moves while k-space is read line by line; 1 = by up to 3 mm, up to three times.

    Lines after a move carry the phase of the shifted patient (Shaw et al., MIDL 2019); shown is the magnitude.
    """

    rank = 4
    kind: Literal["motion"] = "motion"
    axis: int = Field(ge=0, le=1, description="phase-encoding axis")
    moments: tuple[float, ...] = Field(description="when the patient moves, as shares of the lines, rising")
    shifts_mm: tuple[tuple[float, float], ...] = Field(description="place along I, J after each move")

    @classmethod
    def draw(cls, magnitude: float, rng: np.random.Generator, facts: Facts) -> Self:
        """Moves at random moments; the middle fifth of k-space shows the patient in place, so that labels stay true."""
        count = int(rng.integers(1, 4))
        at = np.sort(rng.uniform(0, 0.8, count))
        moments = [float(one) for one in np.where(at > 0.4, at + 0.2, at)]
        places = rng.uniform(-1.5 * magnitude, 1.5 * magnitude, (count + 1, 2))
        places -= places[np.searchsorted(moments, 0.5, side="right")]
        return cls(
            axis=int(rng.integers(2)),
            moments=(0.0, *moments),
            shifts_mm=tuple((float(a), float(b)) for a, b in places),
        )

    @property
    def is_identity(self) -> bool:
        """Nobody moves."""
        return not any(value for shift in self.shifts_mm for value in shift)

    def phases(self, shape: tuple[int, ...], spacing_mm: tuple[float, ...]) -> Complex[np.ndarray, "I J"]:
        """What each in-plane place of k-space is multiplied by, in the order of ``numpy.fft``."""
        lines = shape[self.axis]
        # lines are read from one end of k-space to the other
        read = np.argsort(np.argsort(np.fft.fftfreq(lines))) / lines
        state = np.searchsorted(self.moments, read, side="right")
        shifts = np.array([(0.0, 0.0), *self.shifts_mm])[state]
        angle = np.zeros(shape[:2])
        for axis in range(2):
            waves = np.fft.fftfreq(shape[axis]) / spacing_mm[axis]
            along = waves[:, None] if axis == 0 else waves[None, :]
            moved = shifts[:, axis][:, None] if self.axis == 0 else shifts[:, axis][None, :]
            angle = angle + along * moved
        return np.asarray(np.exp(-2j * math.pi * angle))

    @classmethod
    def apply(cls, images: Images, steps: Sequence[Self], facts: Sequence[Facts]) -> Images:
        """``low + |F^-1(phases * F(x - low))|``, in-plane."""
        low, _ = extremes(images)
        shape = tuple(images.shape[2:])
        phases = np.stack(
            [step.phases(shape, fact.spacing_mm) for step, fact in zip(steps, facts, strict=True)]
        )
        factor: Tensor = torch.from_numpy(phases).to(
            images.device, torch.complex64 if images.dtype != torch.float64 else torch.complex128
        )
        factor = factor.view(len(images), 1, *shape[:2], *([1] * (len(shape) - 2)))
        spectrum = torch.fft.fftn(images - low, dim=(2, 3))
        seen: Tensor = torch.fft.ifftn(spectrum * factor, dim=(2, 3)).abs()
        return low + seen.to(images.dtype)
