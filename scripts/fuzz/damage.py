"""Ways to damage a file: blind ones for every format, and some that know where a format hurts."""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from collections.abc import Callable
from functools import cache
from random import Random

Damage = Callable[[bytes, Random], bytes]
_VRS = b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV".split()
_LONG_VRS = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)
_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
_ODD_NUMBERS = (
    b"nan",
    b"inf",
    b"-1",
    b"0",
    b"1e400",
    b"9" * 40,
    b"",
    b"\x00",
    b"1\\2\\3",
    "½".encode(),
    b"1,5",
    b"0x10",
)
_ODD_BYTES = (
    b"\x1b$B\x1b",
    b"\xff\xfe\xfd",
    b"\xc3\x28",
    b"\x00" * 8,
    b"\\" * 20,
    b"=" * 60,
    b"\r\n\r\n",
    b'"\'"',
)
_HEADER = 2500


def _somewhere(content: bytes, rng: Random, width: int = 1) -> int:
    """A place in the file, more often in its first part, where headers are."""
    end = max(1, len(content) - width)
    return rng.randrange(min(end, _HEADER) if rng.random() < 0.7 else end)


def flip_bits(content: bytes, rng: Random) -> bytes:
    """One to sixteen bits."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if changed:
            changed[_somewhere(content, rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(content: bytes, rng: Random) -> bytes:
    """Everything after some place."""
    return content[: _somewhere(content, rng)]


def drop_middle(content: bytes, rng: Random) -> bytes:
    """Some bytes in the middle."""
    at = _somewhere(content, rng)
    return content[:at] + content[at + rng.choice((1, 2, 4, 8, 100, 1000)) :]


def insert(content: bytes, rng: Random) -> bytes:
    """Noise, or text that parsers stumble over."""
    at = _somewhere(content, rng)
    noise = rng.choice((rng.randbytes(rng.choice((1, 2, 4, 64))), rng.choice(_ODD_BYTES)))
    return content[:at] + noise + content[at:]


def repeat(content: bytes, rng: Random) -> bytes:
    """A block of the file, again."""
    at = _somewhere(content, rng)
    return content[:at] + content[at : at + rng.choice((4, 16, 256))] * rng.choice((2, 50)) + content[at:]


def extreme_number(content: bytes, rng: Random) -> bytes:
    """A whole number of 2, 4 or 8 bytes as large or as small as it gets."""
    width, order = rng.choice((2, 4, 8)), rng.choice("<>")
    at = _somewhere(content, rng, width)
    value = rng.choice(_EXTREMES) & ((1 << 8 * width) - 1)
    packed = struct.pack(order + {2: "H", 4: "I", 8: "Q"}[width], value)
    return content[:at] + packed + content[at + width :]


def odd_number(content: bytes, rng: Random) -> bytes:
    """A number written as text replaced by one that is none, or too large."""
    numbers = list(re.finditer(rb"-?\d+(\.\d+)?", content[: 4 * _HEADER]))
    if not numbers:
        return flip_bits(content, rng)
    found = rng.choice(numbers)
    return content[: found.start()] + rng.choice(_ODD_NUMBERS) + content[found.end() :]


def nothing(_: bytes, rng: Random) -> bytes:
    """An empty file, or one of zeros, or noise."""
    return rng.choice((b"", b"\0" * 5000, rng.randbytes(5000)))


BLIND: tuple[Damage, ...] = (
    flip_bits,
    flip_bits,
    cut,
    drop_middle,
    insert,
    repeat,
    extreme_number,
    odd_number,
)


def _elements(content: bytes) -> list[int]:
    """Where the VRs of explicit elements stand."""
    return [
        found.start() for found in re.finditer(rb"(?<=[\x00-\xff]{4})(?:" + b"|".join(_VRS) + rb")", content)
    ]


def wrong_vr(content: bytes, rng: Random) -> bytes:
    """An element with another VR, or with none that exists."""
    places = _elements(content)
    if not places:
        return flip_bits(content, rng)
    at = rng.choice(places)
    return content[:at] + rng.choice((*_VRS, b"ZZ", b"\0\0")) + content[at + 2 :]


def wrong_length(content: bytes, rng: Random) -> bytes:
    """An element whose length is a lie, undefined lengths among them."""
    places = _elements(content)
    if not places:
        return extreme_number(content, rng)
    at = rng.choice(places)
    if content[at : at + 2] in _LONG_VRS:
        return content[: at + 4] + struct.pack("<I", rng.choice(_EXTREMES)) + content[at + 8 :]
    return content[: at + 2] + struct.pack("<H", rng.choice(_EXTREMES) & 0xFFFF) + content[at + 4 :]


def deep_sequence(content: bytes, rng: Random) -> bytes:
    """A thousand sequences in each other, of undefined or of defined length."""
    at = content.find(b"\x28\x00\x02\x00US")
    if at < 0:
        return repeat(content, rng)
    depth = rng.choice((10, 200, 1000, 3000))
    tag = rng.choice((b"\x08\x00\x15\x11", b"\x20\x00\x11\x92", b"\x28\x00\x01\x00"))
    if rng.random() < 0.5:
        head = tag + b"SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
        tail = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
        return content[:at] + head * depth + tail * depth + content[at:]
    nested = b""
    for _ in range(min(depth, 1000)):
        item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(nested)) + nested
        nested = tag + b"SQ\0\0" + struct.pack("<I", len(item)) + item
    return content[:at] + nested + content[at:]


def absurd_image(content: bytes, rng: Random) -> bytes:
    """Rows, Columns, frames, samples or bits that no file can hold (explicit, little endian)."""
    tags = {
        b"\x28\x00\x10\x00US": 0,
        b"\x28\x00\x11\x00US": 0,
        b"\x28\x00\x00\x01US": 0,
        b"\x28\x00\x01\x01US": 0,
    }
    tags |= {b"\x28\x00\x02\x00US": 0, b"\x28\x00\x02\x01US": 0, b"\x28\x00\x03\x01US": 0}
    present = [tag for tag in tags if tag in content]
    if not present:
        return extreme_number(content, rng)
    for tag in rng.sample(present, min(len(present), rng.choice((1, 1, 2)))):
        at = content.index(tag) + 8
        value = rng.choice((0, 1, 3, 12, 17, 32, 64, 255, 0x7FFF, 0xFFFF))
        content = content[:at] + struct.pack("<H", value) + content[at + 2 :]
    if rng.random() < 0.4:
        frames = rng.choice((b"0", b"-1", b"99", b"4294967296", b"2147483647", b"1e9", b"x"))
        frames += b" " * (len(frames) % 2)
        at = content.index(present[0])
        # tags are sorted: NumberOfFrames stands before Rows
        at = content.find(b"\x28\x00\x10\x00US") if b"\x28\x00\x10\x00US" in content else at
        content = (
            content[:at] + b"\x28\x00\x08\x00IS" + struct.pack("<H", len(frames)) + frames + content[at:]
        )
    return content


def odd_charset(content: bytes, rng: Random) -> bytes:
    """A character set that does not exist, or not for these bytes."""
    names = (
        b"ISO 2022 IR 87",
        b"ISO_IR 999\\\\",
        b"GB18030",
        b"\xff\xff\xff\xff",
        b"UTF-8",
        b"ISO 2022 IR 6\\X",
    )
    name = rng.choice(names)
    at = content.find(b"\x08\x00\x05\x00CS")
    if at < 0:
        return insert(content, rng)
    name += b" " * (len(name) % 2)
    end = at + 8 + struct.unpack_from("<H", content, at + 6)[0]
    return content[:at] + b"\x08\x00\x05\x00CS" + struct.pack("<H", len(name)) + name + content[end:]


@cache
def _zeros(size: int) -> bytes:
    """So many zeros, deflated without a header: after a full flush every megabyte is packed into the same bytes."""
    packer = zlib.compressobj(9, wbits=-15)
    megabyte = packer.compress(b"\0" * (1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return megabyte * (size >> 20) + packer.flush()


def bomb_deflated(content: bytes, rng: Random) -> bytes:
    """A deflated data set of a gigabyte in a file of a megabyte (PS3.5 A.5)."""
    at = content.find(b"1.2.840.10008.1.2.1.99")
    if at < 0:
        return wrong_length(content, rng)
    # the group length of the file meta says where the deflated part begins (PS3.10 7.1)
    start = 144 + struct.unpack_from("<I", content, 140)[0] if len(content) > 144 else at
    return content[:start] + _zeros(rng.choice((1 << 20, 1 << 30)))


DICOM: tuple[Damage, ...] = (wrong_vr, wrong_length, deep_sequence, absurd_image, odd_charset)


def _inflated(content: bytes) -> bytes:
    """The content of a gzip file, or its first megabyte; nothing of a damaged one."""
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return zlib.decompressobj(wbits=31).decompress(content, 1 << 20)
    except zlib.error:
        return b""


def nifti_field(content: bytes, rng: Random) -> bytes:
    """A field of the header that decides sizes, scaling or places (nifti1.h)."""
    packed, raw = content[:2] == b"\x1f\x8b", bytearray(_inflated(content))
    if len(raw) < 360:
        return flip_bits(content, rng)
    whole = (
        (40, "h"),
        (42, "h"),
        (44, "h"),
        (46, "h"),
        (48, "h"),
        (68, "h"),
        (70, "h"),
        (72, "h"),
        (252, "h"),
        (254, "h"),
    )
    real = (
        (76, "f"),
        (80, "f"),
        (108, "f"),
        (112, "f"),
        (116, "f"),
        (280, "f"),
        (292, "f"),
        (304, "f"),
        (348, "i"),
        (352, "i"),
    )
    for at, kind in rng.sample((*whole, *real), rng.choice((1, 1, 2, 3))):
        values: tuple[float, ...] = (float("nan"), float("inf"), -1.0, 0.0, 1e38, 1e-40)
        if kind == "h":
            values = (-1, 0, 1, 2, 7, 8, 64, 128, 1536, 2304, 32767, -32768)
        if kind == "i":
            values = (0, 1, 0x7FFFFFFF, -1, 17)
        value = rng.choice(values)
        struct.pack_into("<" + kind, raw, at, value if kind == "f" else int(value))
    return gzip.compress(bytes(raw), 1, mtime=0) if packed else bytes(raw)


def gzip_bomb(content: bytes, rng: Random) -> bytes:
    """A header followed by up to a gigabyte of zeros."""
    head = _inflated(content)[:352]
    stored = b"\0" + struct.pack("<HH", len(head), len(head) ^ 0xFFFF) + head
    return b"\x1f\x8b\x08" + b"\0" * 7 + stored + _zeros(rng.choice((1 << 20, 1 << 24, 1 << 30)))


def text_line(content: bytes, rng: Random) -> bytes:
    """A line of a text header left out, doubled, or with another value."""
    head, gap, rest = content.partition(b"\n\n")
    lines = head.split(b"\n")
    at = rng.randrange(len(lines))
    key, sign, _ = lines[at].partition(b":") if b":" in lines[at] else lines[at].partition(b"=")
    values = (
        b" ../../../etc/passwd",
        b" /etc/passwd",
        b" LIST",
        b" 9999999 9999999 9999999",
        b" nan",
        b" -1 0 1",
        b"",
    )
    odd = (
        b" raw",
        b" gzip",
        b" hex",
        b" 65536 65536 4",
        b" (nan,0,0) none (1e99,1,1)",
        b" MET_OTHER",
        b" %03d 1 9 1",
    )
    replaced = (b"", lines[at] * 2, key + sign + rng.choice(values), key + sign + rng.choice(odd))
    lines[at] = rng.choice(replaced)
    return b"\n".join(lines) + gap + rest


def png_size(content: bytes, rng: Random) -> bytes:
    """Another size, depth or colour in a header whose checksum is right."""
    if content[:4] != b"\x89PNG" or len(content) < 33:
        return flip_bits(content, rng)
    head = bytearray(content[16:29])
    if rng.random() < 0.6:
        struct.pack_into(
            ">I", head, rng.choice((0, 4)), rng.choice((0, 1, 33, 60_000, 0x7FFFFFFF, 0xFFFFFFFF))
        )
    else:
        head[rng.choice((8, 9, 12))] = rng.choice((0, 1, 2, 3, 4, 6, 16, 99))
    return content[:16] + bytes(head) + struct.pack(">I", zlib.crc32(b"IHDR" + head)) + content[33:]


def tiff_field(content: bytes, rng: Random) -> bytes:
    """A tag of the directory with another type, count or value."""
    if content[:2] != b"II" or len(content) < 8:
        return flip_bits(content, rng)
    at = struct.unpack_from("<I", content, 4)[0] + 2 + 12 * rng.randrange(10)
    if at + 12 > len(content):
        return flip_bits(content, rng)
    changed = bytearray(content)
    struct.pack_into("<I", changed, at + rng.choice((4, 8, 8)), rng.choice(_EXTREMES))
    return bytes(changed)


def table_cell(content: bytes, rng: Random) -> bytes:
    """A cell that names something odd."""
    cells = re.split(rb"([,\r\n])", content)
    names = (
        b"../../../../etc/passwd",
        b"/dev/zero",
        b"a" * 5000,
        b"\0",
        b"nan",
        b"1;1",
        b"\xff",
        b'"',
        b"images",
        b"",
    )
    cells[2 * rng.randrange(len(cells) // 2 + 1)] = rng.choice((*names, b"=1+1", b"-1", b"yes", b"9" * 5000))
    return b"".join(cells)


def json_value(content: bytes, rng: Random) -> bytes:
    """JSON of the wrong shape, too deep, or with numbers nobody can count to."""
    whole = (
        b"[" * 100_000,
        b"[]",
        b"null",
        b"1e999",
        b'{"labels": {}}',
        b'{"labels": {"a": ' + b"9" * 5000 + b"}}",
    )
    if rng.random() < 0.4:
        return rng.choice(whole)
    parts = re.split(rb'("[^"]*"|\d+|[{}\[\]])', content)
    places = [n for n, part in enumerate(parts) if n % 2]
    if not places:
        return flip_bits(content, rng)
    parts[rng.choice(places)] = rng.choice(
        (b"null", b"-1", b'""', b"[]", b"{}", b"1e5", b'"\\ud800"', b"true", b"NaN")
    )
    return b"".join(parts)


SPECIAL: dict[str, tuple[Damage, ...]] = {
    "dicom": (*DICOM, bomb_deflated),
    "enhanced": DICOM,
    "seg": DICOM,
    "rtstruct": DICOM,
    "dicomdir": DICOM,
    "nifti": (nifti_field, nifti_field, gzip_bomb),
    "nrrd": (text_line, text_line),
    "metaimage": (text_line, text_line),
    "png": (png_size,),
    "tiff": (tiff_field, tiff_field),
    "zip": (),
    "table": (table_cell, table_cell),
    "json": (json_value, json_value),
}


def damage(kind: str, content: bytes, rng: Random) -> bytes:
    """The file after one to three blows that suit its kind."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        ways = SPECIAL[kind] if SPECIAL[kind] and rng.random() < 0.5 else BLIND
        content = rng.choice(ways)(content, rng)
    return nothing(content, rng) if rng.random() < 0.005 else content
