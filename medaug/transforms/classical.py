"""Classical augmentation: flips, one affine resampling, and intensity changes that keep the class recognisable."""

from __future__ import annotations

import math
from typing import Literal, final

import numpy as np
from monai.transforms.intensity.array import (
    RandAdjustContrast,
    RandGaussianNoise,
    RandGaussianSmooth,
    RandScaleIntensity,
    RandShiftIntensity,
)
from monai.transforms.spatial.array import RandAffineGrid, RandFlip
from monai.transforms.transform import RandomizableTransform
from pydantic import Field

from medaug.core.augment import Augment, PatchImage, PatchLabels
from medaug.core.volume import Unit
from medaug.engine.bridge import MonaiChain
from medaug.transforms.base import TransformConfig

# A grey value may change by this much of one normalised unit (1 standard deviation, or 500 HU) per unit strength.
# Hounsfield units name the tissue: ground glass and solid differ by 600 HU, so 500 * 0.03 = 15 HU is safe.
_GREY = {"noise": 0.12, "shift": 0.15, "scale": 0.15, "gamma": 0.35, "smooth": 1.0}
_CT = {"noise": 0.03, "shift": 0.03, "scale": 0.03, "gamma": 0.0, "smooth": 0.7}


@final
class Config(TransformConfig):
    """Settings of classical augmentation; the intensity strength is adapted to CT by itself."""

    kind: Literal["classical"] = "classical"
    flip_axes: tuple[int, ...] = Field(default=(0, 1), description="axes I, J, K that may be mirrored")
    affine_share: float = Field(
        default=0.7, ge=0, le=1, description="share of patches that are rotated and scaled"
    )
    rotate_deg: float = Field(default=20.0, ge=0, le=180)
    scale: float = Field(default=0.2, ge=0, lt=1, description="largest relative change of size")
    shear: float = Field(default=0.1, ge=0, le=1)
    intensity: float = Field(
        default=1.0, ge=0, le=3, description="strength of all intensity changes; 0 = none"
    )

    def build(self, unit: Unit) -> Augment:
        """The augmentation for images of that unit."""
        return ClassicalAugmentation(self, unit)


@final
class ClassicalAugmentation:
    """MONAI's flips, affine and intensity transforms; 2D or 3D follows from the patch."""

    def __init__(self, config: Config, unit: Unit) -> None:
        self._chains = {dims: _chain(config, unit, dims) for dims in (2, 3)}

    def __call__(
        self, image: PatchImage, labels: PatchLabels, rng: np.random.Generator
    ) -> tuple[PatchImage, PatchLabels]:
        """Change a patch; see :class:`~medaug.core.augment.Augment`."""
        return self._chains[labels.ndim](image, labels, rng)


def _chain(config: Config, unit: Unit, dims: int) -> MonaiChain:
    angle = math.radians(config.rotate_deg)
    affine = RandAffineGrid(
        rotate_range=[angle] * (1 if dims == 2 else 3),
        shear_range=[config.shear] * (2 if dims == 2 else 6),
        scale_range=[config.scale] * dims,
    )
    flips = [RandFlip(prob=0.5, spatial_axis=axis) for axis in config.flip_axes if axis < dims]
    share = config.affine_share if config.rotate_deg or config.scale or config.shear else 0.0
    return MonaiChain(affine if share else None, flips, _intensity(config, unit), share)


def _intensity(config: Config, unit: Unit) -> list[RandomizableTransform]:
    """Noise, blur, brightness and contrast, by strength; gamma runs on the patch's own range and keeps its moments."""
    if config.intensity == 0:
        return []
    by = {name: value * config.intensity for name, value in (_CT if unit is Unit.HU else _GREY).items()}
    blur = (0.3, max(0.31, by["smooth"]))
    chain: list[RandomizableTransform] = [
        RandGaussianNoise(prob=0.2, std=by["noise"]),
        RandGaussianSmooth(prob=0.15, sigma_x=blur, sigma_y=blur, sigma_z=blur),
        RandScaleIntensity(prob=0.3, factors=by["scale"]),
        RandShiftIntensity(prob=0.3, offsets=by["shift"]),
    ]
    if by["gamma"]:
        gamma = (1 / (1 + by["gamma"]), 1 + by["gamma"])
        chain.append(RandAdjustContrast(prob=0.2, gamma=gamma, retain_stats=True))
    return chain
