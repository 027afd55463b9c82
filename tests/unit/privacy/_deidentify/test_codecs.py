"""Comments and application data of compressed streams go, the image stays."""

import io
import struct

import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from medaug.core.errors import IdentifierError
from medaug.privacy._deidentify.codecs import pictures, silenced

NAME = b"Kowalczyk"
END = b"\xfe\xff\xdd\xe0\0\0\0\0"
RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 255, (24, 40, 3), dtype=np.uint8)


def jpeg(**options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(PICTURE).save(out, "JPEG", comment=NAME, **options)
    return out.getvalue()


def jpeg2000() -> bytes:
    out = io.BytesIO()
    Image.fromarray(PICTURE).save(out, "JPEG2000", no_jp2=True, comment=NAME.decode(), tile_size=(16, 16))
    return out.getvalue()


def with_segment(stream: bytes, marker: int, content: bytes) -> bytes:
    """A JPEG with one more segment behind its start."""
    return stream[:2] + struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content + stream[2:]


def value_of(*streams: bytes, fragments: int = 1) -> bytes:
    return encapsulate(list(streams), fragments_per_frame=fragments, has_bot=False) + END


def decoded(stream: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(stream)))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("fragments", [1, 3])
def test_jpeg_loses_its_comments_and_nothing_else(progressive: bool, fragments: int) -> None:
    stream = with_segment(jpeg(progressive=progressive), 0xE1, b"Exif\0\0" + NAME)
    value = value_of(stream, fragments=fragments)
    assert NAME in stream
    result = silenced(value, JPEGBaseline8Bit)
    assert len(result) == len(value)
    [frame] = generate_frames(result, number_of_frames=1)
    assert NAME not in frame
    assert np.array_equal(decoded(frame), decoded(stream))


def test_thumbnails_go_and_what_tells_the_colours_stays() -> None:
    stream = with_segment(jpeg(), 0xEE, b"Adobe\0\x64\0\0\0\0\1" + NAME)
    assert b"JFIF" in stream
    [frame] = generate_frames(silenced(value_of(stream), JPEGBaseline8Bit), number_of_frames=1)
    assert b"JFIF\0\1" in frame
    assert b"Adobe\0\x64\0\0\0\0\1" in frame
    assert NAME not in frame
    assert np.array_equal(decoded(frame), decoded(stream))


def test_what_follows_the_end_goes() -> None:
    for stream, syntax in ((jpeg(), JPEGBaseline8Bit), (jpeg2000(), JPEG2000Lossless)):
        result = silenced(value_of(stream + NAME), syntax)
        assert NAME not in result
        assert stream[-2:] in result


def test_every_frame_is_silenced() -> None:
    result = silenced(value_of(jpeg(), jpeg(quality=50), fragments=2), JPEGBaseline8Bit)
    assert NAME not in result.replace(b"\xfe\xff\x00\xe0", b"")


def test_jpeg_2000_loses_its_comments_and_nothing_else() -> None:
    stream = jpeg2000()
    # a comment in the header of a tile-part, too (ITU-T T.800 A.4.2: its length counts)
    at = stream.index(b"\xff\x90")
    comment = b"\xff\x64" + struct.pack(">HH", len(NAME) + 4, 1) + NAME
    length = struct.unpack_from(">I", stream, at + 6)[0] + len(comment)
    stream = (
        stream[: at + 6] + struct.pack(">I", length) + stream[at + 10 : at + 12] + comment + stream[at + 12 :]
    )
    assert stream.count(NAME) == 2
    [frame] = generate_frames(silenced(value_of(stream), JPEG2000Lossless), number_of_frames=1)
    assert NAME not in frame
    assert np.array_equal(decoded(frame), PICTURE)


def test_stuffed_bytes_of_jpeg_ls_are_no_markers() -> None:
    scan = b"\xff\xda\0\x08\1\1\0\0\0\0" + b"\x12\xff\x7e\xff\x00\x34"
    stream = b"\xff\xd8\xff\xfe\0\x0b" + NAME + scan + b"\xff\xd9"
    result = silenced(value_of(stream), JPEGLSLossless)
    assert NAME not in result
    assert scan in result


def test_run_lengths_stay() -> None:
    value = value_of(bytes(64) + NAME)
    assert silenced(value, RLELossless) == value
    assert pictures(value, RLELossless) == []


@pytest.mark.parametrize(
    ("stream", "syntax"),
    [
        (jpeg(), "1.2.840.10008.1.2.4.112"),
        (jpeg()[2:], JPEGBaseline8Bit),
        (jpeg()[:-200], JPEGBaseline8Bit),
        (jpeg()[:30], JPEGBaseline8Bit),
        (b"\0\0\0\x0cjP  " + jpeg2000(), JPEG2000Lossless),
        (jpeg2000()[:60], JPEG2000Lossless),
    ],
)
def test_streams_that_are_not_understood_are_held_back(stream: bytes, syntax: str) -> None:
    with pytest.raises(IdentifierError) as caught:
        silenced(value_of(stream), syntax)
    assert caught.value.code == "pixel-stream"


def test_items_that_make_no_sense_are_held_back() -> None:
    with pytest.raises(IdentifierError, match="make no sense"):
        silenced(value_of(jpeg())[:-8], JPEGBaseline8Bit)


@pytest.mark.parametrize(("stream", "syntax"), [(jpeg(), JPEGBaseline8Bit), (jpeg2000(), JPEG2000Lossless)])
def test_streams_tell_their_size(stream: bytes, syntax: str) -> None:
    [picture] = pictures(value_of(stream), syntax)
    assert (picture.rows, picture.columns, picture.samples, picture.bits) == (24, 40, 3, 8)
