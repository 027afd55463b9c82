"""Writing is found by its shape: in any place, of any size, on anything; and tissue is left alone."""

from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from medaug.privacy._deidentify.writing import Box, find_writing
from scripts.measure_pixel_writing import HELD_OUT, KINDS, Drawn, Kind, background, covered, draw

TEXT = "DOE, JANE 4711"


def mask_of(image: np.ndarray) -> np.ndarray:
    return covered(find_writing(image), image.shape)


def ink_left(drawn: Drawn) -> float:
    assert drawn.ink.sum() > 100
    return float((drawn.ink & ~mask_of(drawn.image)).sum() / drawn.ink.sum())


def drawn_on(kind: Kind, *, size: int = 18, colour: str = "white", font: str = "DejaVuSans") -> Drawn:
    return draw(
        background(kind, np.random.default_rng(2))[100:300, 170:450], TEXT, (font, size), colour, (80, 20)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_white_writing_is_found_on_anything(kind: Kind) -> None:
    assert ink_left(drawn_on(kind)) < 0.02


@pytest.mark.parametrize("font", HELD_OUT[0])
def test_fonts_that_nothing_was_tuned_on_are_found(font: str) -> None:
    assert ink_left(drawn_on("black", font=font)) < 0.02


@pytest.mark.parametrize("size", [9, 13, 26, 60, 110])
def test_small_and_large_writing_is_found(size: int) -> None:
    drawn = draw(
        np.zeros((40 + 2 * size, 60 + 9 * size, 3), np.uint8), TEXT, ("DejaVuSans", size), "white", (20, 20)
    )
    assert ink_left(drawn) < 0.02


@pytest.mark.parametrize("colour", ["yellow", "green", "blue"])
def test_colours_are_found_on_tissue(colour: str) -> None:
    assert ink_left(drawn_on("speckle", colour=colour, size=22)) < 0.02


def test_dark_writing_on_white_is_found() -> None:
    drawn = drawn_on("black")
    assert (mask_of(255 - drawn.image) & drawn.ink).sum() > 0.98 * drawn.ink.sum()


def test_writing_on_its_side_is_found() -> None:
    drawn = drawn_on("black")
    assert (mask_of(np.rot90(drawn.image)) & np.rot90(drawn.ink)).sum() > 0.98 * drawn.ink.sum()


def test_only_what_is_written_is_boxed() -> None:
    drawn = drawn_on("black")
    rows, columns = np.nonzero(drawn.ink)
    mask = mask_of(drawn.image)
    found = np.nonzero(mask)
    assert abs(int(found[0].min()) - int(rows.min())) < 8
    assert abs(int(found[1].max()) - int(columns.max())) < 18
    assert mask.mean() < 0.15


@pytest.mark.parametrize("kind", KINDS)
def test_little_of_an_image_without_writing_is_boxed(kind: Kind) -> None:
    image = background(kind, np.random.default_rng(7))[80:320, 140:460]
    assert mask_of(image).mean() < 0.03
    assert mask_of(image[..., 0]).mean() < 0.03


def _drawings() -> Iterator[np.ndarray]:
    """Marks of a depth scale, a grey bar, a frame, a curve."""
    image = Image.new("L", (400, 300))
    pen = ImageDraw.Draw(image)
    for row in range(20, 280, 40):
        pen.line((380, row, 392, row), fill=255, width=2)
    yield np.asarray(image)
    yield np.tile(np.linspace(0, 255, 300, dtype=np.uint8)[:, None], (1, 400))
    image = Image.new("L", (400, 300))
    pen = ImageDraw.Draw(image)
    pen.rectangle((20, 20, 380, 280), outline=255)
    pen.arc((60, 60, 300, 240), 200, 340, fill=200, width=2)
    yield np.asarray(image)
    yield np.full((300, 400), 90, np.uint8)


@pytest.mark.parametrize("number", range(4))
def test_marks_and_curves_are_no_writing(number: int) -> None:
    assert find_writing(list(_drawings())[number]) == ()


def test_tiny_images_hold_none() -> None:
    assert find_writing(np.zeros((4, 4), np.uint8)) == ()


def test_boxes_stay_within_the_image() -> None:
    image = Image.new("L", (120, 40))
    ImageDraw.Draw(image).text((0, 0), TEXT, fill=255, font=ImageFont.load_default(20))
    boxes = find_writing(np.asarray(image))
    assert boxes
    assert all(0 <= b.top < b.bottom <= 40 and 0 <= b.left < b.right <= 120 for b in boxes)


def test_boxes_grow_and_scale() -> None:
    assert Box(1, 2, 5, 6).grown(3, (7, 30)) == Box(0, 0, 7, 9)
    assert Box(1, 2, 5, 6).scaled(2) == Box(2, 4, 10, 12)
