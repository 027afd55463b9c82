"""Where the face is: what lies ahead of all brain, or below and ahead of it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Final, final

import numpy as np
from jaxtyping import Float

from medaug.privacy._deface.frame import Levels, Spacing, Voxels

Points = Float[np.ndarray, "N 3"]
_DOWN_DEG: Final = (0.0, -10.0, -20.0, -30.0, -40.0, -50.0)
_ASIDE_DEG: Final = (-40.0, -20.0, 0.0, 20.0, 40.0)
_TOLD_APART_MM = 32.0
_RECEDES_MM = 18.0
_PLATEAU_MM, _LEVEL_MM = 15.0, 2.0
_FOREHEAD_MM, _BROW_MM = 45.0, 6.0
_FACE_MM, _LEAN_OF_BRAIN = 70.0, 1.5


@final
@dataclass(frozen=True, slots=True)
class Profile:
    """How far the brain and the skin reach forward at each level, in adult mm; below 0 where there is nothing.

    Attributes:
        brain_mm: From the back of the frame.
        skin_mm: Likewise.
        pole: The level of the frontal poles: from the vertex down, the first from which the brain comes no farther forward.
        brow: The lowest level, not far below, at which it still comes as far.
    """

    brain_mm: Float[np.ndarray, " K"]
    skin_mm: Float[np.ndarray, " K"]
    pole: int
    brow: int


def measure_profile(brain: Voxels, body: Voxels, spacing_mm: Spacing) -> Profile:
    """The front of brain and skin, level by level."""
    brain_mm, skin_mm = (_front(mask) * spacing_mm[1] for mask in (brain, body))
    pole = _pole(brain_mm, spacing_mm[2])
    lowest = max(pole - round(_FOREHEAD_MM / spacing_mm[2]), 0)
    brow = pole
    while brow > lowest and brain_mm[brow - 1] >= brain_mm[pole] - _BROW_MM:
        brow -= 1
    return Profile(brain_mm, skin_mm, pole, brow)


def _pole(front_mm: Float[np.ndarray, " K"], height_mm: float) -> int:
    """The uppermost level that the levels next below surpass by next to nothing."""
    window = max(round(_PLATEAU_MM / height_mm), 1)
    for level in range(len(front_mm) - 1, 0, -1):
        ahead = front_mm[max(level - window, 0) : level].max()
        if front_mm[level] > 0 and ahead <= front_mm[level] + _LEVEL_MM:
            return level
    return 0


def tells_face(profile: Profile) -> bool:
    """Whether, from some level down, the brain lies far behind both the skin and its own frontal pole."""
    brain, skin = profile.brain_mm[: profile.pole], profile.skin_mm[: profile.pole]
    seen = skin > 0
    if not seen.any():
        return False
    brain, skin = brain[seen], skin[seen]
    apart = (skin - brain > _TOLD_APART_MM) & (brain < profile.brain_mm[profile.pole] - _RECEDES_MM)
    return bool(apart[0]) and bool(apart[: max(len(apart) // 4, 1)].all())


def lean_mm(brain: Voxels, body: Voxels, profile: Profile, spacing_mm: Spacing) -> float:
    """By how much more the body below the brow reaches forward than back, and the brain there lies back: below 0 for a face behind.

    Nodding moves one of the two forward and the other back, so that their sum hardly changes.
    """
    low, high = slice(0, profile.brow), slice(profile.brow, None)
    if not brain[:, :, low].any() or not brain[:, :, high].any():
        return 0.0
    upper, lower = (np.argwhere(brain[:, :, part])[:, 1].mean() for part in (high, low))
    reaches = []
    for level in range(max(profile.brow - round(_FACE_MM / spacing_mm[2]), 0), profile.brow):
        rows = np.flatnonzero(body[:, :, level].any(axis=0))
        if len(rows):
            reaches.append((rows[-1] - upper) - (upper - rows[0]))
    if not reaches:
        return 0.0
    return float(np.median(reaches) + _LEAN_OF_BRAIN * (upper - lower)) * spacing_mm[1]


def leak_mm(profile: Profile) -> float:
    """By how much the brain reaches beyond its poles below them, or comes forward again where it had receded far."""
    pole_mm = profile.brain_mm[profile.pole]
    reach, worst, receded = np.inf, 0.0, False
    for level in range(profile.pole - 1, -1, -1):
        front = profile.brain_mm[level]
        if front < 0:
            continue
        receded = receded or profile.skin_mm[level] - front > _TOLD_APART_MM
        worst = max(worst, front - (reach if receded else pole_mm))
        reach = min(reach, front)
    return worst


def _front(mask: Voxels) -> Float[np.ndarray, " K"]:
    """The foremost index of each level, -1 where there is none."""
    rows = np.asarray(mask.any(axis=0))
    last = rows.shape[0] - 1 - np.argmax(rows[::-1], axis=0)
    return np.where(rows.any(axis=0), last, -1).astype(np.float64)


def points_of(mask: Voxels, spacing_mm: Spacing) -> Points:
    """Voxel centres in mm."""
    return np.asarray(np.argwhere(mask) * np.asarray(spacing_mm))


def mirrored(points: Points, middle_mm: float) -> Float[np.ndarray, "twice 3"]:
    """The points and their mirror images left for right: what one side shows, the other is granted."""
    other = points.copy()
    other[:, 0] = 2 * middle_mm - other[:, 0]
    return np.concatenate([points, other])


def face_excess(kept: Points, shape: tuple[int, int, int], spacing_mm: Spacing) -> Levels:
    """By how many mm each voxel lies ahead of all points, in that direction of the face in which it does most.

    Directions run from straight ahead to 50 degrees downwards, and to 40 degrees aside. A voxel at a point, above or behind one
    has an excess of 0 or less, so a cut at any excess above 0 spares the points, their convex hull and all that lies behind.
    """
    i, j, k = (np.arange(n) * one for n, one in zip(shape, spacing_mm, strict=True))
    excess = np.full(shape, -np.inf, dtype=np.float32)
    for down, aside in product(np.deg2rad(_DOWN_DEG), np.deg2rad(_ASIDE_DEG)):
        way = np.array([np.cos(down) * np.sin(aside), np.cos(down) * np.cos(aside), np.sin(down)])
        farthest = float((kept @ way).max())
        ahead = (way[0] * i - farthest)[:, None, None] + (way[1] * j)[:, None] + way[2] * k
        np.maximum(excess, ahead, out=excess)
    return excess
