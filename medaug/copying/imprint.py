"""What the copy search sees of a case: its normalised image, where its lesions lie, and what was edited."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from medaug.core.volume import Image, Mask

_RIM_VOXELS = 3


@final
@dataclass(frozen=True, slots=True)
class Host:
    """The training scan that a recipe says a synthetic case was made in.

    Attributes:
        case_id: The host.
        same_share: Share of the background's voxels that are bit for bit the host's, see :func:`same_share`.
    """

    case_id: str
    same_share: float


@final
@dataclass(frozen=True, slots=True, eq=False)
class Imprint:
    """A case, real or synthetic, as the copy search takes it.

    Attributes:
        case_id: The case.
        patient_id: Pseudonym of its patient; of the host where it is synthetic.
        image: (C, I, J, K) normalised units.
        lesion: (I, J, K) True in its lesions; all False for a case without one.
        spacing_mm: Of the grid.
        edit_mask: (I, J, K) of an in-context synthetic case: outside it, it is its host.
        host: What the recipe names; None without one.
    """

    case_id: str
    patient_id: str
    image: Image
    lesion: Mask
    spacing_mm: tuple[float, float, float]
    edit_mask: Mask | None = None
    host: Host | None = None

    @property
    def background(self) -> Mask:
        """Where it shows background: outside the edit mask, or well outside its lesions."""
        if self.edit_mask is not None:
            return np.asarray(~self.edit_mask)
        if not self.lesion.any():
            return np.ones(self.lesion.shape, dtype=bool)
        rim = ndimage.binary_dilation(self.lesion, np.ones((3, 3, 1), dtype=bool), _RIM_VOXELS)
        return np.asarray(~rim)


def same_share(first: Image, second: Float[np.ndarray, "D P Q R"], background: Mask) -> float:
    """Share of background voxels that are equal in both images, in native units; 0 where their shapes differ."""
    if first.shape != second.shape or not background.any():
        return 0.0
    equal = np.all(first == second, axis=0)[background]
    return float(equal.mean())
