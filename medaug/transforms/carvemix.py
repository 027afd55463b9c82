"""``carvemix``: patches get the lesions of another patch, carved out along their outline (Zhang et al., MICCAI 2021)."""

from __future__ import annotations

from typing import Literal, final

import numpy as np
from pydantic import Field

from medaug.lesions.mix import Mixture, carve_region
from medaug.transforms._mixing import Part, PartConfig, Spacing


@final
class Config(PartConfig):
    """Settings of CarveMix; partners without a lesion give nothing."""

    kind: Literal["carvemix"] = "carvemix"
    hosts: Literal["any", "lesion"] = Field(
        default="lesion",
        description="lesion: only patches that hold a lesion take part, so that no more patches hold one than without "
        "mixing",
    )

    def part(
        self, host: Mixture, donor: Mixture, spacing_mm: Spacing, rng: np.random.Generator
    ) -> Part | None:
        """The donor's lesions where they are, shrunk or grown by a random distance."""
        lesions = donor.labels > 0
        return Part(carve_region(lesions, spacing_mm, rng)) if lesions.any() else None
