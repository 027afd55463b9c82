"""``carvemix``: patches get the lesions of another patch, carved out along their outline (Zhang et al., MICCAI 2021)."""

from __future__ import annotations

from typing import Literal, final

import numpy as np

from medaug.core.volume import Mask
from medaug.lesions.mix import carve_region
from medaug.transforms._mixing import MixConfig


@final
class Config(MixConfig):
    """Settings of CarveMix; partners without a lesion give nothing."""

    kind: Literal["carvemix"] = "carvemix"

    def region(
        self, donor: Mask, spacing_mm: tuple[float, float, float], rng: np.random.Generator
    ) -> Mask | None:
        """The donor's lesions, shrunk or grown by a random distance."""
        return carve_region(donor, spacing_mm, rng) if donor.any() else None
