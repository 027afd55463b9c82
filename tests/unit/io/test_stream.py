"""Streams: what a file holds, once and in bounded memory, with the hash of what is stored."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import zlib
from pathlib import Path

import numpy as np
import pytest

from medaug.core.errors import UnreadableError
from medaug.core.findings import Code
from medaug.io.stream import Stream, open_stream, require_sane_size, take_whole

CONTENT = np.random.default_rng(0).integers(0, 40, 3 << 20).astype(np.uint8).tobytes()


def read(path: Path, count: int, encoding: str = "") -> tuple[bytes, str]:
    with open_stream(path) as stream:
        if encoding:
            stream.decode("bzip2" if encoding == "bzip2" else "gzip")
        return bytes(take_whole(stream, count)), stream.finish()


@pytest.mark.parametrize(
    ("encoding", "stored"),
    [
        ("", CONTENT),
        ("gzip", gzip.compress(CONTENT, 1)),
        ("gzip", zlib.compress(CONTENT, 1)),
        ("gzip", gzip.compress(CONTENT[:1000]) + gzip.compress(CONTENT[1000:], 1) + bytes(50)),
        ("bzip2", bz2.compress(CONTENT, 1)),
    ],
)
def test_content_and_hash_are_exact(tmp_path: Path, encoding: str, stored: bytes) -> None:
    (tmp_path / "a").write_bytes(stored)
    taken, digest = read(tmp_path / "a", len(CONTENT), encoding)
    assert taken == CONTENT
    assert digest == hashlib.sha256(stored).hexdigest()


@pytest.mark.parametrize("encoding", ["gzip", "bzip2"])
def test_truncated_damaged_and_swollen_streams_are_told_apart(tmp_path: Path, encoding: str) -> None:
    stored = gzip.compress(CONTENT, 1) if encoding == "gzip" else bz2.compress(CONTENT, 1)
    (tmp_path / "cut").write_bytes(stored[: len(stored) // 2])
    (tmp_path / "swollen").write_bytes(stored)
    (tmp_path / "damaged").write_bytes(stored[:40_000] + bytes(200) + stored[40_200:])
    codes = {}
    for name in ("cut", "swollen", "damaged"):
        with pytest.raises(UnreadableError) as caught:
            read(tmp_path / name, len(CONTENT) if name != "swollen" else 1000, encoding)
        codes[name] = caught.value.code
    assert codes["cut"] == Code.TRUNCATED_FILE
    assert codes["swollen"] == Code.ABSURD_SIZE
    assert codes["damaged"] == ""


def test_a_wrong_checksum_is_damage(tmp_path: Path) -> None:
    stored = bytearray(gzip.compress(CONTENT[:1000]))
    stored[-6] ^= 1
    (tmp_path / "a").write_bytes(bytes(stored))
    with pytest.raises(UnreadableError, match="damaged"):
        read(tmp_path / "a", 1000, "gzip")


def test_lines_and_skips_keep_the_place(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"first\nsecond line\n" + CONTENT[:10])
    with open_stream(tmp_path / "a") as stream:
        assert stream.take_line(100) == b"first\n"
        assert stream.place == 6
        assert stream.take_line(4) == b"seco"
        stream.skip(8)
        assert bytes(stream.take(20)) == CONTENT[:10]
        assert stream.take_line(5) == b""
    with pytest.raises(UnreadableError), open_stream(tmp_path / "a") as stream:
        stream.skip(1000)
    with pytest.raises(UnreadableError), open_stream(tmp_path / "a") as stream:
        stream.skip(-1)


def test_gzip_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(gzip.compress(b"x"))
    (tmp_path / "b").write_bytes(b"")
    with open_stream(tmp_path / "a") as stream:
        assert stream.starts_as_gzip()
    with open_stream(tmp_path / "b") as stream:
        assert not stream.starts_as_gzip()


def test_missing_files_and_full_memory_are_told_without_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnreadableError, match="does not exist"), open_stream(tmp_path / "Meier"):
        pass
    (tmp_path / "a").write_bytes(b"x")

    def full(self: Stream, count: int) -> bytearray:
        raise MemoryError

    monkeypatch.setattr(Stream, "take", full)
    with pytest.raises(UnreadableError) as caught, open_stream(tmp_path / "a") as stream:
        stream.take(5)
    assert caught.value.code == Code.ABSURD_SIZE


@pytest.mark.parametrize("shape", [(), (3, 0, 2), (3, -1), (1 << 20, 1 << 20), (2**40, 1)])
def test_absurd_sizes(shape: tuple[int, ...]) -> None:
    with pytest.raises(UnreadableError) as caught:
        require_sane_size(shape)
    assert caught.value.code == Code.ABSURD_SIZE
    require_sane_size((1024, 1024, 1024))
