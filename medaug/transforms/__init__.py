"""Augmentation: one public file each, found by its name; ``Augmentd`` brings any of them into a MONAI pipeline."""

from medaug.transforms._monai import Augmentd

__all__ = ["Augmentd"]
