"""Label maps onto another grid with nearest neighbour, and what is lost on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np
from jaxtyping import Integer
from scipy import ndimage

from medaug.core.errors import GeometryError
from medaug.core.findings import Code
from medaug.core.geometry import NEIGHBOURS_26, Grid
from medaug.core.volume import Labels
from medaug.core.wording import counted

_Other = Integer[np.ndarray, "X Y Z"]

# Voxels touch by a face, an edge or a corner
# A centre that lies between two voxels up to rounding goes to the one with the greater index
_DECIMALS: Final = 6
_MOST_OUTSIDE: Final = 0.5


@final
@dataclass(frozen=True, slots=True, eq=False)
class Resampled:
    """A label map on another grid.

    Attributes:
        labels: (I, J, K) int32.
        lost: How many connected lesions of the original have no voxel left.
        outside: Share of the labelled voxels whose centres lie outside the new grid, 0 to 1.
    """

    labels: Labels
    lost: int
    outside: float


def require_kept(resampled: Resampled) -> None:
    """Refuse what would not be the same label any more.

    Raises:
        GeometryError: If a lesion is lost, or most of the label lies outside the new grid.
    """
    if resampled.outside > _MOST_OUTSIDE:
        raise GeometryError(
            f"{resampled.outside:.0%} of the label lie outside its image",
            hint="pair it with the image it was drawn on",
            code=Code.LABEL_GRID,
        )
    if resampled.lost:
        raise GeometryError(
            f"resampled onto its image, the label loses {counted(resampled.lost, 'lesion')}",
            hint="resample the image instead, or by hand",
            code=Code.LABEL_GRID,
        )


def resample_labels(labels: Labels, grid: Grid, onto: Grid) -> Resampled:
    """Give every voxel of a grid the label of the voxel that its centre lies in; 0 outside.

    Args:
        labels: (I, J, K), 0 and above.
        grid: Of the labels.
        onto: The grid to be.
    """
    lesions, owners = _lesions(labels)
    moved = _nearest(lesions, np.linalg.inv(grid.affine) @ onto.affine, onto.shape)
    kept = np.unique(moved)
    lost = len(owners) - 1 - int(np.count_nonzero(kept))
    return Resampled(owners[moved].astype(np.int32), lost, _outside(labels, grid, onto))


def _lesions(labels: Labels) -> tuple[Labels, np.ndarray]:
    """Connected lesions numbered from 1, and the label of each number."""
    lesions = np.zeros(labels.shape, dtype=np.int32)
    owners = [0]
    for label in np.unique(labels[labels > 0]):
        parts, count = ndimage.label(labels == label, structure=NEIGHBOURS_26)
        lesions[parts > 0] = parts[parts > 0] + len(owners) - 1
        owners += [int(label)] * count
    return lesions, np.array(owners)


def _nearest(values: Labels, matrix: np.ndarray, shape: tuple[int, int, int]) -> _Other:
    """Slice by slice, so that memory does not grow with the grid: indices of one slice at a time."""
    moved = np.zeros(shape, dtype=values.dtype)
    size = np.array(values.shape)[:, None, None]
    first, second = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
    plane = matrix[:3, 0, None, None] * first + matrix[:3, 1, None, None] * second
    for k in range(shape[2]):
        centre = plane + (matrix[:3, 2] * k + matrix[:3, 3])[:, None, None]
        index = np.floor(np.round(centre, _DECIMALS) + 0.5)
        inside = ((index >= 0) & (index < size)).all(axis=0)
        i, j, n = index[:, inside].astype(np.int64)
        moved[inside, k] = values[i, j, n]
    return moved


def _outside(labels: Labels, grid: Grid, onto: Grid) -> float:
    voxels = np.argwhere(labels > 0)
    if not len(voxels):
        return 0.0
    matrix = np.linalg.inv(onto.affine) @ grid.affine
    index = np.floor(np.round(voxels @ matrix[:3, :3].T + matrix[:3, 3], _DECIMALS) + 0.5)
    inside = ((index >= 0) & (index < np.array(onto.shape))).all(axis=1)
    return float(1 - np.count_nonzero(inside) / len(voxels))
