"""Where a lesion may sit: tissue like that around real lesions of its class, found without organ labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Integer, UInt8
from scipy import ndimage

from medaug.core.case import Case
from medaug.core.errors import DataError
from medaug.core.intensity import CaseScale
from medaug.core.lesion import LesionEntry
from medaug.core.volume import Image, Mask, Unit, Volume

_SMOOTHING_VOXELS = 1.5
_AIR_HU = -960.0  # smoothed lung stays above, outside air and the trachea below
_BODY_LEVEL = 0.08  # of the case's intensity range, for units without a zero
_LESION_MARGIN = 3  # voxels in plane between two lesions
_BODY_MARGIN = 2
_RIM = 3
_TRIES = 16  # sites looked at before the conditions are relaxed
# share of lesion and rim in allowed tissue, and clearance in lesion radii
_CONDITIONS = ((0.95, 0.9), (0.9, 0.7), (0.9, 0.4), (0.85, 0.2), (0.8, 0.0))


@final
@dataclass(frozen=True, slots=True)
class TissuePrior:
    """What tissue lesions of a class live in, learnt from the rings around the bank's lesions.

    Attributes:
        low: Smallest smoothed intensity of the tissue, normalised units, a channel each.
        high: Largest.
        site_low: Smallest median of the ring around a lesion.
        site_high: Largest.
        depth_mm: Smallest in-plane distance of a lesion's centre from the edge of the body.
        margin_mm: Smallest in-plane distance of any lesion voxel from it.
        slices: First and last place along K that lesions reach, as shares of the image.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    site_low: tuple[float, ...]
    site_high: tuple[float, ...]
    depth_mm: float
    margin_mm: float
    slices: tuple[float, float]

    @staticmethod
    def learn(entries: Sequence[LesionEntry]) -> TissuePrior:
        """The prior of a bank's lesions of one class.

        Of n known lesions, the next one lies beyond each end of their range with a chance of 1 / (n + 1), whatever
        their distribution; so the ranges open by that share: widely for one lesion, hardly for twenty.

        Raises:
            DataError: If there is no lesion.
        """
        if not entries:
            raise DataError("no lesion to learn the tissue from", hint="choose a class that the bank holds")
        median = np.array([entry.ring_median for entry in entries])
        spread = np.array([entry.ring_high for entry in entries]) - np.array(
            [entry.ring_low for entry in entries]
        )
        site_low, site_high = np.percentile(median, (5.0, 95.0), axis=0)
        margin = np.maximum(np.median(spread, axis=0), 1e-3)
        unseen = 1.0 / (len(entries) + 1)
        site = margin * (0.25 + 0.5 * unseen)
        first = float(np.percentile([entry.slices_relative[0] for entry in entries], 5.0))
        last = float(np.percentile([entry.slices_relative[1] for entry in entries], 95.0))
        depths = [e.boundary_distance_mm for e in entries if e.boundary_distance_mm is not None]
        margins = [e.edge_margin_mm for e in entries if e.edge_margin_mm is not None]
        return TissuePrior(
            low=tuple((site_low - margin).tolist()),
            high=tuple((site_high + margin).tolist()),
            site_low=tuple((site_low - site).tolist()),
            site_high=tuple((site_high + site).tolist()),
            depth_mm=(1.0 - unseen) * 0.8 * float(np.percentile(depths, 5.0)) if depths else 0.0,
            margin_mm=(1.0 - unseen) * 0.9 * float(np.percentile(margins, 10.0)) if margins else 0.0,
            slices=(first * (1.0 - unseen), last + (1.0 - last) * unseen),
        )


@final
@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """The body in an image: its largest connected part that is not air or background, holes filled in plane.

    In CT the lungs belong to the body.

    Attributes:
        edge: (I, J, K) in-plane distance to the edge of the body, voxels; 0 outside, at most 254, 255 throughout
            a slice that shows no edge.
        span: Where the slices begin and end in the whole image, as shares of it; (0, 1) for all of it.
    """

    edge: UInt8[np.ndarray, "I J K"]
    span: tuple[float, float] = (0.0, 1.0)

    @staticmethod
    def of(volume: Volume) -> Body:
        """Find the body in a whole image; smoothed first, so that noise opens no holes."""
        bright = np.zeros(volume.grid.shape, dtype=bool)
        for channel in _smooth(volume.image):
            if volume.unit is Unit.HU:
                bright |= channel > _AIR_HU
            else:
                low, high = np.percentile(channel, (0.1, 99.9))
                bright |= channel > low + _BODY_LEVEL * (high - low)
        parts, count = ndimage.label(bright)
        if count > 1:
            bright = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
        for k in range(bright.shape[2]):
            bright[..., k] = ndimage.binary_fill_holes(bright[..., k])
        return Body(_edge_distance(bright))

    @property
    def mask(self) -> Mask:
        """(I, J, K) where the body is."""
        return np.asarray(self.edge > 0)

    def slice_at(self, index: int) -> Body:
        """The same for one slice, as a slab of one slice."""
        first, last = self.span
        step = (last - first) / self.edge.shape[2]
        span = (first + index * step, first + (index + 1) * step)
        return Body(self.edge[..., index : index + 1], span)


def _smooth(image: Image) -> Image:
    """The image without its grain, slice by slice."""
    return np.asarray(ndimage.gaussian_filter(image, (0.0, _SMOOTHING_VOXELS, _SMOOTHING_VOXELS, 0.0)))


def _edge_distance(mask: Mask) -> UInt8[np.ndarray, "I J K"]:
    """In-plane distance of each True voxel to the nearest False one, in voxels; 255 where a slice has none."""
    distance = np.full(mask.shape, 255, dtype=np.uint8)
    for k in range(mask.shape[2]):
        if not mask[..., k].all():
            distance[..., k] = np.minimum(ndimage.distance_transform_edt(mask[..., k]), 254.0)
    return distance


@final
@dataclass(frozen=True, slots=True, eq=False)
class HostTissue:
    """A host seen with the eyes of one class; computed once a host, used for many lesions.

    Attributes:
        case: The host.
        scale: Its map to normalised units.
        reach: (I, J, K) in slices and depths of the body that lesions reach, away from the host's lesions; no
            lesion voxel may lie outside.
        allowed: (I, J, K) within ``reach`` and of tissue that suits the class.
        clearance: (I, J, K) in-plane distance to the nearest voxel that is not allowed, voxels, at most 255;
            0 where no lesion of the class may have its centre.
        prior: The class's prior.
    """

    case: Case
    scale: CaseScale
    reach: Mask
    allowed: Mask
    clearance: UInt8[np.ndarray, "I J K"]
    prior: TissuePrior

    @property
    def nbytes(self) -> int:
        """Memory it takes beside the host."""
        return self.reach.nbytes + self.allowed.nbytes + self.clearance.nbytes


def map_tissue(case: Case, scale: CaseScale, body: Body, prior: TissuePrior) -> HostTissue:
    """Where in a host, or a slab of it, lesions of a class may sit.

    Args:
        case: The host; voxels it labels are kept free, with a margin.
        scale: Map of the whole case to normalised units.
        body: The body in it.
        prior: Of the class.
    """
    voxel_mm = min(case.volume.grid.spacing_mm[:2])
    reach = body.edge > max(_BODY_MARGIN, prior.margin_mm / voxel_mm)
    slices = reach.shape[2]
    where = body.span[0] + (np.arange(slices) + 0.5) / slices * (body.span[1] - body.span[0])
    reach[..., (where < prior.slices[0]) | (where > prior.slices[1])] = False
    if case.label_map is not None and case.label_map.labels.any():
        width = 2 * _LESION_MARGIN + 1
        grown = ndimage.maximum_filter(case.label_map.labels > 0, size=(width, width, 1))
        reach &= ~grown
    allowed = reach.copy()
    for channel, low, high in zip(
        scale.normalise(_smooth(case.volume.image)), prior.low, prior.high, strict=True
    ):
        allowed &= (channel >= low) & (channel <= high)
    clearance = _edge_distance(allowed)
    clearance[body.edge < prior.depth_mm / voxel_mm] = 0
    return HostTissue(case, scale, reach, allowed, clearance, prior)


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Footprint:
    """Voxels of a lesion and of the rim around it, relative to the site, and its in-plane radius."""

    lesion: Integer[np.ndarray, "n 3"]
    around: Integer[np.ndarray, "m 3"]
    radius: float

    @staticmethod
    def of(mask: Mask) -> _Footprint:
        lesion = np.argwhere(mask)
        low, high = lesion.min(axis=0), lesion.max(axis=0) + 1
        window = mask[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
        padded = np.pad(window, ((_RIM, _RIM), (_RIM, _RIM), (0, 0)))
        grown = ndimage.maximum_filter(padded, size=(2 * _RIM + 1, 2 * _RIM + 1, 1))
        middle = np.array(mask.shape) // 2
        around = np.argwhere(grown & ~padded) + low - (_RIM, _RIM, 0) - middle
        widest = int(window.sum(axis=(0, 1)).max())
        return _Footprint(lesion - middle, around, float(np.sqrt(widest / np.pi)))


def require_room(tissue: HostTissue, diameter_mm: float | None) -> None:
    """A quick look before a shape is drawn for a host: is there any place, and enough of it?

    Raises:
        DataError: If no tissue suits the class, or too little for the section of such a lesion.
    """
    if not tissue.clearance.any():
        raise DataError(
            "no tissue suits the class",
            where=tissue.case.case_id,
            hint="choose a host that shows the lesion's organ",
        )
    if diameter_mm is None:
        return
    spacing = tissue.case.volume.grid.spacing_mm
    section = np.pi / 4.0 * diameter_mm**2 / (spacing[0] * spacing[1])
    if 0.6 * section > int(tissue.allowed.sum(axis=(0, 1)).max()):
        raise DataError(
            f"no healthy tissue has room for a lesion of {diameter_mm:.1f} mm",
            where=tissue.case.case_id,
            hint="ask for a smaller diameter or another host",
        )


def find_site(tissue: HostTissue, mask: Mask, rng: np.random.Generator) -> tuple[int, int, int]:
    """A random place for a lesion in healthy tissue.

    The lesion lies wholly in the body and off other lesions; 95% of its voxels and rim lie in tissue that suits
    the class, and the rim looks like the surroundings of real lesions. Where no such place turns up, the last two
    conditions are relaxed, down to 80%.

    Args:
        tissue: Of the host.
        mask: (I, J, K) of the lesion's patch.
        rng: Randomness.

    Returns:
        The host voxel on which the patch's middle voxel (``shape // 2``) is to fall.

    Raises:
        DataError: If there is none; the line names the constraint that could not be met.
    """
    footprint = _Footprint.of(mask)
    low = -footprint.lesion.min(axis=0)
    high = np.array(tissue.allowed.shape) - footprint.lesion.max(axis=0)
    if (high <= low).any():
        raise DataError(
            "the lesion is larger than the image",
            where=tissue.case.case_id,
            hint="ask for a smaller diameter or another host",
        )
    window = tissue.clearance[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    looked = 0
    for share, clearance in _CONDITIONS:
        places = np.flatnonzero(window >= max(1.0, clearance * footprint.radius))
        for place in rng.choice(places, _TRIES) if places.size else ():
            centre = np.array(np.unravel_index(place, window.shape)) + low
            looked += 1
            if _fits(tissue, footprint, centre, share):
                return (int(centre[0]), int(centre[1]), int(centre[2]))
    if looked == 0:
        raise DataError(
            "no tissue suits the class",
            where=tissue.case.case_id,
            hint="choose a host that shows the lesion's organ",
        )
    raise DataError(
        f"no healthy tissue has room for a lesion of {len(footprint.lesion)} voxels",
        where=tissue.case.case_id,
        hint="ask for a smaller diameter or another host",
    )


def _fits(tissue: HostTissue, footprint: _Footprint, centre: Integer[np.ndarray, "3"], share: float) -> bool:
    """Whether a lesion may sit there, when that share of it and its rim must lie in allowed tissue."""
    lesion = tuple((footprint.lesion + centre).T)
    if not tissue.reach[lesion].all():
        return False
    around = footprint.around + centre
    inside = ((around >= 0) & (around < tissue.allowed.shape)).all(axis=1)
    rim = tuple(around[inside].T)
    fine = int(tissue.allowed[lesion].sum()) + int(tissue.allowed[rim].sum())
    if fine < share * (len(footprint.lesion) + int(inside.sum())):
        return False
    if not inside.any():
        return True
    medians = np.median(tissue.scale.normalise(tissue.case.volume.image[(slice(None), *rim)]), axis=1)
    slack = 0.0 if share >= 0.9 else 0.25
    limits = zip(medians, tissue.prior.site_low, tissue.prior.site_high, strict=True)
    return all(low - slack * (high - low) <= m <= high + slack * (high - low) for m, low, high in limits)
