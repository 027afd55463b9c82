"""Every step of augmentation has its picture in the documentation, small enough to be kept with the code."""

from __future__ import annotations

from medaug.transforms import STEPS
from scripts.draw_augmentations import FLAT, FOLDER


def test_every_step_has_a_picture_and_no_other_lies_there() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.png" for name in STEPS}
    assert set(FLAT) <= set(STEPS)


def test_the_pictures_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 600_000
