"""How large a lesion is: the diameter of the ball of its volume, or of the disc of its area where it lies on one slice."""

from __future__ import annotations

import numpy as np

from medaug.core.errors import DataError
from medaug.core.volume import Mask

_TOLERANCE = 0.1


def ball_diameter_mm(volume_mm3: float) -> float:
    """Diameter of the ball of that volume."""
    return float(np.cbrt(6.0 * volume_mm3 / np.pi))


def mask_diameter_mm(
    mask: Mask, spacing_mm: tuple[float, float, float], *, flat: bool | None = None
) -> float:
    """Diameter of the ball of the mask's volume; of the disc of its area where it is ``flat``: by default, where it has one slice."""
    in_plane = int(mask.sum()) * spacing_mm[0] * spacing_mm[1]
    if flat if flat is not None else mask.shape[2] == 1:
        return float(np.sqrt(4.0 * in_plane / np.pi))
    return ball_diameter_mm(in_plane * spacing_mm[2])


def wanted_voxels(diameter_mm: float, spacing_mm: tuple[float, float, float], *, flat: bool) -> float:
    """Voxels of a ball of the diameter; of a disc in one slice."""
    if flat:
        return np.pi / 4.0 * diameter_mm**2 / (spacing_mm[0] * spacing_mm[1])
    return np.pi / 6.0 * diameter_mm**3 / (spacing_mm[0] * spacing_mm[1] * spacing_mm[2])


def is_met(voxels: int, wanted: float) -> bool:
    """Whether a mask has the size that was wanted, within 10% or the one voxel by which tiny ones must miss it."""
    return voxels > 0 and abs(voxels - wanted) <= max(_TOLERANCE * wanted, 0.5)


def smallest_mm(spacing_mm: tuple[float, float, float], *, flat: bool) -> float:
    """Diameter of a lesion of three voxels, the smallest that is drawn unasked."""
    area = 3.0 * spacing_mm[0] * spacing_mm[1]
    return float(np.sqrt(4.0 * area / np.pi)) if flat else ball_diameter_mm(area * spacing_mm[2])


def too_small(diameter_mm: float, spacing_mm: tuple[float, float, float]) -> DataError:
    """The refusal of a lesion of too few voxels."""
    return DataError(
        f"a lesion of {diameter_mm:.1f} mm cannot be drawn on voxels of {spacing_mm[0]:.1f} mm",
        hint="ask for a larger diameter",
    )


def too_thick(diameter_mm: float, slices: int) -> DataError:
    """The refusal of a lesion that the host's slices do not hold."""
    return DataError(
        f"a lesion of {diameter_mm:.1f} mm is larger than the image: it has {slices} slices",
        hint="ask for a smaller diameter or another host",
    )
