"""Where lesions of a class live, learnt from a bank: in what tissue and organ, how deep, and at which place in the body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from medaug.core.errors import DataError
from medaug.core.lesion import LesionEntry
from medaug.lesions.body import Body

_PLAIN = 10.0  # lesions that weigh as much as knowing nothing: every place alike
_HEAT_CELLS = (16, 16, 8)
_HEAT_SPREAD = (1.3, 1.3, 0.8)  # cells; about a tenth of the body
_DEPTH_BINS = 8
_MOST_RATIO = 8.0
_ORGAN_SHARE = 0.5  # of a lesion that lies in the organ's mask
_IN_ORGAN = 0.9  # of the lesions of a class that lives in the organ


@final
@dataclass(frozen=True, slots=True, eq=False)
class SitePrior:
    """How likely a place in the body and a depth under its edge are; shrunk to even where few lesions are known.

    Attributes:
        heat: (16, 16, 8) density over the box around the body along I, J, K; 1 everywhere where nothing is known.
        depths_mm: In-plane distances of the bank's lesions from the edge of the body.
    """

    heat: Float[np.ndarray, "P Q R"]
    depths_mm: Float[np.ndarray, " n"]

    @staticmethod
    def learn(entries: Sequence[LesionEntry]) -> SitePrior:
        """Density of the known places, smoothed; lesions of images that cut the body off are left out."""
        places = np.array([e.centre_in_body for e in entries if e.centre_in_body is not None]).reshape(-1, 3)
        heat = np.ones(_HEAT_CELLS)
        if len(places):
            cells = np.clip(places, 0.0, 0.999) * _HEAT_CELLS
            counts, _ = np.histogramdd(cells, _HEAT_CELLS, [(0, n) for n in _HEAT_CELLS])
            density = ndimage.gaussian_filter(counts, _HEAT_SPREAD, mode="nearest")
            heat = (density / density.mean() * len(places) + _PLAIN) / (len(places) + _PLAIN)
        depths = [e.boundary_distance_mm for e in entries if e.boundary_distance_mm is not None]
        return SitePrior(heat, np.array(depths, dtype=np.float64))

    def weigh(
        self, body: Body, points: Float[np.ndarray, "n 3"], depths_mm: Float[np.ndarray, " n"]
    ) -> Float[np.ndarray, " n"]:
        """How much more likely a lesion sits at each of these points than at a point drawn as they were.

        Args:
            body: In the host.
            points: Voxels of the host, drawn evenly from where a lesion may be.
            depths_mm: Their in-plane distances from the edge of the body; infinite where there is none.
        """
        shares = body.place(points)
        weights = np.ones(len(points))
        if shares[0] is not None and shares[1] is not None:
            along = np.full(len(points), 0.5) if shares[2] is None else shares[2]
            at = np.stack([shares[0], shares[1], along], axis=1)
            cells = np.clip((at * _HEAT_CELLS).astype(int), 0, np.array(_HEAT_CELLS) - 1)
            weights *= self.heat[tuple(cells.T)]
        return np.asarray(weights * self._depth_ratio(depths_mm, weights))

    def _depth_ratio(
        self, depths_mm: Float[np.ndarray, " n"], weights: Float[np.ndarray, " n"]
    ) -> Float[np.ndarray, " n"]:
        """Density of the known depths over that of the weighed candidates."""
        seen = np.isfinite(depths_mm)
        if not len(self.depths_mm) or not seen.any():
            return np.ones(len(depths_mm))
        edges = np.linspace(0.0, max(float(depths_mm[seen].max()), 1e-6), _DEPTH_BINS + 1)
        bins = np.clip(np.searchsorted(edges, depths_mm, side="right") - 1, 0, _DEPTH_BINS - 1)
        here = np.bincount(bins[seen], weights[seen], _DEPTH_BINS)
        known, _ = np.histogram(np.minimum(self.depths_mm, edges[-1]), edges)
        # neighbouring bins share, so that a chance gap is no rule
        here, there = (
            np.convolve(row, (0.25, 0.5, 0.25), mode="same") / max(row.sum(), 1e-9) for row in (here, known)
        )
        ratio = np.minimum(there / np.maximum(here, 1e-9), _MOST_RATIO)
        trust = len(self.depths_mm) / (len(self.depths_mm) + _PLAIN)
        return np.where(seen, trust * ratio[bins] + 1.0 - trust, 1.0)


@final
@dataclass(frozen=True, slots=True)
class TissuePrior:
    """What tissue lesions of a class live in, learnt from the rings around the bank's lesions.

    Attributes:
        class_name: The class.
        low: Smallest smoothed intensity of the tissue, normalised units, a channel each.
        high: Largest.
        site_low: Smallest median of the ring around a lesion.
        site_high: Largest.
        depth_mm: Smallest in-plane distance of a lesion's centre from the edge of the body.
        margin_mm: Smallest in-plane distance of any lesion voxel from it.
        slices: First and last place along K that lesions reach, as shares of the image.
        sites: How likely each place is.
        in_organ: Whether its lesions lie in the organ that an image of its unit shows.
    """

    class_name: str
    low: tuple[float, ...]
    high: tuple[float, ...]
    site_low: tuple[float, ...]
    site_high: tuple[float, ...]
    depth_mm: float
    margin_mm: float
    slices: tuple[float, float]
    sites: SitePrior
    in_organ: bool = False

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
            class_name=entries[0].class_name,
            low=tuple((site_low - margin).tolist()),
            high=tuple((site_high + margin).tolist()),
            site_low=tuple((site_low - site).tolist()),
            site_high=tuple((site_high + site).tolist()),
            depth_mm=(1.0 - unseen) * 0.8 * float(np.percentile(depths, 5.0)) if depths else 0.0,
            margin_mm=(1.0 - unseen) * 0.9 * float(np.percentile(margins, 10.0)) if margins else 0.0,
            slices=(first * (1.0 - unseen), last + (1.0 - last) * unseen),
            sites=SitePrior.learn(entries),
            in_organ=_live_in_organ([entry.organ_share for entry in entries]),
        )


def _live_in_organ(shares: Sequence[float | None]) -> bool:
    """Whether nearly all lesions lie in the organ; one lesion outside it is enough to doubt that of a few."""
    inside = sum(share is not None and share >= _ORGAN_SHARE for share in shares)
    return inside > 0 and inside >= _IN_ORGAN * len(shares)
