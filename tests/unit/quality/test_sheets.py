"""Sheets are pictures of the right size, flagged ones in red, and say so where there is nothing to see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from medaug.quality.sheets import Panel, lesion_panel, write_pairs
from tests.unit.quality.textured import lesion


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def red(picture: np.ndarray) -> int:
    return int(((picture[..., 0] > 180) & (picture[..., 1] < 90) & (picture[..., 2] < 90)).sum())


def test_twenty_four_pairs_are_shown_at_most(tmp_path):
    panels = [lesion_panel(lesion(n), f"case_{n}\n0.{n}") for n in range(2)]
    pair = (panels[0], panels[1])
    write_pairs(tmp_path / "few.png", [pair] * 6)
    write_pairs(tmp_path / "all.png", [pair] * 24)
    write_pairs(tmp_path / "more.png", [pair] * 30)
    few, whole = pixels(tmp_path / "few.png"), pixels(tmp_path / "all.png")
    assert few.shape[1] == whole.shape[1]
    assert whole.shape[0] == 4 * few.shape[0]
    assert np.array_equal(whole, pixels(tmp_path / "more.png"))
    assert red(whole) == 0


def test_a_flagged_pair_is_red(tmp_path):
    plane = np.random.default_rng(0).normal(size=(24, 24))
    pair = (
        Panel(plane, None, "made\nscore 1.20", is_flagged=True),
        Panel(plane, None, "case_1\nrotated by 90"),
    )
    plain = (Panel(plane, None, "made\nscore 0.20"), pair[1])
    write_pairs(tmp_path / "flagged.png", [pair])
    write_pairs(tmp_path / "plain.png", [plain])
    assert red(pixels(tmp_path / "flagged.png")) > 20
    assert red(pixels(tmp_path / "plain.png")) == 0


def test_pictures_stand_upright(tmp_path):
    plane = np.zeros((30, 30))
    plane[20:, 25:] = 1.0  # to the patient's left and front
    panel = Panel(plane, None, "")
    write_pairs(tmp_path / "one.png", [(panel, panel)])
    picture = pixels(tmp_path / "one.png")[30:170, 0:140]
    bright = np.argwhere(picture.sum(axis=2) > 700)
    inside = bright[(bright[:, 1] > 5) & (bright[:, 1] < 130) & (bright[:, 0] > 15) & (bright[:, 0] < 130)]
    assert inside.mean(axis=0)[0] < 60  # anterior on top
    assert inside.mean(axis=0)[1] < 60  # i points to the right of the patient, who is seen from the feet


def test_nothing_to_see_is_said(tmp_path):
    write_pairs(tmp_path / "pairs.png", [])
    assert (pixels(tmp_path / "pairs.png").sum(axis=2) < 300).sum() > 100
