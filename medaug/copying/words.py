"""A move in words, for a person."""

from __future__ import annotations

import math

import numpy as np

from medaug.copying.registration import Moves

_TURN_DEG, _ZOOM, _SHIFT_VOXELS = 4.0, 0.04, 1.5
_WHOLE, _QUARTER = 0.9, 0.55


def in_words(move: Moves, box: float, *, inverted: bool) -> str:
    """What was done to the source: ``mirrored, turned by 90 degrees, zoomed by 1.12, in part``.

    Args:
        move: One, from the query's places to the source's.
        box: Side of what agrees, as a share of the tile's.
        inverted: Whether grey values are.
    """
    matrix = np.linalg.inv(move.matrix[0].double().numpy())
    shift = matrix @ -move.shift[0].double().numpy()
    dims = len(matrix)
    zoom = abs(float(np.linalg.det(matrix))) ** (1.0 / dims)
    words = ["inverted"] if inverted else []
    turn = matrix / zoom
    if np.linalg.det(turn) < 0:
        words.append("mirrored")
        turn = turn @ np.diag([-1.0] + [1.0] * (dims - 1))
    angle = _angle_deg(turn)
    if angle > _TURN_DEG:
        words.append(f"turned by {angle:.0f} degrees")
    if abs(zoom - 1.0) > _ZOOM:
        words.append(f"zoomed by {zoom:.2f}")
    if float(np.linalg.norm(shift)) > _SHIFT_VOXELS:
        words.append(f"moved by {float(np.linalg.norm(shift)):.0f} voxels")
    if box < _WHOLE:
        words.append("in part" if box > _QUARTER else "a piece of it")
    return ", ".join(words) or "as it is"


def _angle_deg(turn: np.ndarray) -> float:
    if len(turn) == 2:
        return abs(math.degrees(math.atan2(turn[1, 0] - turn[0, 1], turn[0, 0] + turn[1, 1])))
    return math.degrees(math.acos(max(-1.0, min(1.0, (float(np.trace(turn)) - 1.0) / 2.0))))
