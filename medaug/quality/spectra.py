"""The nearest training lesion under any turn, flip, size, small shift and inversion, by polar spectra.

What makes a copy recognisable is the texture that the outline alone does not explain. So a lesion is first
cleared, inside its mask, of what a smooth function of place and of depth below the outline explains. The rest is sampled in polar coordinates around the lesion's middle, in units of its own radius and
height, which takes care of shift and size; a turn is then a shift along the angle, so that the correlations under
all turns come from one product of Fourier coefficients; a mirror image is the conjugate. Coefficients are
whitened by their covariance over the training lesions: texture that all lesions share counts little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Complex64, Float, Float32, Integer
from scipy import ndimage

from medaug.core.volume import Image
from medaug.quality.samples import LesionSample

Spectra = Complex64[np.ndarray, "V D F"]

_RADII = (np.arange(8) + 0.5) / 8 * 1.2  # of the radius of the disc of equal area
_LEVELS = (-1.1, 0.0, 1.1)  # of the deviation of the lesion's voxels along K
_ANGLES = 64
_FREQUENCIES = 13  # 0..12 a turn; finer detail does not survive resampling
_RIDGE = 0.1
_SECTIONS = 5
_BLOCK = 2048


@final
@dataclass(frozen=True, slots=True)
class Variant:
    """A frame that is tried besides the lesion's own: labels of copies may be drawn differently.

    Attributes:
        zoom: Size of the frame over that of the lesion.
        shift: Of the frame's middle along I and J, in radii.
        is_upside_down: Whether K is reversed.
    """

    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    is_upside_down: bool = False


def search_variants(*, flat: bool) -> tuple[Variant, ...]:
    """The frames a query is searched under."""
    frames = [(1.0, (0.0, 0.0)), (0.92, (0.0, 0.0)), (1.09, (0.0, 0.0))]
    frames += [(1.0, shift) for shift in ((0.1, 0.0), (-0.1, 0.0), (0.0, 0.1), (0.0, -0.1))]
    ways = (False,) if flat else (False, True)
    return tuple(Variant(zoom, shift, way) for zoom, shift in frames for way in ways)


def _unexplained(sample: LesionSample) -> Image:
    """What place and depth below the outline leave unexplained; 0 outside the mask."""
    spacing, radius_mm = np.array(sample.spacing_mm), _radius_mm(sample)
    voxels = np.argwhere(sample.mask)
    x, y, z = ((voxels - voxels.mean(axis=0)) * spacing / radius_mm).T
    depth = _depth_mm(sample)[sample.mask] / radius_mm
    terms = np.stack([np.ones_like(x), x, y, z, z**2, depth, depth**2], axis=1)
    values = sample.image[:, sample.mask].T.astype(np.float64)
    values -= values.mean(axis=0)
    normal = terms.T @ terms + 1e-3 * len(x) * np.eye(terms.shape[1])
    rest = np.zeros(sample.image.shape, dtype=np.float32)
    rest[:, sample.mask] = (values - terms @ np.linalg.solve(normal, terms.T @ values)).T
    return rest


def _depth_mm(sample: LesionSample) -> Float[np.ndarray, "I J K"]:
    """Distance to the outline in plane, slice by slice."""
    depth = np.zeros(sample.mask.shape)
    for k in np.flatnonzero(sample.mask.any(axis=(0, 1))):
        plane = np.pad(sample.mask[..., k], 1)
        depth[..., k] = ndimage.distance_transform_edt(plane, sampling=sample.spacing_mm[:2])[1:-1, 1:-1]
    return depth


def _radius_mm(sample: LesionSample) -> float:
    """Radius of the disc of the largest slice's area."""
    area = int(sample.mask.sum(axis=(0, 1)).max()) * sample.spacing_mm[0] * sample.spacing_mm[1]
    return float(np.sqrt(area / np.pi))


def lesion_spectra(sample: LesionSample, variants: Sequence[Variant]) -> Spectra:
    """Fourier coefficients along the angle of a lesion's texture, one row of D = channels * levels * radii a variant."""
    rest = _unexplained(sample)
    voxels = np.argwhere(sample.mask)
    middle, spread = voxels.mean(axis=0), float(voxels[:, 2].std())
    lowest, highest = voxels[:, 2].min(), voxels[:, 2].max()
    levels = np.clip(middle[2] + np.array(_LEVELS) * spread, lowest, highest)
    points = np.stack([_polar_points(sample, middle, levels, variant) for variant in variants], axis=1)
    shape = (len(rest), len(variants), len(_LEVELS), len(_RADII), _ANGLES)
    polar = np.stack([ndimage.map_coordinates(channel, points.reshape(3, -1), order=1) for channel in rest])
    rows = np.moveaxis(polar.reshape(shape), 0, 1) * np.sqrt(_RADII)[:, None]
    spectra = np.fft.rfft(rows, axis=-1)[..., :_FREQUENCIES]
    return _unit(spectra.reshape(len(variants), -1, _FREQUENCIES).astype(np.complex64))


def _polar_points(
    sample: LesionSample, middle: Float[np.ndarray, "3"], levels: Float[np.ndarray, " L"], variant: Variant
) -> Float[np.ndarray, "3 n"]:
    """Voxel indices of the polar grid of one frame."""
    radius_mm = _radius_mm(sample)
    angles = np.arange(_ANGLES) * 2.0 * np.pi / _ANGLES
    reach = variant.zoom * radius_mm * _RADII[:, None]
    i = middle[0] + (variant.shift[0] * radius_mm + reach * np.cos(angles)) / sample.spacing_mm[0]
    j = middle[1] + (variant.shift[1] * radius_mm + reach * np.sin(angles)) / sample.spacing_mm[1]
    heights = levels[::-1] if variant.is_upside_down else levels
    full = (len(levels), *i.shape)
    return np.stack([np.broadcast_to(part, full).ravel() for part in (i, j, heights[:, None, None])])


def _weights() -> Float32[np.ndarray, " F"]:
    """A real signal's coefficients above 0 stand for two."""
    return np.where(np.arange(_FREQUENCIES) > 0, 2.0, 1.0).astype(np.float32)


def _unit(spectra: Spectra) -> Spectra:
    power = (np.abs(spectra) ** 2 * _weights()).sum(axis=(-2, -1), keepdims=True)
    return np.asarray(spectra / np.sqrt(np.maximum(power, 1e-12)), dtype=np.complex64)


def _turns() -> Float32[np.ndarray, "G A"]:
    """The matrix from (real, imaginary) coefficients to the correlation at every turn."""
    phase = np.exp(2j * np.pi * np.outer(np.arange(_FREQUENCIES), np.arange(_ANGLES)) / _ANGLES)
    weighted = _weights()[:, None] * phase
    return np.concatenate([weighted.real, -weighted.imag]).astype(np.float32)


@final
@dataclass(frozen=True, slots=True)
class Match:
    """The way in which a query fits a training lesion best."""

    correlation: float
    transform: str


@final
class SpectrumLibrary:
    """The training lesions' whitened spectra, ready to be searched.

    Args:
        samples: Training lesions; at least one.
        flat: Whether queries are sections; then up to five sections of each lesion stand for it.
    """

    def __init__(self, samples: Sequence[LesionSample], *, flat: bool) -> None:
        own = (Variant(),)
        parts = [
            (n, part)
            for n, sample in enumerate(samples)
            for part in (_sections(sample) if flat else (sample,))
        ]
        spectra = np.concatenate([lesion_spectra(part, own) for _, part in parts])
        self._owner: Integer[np.ndarray, " E"] = np.array([n for n, _ in parts])
        self._count = len(samples)
        self._variants = search_variants(flat=flat)
        self._whitening = _whitening(spectra)
        self._entries = np.ascontiguousarray(self._whitened(spectra).transpose(2, 1, 0))
        self._turns = _turns()

    def correlations(self, query: LesionSample) -> Float32[np.ndarray, " T"]:
        """The largest absolute correlation of a query with each training lesion, 0..1."""
        spectra = self._whitened(lesion_spectra(query, self._variants)).transpose(2, 0, 1)
        best = np.zeros(self._count, dtype=np.float32)
        for start in range(0, len(self._owner), _BLOCK):
            part = slice(start, start + _BLOCK)
            found = np.maximum(
                *(self._best(side, self._entries[..., part]) for side in (spectra, spectra.conj()))
            )
            np.maximum.at(best, self._owner[part], found)
        return np.minimum(best, 1.0)

    def match(self, query: LesionSample, number: int) -> Match:
        """How a query fits one training lesion best, in words."""
        spectra = self._whitened(lesion_spectra(query, self._variants)).transpose(2, 0, 1)
        entries = self._entries[..., self._owner == number]
        sides = np.stack([self._at_turns(side, entries) for side in (spectra, spectra.conj())])
        mirror, variant, _, turn = np.unravel_index(int(np.abs(sides).argmax()), sides.shape)
        value = float(sides[mirror, variant, :, turn].flat[np.abs(sides[mirror, variant, :, turn]).argmax()])
        words = _words(self._variants[variant], int(turn) * 360 // _ANGLES, is_mirrored=bool(mirror))
        return Match(min(abs(value), 1.0), words + (", inverted" if value < 0 else ""))

    def _whitened(self, spectra: Spectra) -> Spectra:
        return _unit(np.einsum("vdf,fde->vef", spectra, self._whitening, optimize=True))

    def _at_turns(
        self, query: Complex64[np.ndarray, "F V D"], entries: Complex64[np.ndarray, "F D E"]
    ) -> Float32[np.ndarray, "V E A"]:
        product = np.moveaxis(np.matmul(query.conj(), entries), 0, -1)
        return np.asarray(np.concatenate([product.real, product.imag], axis=-1) @ self._turns)

    def _best(
        self, query: Complex64[np.ndarray, "F V D"], entries: Complex64[np.ndarray, "F D E"]
    ) -> Float32[np.ndarray, " E"]:
        turned = self._at_turns(query, entries)
        return np.asarray(np.maximum(turned.max(axis=(0, 2)), -turned.min(axis=(0, 2))))


def _sections(sample: LesionSample) -> list[LesionSample]:
    """A lesion's largest slices, each as a lesion."""
    areas = sample.mask.sum(axis=(0, 1))
    order = [int(k) for k in np.argsort(-areas, kind="stable") if 2 * areas[k] >= areas.max()]
    return [sample.slice_at(k) for k in order[:_SECTIONS]]


def _whitening(spectra: Spectra) -> Float32[np.ndarray, "F D D"]:
    """For each frequency the inverse root of the covariance over radii, levels and channels.

    The real part is the covariance of the lesions together with their mirror images, so that whitening a mirror
    image and mirroring a whitened image are the same.
    """
    covariance = np.einsum("ndf,nef->fde", spectra.conj(), spectra, optimize=True).real / len(spectra)
    values, vectors = np.linalg.eigh(covariance.astype(np.float64))
    roots = 1.0 / np.sqrt(np.maximum(values, 0.0) + _RIDGE * max(float(values.max()), 1e-12))
    return np.asarray(np.einsum("fdk,fk,fek->fde", vectors, roots, vectors), dtype=np.float32)


def _words(variant: Variant, turn_deg: int, *, is_mirrored: bool) -> str:
    parts = [f"turned by {turn_deg} degrees"] if turn_deg else []
    parts += ["mirrored"] if is_mirrored else []
    parts += ["upside down"] if variant.is_upside_down else []
    parts += [f"zoomed by {variant.zoom:g}"] if variant.zoom != 1.0 else []
    parts += ["shifted"] if variant.shift != (0.0, 0.0) else []
    return ", ".join(parts) or "as it is"
