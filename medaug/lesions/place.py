"""Finding a place for a lesion in a host: tissue, organ and depth as in the bank, off other lesions and off bone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn, final

import numpy as np
from jaxtyping import Float32, Integer

from medaug.core.case import Case
from medaug.core.errors import ConfigError, DataError
from medaug.core.geometry import Box
from medaug.core.intensity import CaseScale
from medaug.core.volume import Labels, Mask, Unit
from medaug.lesions.body import Body, Coarse, edge_distance
from medaug.lesions.prior import TissuePrior

AUTO, BODY = "auto", "body"
_LESION_MARGIN = 3  # voxels in plane between two lesions
_BODY_MARGIN = 2
_RIM = 3
_POOL = 192  # places drawn, of which the likely ones are looked at
_TRIES = 16  # places looked at before the conditions are relaxed
# share of lesion and rim in allowed tissue, and clearance in lesion radii
_CONDITIONS = ((0.95, 0.9), (0.9, 0.7), (0.9, 0.4), (0.85, 0.2), (0.8, 0.0))
_MOST_POINTS = 3000  # of a large lesion so many voxels are looked at
_BONE_HU, _MOST_BONE = 250.0, 0.02
_LIKE = 8  # places of which the one most like another is taken


@final
@dataclass(frozen=True, slots=True, eq=False)
class HostTissue:
    """Where lesions of one class may sit in a host, on the coarse grid of its body; computed once, used for many lesions.

    Attributes:
        case: The host.
        scale: Its map to normalised units.
        body: The body in it.
        reach: (P, Q, R) in slices and depths of the body that lesions reach, away from the host's lesions; no
            lesion voxel may lie outside.
        allowed: (P, Q, R) within ``reach`` and of tissue, in the organ, that suits the class.
        clearance: (P, Q, R) in-plane distance to the nearest voxel that is not allowed, voxels of the image;
            0 where no lesion of the class may have its centre.
        prior: The class's prior.
        tissue_id: Label of the host that is tissue to sit in and no lesion; 0 for none.
    """

    case: Case
    scale: CaseScale
    body: Body
    reach: Coarse
    allowed: Coarse
    clearance: Float32[np.ndarray, "P Q R"]
    prior: TissuePrior
    tissue_id: int = 0

    @property
    def nbytes(self) -> int:
        """Memory it takes beside the host and its body."""
        return self.reach.nbytes + self.allowed.nbytes + self.clearance.nbytes


def map_tissue(
    case: Case, scale: CaseScale, body: Body, prior: TissuePrior, within: str = AUTO
) -> HostTissue:
    """Where in a host, or a slab of it, lesions of a class may sit.

    Args:
        case: The host; voxels it labels are kept free, with a margin.
        scale: Map of the whole case to normalised units.
        body: The body in it.
        prior: Of the class.
        within: ``auto`` keeps to the organ that the bank's lesions live in, ``body`` to none; ``lung``, ``brain``, or a
            class of the label map that marks an organ and no lesion, keeps to that.

    Raises:
        ConfigError: If there is no such organ or class, or the image is not of the kind that shows the organ.
    """
    organ, tissue_id = _organ(case, body, prior, within)
    voxel_mm = min(case.volume.grid.spacing_mm[:2])
    reach = body.edge > max(_BODY_MARGIN, prior.margin_mm / voxel_mm)
    slices = reach.shape[2]
    where = body.span[0] + (np.arange(slices) + 0.5) / slices * (body.span[1] - body.span[0])
    reach[..., (where < prior.slices[0]) | (where > prior.slices[1])] = False
    if case.label_map is not None:
        _keep_free(reach, case.label_map.labels, body, tissue_id)
    allowed = reach.copy()
    for channel, low, high in zip(scale.normalise(body.image), prior.low, prior.high, strict=True):
        allowed &= (channel >= low) & (channel <= high)
    if organ is not None:
        allowed &= organ
    clearance = edge_distance(allowed) * body.factor[0]
    clearance[body.edge < prior.depth_mm / voxel_mm] = 0
    return HostTissue(case, scale, body, reach, allowed, clearance, prior, tissue_id)


def _organ(case: Case, body: Body, prior: TissuePrior, within: str) -> tuple[Coarse | None, int]:
    """The organ to keep to, None for anywhere; and the label that marks it, 0 where none does."""
    if within == BODY or (within == AUTO and not prior.in_organ):
        return None, 0
    nowhere = np.zeros(body.inside.shape, dtype=bool)
    names = () if case.label_map is None else case.label_map.class_names
    if case.label_map is not None and within in names:
        number = names.index(within) + 1
        organ = nowhere
        organ[body.cells(np.argwhere(case.label_map.labels == number))] = True
        return organ, number
    if within not in (AUTO, body.organ_name):
        raise ConfigError(
            f"{within} cannot be found in images in {body.unit}",
            where="tissue",
            expected=", ".join((AUTO, BODY, body.organ_name, *names)),
        )
    return (nowhere if body.organ is None else body.organ), 0


def _keep_free(reach: Coarse, labels: Labels, body: Body, tissue_id: int) -> None:
    """Take the host's lesions out of reach, with a margin in plane."""
    taken = np.argwhere((labels > 0) & (labels != tissue_id) if tissue_id else labels > 0)
    if not len(taken):
        return
    lesions = np.zeros(reach.shape, dtype=bool)
    lesions[body.cells(taken)] = True
    steps = -(-_LESION_MARGIN // body.factor[0])
    near = Box.around(lesions, (steps, steps, 0)).slices
    reach[near] &= ~_grown(lesions[near], steps)


def _grown(mask: Mask, steps: int) -> Mask:
    """A mask grown by a square in plane, so many voxels to each side."""
    for axis in range(2):
        grown = mask.copy()
        for step in range(1, steps + 1):
            ahead = (slice(None),) * axis + (slice(step, None),)
            behind = (slice(None),) * axis + (slice(None, -step),)
            grown[ahead] |= mask[behind]
            grown[behind] |= mask[ahead]
        mask = grown
    return mask


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Footprint:
    """Voxels of a lesion and of the rim around it, relative to the site; its in-plane radius, and how far it reaches."""

    lesion: Integer[np.ndarray, "n 3"]
    around: Integer[np.ndarray, "m 3"]
    radius: float
    low: Integer[np.ndarray, "3"]
    high: Integer[np.ndarray, "3"]

    @staticmethod
    def of(mask: Mask) -> _Footprint:
        box = Box.around(mask)
        window = np.pad(mask[box.slices], ((_RIM, _RIM), (_RIM, _RIM), (0, 0)))
        grown = _grown(window, _RIM)
        offset = np.array(box.start) - (_RIM, _RIM, 0) - np.array(mask.shape) // 2
        lesion, around = np.argwhere(window) + offset, np.argwhere(grown & ~window) + offset
        widest = int(window.sum(axis=(0, 1)).max())
        low, high = lesion.min(axis=0), lesion.max(axis=0)
        return _Footprint(_some(lesion), _some(around), float(np.sqrt(widest / np.pi)), low, high)


def _some(points: Integer[np.ndarray, "n 3"]) -> Integer[np.ndarray, "m 3"]:
    return points[:: -(-len(points) // _MOST_POINTS)] if len(points) else points


def require_room(tissue: HostTissue, diameter_mm: float | None) -> None:
    """A quick look before a shape is drawn for a host: is there any place, and enough of it?

    Raises:
        DataError: If no tissue suits the class, or too little for the section of such a lesion.
    """
    if not tissue.clearance.any():
        _refuse_host(tissue)
    if diameter_mm is None:
        return
    spacing = tissue.case.volume.grid.spacing_mm
    section = np.pi / 4.0 * diameter_mm**2 / (spacing[0] * spacing[1])
    cell = tissue.body.factor[0] * tissue.body.factor[1]
    if 0.6 * section > cell * int(tissue.allowed.sum(axis=(0, 1)).max()):
        raise DataError(
            f"a lesion of {diameter_mm:.1f} mm is larger than the tissue for class {tissue.prior.class_name}",
            where=tissue.case.case_id,
            hint="ask for a smaller diameter or another host",
        )


def _refuse_host(tissue: HostTissue) -> NoReturn:
    """Say why no place in the host suits the class."""
    name, body = tissue.prior.class_name, tissue.body
    why = f"no tissue of the kind that lesions of class {name} sit in"
    hint = "choose a host that shows the lesion's organ"
    if not tissue.reach.any():
        why = f"no place off other lesions and at the depth and height of class {name}"
        hint = "choose another host"
    elif tissue.prior.in_organ and not tissue.tissue_id and body.organ is None:
        why = f"no {body.organ_name} is to be seen, where lesions of class {name} sit"
    raise DataError(why, where=tissue.case.case_id, hint=hint)


def find_site(tissue: HostTissue, mask: Mask, rng: np.random.Generator) -> tuple[int, int, int]:
    """A random place for a lesion in healthy tissue, likely where the bank's lesions are.

    The lesion lies wholly in the body, off other lesions and off bone; 95% of its voxels and rim lie in tissue that suits
    the class, and the rim looks like the surroundings of real lesions. Where no such place turns up, the last two
    conditions are relaxed, down to 80%. At most 80 places are looked at.

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
    shape = np.array(tissue.case.volume.grid.shape)
    if (footprint.high - footprint.low >= shape).any():
        raise DataError(
            "the lesion is larger than the image",
            where=tissue.case.case_id,
            hint="ask for a smaller diameter or another host",
        )
    looked = 0
    for share, centre in _candidates(tissue, footprint, rng):
        looked += 1
        if _fits(tissue, footprint, centre, share) and _is_free(tissue, mask, centre):
            return _triple(centre)
    if looked == 0 and not tissue.clearance.any():
        _refuse_host(tissue)
    raise DataError(
        f"no healthy tissue has room for a lesion of {int(mask.sum())} voxels of class {tissue.prior.class_name}",
        where=tissue.case.case_id,
        hint="ask for a smaller diameter or another host",
    )


def find_like(
    tissue: HostTissue, mask: Mask, site: tuple[int, int, int], rng: np.random.Generator
) -> tuple[int, int, int]:
    """Of a few places for a lesion, the one whose tissue along the outline is most like that of another place.

    Args:
        tissue: Of the host.
        mask: (I, J, K) of the lesion's patch.
        site: The other place.
        rng: Randomness.

    Raises:
        DataError: If there is no place.
    """
    rim = _Footprint.of(mask).around
    here = _values(tissue, rim + np.array(site))
    best, least = site, np.inf
    for _ in range(_LIKE):
        other = find_site(tissue, mask, rng)
        distance = float(np.abs(_values(tissue, rim + np.array(other)) - here).mean())
        if other != site and distance < least:
            best, least = other, distance
    return best


def _candidates(
    tissue: HostTissue, footprint: _Footprint, rng: np.random.Generator
) -> Iterator[tuple[float, Integer[np.ndarray, "3"]]]:
    """Places to look at, with the share of tissue that is to suit there; from strict to lenient conditions."""
    body, shape = tissue.body, np.array(tissue.case.volume.grid.shape)
    factor = np.array(body.factor)
    voxel_mm = min(tissue.case.volume.grid.spacing_mm[:2])
    for share, clearance in _CONDITIONS:
        cells = np.flatnonzero(tissue.clearance >= max(1.0, clearance * footprint.radius))
        if not cells.size:
            continue
        chosen = np.stack(np.unravel_index(rng.choice(cells, _POOL), tissue.clearance.shape), axis=1)
        points = np.minimum(chosen * factor + rng.integers(factor, size=chosen.shape), shape - 1)
        # moved inside where the image is thin, so that few slices still take a lesion of as many
        points = np.clip(points, -footprint.low, shape - 1 - footprint.high)
        points = points[tissue.clearance[body.cells(points)] > 0]
        if not len(points):
            continue
        weights = tissue.prior.sites.weigh(
            body, points.astype(np.float64), body.edge[body.cells(points)] * voxel_mm
        )
        # the largest of noisy logarithms are a weighted draw without replacement (Gumbel)
        order = np.argsort(-np.log(weights + 1e-9) - rng.gumbel(size=len(points)))
        for n in order[:_TRIES]:
            yield share, points[n]


def _fits(tissue: HostTissue, footprint: _Footprint, centre: Integer[np.ndarray, "3"], share: float) -> bool:
    """Whether a lesion may sit there, when that share of it and its rim must lie in allowed tissue."""
    lesion = tissue.body.cells(footprint.lesion + centre)
    if not tissue.reach[lesion].all():
        return False
    around = footprint.around + centre
    around = around[((around >= 0) & (around < tissue.case.volume.grid.shape)).all(axis=1)]
    fine = int(tissue.allowed[lesion].sum()) + int(tissue.allowed[tissue.body.cells(around)].sum())
    if fine < share * (len(footprint.lesion) + len(around)):
        return False
    if _hits_bone(tissue, footprint.lesion + centre):
        return False
    if not len(around):
        return True
    medians = np.median(_values(tissue, around), axis=1)
    slack = 0.0 if share >= 0.9 else 0.25
    limits = zip(medians, tissue.prior.site_low, tissue.prior.site_high, strict=True)
    return all(low - slack * (high - low) <= m <= high + slack * (high - low) for m, low, high in limits)


def _hits_bone(tissue: HostTissue, points: Integer[np.ndarray, "n 3"]) -> bool:
    """Whether bone lies where the lesion is to be, unless lesions of the class have tissue as dense around them."""
    volume = tissue.case.volume
    if volume.unit is not Unit.HU:
        return False
    limit = max(_BONE_HU, tissue.scale.restore(np.array([tissue.prior.high], np.float32).T)[0, 0])
    return float((volume.image[0][tuple(points.T)] > limit).mean()) > _MOST_BONE


def _values(tissue: HostTissue, points: Integer[np.ndarray, "n 3"]) -> Float32[np.ndarray, "C n"]:
    """Normalised intensities of voxels of the host; the nearest inside for those outside."""
    inside = np.clip(points, 0, np.array(tissue.case.volume.grid.shape) - 1)
    return np.asarray(tissue.scale.normalise(tissue.case.volume.image[(slice(None), *inside.T)]))


def _is_free(tissue: HostTissue, mask: Mask, centre: Integer[np.ndarray, "3"]) -> bool:
    """Whether no voxel of the lesion is labelled as another one."""
    labels = tissue.case.label_map
    if labels is None:
        return True
    box = Box.centred(_triple(centre), _triple(mask.shape))
    part = box.clipped(labels.grid.shape)
    taken = labels.labels[part.slices]
    return not bool(((taken > 0) & (taken != tissue.tissue_id) & mask[part.index_in(box)]).any())


def _triple(values: np.ndarray | tuple[int, ...]) -> tuple[int, int, int]:
    return (int(values[0]), int(values[1]), int(values[2]))
