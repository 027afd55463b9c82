"""Made-up lesions of made-up patients, and generators that learnt them by heart or never saw them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np
from scipy import ndimage

from medaug.core.volume import Image, Mask

SIDE = 24
CLASSES = ("solid", "calcified")


@final
@dataclass(frozen=True)
class Blob:
    """A lesion."""

    patient_id: str
    class_name: str
    image: Image
    mask: Mask
    spacing_mm: tuple[float, float, float] = (0.7, 0.7, 1.0)


def texture(rng: np.random.Generator, channels: int, depth: int) -> np.ndarray:
    """(channels, I, J, depth) smooth noise of unit deviation."""
    rough = rng.standard_normal((channels, SIDE, SIDE, depth))
    smooth = ndimage.gaussian_filter(rough, (0, 1.5, 1.5, 1.0 if depth > 1 else 0.0))
    return np.asarray(smooth / smooth.std(), dtype=np.float32)


def blob(
    rng: np.random.Generator,
    patient_id: str,
    class_name: str,
    stretch: float = 1.0,
    *,
    channels: int = 1,
    depth: int = 1,
) -> Blob:
    """A ragged disc or ball, ``stretch`` squared times as high as wide."""
    noise = texture(rng, channels + 1, depth)
    i, j = np.meshgrid(*[np.arange(SIDE) - (SIDE - 1) / 2] * 2, indexing="ij")
    radius = np.hypot(i / stretch, j * stretch)[..., None] + 2 * abs(np.arange(depth) - depth // 2)
    mask = radius + 1.2 * noise[-1] < rng.uniform(4.0, 8.0)
    return Blob(patient_id, class_name, noise[:-1], np.asarray(mask))


def cohort(rng: np.random.Generator, prefix: str, count: int, stretch: float = 1.0) -> list[Blob]:
    """Patients with one lesion or two."""
    return [
        blob(rng, f"{prefix}{n}", name, stretch)
        for n in range(count)
        for name in CLASSES[: 1 + n % len(CLASSES)]
    ]


def copied(rng: np.random.Generator, source: Blob, noise: float) -> Blob:
    """A lesion turned, perhaps mirrored, with noise, brighter and of more contrast."""
    turns, step = int(rng.integers(4)), int(rng.choice((1, -1)))
    image = np.rot90(source.image[:, ::step], turns, (1, 2))
    image = 1.5 * (image + noise * texture(rng, len(image), image.shape[3])) + 0.3
    mask = np.rot90(source.mask[::step], turns).copy()
    return replace(source, patient_id="made", image=image.astype(np.float32), mask=mask)


def by_heart(rng: np.random.Generator, members: list[Blob], count: int, noise: float = 0.7) -> list[Blob]:
    """What a generator draws that has learnt its lesions by heart."""
    return [copied(rng, members[int(rng.integers(len(members)))], noise) for _ in range(count)]


def honest(rng: np.random.Generator, count: int, stretch: float = 1.0) -> list[Blob]:
    """What a generator draws that knows the law and nobody."""
    return [blob(rng, "made", CLASSES[n % len(CLASSES)], stretch) for n in range(count)]
