"""Files read once from their start: decompressed in bounded memory, and hashed as they are stored."""

from __future__ import annotations

import bz2
import hashlib
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, Protocol, final

import numpy as np

from medaug.core.errors import UnreadableError
from medaug.core.findings import Code

AGAIN = "copy or export it again"
# Above the largest scans in use (1024 cubed, or 288 frames of 145 x 174 x 145), and below what fills a workstation
MAX_VOXELS = 1 << 30
_CHUNK = 1 << 20
_SLACK = 1 << 20
# a number written as text takes fewer bytes, its separator included
_TEXT_BYTES = 32
_GZIP_START = b"\x1f\x8b"


class _Coder(Protocol):
    """A compressed stream that is decoded piece by piece."""

    @property
    def ended(self) -> bool: ...

    @property
    def hungry(self) -> bool: ...

    @property
    def leftover(self) -> bytes: ...

    def feed(self, stored: bytes, limit: int) -> bytes: ...


@final
class _Inflate:
    """gzip (RFC 1952) and zlib (RFC 1950) streams; their checksums are verified at the end."""

    def __init__(self) -> None:
        self._coder = zlib.decompressobj(wbits=47)

    @property
    def ended(self) -> bool:
        return self._coder.eof

    @property
    def hungry(self) -> bool:
        return not self._coder.unconsumed_tail

    @property
    def leftover(self) -> bytes:
        return self._coder.unused_data

    def feed(self, stored: bytes, limit: int) -> bytes:
        return self._coder.decompress(self._coder.unconsumed_tail + stored, limit)


@final
class _Bunzip:
    """bzip2 streams."""

    def __init__(self) -> None:
        self._coder = bz2.BZ2Decompressor()

    @property
    def ended(self) -> bool:
        return self._coder.eof

    @property
    def hungry(self) -> bool:
        return self._coder.needs_input

    @property
    def leftover(self) -> bytes:
        return self._coder.unused_data

    def feed(self, stored: bytes, limit: int) -> bytes:
        return self._coder.decompress(stored, limit)


@final
class Stream:
    """The content of a file, taken in the order in which it is stored."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self._hash = hashlib.sha256()
        self._ahead = b""
        self._coder: _Coder | None = None
        self._read = 0

    def starts_as_gzip(self) -> bool:
        """Whether what comes next is a gzip stream."""
        if len(self._ahead) < len(_GZIP_START):
            self._ahead += self._stored(_CHUNK)
        return self._ahead.startswith(_GZIP_START)

    @property
    def place(self) -> int:
        """How many stored bytes were taken so far; only before :meth:`decode`."""
        return self._read - len(self._ahead)

    def decode(self, encoding: Literal["gzip", "bzip2"]) -> None:
        """Take what follows as a compressed stream."""
        self._coder = _Inflate() if encoding == "gzip" else _Bunzip()

    def take(self, count: int) -> bytearray:
        """The next bytes of the content; fewer where it ends before."""
        taken = bytearray()
        while len(taken) < count:
            part = self._next(min(count - len(taken), _CHUNK))
            if not part:
                break
            taken += part
        return taken

    def skip(self, count: int) -> None:
        """Leave out the next bytes of the content.

        Raises:
            EOFError: If it ends before; :func:`open_stream` says so in words.
        """
        if count < 0:
            raise EOFError
        while count:
            part = self._next(min(count, _CHUNK))
            if not part:
                raise EOFError
            count -= len(part)

    def take_line(self, limit: int) -> bytes:
        """The next line with its end of line, or as many bytes as allowed; only before :meth:`decode`."""
        while b"\n" not in self._ahead and len(self._ahead) < limit:
            more = self._stored(_CHUNK)
            if not more:
                break
            self._ahead += more
        end = self._ahead.find(b"\n") + 1 or len(self._ahead)
        line, self._ahead = self._ahead[: min(end, limit)], self._ahead[min(end, limit) :]
        return line

    def finish(self) -> str:
        """Read to the end; returns the SHA-256 of the file as it is stored.

        Raises:
            UnreadableError: If the compressed content goes on beyond what was taken (``absurd-size``), or is cut short.
        """
        excess = 0
        while self._coder is not None and (part := self._next(_CHUNK)):
            excess += len(part)
            if excess > _SLACK:
                what = "file inflates beyond the size that its header claims"
                raise UnreadableError(what, hint=AGAIN, code=Code.ABSURD_SIZE)
        while self._stored(_CHUNK):
            pass
        return self._hash.hexdigest()

    def _stored(self, count: int) -> bytes:
        part = self._handle.read(count)
        self._hash.update(part)
        self._read += len(part)
        return part

    def _waiting(self, count: int) -> bytes:
        """Stored bytes: those read ahead, else the next of the file."""
        if not self._ahead:
            return self._stored(count)
        part, self._ahead = self._ahead[:count], self._ahead[count:]
        return part

    def _next(self, count: int) -> bytes:
        if self._coder is None:
            return self._waiting(count)
        while not self._coder.ended:
            stored = self._waiting(_CHUNK) if self._coder.hungry else b""
            part = self._coder.feed(stored, count)
            if part:
                return part
            if not stored and self._coder.hungry and not self._coder.ended:
                raise EOFError
        return self._next_member(count)

    def _next_member(self, count: int) -> bytes:
        """Gzip files may hold several streams, one after the other; what else follows is padding."""
        if self._coder is None or not isinstance(self._coder, _Inflate):
            return b""
        self._ahead = self._coder.leftover + self._ahead
        if not self._ahead.startswith(_GZIP_START):
            self._ahead += self._stored(_CHUNK) if len(self._ahead) < len(_GZIP_START) else b""
        if not self._ahead.startswith(_GZIP_START):
            return b""
        self._coder = _Inflate()
        return self._next(count)


@contextmanager
def open_stream(path: Path) -> Iterator[Stream]:
    """Open a file, and say in one line what is wrong with it; messages name no path.

    Raises:
        UnreadableError: If the file is missing, may not be read, is cut short or damaged.
    """
    try:
        with path.open("rb") as handle:
            yield Stream(handle)
    except FileNotFoundError as error:
        raise UnreadableError("file does not exist") from error
    except PermissionError as error:
        raise UnreadableError("file may not be read", hint="check its permissions") from error
    except EOFError as error:
        raise UnreadableError("file is cut short", hint=AGAIN, code=Code.TRUNCATED_FILE) from error
    except (OSError, zlib.error) as error:
        raise UnreadableError("file is cut short or damaged", hint=AGAIN) from error
    except (MemoryError, OverflowError) as error:
        raise UnreadableError("file holds more than fits into memory", code=Code.ABSURD_SIZE) from error


def take_whole(stream: Stream, count: int) -> bytearray:
    """As many bytes as the header claims.

    Raises:
        EOFError: If the content ends before; :func:`open_stream` says so in words.
    """
    taken = stream.take(count)
    if len(taken) < count:
        raise EOFError
    return taken


def require_sane_size(shape: tuple[int, ...]) -> None:
    """Refuse before anything is allocated.

    Raises:
        UnreadableError: If an axis has no voxel, or all axes together more than any scan (``absurd-size``).
    """
    voxels = 1
    for length in shape:
        voxels *= length
    if not shape or min(shape) < 1 or voxels > MAX_VOXELS:
        shown = " x ".join(str(length) for length in shape)
        what, expected = f"header claims {shown[:80]} voxels", f"1 to {MAX_VOXELS} voxels"
        raise UnreadableError(what, expected=expected, code=Code.ABSURD_SIZE)


def numbers_in_text(stream: Stream, dtype: np.dtype, sizes: tuple[int, ...]) -> np.ndarray:
    """Numbers written as text, axes in the order of the file.

    Raises:
        UnreadableError: If there are more or fewer than the header claims, or one is no number.
    """
    count = math.prod(sizes)
    words = bytes(stream.take(count * _TEXT_BYTES)).split()
    if len(words) != count:
        raise UnreadableError(f"file holds {len(words)} values", expected=f"{count}", hint=AGAIN)
    try:
        numbers = np.array(words, dtype=np.bytes_).astype(dtype.newbyteorder("="))
    except (ValueError, OverflowError) as error:
        raise UnreadableError("a value is no number", hint=AGAIN) from error
    return numbers.reshape(sizes, order="F")
