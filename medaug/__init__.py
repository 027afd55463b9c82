"""medaug: augmentation, lesion synthesis, evidence and privacy for medical images."""

__version__ = "0.1.0"
