"""The optimiser of a training and its learning rate, after nnU-Net (Isensee et al., Nat Methods 2021)."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from torch import nn
from torch.optim import SGD, AdamW, Optimizer


def learning_rate(step: int, steps: int, peak: float, schedule: Literal["poly", "cosine"]) -> float:
    """The learning rate of a step: a warm-up of 3% of the steps, then down to zero.

    Args:
        step: From 0.
        steps: Of the whole training.
        peak: Largest rate.
        schedule: ``poly`` with power 0.9 (nnU-Net) or half a ``cosine``.
    """
    warm = max(1, round(0.03 * steps))
    if step < warm:
        return peak * (step + 1) / warm
    left = 1 - (step - warm) / max(1, steps - warm)
    return peak * (left**0.9 if schedule == "poly" else 0.5 * (1 - math.cos(math.pi * left)))


def build_optimiser(network: nn.Module, kind: Literal["adamw", "sgd"], peak: float) -> Optimizer:
    """AdamW, or SGD with Nesterov momentum 0.99 as in nnU-Net."""
    if kind == "sgd":
        return SGD(network.parameters(), lr=peak, momentum=0.99, nesterov=True, weight_decay=3e-5)
    return AdamW(network.parameters(), lr=peak, weight_decay=1e-2, fused=True)


def parameter_count(network: nn.Module) -> int:
    """How many numbers are learned."""
    return int(np.sum([parameter.numel() for parameter in network.parameters()]))
