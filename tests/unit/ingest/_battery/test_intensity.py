"""Checks of intensities: one planted fault each, and none on clean images."""

from __future__ import annotations

import numpy as np
import pytest

from medaug.core.findings import Finding
from medaug.core.geometry import Grid
from medaug.core.volume import Unit, Volume
from medaug.ingest._battery import intensity

SHAPE = (24, 24, 12)
GRID = Grid(SHAPE, np.eye(4))


def _ct() -> np.ndarray:
    """Air around a body of water and a little bone."""
    rng = np.random.default_rng(0)
    image = rng.normal(-1000, 15, SHAPE).clip(-1024)
    image[4:20, 4:20] = rng.normal(40, 20, (16, 16, 12))
    image[10:12, 10:12] = rng.normal(700, 50, (2, 2, 12))
    return image.round()


def _mr() -> np.ndarray:
    return np.abs(np.random.default_rng(1).normal(300, 90, SHAPE)).round()


def _findings(image: np.ndarray, unit: Unit, modality: str) -> list[Finding]:
    volume = Volume(image[None].astype(np.float32), GRID, unit, ("image",))
    (levels,) = intensity.Levels.of(volume)
    found = [
        intensity.check_hu(levels, unit, "c"),
        intensity.check_hu_range(levels, unit, "c"),
        intensity.check_padding(levels, unit, "c"),
        intensity.check_negative(levels, modality, "c"),
        intensity.check_clipped(levels, unit, "c"),
    ]
    return [one for one in found if one is not None]


def _with(image: np.ndarray, value: float, count: int = 1) -> np.ndarray:
    image = image.copy()
    image[0, :, :count] = value
    return image


def test_clean_images_are_fine() -> None:
    assert _findings(_ct(), Unit.HU, "CT") == []
    assert _findings(_mr(), Unit.ARBITRARY, "MR") == []
    assert _findings(_with(_mr(), 0, 6), Unit.ARBITRARY, "MR") == []


@pytest.mark.parametrize(
    ("image", "code", "severity"),
    [
        (np.interp(_ct(), (-1024, 1000), (0, 255)).round(), "not-hu", "refused"),
        (_ct() + 1024, "not-hu", "refused"),
        (np.abs(_mr()), "not-hu", "flagged"),
        ((_ct() - _ct().mean()) / _ct().std(), "not-hu", "refused"),
        (_ct() * 1.5 - 500, "hu-range", "flagged"),
        (_with(_ct(), 40_000), "hu-range", "flagged"),
        (_with(_ct(), -3024, 4), "padding", "flagged"),
        (_ct().clip(-160, 240), "clipped-range", "flagged"),
        (_ct().clip(-2000, 60), "clipped-range", "flagged"),
    ],
)
def test_each_fault_of_ct_has_its_code(image: np.ndarray, code: str, severity: str) -> None:
    assert [(one.code, one.severity) for one in _findings(image, Unit.HU, "CT")] == [(code, severity)]


@pytest.mark.parametrize(
    ("image", "code", "words"),
    [
        (_mr() - 250, "negative-intensity", "sign bit"),
        ((_mr() - _mr().mean()) / _mr().std(), "negative-intensity", "normalised"),
        (_with(_mr(), -5000, 3), "padding", "fills"),
        (_mr().clip(0, 350), "clipped-range", "the highest, 350"),
    ],
)
def test_each_fault_of_mr_has_its_code(image: np.ndarray, code: str, words: str) -> None:
    found = {one.code: one.message for one in _findings(image, Unit.ARBITRARY, "MR")}
    assert words in found[code]
    assert set(found) <= {code, "negative-intensity"}


def test_of_several_channels_the_one_at_fault_is_named() -> None:
    volume = Volume(np.stack([_mr(), _mr() - 250]).astype(np.float32), GRID, Unit.ARBITRARY, ("T1", "T2"))
    found = [intensity.check_negative(levels, "MR", "c") for levels in intensity.Levels.of(volume)]
    assert found[0] is None
    assert found[1] is not None
    assert found[1].message.startswith("channel T2: ")


def test_large_images_are_sampled_and_give_the_same_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {one.code for one in _findings(_ct().clip(-160, 240), Unit.HU, "CT")}
    monkeypatch.setattr(intensity, "_SAMPLE", 1 << 10)
    assert {one.code for one in _findings(_ct().clip(-160, 240), Unit.HU, "CT")} == before
