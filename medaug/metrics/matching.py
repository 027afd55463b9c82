"""Lesion-wise matching: which reference lesions were found, and how many predicted ones are false.

A lesion is a 26-connected component (one slice: 8-connected) of one class. Predicted and reference lesions are paired
one to one such that the IoU of the pairs sums up highest (optimal assignment; Kuhn, Nav Res Logist Q 1955), and a pair
counts from an IoU of 0.1 on. Of the choices in Metrics Reloaded (Maier-Hein et al., Nat Methods 2024) this is optimal
matching by mask IoU, since predictions here have no score to be greedy by, with a cutoff below the usual 0.5, since in
a lesion of a few voxels one voxel of outline moves the IoU that far.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from medaug.core.geometry import NEIGHBOURS_26
from medaug.core.results import LesionCounts, SizeCount
from medaug.core.volume import Mask
from medaug.metrics.surfaces import Frame

LESION_IOU = 0.1
# Fleischner 2017 follows nodules up from 6 mm, RECIST 1.1 measures from 10 mm; 20 mm parts small from large masses
SIZE_EDGES_MM = (0.0, 6.0, 10.0, 20.0)


def count_lesions(prediction: Mask, reference: Mask, frame: Frame | None) -> LesionCounts:
    """Match the lesions of one class in one case.

    Args:
        prediction: (I, J, K).
        reference: (I, J, K).
        frame: Gives the diameters; None where the spacing is nominal.
    """
    ours, n_predicted = ndimage.label(prediction, structure=NEIGHBOURS_26)
    theirs, n_outlined = ndimage.label(reference, structure=NEIGHBOURS_26)
    inside = prediction | reference
    joint = np.stack([theirs[inside], ours[inside]])
    voxels = [
        np.bincount(side, minlength=n + 1)[1:]
        for side, n in zip(joint, (n_outlined, n_predicted), strict=True)
    ]
    numbers, ious = _matched(joint[:, joint.all(axis=0)] - 1, *voxels)
    found = np.isin(np.arange(n_outlined), numbers)
    return LesionCounts(
        reference=n_outlined,
        predicted=n_predicted,
        matched=len(numbers),
        iou_sum=round(float(ious.sum()), 6),
        sizes=() if frame is None else _by_size(frame.diameters_mm(voxels[0]), found),
    )


def _matched(
    shared: Int[np.ndarray, "2 V"], outlined: Int[np.ndarray, "R"], predicted: Int[np.ndarray, "P"]
) -> tuple[Int[np.ndarray, "N"], Float[np.ndarray, "N"]]:
    """Reference lesions that were found, and the IoU of each.

    Args:
        shared: Reference and predicted lesion of every voxel that has both.
        outlined: Voxels of the reference lesions.
        predicted: Voxels of the predicted ones.
    """
    pairs, common = np.unique(shared[0].astype(np.int64) * len(predicted) + shared[1], return_counts=True)
    theirs, ours = np.divmod(pairs, max(len(predicted), 1))
    iou = common / (outlined[theirs] + predicted[ours] - common)
    near = iou >= LESION_IOU
    rows, row = np.unique(theirs[near], return_inverse=True)
    columns, column = np.unique(ours[near], return_inverse=True)
    table = np.zeros((len(rows), len(columns)))
    table[row, column] = iou[near]
    paired, partner = linear_sum_assignment(table, maximize=True)
    best = table[paired, partner]
    return rows[paired[best > 0]], best[best > 0]


def _by_size(diameters_mm: Float[np.ndarray, "N"], found: Bool[np.ndarray, "N"]) -> tuple[SizeCount, ...]:
    """Sensitivity by size; bins that no reference lesion falls into are left out."""
    bins = np.searchsorted(SIZE_EDGES_MM, diameters_mm, side="right") - 1
    return tuple(
        SizeCount(
            low_mm=SIZE_EDGES_MM[n],
            high_mm=SIZE_EDGES_MM[n + 1] if n + 1 < len(SIZE_EDGES_MM) else None,
            reference=int((bins == n).sum()),
            found=int(found[bins == n].sum()),
        )
        for n in np.unique(bins).tolist()
    )
