"""``copy_paste``: the donor's own intensities under the drawn warp; the baseline any learned generator has to beat.

After TumorCP (Yang et al., arXiv 2107.09843); here blended with a feathered edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, final

import numpy as np

from medaug.core.config import Frozen
from medaug.core.lesion import Lesion, LesionRequest
from medaug.generators.base import generator_sha256


@final
class CopyPaste:
    """Answers a request with the texture it brings; needs no training and no randomness of its own."""

    def __init__(self, sha256: str) -> None:
        self.kind = "copy_paste"
        self._sha256 = sha256

    def generate(
        self, requests: Sequence[LesionRequest], rngs: Sequence[np.random.Generator]
    ) -> list[Lesion]:
        """The donor's lesion, as warped for each request; the random numbers stay unused."""
        return [
            Lesion(request.texture, request.mask, request.class_name)
            for request, _ in zip(requests, rngs, strict=True)
        ]

    @property
    def sha256(self) -> str:
        """Hash of the configuration."""
        return self._sha256


@final
class Config(Frozen):
    """Configuration of ``copy_paste``; there is nothing to choose."""

    kind: Literal["copy_paste"] = "copy_paste"

    def build(self) -> CopyPaste:
        """The generator, ready for use."""
        return CopyPaste(generator_sha256(self))
