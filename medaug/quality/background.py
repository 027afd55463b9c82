"""Copying audit of backgrounds: whose scan is it that surrounds a synthetic lesion?

An in-context synthetic case equals its host bit for bit outside its edit mask. Sets without recipes are searched:
small pictures of the whole case against those of every training case, then voxel by voxel where the grids agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from medaug.core.assessment import CopyFlag, Verdict
from medaug.core.case import Case
from medaug.core.volume import Mask
from medaug.quality.memorization import FALSE_POSITIVE_SHARE, FEWEST_HELD_OUT

_CELLS = (16, 16, 4)
_RIM_VOXELS = 3
_SAME_SHARE = 0.25
_FEWEST_PIXELS = 8
_FLIPS = (("as it is", ()), ("mirrored left to right", (1,)), ("mirrored front to back", (2,)))
_QUANTILE_MARGIN = 0.5  # of the way from the largest held-out correlation to 1

Thumbnail = Float[np.ndarray, "16 16 4"]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Backdrop:
    """A small picture of a case.

    Attributes:
        case_id: The case.
        patient_id: Its patient; of the host, where a recipe says it, for a synthetic case.
        picture: Means of the first channel over 16 x 16 x 4 cells; NaN where a cell holds mostly lesion.
        host_case_id: What the recipe names; None without one.
    """

    case_id: str
    patient_id: str
    picture: Thumbnail
    host_case_id: str | None = None


def untouched(case: Case, edit_mask: Mask | None) -> Mask:
    """Where a case shows background: outside the edit mask, or well outside its lesions."""
    if edit_mask is not None:
        return np.asarray(~edit_mask)
    if case.label_map is None:
        return np.ones(case.volume.grid.shape, dtype=bool)
    lesion = case.label_map.labels > 0
    if not lesion.any():
        return np.asarray(~lesion)
    return np.asarray(~ndimage.binary_dilation(lesion, np.ones((3, 3, 1), dtype=bool), _RIM_VOXELS))


def thumbnail(case: Case, background: Mask) -> Thumbnail:
    """Means over cells of the background's voxels; a case with few voxels along an axis repeats them."""
    low, high = (float(v) for v in np.percentile(case.volume.image[0], (1, 99)))
    sums = _cell_sums(np.where(background, np.clip(case.volume.image[0], low, high), 0.0))
    counts, sizes = _cell_sums(background), _cell_sums(np.ones(background.shape))
    return np.where(2 * counts >= sizes, sums / np.maximum(counts, 1.0), np.nan)


def _cell_sums(array: np.ndarray) -> Thumbnail:
    sums = array.astype(np.float64)
    for axis, cells in enumerate(_CELLS):
        starts = np.arange(cells) * array.shape[axis] // cells
        sums = np.add.reduceat(sums, starts, axis=axis)
    return sums


def backdrop(case: Case, edit_mask: Mask | None = None, host_case_id: str | None = None) -> Backdrop:
    """The small picture of a case."""
    picture = thumbnail(case, untouched(case, edit_mask))
    return Backdrop(case.case_id, case.patient_id, picture, host_case_id)


def same_share(first: Case, second: Case, background: Mask) -> float:
    """Share of background voxels that are equal in both cases; 0 where the grids differ in shape."""
    if first.volume.image.shape != second.volume.image.shape or not background.any():
        return 0.0
    equal = np.all(first.volume.image == second.volume.image, axis=0)[background]
    return float(equal.mean())


@final
class BackdropSearch:
    """Training cases to search for backgrounds, with the threshold that held-out cases give.

    Args:
        training: Small pictures of the training cases; at least one.
        held_out: Those of the held-out cases.
    """

    def __init__(self, training: Sequence[Backdrop], held_out: Sequence[Backdrop]) -> None:
        self._training = tuple(training)
        stack = np.stack([one.picture for one in training])
        self._views = [(words, *_known(np.flip(stack, axes) if axes else stack)) for words, axes in _FLIPS]
        self.n_held_out = len(held_out)
        highest = [self.nearest(one)[1] for one in held_out]
        usual = float(np.quantile(highest, 1.0 - FALSE_POSITIVE_SHARE)) if highest else 1.0
        self.threshold = min(usual + _QUANTILE_MARGIN * (1.0 - usual), 0.9999)

    def nearest(self, one: Backdrop) -> tuple[Backdrop, float, str]:
        """The training case whose background is most alike, its correlation over the flips in plane, and the flip."""
        values, known = _known(one.picture[None])
        rows = [_correlations(values[0], known[0], others, theirs) for _, others, theirs in self._views]
        flip, number = np.unravel_index(int(np.argmax(rows)), (len(rows), len(self._training)))
        return self._training[number], float(rows[flip][number]), self._views[flip][0]


def _known(pictures: np.ndarray) -> tuple[Float[np.ndarray, "N P"], Float[np.ndarray, "N P"]]:
    """Pixels with 0 where they are not known, and 1 where they are."""
    flat = pictures.reshape(len(pictures), -1)
    known = np.isfinite(flat)
    middle = np.nanmean(flat[known]) if known.any() else 0.0
    return np.where(known, flat - middle, 0.0), known.astype(np.float64)


def _correlations(
    one: Float[np.ndarray, " P"],
    known: Float[np.ndarray, " P"],
    others: Float[np.ndarray, "N P"],
    theirs: Float[np.ndarray, "N P"],
) -> Float[np.ndarray, " N"]:
    """Correlation of one picture with many over the pixels that both know; 0 where these are fewer than 8."""
    count = np.maximum(theirs @ known, 1.0)
    first, second = theirs @ one, others @ known
    covariance = others @ one - first * second / count
    spread = np.maximum(theirs @ one**2 - first**2 / count, 0.0) * np.maximum(
        others**2 @ known - second**2 / count, 0.0
    )
    enough = (count >= _FEWEST_PIXELS) & (spread > 1e-9)
    return np.where(enough, covariance / np.sqrt(np.maximum(spread, 1e-12)), 0.0)


def judge_backgrounds(
    n_cases: int, flagged: Sequence[CopyFlag], n_held_out: int
) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict on the backgrounds of a set, and why."""
    n_flagged = len({flag.case_id for flag in flagged})
    if n_flagged:
        what = f"background: {n_flagged} of {n_cases} synthetic cases show the scan of a training patient outside"
        return "fail", (
            f"{what} their lesions, as in-context synthesis does: treat them as that patient's data",
        )
    if n_held_out < FEWEST_HELD_OUT:
        return "inconclusive", (
            f"background: {n_held_out} held-out cases to calibrate on, {FEWEST_HELD_OUT} are needed",
        )
    return "pass", (f"background: none of {n_cases} synthetic cases resembles a training scan",)


def copied_background(share: float, correlation: float, threshold: float) -> float | None:
    """The score of a copied background; None where it is none."""
    if share >= _SAME_SHARE:
        return share
    return correlation if correlation >= threshold else None
