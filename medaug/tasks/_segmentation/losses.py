"""Losses: a region overlap and a voxel-wise cost, against one label a voxel or, under MixUp, a mixture of two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, cast, final

import torch
from jaxtyping import Float, Integer
from monai.losses.dice import DiceCELoss, DiceLoss
from monai.losses.focal_loss import FocalLoss
from monai.losses.tversky import TverskyLoss
from torch import Tensor, nn
from torch.nn.functional import one_hot

from medaug.engine.augment import PatchBatch, SecondLabels

LossKind = Literal["dice_ce", "dice_focal", "tversky_ce"]
_Term = Callable[[Tensor, Tensor], Tensor]

_GAMMA: Final = 2.0
_FALSE_POSITIVE, _FALSE_NEGATIVE = 0.3, 0.7


def class_shares(
    labels: Integer[Tensor, "B *S"], second: SecondLabels, classes: int
) -> Float[Tensor, "B N *S"]:
    """How much of each voxel belongs to each class, where patches were averaged; sums to 1.

    Args:
        labels: Ids of the patches themselves, below ``classes``.
        second: Ids and shares of the others.
        classes: Number of classes, the background included.
    """
    own, other = (_shares(ids, classes).to(second.share) for ids in (labels, second.labels))
    return torch.lerp(own, other, second.share.view(-1, *([1] * (own.dim() - 1))))


def _shares(labels: Integer[Tensor, "B *S"], classes: int) -> Integer[Tensor, "B N *S"]:
    return torch.moveaxis(one_hot(labels.long(), classes), -1, 1)


@final
class Criterion:
    """The loss of a batch.

    ``dice_ce``: Dice and cross-entropy (Isensee et al., Nat Methods 2021). For rare classes, ``dice_focal``: Dice and the
    focal loss with gamma 2, in which voxels that are right already cost little (Lin et al., ICCV 2017), summed over the
    classes: with gamma 0 it would be cross-entropy; ``tversky_ce``: cross-entropy and the Tversky index, in which a missed
    voxel costs 0.7 and an invented one 0.3 (Salehi et al., MLMI 2017). Regions are those of the whole batch, without the
    background.

    Args:
        kind: Which loss.
        weights: Of the background and of every class, on the device of the training; None = all alike. Focal and Tversky
            terms are weighed alike, too.
    """

    def __init__(self, kind: LossKind, weights: Float[Tensor, "N"] | None = None) -> None:
        self._kind, self._weights = kind, weights
        self._whole: nn.Module | None = None
        if kind == "dice_ce":
            self._whole = DiceCELoss(
                to_onehot_y=True, softmax=True, include_background=False, batch=True, weight=weights
            )
        self._shared = _by_shares(kind, weights)

    def __call__(self, scores: Float[Tensor, "B *HN *S"], patches: PatchBatch) -> Tensor:
        """The loss of (B, N, *S) logits, or of (B, H, N, *S), the finest level first, each half as heavy as the one before."""
        if scores.ndim == patches.images.ndim:
            return self._one(scores, patches)
        answers = scores.unbind(dim=1)
        heavy = [0.5**level for level in range(len(answers))]
        parts = [w * self._one(answer, patches) for w, answer in zip(heavy, answers, strict=True)]
        return torch.stack(parts).sum() / sum(heavy)

    def _one(self, scores: Float[Tensor, "B N *S"], patches: PatchBatch) -> Tensor:
        classes = scores.shape[1]
        if patches.second is not None:
            return self._shared(scores, class_shares(patches.labels, patches.second, classes))
        if self._whole is not None:
            return torch.as_tensor(self._whole(scores, patches.labels[:, None].long()))
        return self._shared(scores, _shares(patches.labels, classes).to(scores))


def _by_shares(kind: LossKind, weights: Tensor | None) -> _Term:
    """The loss against shares of the classes."""
    if kind == "dice_ce":
        return cast(_Term, DiceCELoss(softmax=True, include_background=False, batch=True, weight=weights))
    if kind == "dice_focal":
        foreground = None if weights is None else weights[1:]
        dice = DiceLoss(softmax=True, include_background=False, batch=True, weight=foreground)
        focal = FocalLoss(use_softmax=True, gamma=_GAMMA, weight=weights)
        return lambda scores, shares: dice(scores, shares) + scores.shape[1] * focal(scores, shares)
    regions, voxels = _tversky(weights), nn.CrossEntropyLoss(weight=weights)
    return lambda scores, shares: regions(scores, shares) + voxels(scores, shares)


def _tversky(weights: Tensor | None) -> _Term:
    loss = TverskyLoss(
        softmax=True,
        include_background=False,
        batch=True,
        alpha=_FALSE_POSITIVE,
        beta=_FALSE_NEGATIVE,
        soft_label=True,
        reduction="none",
    )

    def weighed(scores: Tensor, shares: Tensor) -> Tensor:
        found = torch.as_tensor(loss(scores, shares))
        return (found if weights is None else found * weights[1:]).mean()

    return weighed
