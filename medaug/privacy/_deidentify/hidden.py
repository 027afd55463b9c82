"""Bits of stored values that no value uses, in which old overlays and anything else can stand (PS3.5 8.1.1, PS3.3 C.9.2)."""

from __future__ import annotations

import numpy as np

from medaug.privacy._deidentify.frames import Layout, Values
from medaug.privacy._deidentify.stream import Stream

_PADDING = 0x00280120


def without_hidden(stream: Stream, values: Values, layout: Layout) -> tuple[Values, bool]:
    """Values without bits above the highest and below the lowest one, the sign carried on; and whether there were any.

    Pixels of the declared padding value stay: some makers choose one that does not fit the stored bits.
    """
    width = 8 * values.dtype.itemsize
    _, stored, highest = layout.bits
    if not 0 < stored < width or not stored - 1 <= highest < width:
        return values, False
    above = width - 1 - highest
    below = highest + 1 - stored
    if not layout.is_signed:
        mask = ((1 << stored) - 1) << below
        if not int(np.bitwise_or.reduce(values, axis=None)) & ~mask:
            return values, False
        used = values & values.dtype.type(mask)
    else:
        used = values << above >> (above + below) << below
    differs = used != values
    padding = next((element.value for element in stream.elements if element.tag == _PADDING), b"")
    if len(padding) == 2:
        kind = np.dtype(f"{'>' if stream.syntax.is_big else '<'}{'i' if layout.is_signed else 'u'}2")
        differs &= values != np.frombuffer(padding, kind)[0]
    if not differs.any():
        return values, False
    return np.where(differs, used, values), True
