"""Blending a drawn lesion into its host, feathered or by Poisson's equation; bit-identical outside the edit mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from medaug.core.errors import GeometryError
from medaug.core.geometry import Box
from medaug.core.lesion import Blending
from medaug.core.volume import Image, Mask
from medaug.lesions.poisson import poisson


@final
@dataclass(frozen=True, slots=True)
class Feather:
    """How a lesion fades into its host; distances from the outline, in-plane voxels, negative inside.

    Attributes:
        full: Up to here the lesion is wholly there.
        end: From here on the host is untouched.
        through_plane: Distance of two slices in in-plane voxels; from ``end`` on, slices do not mix.
    """

    full: float = -1.0
    end: float = 2.0
    through_plane: float = 4.0


def feather(mask: Mask, edge: Feather) -> Float[np.ndarray, "I J K"]:
    """How much of the lesion each voxel gets: 1 inside, falling to 0 outside the outline.

    Args:
        mask: (I, J, K) the lesion.
        edge: Where the ramp begins and ends.

    Returns:
        (I, J, K) float32, 0..1; exactly 0 where the host is to stay as it is.
    """
    sampling = (1.0, 1.0, edge.through_plane)
    outside = ndimage.distance_transform_edt(~mask, sampling=sampling)
    if edge.full >= 0.5:  # no voxel inside is on the ramp
        signed = outside - 0.5
    elif mask.all():
        return np.ones(mask.shape, dtype=np.float32)
    else:
        signed = np.where(mask, 0.5 - ndimage.distance_transform_edt(mask, sampling=sampling), outside - 0.5)
    ramp = (edge.end - signed) / (edge.end - edge.full)
    return np.asarray(np.clip(ramp, 0.0, 1.0), dtype=np.float32)


def blend(
    host: Image, lesion: Image, mask: Mask, edge: Feather, how: Blending = "feather"
) -> tuple[Image, Mask]:
    """Blend a lesion into a host patch.

    Args:
        host: (C, I, J, K) float32, native units; not changed.
        lesion: (C, I, J, K) the drawn patch, native units.
        mask: (I, J, K) the lesion.
        edge: How it fades into the host; a Poisson blend ends where the ramp does.
        how: ``feather`` mixes both over the ramp; ``poisson`` continues the lesion's gradients from the host's values
            around it (Perez et al., SIGGRAPH 2003), so that it takes on the host's brightness.

    Returns:
        The blended patch, and the edit mask: every voxel that may differ from the host. Outside it the patch
        equals the host bit for bit.

    Raises:
        GeometryError: If the shapes do not agree.
    """
    if host.shape != lesion.shape or host.shape[1:] != mask.shape:
        raise GeometryError(f"host {host.shape}, lesion {lesion.shape} and mask {mask.shape} do not agree")
    if not mask.any():
        return host.copy(), np.zeros(mask.shape, dtype=bool)
    near = _near(mask, int(np.ceil(edge.end)) + 1)
    alpha = np.zeros(mask.shape, dtype=np.float32)
    alpha[near] = feather(mask[near], edge)
    edit = alpha > 0.0
    blended = host.copy()
    if how == "poisson":
        blended[:, edit] = poisson(host, lesion, edit)[:, edit]
        return blended, edit
    blended[:, edit] += alpha[edit] * (lesion[:, edit] - host[:, edit])
    return blended, edit


def _near(mask: Mask, margin: int) -> tuple[slice, slice, slice]:
    """The part of the patch that a blend can touch."""
    box = Box.around(mask)
    grown = Box(
        (box.start[0] - margin, box.start[1] - margin, box.start[2] - margin),
        (box.stop[0] + margin, box.stop[1] + margin, box.stop[2] + margin),
    )
    return grown.clipped((mask.shape[0], mask.shape[1], mask.shape[2])).slices
