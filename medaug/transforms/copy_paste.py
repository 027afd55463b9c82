"""``copy_paste``: patches get a lesion of another patch, put where tissue looks alike (Ghiasi et al., CVPR 2021)."""

from __future__ import annotations

from typing import Literal, final

import numpy as np
from pydantic import Field

from medaug.lesions.mix import Joint, Mixture, like_place, pasted_region
from medaug.transforms._mixing import Part, PartConfig, Spacing


@final
class Config(PartConfig):
    """Settings of copy-paste between the patches of a batch."""

    kind: Literal["copy_paste"] = "copy_paste"
    joint: Joint = Field(default="feather", description="how the part is joined: hard, feather or poisson")
    hosts: Literal["any", "lesion"] = Field(
        default="lesion",
        description="lesion: only patches that hold a lesion take part, so that no more patches hold one than without "
        "mixing",
    )

    def part(
        self, host: Mixture, donor: Mixture, spacing_mm: Spacing, rng: np.random.Generator
    ) -> Part | None:
        """One whole lesion, at a random place whose tissue is like that around it, away from the host's own."""
        region = pasted_region(donor.labels, rng)
        if region is None:
            return None
        shift = like_place(host, donor, region, rng)
        return None if shift is None else Part(np.roll(region, shift, (0, 1, 2)), shift)
