"""Pictures: values as stored, one place for every pixel, and masks that are never taken for something else."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medaug.core.errors import DataError, LabelError
from medaug.core.findings import Code
from medaug.core.geometry import planar_grid
from medaug.io.pictures import count_pages, load_mask, load_picture, pages_as_slices

GREY = (np.arange(20, dtype=np.uint8) * 11).reshape(4, 5)
MASK = np.array([[0, 1, 1], [0, 0, 2]], dtype=np.uint8)


def save(path: Path, pixels: np.ndarray | Image.Image, **options: Any) -> Path:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)
    return path


def codes(path: Path) -> list[str]:
    return [note.code for note in load_picture(path).findings]


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp"])
def test_grey_values_are_kept_and_lie_as_planar_dicom_does(tmp_path: Path, name: str) -> None:
    image = load_picture(save(tmp_path / name, GREY))
    assert np.array_equal(image.array[:, :, 0].T, GREY)
    assert np.array_equal(image.affine, planar_grid(4, 5, (1.0, 1.0)).affine)
    assert not image.spacing_known
    assert image.findings == ()


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_are_kept(tmp_path: Path, name: str) -> None:
    values = GREY.astype(np.uint16) * 257 + 3
    assert np.array_equal(load_picture(save(tmp_path / name, values)).array[:, :, 0].T, values)


def test_colours_become_luminance_and_grey_ones_keep_their_value(tmp_path: Path) -> None:
    stack = np.stack([GREY] * 3, axis=-1)
    assert np.array_equal(load_picture(save(tmp_path / "a.png", stack)).array[:, :, 0].T, GREY)
    assert codes(tmp_path / "a.png") == [Code.COLOUR_CONVERTED]
    stack = np.zeros((2, 2, 4), np.uint8)
    stack[0, 1] = (255, 0, 0, 255)
    assert load_picture(save(tmp_path / "b.png", stack)).array[1, 0, 0] == np.float32(76.245)
    palette = Image.fromarray(MASK, mode="L")
    palette.putpalette([0, 0, 0, 10, 10, 10, 99, 99, 99])
    assert load_picture(save(tmp_path / "c.png", palette)).array[:, :, 0].T.tolist() == [
        [0, 10, 10],
        [0, 0, 99],
    ]
    assert (
        load_picture(save(tmp_path / "d.png", Image.fromarray(GREY).convert("LA"))).array[4, 3, 0]
        == GREY[3, 4]
    )


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_are_values_and_not_shades(tmp_path: Path, bits: int) -> None:
    top = 2**bits - 1
    values = np.array([[0, 1, top, 0, top, 1, 0, top]], dtype=np.uint8)
    unpacked = np.unpackbits(values.T, axis=1)[:, -bits:]
    row = b"\0" + np.packbits(unpacked.ravel()).tobytes()
    content = b"\x89PNG\r\n\x1a\n"
    for kind, body in (
        (b"IHDR", struct.pack(">IIBBBBB", 8, 1, bits, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(row)),
        (b"IEND", b""),
    ):
        content += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    (tmp_path / "a.png").write_bytes(content)
    assert np.array_equal(load_picture(tmp_path / "a.png").array[:, 0, 0], values[0])
    assert np.array_equal(load_mask(tmp_path / "a.png").array[:, 0, 0], values[0])


def test_pages_are_slices_unless_they_are_said_to_be_frames(tmp_path: Path) -> None:
    pages = [Image.fromarray(GREY + n) for n in range(3)]
    path = save(tmp_path / "a.tif", pages[0], save_all=True, append_images=pages[1:])
    image = load_picture(path)
    assert count_pages(path) == 3
    assert image.array.shape == (5, 4, 1, 3)
    slices = pages_as_slices(image).array
    assert np.array_equal(slices[:, :, 2].T, GREY + 2)
    other = Image.fromarray(GREY[:3])
    with pytest.raises(DataError, match="pages differ in size") as caught:
        load_picture(save(tmp_path / "b.tif", pages[0], save_all=True, append_images=[other]))
    assert caught.value.code == Code.MIXED_SIZE


@pytest.mark.parametrize("name", ["a.jpg", "a.tif", "a.png"])
def test_the_orientation_tag_is_applied_once_and_told(tmp_path: Path, name: str) -> None:
    exif = Image.Exif()
    exif[274] = 6
    image = load_picture(save(tmp_path / name, np.full((4, 6), 90, np.uint8), exif=exif))
    assert image.array.shape == (4, 6, 1)
    assert [note.code for note in image.findings] == [Code.PICTURE_TURNED]


def test_white_as_zero_is_turned_round(tmp_path: Path) -> None:
    values = GREY.astype(np.uint16) * 200
    path = save(tmp_path / "a.tif", values, tiffinfo={262: 0})
    image = load_picture(path)
    assert np.array_equal(image.array[:, :, 0].T, 65535 - values)
    assert [note.code for note in image.findings] == [Code.MONOCHROME1]


def test_thirty_two_bits_have_no_sign_unless_they_say_so(tmp_path: Path) -> None:
    values = np.array([[0, 2**32 - 1]], dtype=np.uint32)
    content = bytearray(save(tmp_path / "a.tif", values.view(np.int32)).read_bytes())
    # tag 339, SampleFormat: 2 is signed, 1 is not
    place = content.index(struct.pack("<HHIH", 339, 3, 1, 2))
    content[place + 8] = 1
    (tmp_path / "b.tif").write_bytes(bytes(content))
    assert load_picture(tmp_path / "b.tif").array.ravel().tolist() == [0, 2**32 - 1]
    assert load_picture(tmp_path / "a.tif").array.ravel().tolist() == [0, -1]


def test_masks_keep_ids_and_palette_indices(tmp_path: Path) -> None:
    assert np.array_equal(load_mask(save(tmp_path / "a.png", MASK)).array[:, :, 0].T, MASK)
    palette = Image.fromarray(MASK, mode="L")
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    assert np.array_equal(load_mask(save(tmp_path / "b.png", palette)).array[:, :, 0].T, MASK)
    grey = np.stack([MASK * 255] * 3, axis=-1)
    assert np.array_equal(load_mask(save(tmp_path / "c.png", grey)).array[:, :, 0].T, MASK * 255)
    assert np.array_equal(load_mask(save(tmp_path / "d.png", MASK > 0)).array[:, :, 0].T, MASK > 0)
    opaque = Image.fromarray(grey).convert("RGBA")
    assert np.array_equal(load_mask(save(tmp_path / "e.png", opaque)).array[:, :, 0].T, MASK * 255)


def test_what_is_no_mask_is_refused(tmp_path: Path) -> None:
    white_first = Image.fromarray(MASK, mode="L")
    white_first.putpalette([255, 255, 255, 0, 0, 0, 9, 9, 9])
    colour = np.stack([MASK, MASK, MASK * 3], axis=-1)
    seen_through = np.zeros((2, 3, 4), np.uint8)
    seen_through[..., 3] = MASK
    photograph = np.arange(256, dtype=np.uint8).reshape(16, 16)
    steps = np.zeros((16, 16), np.uint8)
    steps[:, 5:] = 130
    cases = {
        "palette": save(tmp_path / "1.png", white_first),
        "in colour": save(tmp_path / "2.png", colour),
        "transparent": save(tmp_path / "3.png", seen_through),
        "256 different values": save(tmp_path / "4.png", photograph),
        "JPEG": save(tmp_path / "5.jpg", steps),
    }
    for match, path in cases.items():
        with pytest.raises(LabelError, match=match):
            load_mask(path)
    whole = np.zeros((16, 16), np.uint8)
    whole[:, 8:] = 255
    assert set(np.unique(load_mask(save(tmp_path / "6.jpg", whole)).array)) == {0, 255}


def test_more_than_eight_bits_of_colour_are_refused(tmp_path: Path) -> None:
    row = struct.pack(">B6H", 0, 1, 2, 3, 4, 5, 6)
    content = b"\x89PNG\r\n\x1a\n"
    for kind, body in (
        (b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(row)),
        (b"IEND", b""),
    ):
        content += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match="16 bits") as caught:
        load_picture(tmp_path / "a.png")
    assert caught.value.code == Code.UNSUPPORTED_FORMAT
    with pytest.raises(DataError, match="colour space"):
        load_picture(save(tmp_path / "b.jpg", Image.new("CMYK", (4, 4))))


@pytest.mark.parametrize("keep", [0, 5, 30, 60])
@pytest.mark.parametrize("ending", ["png", "tif", "jpg", "bmp"])
def test_files_cut_short_are_refused_without_naming_the_path(tmp_path: Path, ending: str, keep: int) -> None:
    path = save(tmp_path / f"Meier_Anna.{ending}", np.tile(GREY, (8, 8)))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError) as caught:
        load_picture(path)
    assert "Meier" not in caught.value.line()


def test_absurd_sizes_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(GREY).save(stream, "PNG")
    content = bytearray(stream.getvalue())
    for width, height in ((60_000, 60_000), (17_000, 17_000)):
        content[16:24] = struct.pack(">II", width, height)
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
        (tmp_path / "a.png").write_bytes(bytes(content))
        with pytest.raises(DataError) as caught:
            load_picture(tmp_path / "a.png")
        assert caught.value.code == Code.ABSURD_SIZE
