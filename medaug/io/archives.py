"""Zip archives (PKWARE APPNOTE 6.3) unpacked without trusting them: nothing is written outside, and sizes are bounded."""

from __future__ import annotations

import errno
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, final

from medaug.core.errors import DataError, UnreadableError
from medaug.core.findings import Code
from medaug.core.storage import storage_error

Format = Literal["zip", "tar", "gzip", "7-Zip", "RAR", "bzip2", "xz"]

MOST_MEMBERS = 200_000
MOST_RATIO = 200
# a mask alone may shrink to a thousandth: ratios count from here on
_RATIO_FROM_BYTES = 256 << 20
_MOST_DIRECTORY_BYTES = 48 << 20
_MOST_FOLDERS, _LONGEST_NAME, _LONGEST_PATH = 64, 255, 2000
_CHUNK = 1 << 20
_BY_HAND = "unpack it by hand and look at it"
_OTHER_NAMES = (".tar", ".tgz", ".tbz2", ".txz", ".7z", ".rar", ".gz", ".bz2", ".xz", "")
_MAGIC: tuple[tuple[int, bytes, Format], ...] = (
    (0, b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (0, b"Rar!\x1a\x07", "RAR"),
    (257, b"ustar", "tar"),
    (0, b"BZh", "bzip2"),
    (0, b"\xfd7zXZ\x00", "xz"),
)
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_ZIP_ERRORS = (
    EOFError,
    IndexError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
_NAME_ERRNOS = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.EISDIR, errno.ENOTDIR, errno.EEXIST)


@final
@dataclass(slots=True)
class Budget:
    """How much may still be unpacked; archives inside archives draw on the same one."""

    bytes_left: int
    members_left: int = MOST_MEMBERS

    def take(self, count: int) -> None:
        """Count bytes that were really unpacked.

        Raises:
            DataError: If they are more than is left.
        """
        self.bytes_left -= count
        if self.bytes_left < 0:
            raise _bomb("archive unpacks to more than the disk can hold")


def archive_format(path: Path) -> Format | None:
    """Which kind of archive a file is, by its name and its first bytes; None for everything else.

    A ``.zip`` of any content is one, so that a damaged one is refused. Of files packed alone (gzip) only DICOM and tar
    count: a ``.nii.gz`` has a reader of its own.
    """
    suffix = path.suffix.lower()
    if suffix == ".zip":
        return "zip"
    if suffix not in _OTHER_NAMES or path.name.lower().endswith((".nii.gz", ".raw.gz")):
        return None
    try:
        with path.open("rb") as handle:
            start = handle.read(512)
    except OSError:
        return None
    if start[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return "zip" if suffix == "" else None
    if start[:2] == b"\x1f\x8b":
        return "gzip" if _holds_scans(start) else None
    return next((name for at, magic, name in _MAGIC if start[at : at + len(magic)] == magic), None)


def _holds_scans(start: bytes) -> bool:
    """Whether gzip hides a DICOM file or a tar archive."""
    try:
        inner = zlib.decompressobj(wbits=31).decompress(start, 512)
    except zlib.error:
        return True
    # 512 packed bytes always give the first 132; the mark of a tar may lie behind what they give
    return inner[128:132] == b"DICM" or inner[257:262] == b"ustar"


def refuse_format(name: Format) -> DataError:
    """The refusal of an archive that is no zip."""
    return DataError(
        f"{name} archives are not unpacked", hint="unpack it, or pack it as zip", code=Code.UNSUPPORTED_FORMAT
    )


def refuse_depth(deepest: int) -> DataError:
    """The refusal of an archive inside too many others."""
    return _bomb(f"archives lie more than {deepest} deep in each other")


def unpack(archive: Path, into: Path, budget: Budget) -> tuple[Path, ...]:
    """Unpack a zip archive into a folder, as plain files of mode 600 in folders of mode 700.

    Everything is checked before the first byte is written: names (absolute, ``..``, links, devices, doubles), encryption,
    entries that overlap (Fifield, USENIX WOOT 2019), methods, sizes and their ratio. What is inflated is counted again.

    Args:
        archive: The file.
        into: A folder that only the caller writes to; after an error it holds a part.
        budget: What may be unpacked; it is drawn on.

    Returns:
        The unpacked files, in the order of the archive.

    Raises:
        DataError: With code ``archive-unsafe``, ``archive-bomb`` or ``unsupported-format``; no message names a member.
        StorageError: If the disk is full or the folder cannot be written.
    """
    try:
        with archive.open("rb") as handle:
            _check_directory(handle)
            with zipfile.ZipFile(handle) as opened:
                members = _checked(opened, budget)
                return tuple(_extract(opened, info, into / name, budget) for name, info in members)
    except _ZIP_ERRORS as error:
        raise _unsafe("archive is damaged", "copy or export it again") from error
    except OSError as error:
        if error.errno in _NAME_ERRNOS:
            raise _unsafe("archive holds names that no file can have") from error
        raise storage_error(error) from error


def _unsafe(what: str, hint: str = _BY_HAND) -> UnreadableError:
    return UnreadableError(what, hint=hint, code=Code.ARCHIVE_UNSAFE)


def _bomb(what: str) -> UnreadableError:
    return UnreadableError(what, hint="unpack it by hand if it is trusted", code=Code.ARCHIVE_BOMB)


def _check_directory(handle: BinaryIO) -> None:
    """Bound the central directory, which is read into memory whole (APPNOTE 4.3.16 and 4.3.14)."""
    size = handle.seek(0, os.SEEK_END)
    handle.seek(max(0, size - 65_557 - 20))
    tail = handle.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        raise _unsafe("archive is damaged", "copy or export it again")
    count, length = struct.unpack_from("<HI", tail, at + 10)
    if count == 0xFFFF or length == 0xFFFFFFFF:
        # the counts of a zip64 archive: the directory cannot be longer than what lies before its end
        length = _zip64_directory_bytes(handle, tail[max(0, at - 20) : at])
    if length > _MOST_DIRECTORY_BYTES:
        raise _bomb("archive lists too many members")


def _zip64_directory_bytes(handle: BinaryIO, locator: bytes) -> int:
    if locator[:4] != b"PK\x06\x07":
        return 0
    handle.seek(struct.unpack_from("<Q", locator, 8)[0])
    record = handle.read(56)
    return int(struct.unpack_from("<Q", record, 40)[0]) if len(record) == 56 else 0


def _checked(opened: zipfile.ZipFile, budget: Budget) -> list[tuple[str, zipfile.ZipInfo]]:
    """The members that are files, with their safe relative names."""
    infos = opened.infolist()
    budget.members_left -= len(infos)
    if budget.members_left < 0:
        raise _bomb(f"archives list more than {MOST_MEMBERS} members")
    files = [(_safe_name(info), info) for info in infos if not info.is_dir()]
    for info in infos:
        _check_entry(info)
    _check_overlap(opened, infos)
    _check_doubles([name for name, _ in files])
    _check_sizes([info for _, info in files], budget)
    return files


def _safe_name(info: zipfile.ZipInfo) -> str:
    """The name with forward slashes, or a refusal of what could lead elsewhere."""
    name = info.orig_filename.replace("\\", "/")
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", name):
        raise _unsafe("archive names files outside itself")
    if any(not part.isprintable() or _DEVICE.fullmatch(part) for part in parts) or "" in parts:
        raise _unsafe("archive holds names that no file can have")
    too_long = any(len(part.encode()) > _LONGEST_NAME for part in parts) or len(name) > _LONGEST_PATH
    if too_long or len(parts) > _MOST_FOLDERS:
        raise _unsafe("archive holds names that are too long or too deep")
    return "/".join(part for part in parts if part != ".")


def _check_entry(info: zipfile.ZipInfo) -> None:
    """Refuse links, devices, encryption and methods other than stored and deflated."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _unsafe("archive holds links or devices")
    if info.flag_bits & 0x1:
        raise _unsafe("archive is encrypted", "unpack it by hand with its password")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        hint = "pack it again with the usual method (deflate)"
        raise DataError("archive is packed in an unusual way", hint=hint, code=Code.UNSUPPORTED_FORMAT)


def _check_overlap(opened: zipfile.ZipFile, infos: Sequence[zipfile.ZipInfo]) -> None:
    """No entry may reach into the next one: a few kilobytes shared by all of them would make a bomb."""
    ordered = sorted(infos, key=lambda info: info.header_offset)
    ends = [info.header_offset + 30 + info.compress_size for info in ordered]
    starts = [info.header_offset for info in ordered[1:]] + [opened.start_dir]
    if any(end > start for end, start in zip(ends, starts, strict=False)):
        raise _unsafe("entries of the archive overlap")


def _check_doubles(names: Sequence[str]) -> None:
    folders = {name[:at] for name in names for at, letter in enumerate(name) if letter == "/"}
    if len(set(names)) < len(names) or not folders.isdisjoint(names):
        raise _unsafe("two members of the archive have one name")


def _check_sizes(infos: Sequence[zipfile.ZipInfo], budget: Budget) -> None:
    claimed, packed = sum(info.file_size for info in infos), sum(info.compress_size for info in infos)
    if claimed > budget.bytes_left:
        raise _bomb("archive claims to unpack to more than the disk can hold")
    if claimed > _RATIO_FROM_BYTES and claimed > MOST_RATIO * packed:
        raise _bomb(f"archive claims to unpack to more than {MOST_RATIO} times its size")


def _extract(opened: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, budget: Budget) -> Path:
    """One member; zipfile inflates no more than its claimed size and compares its checksum."""
    _make_folder(target.parent)
    with opened.open(info) as source, _new_file(target) as handle:
        while chunk := source.read(_CHUNK):
            budget.take(len(chunk))
            handle.write(chunk)
    return target


def _make_folder(folder: Path) -> None:
    """A folder and those above it, all of mode 700."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(mode=0o700)


def _new_file(path: Path) -> BinaryIO:
    """A file that is not there yet and that only its owner may read."""
    return os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600), "wb")
