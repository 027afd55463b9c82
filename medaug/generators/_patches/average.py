"""Exponential moving average of the weights, which is kept in place of the last ones."""

from __future__ import annotations

import torch
from torch import nn


def follow(kept: nn.Module, now: nn.Module, decay: float, step: int) -> None:
    """Move averaged weights towards those of now: an exponential moving average, short in the first steps."""
    shorter = min(decay, (step + 1) / (step + 10))
    with torch.no_grad():
        for average, weight in zip(kept.parameters(), now.parameters(), strict=True):
            average.lerp_(weight, 1 - shorter)
