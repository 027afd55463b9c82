"""Sections of lesions in polar coordinates, where a turn is a shift, so that one transform compares all turns."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from jaxtyping import Float
from scipy import fft, ndimage

from medaug.core.volume import Image, Mask

Section = Float[np.ndarray, "V R A"]
Sections = Float[np.ndarray, "N V R A"]

_RINGS, _TURNS = 8, 32
_REACH = 1.3  # radii of a disc of the section's area
_MOST_SECTIONS = 5
_FLATTEST = 1e-3
_ALIKE = 0.99  # what is more alike than this is as good as equal
_AT_ONCE = 200_000  # pairs


class Cut(Protocol):
    """A lesion cut out of a case, as this attack needs it."""

    @property
    def patient_id(self) -> str:
        """Pseudonym of its patient."""

    @property
    def class_name(self) -> str:
        """Its class."""

    @property
    def image(self) -> Image:
        """(C, I, J, K) normalised units."""

    @property
    def mask(self) -> Mask:
        """(I, J, K) True in the lesion; not empty."""

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Of the image."""


def largest_section(lesion: Cut) -> Section:
    """The section along K where the lesion is largest, see :func:`sections`."""
    return _section(lesion, int(np.argmax(lesion.mask.sum(axis=(0, 1)))))


def sections(lesion: Cut) -> Sections:
    """At most five sections along K, evenly among those of at least half the largest area.

    Each is what the channels show inside the lesion, less their mean there, and the lesion's outline, half and half, as
    a vector of unit length. Size, level and contrast play no part: a generator is asked for those.

    Returns:
        (N, V, R, A) float32: sections, channels and outline, rings, directions.
    """
    areas = lesion.mask.sum(axis=(0, 1))
    shown = np.flatnonzero(2 * areas >= areas.max())
    evenly = np.linspace(0, len(shown) - 1, min(len(shown), _MOST_SECTIONS)).round().astype(int)
    return np.stack([_section(lesion, int(k)) for k in shown[evenly]])


def _section(lesion: Cut, k: int) -> Section:
    mask, spacing = lesion.mask[..., k], lesion.spacing_mm
    middle = np.argwhere(mask).mean(axis=0)
    radius_mm = np.sqrt(mask.sum() * spacing[0] * spacing[1] / np.pi)
    rings = (np.arange(_RINGS) + 0.5) / _RINGS * _REACH * radius_mm
    angles = np.arange(_TURNS) * (2 * np.pi / _TURNS)
    places = [
        middle[axis] + rings[:, None] * along / spacing[axis]
        for axis, along in enumerate((np.cos(angles), np.sin(angles)))
    ]
    inside = ndimage.map_coordinates(mask.astype(np.float32), places, order=1)
    seen = [
        ndimage.map_coordinates(channel[..., k].astype(np.float32), places, order=1, mode="nearest")
        for channel in lesion.image
    ]
    area = np.sqrt(np.arange(_RINGS) + 0.5)[:, None]  # an outer ring stands for more of the plane
    texture = np.stack([_centred(channel, inside * area**2) * inside for channel in seen]) * area
    outline = _centred(inside, area**2 + 0 * inside)[None] * area
    lengths = np.linalg.norm(texture.reshape(len(seen), -1), axis=1)[:, None, None]
    texture = texture / np.maximum(lengths, _FLATTEST) / np.sqrt(2 * len(seen))
    outline = outline / max(float(np.linalg.norm(outline)), _FLATTEST) / np.sqrt(2)
    return np.concatenate([texture, outline]).astype(np.float32)


def _centred(values: Float[np.ndarray, "R A"], weights: Float[np.ndarray, "R A"]) -> Float[np.ndarray, "R A"]:
    return np.asarray(values - np.average(values, weights=np.maximum(weights, 1e-9)))


def likeness(first: Sections, second: Float[np.ndarray, "M V R A"]) -> Float[np.ndarray, "N M"]:
    """Correlation of all pairs, the best over 32 turns of either side up, as Fisher's z."""
    theirs = _spectra(second)
    rows = max(1, _AT_ONCE // max(1, len(second)))
    best = [_best(_spectra(first[n : n + rows]), theirs) for n in range(0, len(first), rows)]
    return np.asarray(np.arctanh(np.clip(np.concatenate(best), -_ALIKE, _ALIKE)))


def _spectra(some: Sections) -> np.ndarray:
    """(F, N, V * R) complex: the transform along the directions."""
    found = np.asarray(fft.rfft(some, axis=-1))
    return np.ascontiguousarray(np.moveaxis(found, -1, 0)).reshape(found.shape[-1], len(some), -1)


def _best(ours: np.ndarray, theirs: np.ndarray) -> Float[np.ndarray, "N M"]:
    turned = [
        fft.irfft(ours @ side.transpose(0, 2, 1), n=_TURNS, axis=0).max(axis=0)
        for side in (theirs.conj(), theirs)  # the conjugate of a spectrum is that of the mirrored section
    ]
    return np.asarray(np.maximum(*turned))
