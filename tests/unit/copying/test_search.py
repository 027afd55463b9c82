"""The search on made-up textures: small images, whole copies."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from medaug.copying.imprint import Imprint
from medaug.copying.planting import CHANGES, plant
from medaug.copying.search import CopySearch
from medaug.core.errors import DataError
from medaug.core.runs import NoProgress

SIDE = 48


def texture(seed: int, shape: tuple[int, ...] = (SIDE, SIDE, 1), channels: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    sigma = [1.5 if n > 1 else 0.0 for n in shape]
    rough = np.stack([ndimage.gaussian_filter(rng.standard_normal(shape), sigma) for _ in range(channels)])
    return (rough / rough.std()).astype(np.float32)


def imprint(number: int, prefix: str, image: np.ndarray | None = None, *, lesion: bool = True) -> Imprint:
    image = texture(number) if image is None else image
    mask = np.zeros(image.shape[1:], bool)
    if lesion:
        mask[20:27, 20:27, mask.shape[2] // 2] = True
    return Imprint(f"{prefix}{number}", f"{prefix}patient{number}", image, mask, (1.0, 1.0, 1.0))


@pytest.fixture(scope="module")
def search() -> CopySearch:
    training = [imprint(n, "t") for n in range(12)]
    held_out = [imprint(100 + n, "h") for n in range(24)]
    return CopySearch(training, held_out, 0, NoProgress())


@pytest.mark.parametrize("change", CHANGES)
def test_planted_copies_are_flagged_and_their_source_named(search: CopySearch, change: str) -> None:
    rng = np.random.default_rng(7)
    copy = plant(texture(5)[..., 0], texture(200)[..., 0], change, rng)[..., None]
    found = {match.part: match for match in search.nearest(imprint(300, "s", copy, lesion=False))}
    assert set(found) == {"background"}
    assert found["background"].source_case_id == "t5"
    assert found["background"].score >= 1.0


def test_new_textures_are_not_flagged(search: CopySearch) -> None:
    scores = [m.score for n in range(20) for m in search.nearest(imprint(400 + n, "n"))]
    assert len(scores) == 40
    assert sum(score >= 1.0 for score in scores) <= 1
