"""``cutmix``: patches get a box of another patch, image and labels alike (Yun et al., ICCV 2019)."""

from __future__ import annotations

from typing import Literal, final

import numpy as np
from pydantic import Field

from medaug.lesions.mix import Mixture, cut_region
from medaug.transforms._mixing import Part, PartConfig, Spacing


@final
class Config(PartConfig):
    """Settings of CutMix. Boxes bring about as many lesions as they cover."""

    kind: Literal["cutmix"] = "cutmix"
    share: float | None = Field(default=None, ge=0, le=1, description="of the patch; null draws it uniformly")

    def part(
        self, host: Mixture, donor: Mixture, spacing_mm: Spacing, rng: np.random.Generator
    ) -> Part | None:
        """A box anywhere in the patch."""
        i, j, k = host.labels.shape
        return Part(cut_region((i, j, k), rng, share=self.share))
