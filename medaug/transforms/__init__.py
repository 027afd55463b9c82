"""Augmentation: one public file each, found by its name."""
