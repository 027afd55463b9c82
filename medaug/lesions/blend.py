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

_GRAIN_VOXELS = 5
_LIMIT = 2.5  # deviations


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
    host: Image,
    lesion: Image,
    mask: Mask,
    edge: Feather,
    how: Blending = "feather",
    *,
    keep_grain: bool = False,
) -> tuple[Image, Mask]:
    """Blend a lesion into a host patch.

    Args:
        host: (C, I, J, K) float32, native units; not changed.
        lesion: (C, I, J, K) the drawn patch, native units.
        mask: (I, J, K) the lesion.
        edge: How it fades into the host; a Poisson blend ends where the ramp does.
        how: ``feather`` mixes both over the ramp; ``poisson`` continues the lesion's gradients from the host's values
            around it (Perez et al., SIGGRAPH 2003), so that it takes on the host's brightness.
        keep_grain: Where a feathered ramp mixes two images, give the mixture the grain that both have: the mean of two
            independent noises is smoother than either, and the smooth rim would tell that something was pasted.

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
    reach = int(np.ceil(edge.end)) + 1
    near = Box.around(mask, (reach, reach, reach)).slices
    part = (slice(None), *near)
    alpha = feather(mask[near], edge)
    edit = np.zeros(mask.shape, dtype=bool)
    edit[near] = alpha > 0.0
    blended = host.copy()
    if how == "poisson":
        blended[:, edit] = poisson(host, lesion, edit)[:, edit]
    else:
        blended[part] = _mixed(host[part], lesion[part], alpha, keep_grain=keep_grain)
    return blended, edit


def _mixed(host: Image, lesion: Image, alpha: Float[np.ndarray, "I J K"], *, keep_grain: bool) -> Image:
    """Both images over the ramp."""
    edit = alpha > 0.0
    mixed = host.copy()
    mixed[:, edit] += alpha[edit] * (lesion[:, edit] - host[:, edit])
    if keep_grain:
        mixed[:, edit] += _lost_grain(host, lesion, alpha)[:, edit]
    return mixed


def _lost_grain(host: Image, lesion: Image, alpha: Float[np.ndarray, "I J K"]) -> Image:
    """What the ramp took from the grain of both images; 0 off the ramp, and everywhere where both are one image there.

    With shares ``1 - a`` and ``a`` the mixture's variance is ``(1-a)^2 h^2 + a^2 l^2 + 2 a (1-a) r h l`` for deviations h and
    l and correlation r; wanted is ``(1-a) h^2 + a l^2``. Grain beyond 2.5 deviations is structure, and is left as it is.
    """
    ramp = (alpha > 0.0) & (alpha < 1.0)
    lost = np.zeros_like(host)
    if not ramp.any():
        return lost
    a = alpha[ramp]
    for n, (below, above) in enumerate(zip(host, lesion, strict=True)):
        grains = [_grain(image)[ramp] for image in (below, above)]
        h, w = (1.4826 * float(np.median(np.abs(grain))) for grain in grains)
        if h * w == 0.0:
            continue
        cut = [np.clip(g / s, -_LIMIT, _LIMIT) for g, s in zip(grains, (h, w), strict=True)]
        likeness = float(
            np.clip((cut[0] * cut[1]).mean() / np.sqrt((cut[0] ** 2).mean() * (cut[1] ** 2).mean()), 0, 1)
        )
        has = ((1 - a) * h) ** 2 + (a * w) ** 2 + 2 * a * (1 - a) * likeness * h * w
        gain = np.sqrt(((1 - a) * h**2 + a * w**2) / has)
        lost[n, ramp] = np.maximum(gain - 1.0, 0.0) * ((1 - a) * h * cut[0] + a * w * cut[1])
    return lost


def _grain(channel: Float[np.ndarray, "I J K"]) -> Float[np.ndarray, "I J K"]:
    """A channel without what is larger than a few voxels of its slices."""
    return np.asarray(channel - ndimage.uniform_filter(channel, (_GRAIN_VOXELS, _GRAIN_VOXELS, 1)))
