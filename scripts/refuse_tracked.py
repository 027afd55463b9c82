"""Refuses what must never be tracked: patients' images, weights, run folders, and traces of one machine.

Looks at the content of every tracked file, not only at its name. Pictures are allowed in one place,
docs/assets/phantom/, which holds figures of the seeded phantom cohort only.
"""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
PICTURES: Final = "docs/assets/phantom/"
RECORDS: Final = "docs/results/"  # beside the rows that they say the settings of
LARGEST_BYTES: Final = 1_000_000

PICTURE_MAGIC: Final = (
    b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF", b"\0\0\x01\0"
)  # fmt: skip
PICTURE_NAMES: Final = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".svg", ".ico")
VOLUME_NAMES: Final = (".dcm", ".nii", ".nii.gz", ".mgz", ".mgh", ".mha", ".mhd", ".nrrd", ".hdr", ".img")
WEIGHT_NAMES: Final = (".pt", ".pth", ".ckpt", ".safetensors", ".npz", ".npy", ".h5", ".onnx", ".bin", ".pkl")
SECRET_NAMES: Final = (".pem", ".key", "sources.private.json")
RUN_FOLDERS: Final = ("runs", "imagesTr", "labelsTr", "imagesTs")

# A path that exists on one person's machine only: a home folder, or the folder this checkout stands in.
HOME: Final = re.compile(r"(?<![\w.])/(?:home|Users|root)/[A-Za-z0-9._-]+")
# The pins stand for every machine: none of them may choose an index or a build of torch.
ONE_BUILD: Final = re.compile(r"\+cpu|\+cu\d|--?(?:extra-)?index-url|--find-links|^\s*-[if]\s", re.MULTILINE)


def tracked() -> list[str]:
    """The paths that git tracks or is about to, as it writes them."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [name for name in listing.decode().split("\0") if name and (ROOT / name).is_file()]


def opened(content: bytes) -> bytes:
    """The first bytes of a file, unpacked when it is gzip."""
    if content[:2] != b"\x1f\x8b":
        return content[:1024]
    try:
        return zlib.decompressobj(wbits=31).decompress(content, 1024)
    except (zlib.error, gzip.BadGzipFile):
        return content[:1024]


def is_volume(head: bytes) -> bool:
    """Whether the first bytes are those of DICOM, NIfTI, Analyze, MetaImage or NRRD."""
    first_tags = (b"\x02\0\0\0", b"\x08\0\0\0", b"\x08\0\x05\0", b"\x08\0\x08\0", b"\x08\0\x16\0")
    dicom = head[128:132] == b"DICM" or head[:4] in first_tags
    nifti = head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] in (b"n+2\0", b"ni2\0")
    analyze = head[:4] in (b"\x5c\x01\0\0", b"\0\0\x01\x5c")
    return dicom or nifti or analyze or head.startswith((b"ObjectType = Image", b"NRRD000"))


def is_weights(head: bytes) -> bool:
    """Whether the first bytes are those of a zip (PyTorch, NumPy), a pickle, NumPy or HDF5 file."""
    return head.startswith((b"PK\x03\x04", b"\x93NUMPY", b"\x89HDF", b"\x80\x02", b"\x80\x04", b"\x80\x05"))


def what_it_is(name: str, content: bytes) -> str | None:
    """The kind of thing that may not be tracked, or None."""
    head = opened(content)
    lower = name.lower()
    picture = head.startswith(PICTURE_MAGIC) or lower.endswith(PICTURE_NAMES)
    kinds = {
        "a medical image": is_volume(head) or lower.endswith(VOLUME_NAMES),
        "weights or arrays": is_weights(head) or lower.endswith(WEIGHT_NAMES),
        f"a picture outside {PICTURES}": picture and not name.startswith(PICTURES),
        "a key or the private table of sources": lower.endswith(SECRET_NAMES),
        "the record of a run": Path(name).name == "run.json" and not name.startswith(RECORDS),
        "part of a run folder or data set": bool(set(Path(name).parts[:-1]) & set(RUN_FOLDERS)),
        f"larger than {LARGEST_BYTES} bytes": len(content) > LARGEST_BYTES,
    }
    return next((kind for kind, holds in kinds.items() if holds), None)


def traces(name: str, text: str) -> Iterator[str]:
    """Lines that name a place on one machine, or bind the pins to one build."""
    places = [f"{place}/" for place in (ROOT.parent, Path.home()) if len(place.parts) > 1]
    invented = name.startswith("tests/")  # tests of de-identification make up somebody's home folder
    for number, line in enumerate(text.splitlines(), start=1):
        if any(place in line for place in places) or (not invented and HOME.search(line)):
            yield f"{name}:{number}: a path of one machine"
    if name in ("constraints.txt", "pyproject.toml") and ONE_BUILD.search(text):
        yield f"{name}: binds the pins to one index or one build of torch"


def refusals() -> Iterator[str]:
    """One line for everything that must go."""
    for name in tracked():
        content = (ROOT / name).read_bytes()
        kind = what_it_is(name, content)
        if kind:
            yield f"{name}: {kind}"
        elif b"\0" not in content[:4096]:
            yield from traces(name, content.decode("utf-8", errors="replace"))


def main() -> int:
    """Print what must go; 1 when there is anything."""
    rows = list(refusals())
    for row in rows:
        print(f"refused  {row}", file=sys.stderr)
    return 1 if rows else 0


if __name__ == "__main__":
    sys.exit(main())
