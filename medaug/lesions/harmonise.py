"""Making a donor's lesion fit its host: tissue of like brightness around it, and noise as in the host."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from medaug.core.geometry import NEIGHBOURS_4
from medaug.core.volume import Image, Mask

_RING = (2, 6)  # in-plane voxels off the outline
_GAIN = (0.5, 2.0)
_NOISE_LIMIT = 2.5  # deviations; what is more is a vessel or an edge


def fine_part(image: Image) -> Image:
    """What a mean over 3 x 3 voxels of a slice takes away: the grain of the scan, and thin structures."""
    return np.asarray(image - ndimage.uniform_filter(image, (1, 3, 3, 1)))


def robust_deviation(values: Float[np.ndarray, "C N"]) -> Float[np.ndarray, " C"]:
    """Deviation that a few vessels among the values do not change: 1.4826 times the median of their size."""
    return np.asarray(1.4826 * np.median(np.abs(values), axis=1))


def ring_around(mask: Mask) -> Mask:
    """Tissue 3 to 6 in-plane voxels off a lesion, or all that is not lesion where the patch ends before."""
    outer = ndimage.binary_dilation(mask, NEIGHBOURS_4, iterations=_RING[1])
    ring = outer & ~ndimage.binary_dilation(mask, NEIGHBOURS_4, iterations=_RING[0])
    return np.asarray(ring if ring.any() else ~mask)


def match_level(host: Image, patch: Image, mask: Mask) -> Image:
    """The patch as bright as the host along the outline, up to 3 in-plane voxels off it; a channel each.

    Args:
        host: (C, I, J, K) native units.
        patch: (C, I, J, K) what is pasted, native units.
        mask: (I, J, K) where.
    """
    rim = ndimage.binary_dilation(mask, NEIGHBOURS_4, iterations=3) & ~mask
    if not rim.any():
        return patch.copy()
    return np.asarray(patch + per_channel(np.median(host[:, rim] - patch[:, rim], axis=1)), dtype=np.float32)


def match_tissue(host: Image, lesion: Image, mask: Mask) -> Image:
    """The lesion's patch with the tissue around the lesion as bright and as contrasted as the host's there.

    ``(lesion - median_donor) * gain + median_host``, where the medians are those of the ring around the mask and the gain
    is the ratio of its interquartile ranges, within 0.5 to 2; a channel each.

    Args:
        host: (C, I, J, K) native units.
        lesion: (C, I, J, K) the donor's patch, native units.
        mask: (I, J, K) the lesion.
    """
    ring = ring_around(mask)
    if not ring.any():
        return lesion.copy()
    here, there = (np.percentile(image[:, ring], (25.0, 50.0, 75.0), axis=1) for image in (host, lesion))
    spread = np.maximum(there[2] - there[0], 1e-6)
    gain = np.clip((here[2] - here[0]) / spread, *_GAIN)
    offset = here[1] - gain * there[1]
    return np.asarray(lesion * per_channel(gain) + per_channel(offset), dtype=np.float32)


def match_noise(host: Image, lesion: Image, mask: Mask) -> Image:
    """The lesion's patch with as much noise as the host has; noise is added where it lacks, never taken away.

    Noise is estimated as the robust deviation of the fine part in the ring around the mask. What is added is the host's own
    fine part, mirrored and cut at 2.5 deviations, so that it has the grain of the scan; its variance is the difference of
    both variances.

    Args:
        host: (C, I, J, K) native units.
        lesion: (C, I, J, K) the donor's patch, native units.
        mask: (I, J, K) the lesion.
    """
    ring = ring_around(mask)
    if not ring.any():
        return lesion.copy()
    fine = fine_part(host)
    wanted, has = (robust_deviation(part[:, ring]) for part in (fine, fine_part(lesion)))
    missing = np.sqrt(np.maximum(wanted**2 - has**2, 0.0))
    limit = per_channel(_NOISE_LIMIT * wanted)
    grain = np.clip(fine, -limit, limit)[:, ::-1]
    return np.asarray(lesion + per_channel(missing / np.maximum(wanted, 1e-6)) * grain, dtype=np.float32)


def per_channel(values: Float[np.ndarray, " C"]) -> Float[np.ndarray, "C 1 1 1"]:
    """One value a channel, for arithmetic with (C, I, J, K) images; float32."""
    return np.asarray(values, dtype=np.float32).reshape(-1, 1, 1, 1)
