"""``copy_paste``: the donor's own intensities under the drawn warp; the baseline any learned generator has to beat.

After TumorCP (Yang et al., arXiv 2107.09843). By option the donor is first made to fit the host
(:mod:`medaug.lesions.harmonise`) and is blended by Poisson's equation instead of a feathered edge.
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


@final
class CopyPaste:
    """Answers a request with the texture it brings; needs no training and no randomness of its own."""

    kind: str = "copy_paste"

    def __init__(self, config: Config) -> None:
        self._config = config

    def generate(
        self, requests: Sequence[LesionRequest], rngs: Sequence[np.random.Generator]
    ) -> list[Lesion]:
        """The donor's lesion, as warped for each request; the random numbers stay unused."""
        return [self._paste(request) for request, _ in zip(requests, rngs, strict=True)]

    def _paste(self, request: LesionRequest) -> Lesion:
        image = request.texture
        if self._config.match_tissue:
            image = match_tissue(request.host, image, request.mask)
        if self._config.match_noise:
            image = match_noise(request.host, image, request.mask)
        return Lesion(image, request.mask, request.class_name, blending=self._config.blending)

    @property
    def sha256(self) -> str:
        """Hash of the configuration."""
        return generator_sha256(self._config)


@final
class Config(Frozen):
    """Configuration of ``copy_paste``."""

    kind: Literal["copy_paste"] = "copy_paste"
    blending: Blending = Field(default="feather", description="feather or poisson")
    match_tissue: bool = Field(
        default=False,
        description="bring the donor's surroundings to the brightness and contrast of the host's",
    )
    match_noise: bool = Field(
        default=False, description="add the noise that the host has more than the donor"
    )

    def build(self) -> CopyPaste:
        """The generator, ready for use."""
        return CopyPaste(self)
