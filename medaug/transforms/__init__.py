"""Augmentation: one public file each, found by its name.

``Augmentd`` brings any of them into a MONAI pipeline; ``replay`` makes a training patch again from what was drawn for it.
"""

from medaug.transforms._journal import AUGMENTATIONS, Drawn, Journal, read_drawn, replay
from medaug.transforms._monai import Augmentd

__all__ = ["AUGMENTATIONS", "Augmentd", "Drawn", "Journal", "read_drawn", "replay"]
