"""No augmentation changes nothing."""

from __future__ import annotations

import numpy as np

from medaug.core.volume import Unit
from medaug.transforms.none import Config


def test_the_patch_comes_back():
    image, labels = np.ones((1, 4, 4), np.float32), np.eye(4, dtype=np.uint8)
    changed, ids = Config().build(Unit.HU)(image, labels, np.random.default_rng(0))
    assert changed is image
    assert ids is labels
