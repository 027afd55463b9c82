"""Table of measured figures that coarse lesions are drawn from; the first number of z chooses among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from medaug.engine.checkpoint import State
from medaug.generators._cgan.channels import channel_factors
from medaug.generators._patches.batches import TrainingSet
from medaug.generators._patches.coarse import CONTRAST, LEVEL, Anchor
from medaug.generators._patches.pooling import pooled

_SIZE_SPREAD = 0.5  # of the logarithm of the voxels


@final
@dataclass(frozen=True, slots=True, eq=False)
class FigureTable:
    """Figures of the training lesions, no voxels.

    Attributes:
        figures: (N, C, 7) see :func:`~medaug.generators._patches.coarse.lesion_figures`.
        class_index: (N,) index into the class table.
        shares: (N,) weight within the class; each patient weighs the same, faint end slices nothing.
        voxels: (N,) size of the lesion in its frame.
        anchor: Whether lesions are ordered by level or by contrast to their surroundings.
        factors: (2, C, C) of :func:`~medaug.generators._cgan.channels.channel_factors`.
    """

    figures: Float[Tensor, "N C 7"]
    class_index: Tensor
    shares: Tensor
    voxels: Tensor
    anchor: Anchor
    factors: Float[Tensor, "2 C C"]

    @staticmethod
    def of(training: TrainingSet, anchor: Anchor) -> FigureTable:
        """The figures of all training patches, and those that scarce classes borrow."""
        rows = pooled(training)
        factors = channel_factors(training)
        return FigureTable(rows.figures, rows.class_index, rows.shares, rows.voxels, anchor, factors)

    @staticmethod
    def of_state(state: State, anchor: Anchor) -> FigureTable | None:
        """The table that :attr:`state` gave; None if it is not all there."""
        columns = [state.get(name) for name in ("figures", "class_index", "shares", "voxels", "factors")]
        found = [column for column in columns if isinstance(column, Tensor)]
        if len(found) < len(columns):
            return None
        figures, class_index, shares, voxels, factors = found
        return FigureTable(figures, class_index, shares, voxels, anchor, factors)

    @property
    def state(self) -> State:
        """All but the anchor, which follows from the bank's unit."""
        return {
            "figures": self.figures,
            "class_index": self.class_index,
            "shares": self.shares,
            "voxels": self.voxels,
            "factors": self.factors,
        }

    def draw(self, class_index: int, voxels: int, first: float) -> Float[Tensor, "C 7"]:
        """The figures of a lesion of a class, rather one of about the same size.

        Small lesions are fainter than large ones, since a slice averages over their edges.

        Args:
            class_index: The class.
            voxels: Size of the lesion.
            first: First number of z, standard normal: low ones choose faint lesions, high ones bright ones.
        """
        rows = torch.nonzero(self.class_index == class_index).flatten().numpy()
        rows = rows[np.argsort(self._order().numpy()[rows], kind="stable")]
        ratio = np.log(self.voxels.numpy()[rows] / max(1, voxels))
        shares = self.shares.double().numpy()[rows] * (np.exp(-0.5 * (ratio / _SIZE_SPREAD) ** 2) + 1e-3)
        reached = np.cumsum(shares) / shares.sum()
        wanted = float(torch.special.ndtr(torch.tensor(first, dtype=torch.float64)))
        return self.figures[int(rows[min(int(np.searchsorted(reached, wanted)), len(rows) - 1)])]

    def first_of(
        self, figures: Float[Tensor, "B C 7"], class_index: Int[Tensor, " B"]
    ) -> Float[Tensor, " B"]:
        """The first number of z that stands for lesions: the normal score of their rank in their class."""
        column = LEVEL if self.anchor == "level" else CONTRAST
        asked = figures[..., column].mean(dim=1).cpu()
        order, scores = self._order(), []
        for value, number in zip(asked, class_index.cpu(), strict=True):
            own = order[(self.class_index == number) & (self.shares > 0)]
            below = (own < value).sum() + 0.5 * (own == value).sum()
            scores.append(((below + 0.5) / (len(own) + 1)).clamp(0.01, 0.99))
        ranks: Tensor = torch.special.ndtri(torch.stack(scores))
        return ranks

    def _order(self) -> Float[Tensor, " N"]:
        return self.figures[..., LEVEL if self.anchor == "level" else CONTRAST].mean(dim=1)
