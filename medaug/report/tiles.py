"""Slices with outlines, as inline SVG around a grey PNG."""

from __future__ import annotations

import base64
import struct
import zlib
from html import escape

import numpy as np
from skimage.measure import find_contours

from medaug.core.gallery import Picture, Tile


def overlay(tile: Tile) -> str:
    """A slice with the outlines of the reference and of the prediction."""
    outlines = "".join(
        f'<path class="{name}" d="{outline(mask)}"/>'
        for name, mask in (("reference", tile.reference), ("prediction", tile.prediction))
        if mask.any()
    )
    label = f"{tile.facts.class_name} in {tile.facts.case_id}, reference and prediction outlined"
    return _tile(tile, label, outlines)


def bracketed(tile: Tile) -> str:
    """A slice with four corners around the lesion, which is left uncovered."""
    rows, columns = tile.image.shape
    ys, xs = np.nonzero(tile.reference)
    margin = 0.06 * columns + 1
    left, right = max(float(xs.min()) - margin, 1), min(float(xs.max()) + 1 + margin, columns - 1)
    top, bottom = max(float(ys.min()) - margin, 1), min(float(ys.max()) + 1 + margin, rows - 1)
    arm = 0.06 * columns
    corners = "".join(
        f"M{x + arm * dx:.1f} {y:.1f} L{x:.1f} {y:.1f} L{x:.1f} {y + arm * dy:.1f} "
        for x, dx in ((left, 1), (right, -1))
        for y, dy in ((top, 1), (bottom, -1))
    )
    label = f"{tile.facts.kind} lesion of class {tile.facts.class_name}"
    return _tile(tile, label, f'<path class="corner" d="{corners}"/>')


def outline(mask: Picture) -> str:
    """SVG path around the pixels of a mask; pixel (0, 0) covers the square from 0 to 1."""
    paths = []
    for contour in find_contours(np.pad(mask, 1).astype(np.float32), 0.5):
        points = " ".join(f"{x - 0.5:.1f},{y - 0.5:.1f}" for y, x in contour)
        paths.append(f"M{points} z")
    return " ".join(paths)


def _tile(tile: Tile, label: str, marks: str) -> str:
    rows, columns = tile.image.shape
    encoded = base64.b64encode(png(tile.image)).decode("ascii")
    image = f'<image width="{columns}" height="{rows}" href="data:image/png;base64,{encoded}"/>'
    return (
        f'<svg class="tile" viewBox="0 0 {columns} {rows}" role="img" aria-label="{escape(label)}" '
        f'xmlns="http://www.w3.org/2000/svg">{image}{marks}</svg>'
    )


def png(image: Picture) -> bytes:
    """An 8-bit grey PNG (ISO/IEC 15948)."""
    rows, columns = image.shape
    lines = b"".join(b"\x00" + line.tobytes() for line in np.ascontiguousarray(image))
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
