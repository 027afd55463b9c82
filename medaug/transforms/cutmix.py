"""``cutmix``: patches get a box of another patch, image and labels alike (Yun et al., ICCV 2019)."""

from __future__ import annotations

from typing import Literal, final

import numpy as np
from pydantic import Field

from medaug.core.volume import Mask
from medaug.lesions.mix import cut_region
from medaug.transforms._mixing import MixConfig


@final
class Config(MixConfig):
    """Settings of CutMix."""

    kind: Literal["cutmix"] = "cutmix"
    share: float | None = Field(default=None, ge=0, le=1, description="of the patch; null draws it uniformly")

    def region(
        self, donor: Mask, spacing_mm: tuple[float, float, float], rng: np.random.Generator
    ) -> Mask | None:
        """A box anywhere in the patch."""
        return cut_region((donor.shape[0], donor.shape[1], donor.shape[2]), rng, share=self.share)
