"""``mixup``: patches are averaged with another patch, and so are their labels in the loss (Zhang et al., ICLR 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, final

import numpy as np
import torch
from pydantic import Field

from medaug.engine.augment import PatchBatch, SecondLabels
from medaug.lesions.mix import mix_share
from medaug.transforms._mixing import MixConfig, Mixing


@final
class Config(MixConfig):
    """Settings of MixUp. The host always has the larger share, so a patch counts as what its host is."""

    kind: Literal["mixup"] = "mixup"
    alpha: float = Field(
        default=0.4, gt=0, description="both parameters of the Beta distribution of the share"
    )

    def mix(self, batch: PatchBatch, mixings: Sequence[Mixing | None]) -> PatchBatch:
        """See :meth:`MixConfig.mix`: all images at once; the partner's labels stand beside the host's."""
        if not any(mixings):
            return batch
        partners = [number if one is None else one.partner for number, one in enumerate(mixings)]
        drawn = [
            1.0 if one is None else mix_share(self.alpha, np.random.default_rng(one.seed)) for one in mixings
        ]
        shares = torch.tensor(drawn).to(batch.images)
        weight = shares.view(-1, *([1] * (batch.images.dim() - 1)))
        images = torch.lerp(batch.images[partners], batch.images, weight)
        return replace(batch, images=images, second=SecondLabels(batch.labels[partners], 1 - shares))
