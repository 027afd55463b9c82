"""No augmentation changes nothing."""

from __future__ import annotations

import numpy as np
import torch

from medaug.core.volume import Unit
from medaug.engine.augment import PatchBatch
from medaug.transforms.none import Config


def test_the_patch_comes_back():
    batch = PatchBatch(torch.ones(1, 1, 4, 4), torch.eye(4)[None].int(), ((1.0, 1.0),), Unit.HU)
    changed = Config().build(Unit.HU)(batch, [np.random.default_rng(0)])
    assert torch.equal(changed.images, batch.images)
    assert torch.equal(changed.labels, batch.labels)
