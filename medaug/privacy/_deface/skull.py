"""Whether a body in air is a head with skin: a dark skull below a bright scalp, all around the brain."""

from __future__ import annotations

import numpy as np

from medaug.privacy._deface.frame import Voxels
from medaug.privacy._deface.outline import Outline

_SECTORS = 24
_BAND_MM = 6.0
_STEP_MM = 2.0
_DEEPEST_MM = 26.0
_SKULL_ENDS_MM = 16.0
_DARKER = 0.8
_LARGE = 0.6  # of the largest section
_FEWEST = 20
_TAPERED = 0.35  # of the largest section


def skull_share(outline: Outline) -> float:
    """The share of places around the upper half of a body where a dark layer lies between skin and core.

    Means over 6 mm upwards and 15 degrees around: a fold of the brain is narrower, a skull is not.

    Returns:
        From 0 to 1; -1 where there are too few places to tell.
    """
    spacing, body = outline.frame.spacing_mm, outline.body
    areas = body.sum(axis=(0, 1))
    levels = np.flatnonzero(areas >= _LARGE * areas.max())
    levels = levels[len(levels) // 2 :]
    i, j, k = np.nonzero(body[:, :, levels])
    points = np.stack([i * spacing[0], j * spacing[1]])
    angles = np.empty(len(i), dtype=np.int64)
    for number in range(len(levels)):
        here = k == number
        x, y = points[:, here] - points[:, here].mean(axis=1, keepdims=True)
        angles[here] = np.floor((np.arctan2(y, x) / (2 * np.pi) + 0.5) * _SECTORS) % _SECTORS
    bands = (k * spacing[2] // max(_BAND_MM, spacing[2])).astype(np.int64)
    step = max(_STEP_MM, *spacing[:2])
    depths = np.maximum((outline.depth_mm[i, j, levels[k]] - step / 2) // step, 0).astype(np.int64)
    deepest, skull_ends = int(_DEEPEST_MM // step), int(_SKULL_ENDS_MM // step)
    shallow = depths < deepest
    cells = np.ravel_multi_index(
        (bands[shallow], angles[shallow], depths[shallow]), (int(bands.max()) + 1, _SECTORS, deepest)
    )
    size = (int(bands.max()) + 1) * _SECTORS * deepest
    values = outline.smooth[i, j, levels[k]][shallow].astype(np.float64)
    counts = np.bincount(cells, minlength=size).reshape(-1, deepest)
    sums = np.bincount(cells, weights=values, minlength=size).reshape(-1, deepest)
    return _share_with_dip(counts, sums, skull_ends)


def tapers(body: Voxels) -> bool:
    """Whether a body ends above and below within the scan, as a brain does and a head with its neck does not."""
    areas = body.sum(axis=(0, 1))
    levels = np.flatnonzero(areas)
    return bool(max(areas[levels[0]], areas[levels[-1]]) <= _TAPERED * areas.max())


def _share_with_dip(counts: np.ndarray, sums: np.ndarray, last: int) -> float:
    """How many profiles fall and rise again on their way in."""
    whole = (counts > 0).all(axis=1)
    if np.count_nonzero(whole) < _FEWEST:
        return -1.0
    profiles = sums[whole] / counts[whole]
    outer = np.maximum.accumulate(profiles, axis=1)[:, : last - 1]
    core = np.median(profiles[:, last:], axis=1)[:, None]
    dips = profiles[:, 1:last] / np.minimum(outer, core)
    return float((dips.min(axis=1) < _DARKER).mean())
