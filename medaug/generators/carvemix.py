"""``carvemix``: a region carved from the donor, lesion and surroundings, replaces the host's; the label follows the region.

After CarveMix (Zhang et al., MICCAI 2021, NeuroImage 2023): the lesion shrunk or grown by a random distance is the region
(:func:`medaug.lesions.mix.carve_region`). A grown region brings the donor's surroundings; of a shrunk one only what was
carved is lesion. The paper replaces voxels; here the region is blended, since a hard seam teaches nothing but itself.
Unlike in the paper the donor is warped to a new outline and placed in fitting tissue, as for all generators.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, final

import numpy as np
from pydantic import Field

from medaug.core.config import Frozen
from medaug.core.lesion import Blending, Lesion, LesionRequest
from medaug.generators.base import generator_sha256
from medaug.lesions.harmonise import match_noise, match_tissue
from medaug.lesions.mix import carve_region


@final
class CarveMix:
    """Answers a request with a region carved from the texture it brings; needs no training."""

    kind: str = "carvemix"

    def __init__(self, config: Config) -> None:
        self._config = config

    def generate(
        self, requests: Sequence[LesionRequest], rngs: Sequence[np.random.Generator]
    ) -> list[Lesion]:
        """The donor's lesion in a carved region for each request; the generator of random numbers draws the region."""
        return [self._carve(request, rng) for request, rng in zip(requests, rngs, strict=True)]

    def _carve(self, request: LesionRequest, rng: np.random.Generator) -> Lesion:
        image = request.texture
        if self._config.match_tissue:
            image = match_tissue(request.host, image, request.mask)
        if self._config.match_noise:
            image = match_noise(request.host, image, request.mask)
        region = carve_region(request.mask, request.spacing_mm, rng)
        return Lesion(image, request.mask & region, request.class_name, region, self._config.blending)

    @property
    def sha256(self) -> str:
        """Hash of the configuration."""
        return generator_sha256(self._config)


@final
class Config(Frozen):
    """Configuration of ``carvemix``."""

    kind: Literal["carvemix"] = "carvemix"
    blending: Blending = Field(default="feather", description="feather or poisson")
    match_tissue: bool = Field(
        default=False,
        description="bring the donor's surroundings to the brightness and contrast of the host's",
    )
    match_noise: bool = Field(
        default=False, description="add the noise that the host has more than the donor"
    )

    def build(self) -> CarveMix:
        """The generator, ready for use."""
        return CarveMix(self)
