"""Label fidelity: does a segmenter of real lesions find a synthetic lesion where its label says it is?

The segmenter learnt from real cases of the fold's training patients alone; it reaches this room as a callable. Class
is left out of the Dice: a lesion that is found but taken for another class is a matter of
:mod:`medaug.quality.recovery`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from medaug.core.case import Case
from medaug.core.errors import DataError
from medaug.core.geometry import Box
from medaug.core.volume import Mask, Volume
from medaug.quality.samples import lesion_masks

Segment = Callable[[Volume], Mask]  # True where it sees a lesion, of whatever class
_ROOM_VOXELS: Final = 6  # in plane; what is marked further off is of another place


def label_dice(case: Case, segment: Segment, edit_mask: Mask | None = None) -> list[float]:
    """Dice of the segmenter's answer on each lesion, in the order of :func:`~medaug.quality.samples.cut_lesions`.

    Only the surroundings of the lesion are compared, half its size to each side, and what is labelled as another lesion
    there is left out. A lesion that is not found has 0.

    Args:
        case: The whole case, as the segmenter wants it.
        segment: Finds lesions in a volume.
        edit_mask: (I, J, K) of a synthetic case, as for cutting.

    Raises:
        DataError: If the case has no label map.
    """
    if case.label_map is None:
        raise DataError("case has no label map", where=case.case_id, hint="assessment needs labelled lesions")
    lesions = lesion_masks(case.label_map, edit_mask)
    if not lesions:
        return []
    found = segment(case.volume)
    labelled = np.asarray(case.label_map.labels > 0)
    return [_dice_near(found, mask, labelled & ~mask) for _, mask in lesions]


def _dice_near(found: Mask, mask: Mask, others: Mask) -> float:
    tight = Box.around(mask)
    margin = (max(_ROOM_VOXELS, tight.shape[0] // 2), max(_ROOM_VOXELS, tight.shape[1] // 2), 1)
    part = tight.grown(margin).clipped(mask.shape).slices
    marked, wanted = found[part] & ~others[part], mask[part]
    return float(2.0 * (marked & wanted).sum() / (marked.sum() + wanted.sum()))
