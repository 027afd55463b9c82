"""A hash of the weights of a network."""

from __future__ import annotations

import hashlib

from torch import Tensor

from medaug.engine.checkpoint import State


def state_sha256(weights: State) -> str:
    """Hash of the values of all tensors, whatever the file they came from."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name]
        if isinstance(value, Tensor):
            digest.update(name.encode("utf-8") + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
