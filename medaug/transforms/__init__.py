"""Augmentation: one public file each, found by its name.

``Augmentd`` brings any of them into a MONAI pipeline; ``parse_transforms(...).build(...)`` gives one for batches of patches
(``PatchBatch``) on any device; ``replay`` makes a training patch again from what was drawn for it. The steps are the single
changes with their drawn parameters, and ``apply_records`` carries them out.
"""

from medaug.engine.augment import PatchBatch
from medaug.engine.warp import Resampling
from medaug.transforms._journal import Drawn, Journal, read_drawn, replay
from medaug.transforms._monai import Augmentd
from medaug.transforms._steps.apply import apply_records, compose
from medaug.transforms._steps.ct import LowDoseNoise, PoissonNoise, Streaks, WindowJitter
from medaug.transforms._steps.filters import Blur, LowResolution, Sharpen
from medaug.transforms._steps.grey import (
    Brightness,
    Contrast,
    Gamma,
    GaussianNoise,
    HistogramWarp,
    Invert,
    MultiplicativeNoise,
)
from medaug.transforms._steps.mr import BiasField, Ghosting, Motion, RicianNoise, Spikes
from medaug.transforms._steps.policy import PolicyAugment
from medaug.transforms._steps.registry import PRESETS, STEPS, read_record
from medaug.transforms._steps.spatial import (
    Crop,
    Elastic,
    Flip,
    Permute,
    Perspective,
    Rotate,
    Scale,
    Shear,
    Translate,
)
from medaug.transforms._steps.step import Facts, SpatialStep, Step
from medaug.transforms._steps.us import Shadow, Speckle
from medaug.transforms._whole import Dims, change_case, draw_case
from medaug.transforms._words import in_words
from medaug.transforms.base import parse_transforms

__all__ = [
    "PRESETS",
    "STEPS",
    "Augmentd",
    "BiasField",
    "Blur",
    "Brightness",
    "Contrast",
    "Crop",
    "Dims",
    "Drawn",
    "Elastic",
    "Facts",
    "Flip",
    "Gamma",
    "GaussianNoise",
    "Ghosting",
    "HistogramWarp",
    "Invert",
    "Journal",
    "LowDoseNoise",
    "LowResolution",
    "Motion",
    "MultiplicativeNoise",
    "PatchBatch",
    "Permute",
    "Perspective",
    "PoissonNoise",
    "PolicyAugment",
    "Resampling",
    "RicianNoise",
    "Rotate",
    "Scale",
    "Shadow",
    "Sharpen",
    "Shear",
    "SpatialStep",
    "Speckle",
    "Spikes",
    "Step",
    "Streaks",
    "Translate",
    "WindowJitter",
    "apply_records",
    "change_case",
    "compose",
    "draw_case",
    "in_words",
    "parse_transforms",
    "read_drawn",
    "read_record",
    "replay",
]
