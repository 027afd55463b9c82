"""Smooth random fields and soft-edged shapes, the two things a phantom is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float
from scipy import fft

Field = Float[np.ndarray, "I J K"]
Spread = Float[np.ndarray, "#I #J #K"]  # constant along its axes of length 1


@final
@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Voxel centres in mm around the middle of the field of view.

    Attributes:
        x: (I, 1, 1), or (I, J, 1) where turned, towards the patient's right.
        y: (1, J, 1), or (I, J, 1), towards the front.
        z: (1, 1, K) towards the head.
        spacing_mm: Distance between voxels along I, J, K.
    """

    x: Spread
    y: Spread
    z: Spread
    spacing_mm: tuple[float, float, float]

    @staticmethod
    def centred(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> Frame:
        """The frame of a grid whose middle is the origin."""
        axes = [
            ((np.arange(n) - (n - 1) / 2) * step).astype(np.float32)
            for n, step in zip(shape, spacing_mm, strict=True)
        ]
        return Frame(axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :], spacing_mm)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along I, J, K."""
        return (self.x.shape[0], self.y.shape[1], self.z.shape[2])

    def crop(self, part: tuple[slice, slice, slice]) -> Frame:
        """The frame of a box of voxels."""
        return Frame(self.x[part[0]], self.y[:, part[1]], self.z[:, :, part[2]], self.spacing_mm)


def smooth_noise(frame: Frame, length_mm: float, rng: np.random.Generator) -> Field:
    """Band-limited noise: zero mean, unit deviation, correlated over about ``length_mm``; periodic.

    White noise seen through a Gaussian of that width, drawn in the frequency domain.
    """
    size = (*frame.shape[:2], frame.shape[2] // 2 + 1)
    parts = rng.standard_normal((2, *size), dtype=np.float32)
    spectrum = (parts[0] + 1j * parts[1]).astype(np.complex64)
    for axis, (count, step) in enumerate(zip(frame.shape, frame.spacing_mm, strict=True)):
        waves = fft.rfftfreq(count, step) if axis == 2 else fft.fftfreq(count, step)
        gain = np.exp(-2.0 * (np.pi * length_mm * waves) ** 2).astype(np.float32)
        spectrum *= gain.reshape([-1 if axis == other else 1 for other in range(3)])
    spectrum[0, 0, 0] = 0
    field = fft.irfftn(spectrum, s=frame.shape, overwrite_x=True)
    return np.asarray(field / max(float(field.std()), 1e-20), dtype=np.float32)


def inside(distance_mm: Spread, edge_mm: float) -> Spread:
    """Share of a voxel inside a shape, 0..1, from the signed distance (negative inside) and the edge's width."""
    return np.asarray(np.clip(0.5 - distance_mm / edge_mm, 0.0, 1.0), dtype=np.float32)


def ellipse(
    frame: Frame,
    centre: tuple[float, float],
    radii: tuple[float, float],
    *,
    scale: Spread | float = 1.0,
    power: float = 2.0,
) -> Spread:
    """Approximate signed distance in mm to an (extruded) superellipse.

    Args:
        frame: Where to compute it.
        centre: In mm.
        radii: Half axes in mm.
        scale: What both radii are multiplied with; may depend on z.
        power: 2 is an ellipse, more is squarer.
    """
    u = np.abs((frame.x - centre[0]) / radii[0])
    v = np.abs((frame.y - centre[1]) / radii[1])
    reach = np.hypot(u, v) if power == 2.0 else (u**power + v**power) ** (1.0 / power)
    return np.asarray((reach - scale) * min(radii), dtype=np.float32)


def paint(image: Field, value: Spread | float, share: Spread) -> Field:
    """The image with ``value`` laid over it where ``share`` is 1, mixed where it is between 0 and 1."""
    return np.asarray(image + (value - image) * share, dtype=np.float32)
