"""Drawing lesions into hosts: donor, shape and place per lesion, one generator call for many, then the blend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, final

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from medaug.core.case import Case, Origin
from medaug.core.errors import ConfigError, DataError, LabelError, SplitLeakageError
from medaug.core.geometry import Box
from medaug.core.intensity import CaseScale
from medaug.core.lesion import Blending, Generator, Lesion, LesionEntry, LesionRequest
from medaug.core.volume import Image, LabelMap, Mask, Unit, Volume
from medaug.lesions.bank import Bank
from medaug.lesions.blend import Feather, blend
from medaug.lesions.harmonise import match_noise
from medaug.lesions.place import Body, HostTissue, TissuePrior, find_site, map_tissue, require_room
from medaug.lesions.shape import (
    DrawnShape,
    ShapeTarget,
    draw_outline,
    draw_shape,
    fit_texture,
    mask_diameter_mm,
)

_SHAPES = 4  # shapes tried in a host, ever smaller ones, before it is given up
_NEAREST = 5  # donors to choose from for a wanted diameter
_THICK = 4.0  # in-plane voxels between slices whose spacing is unknown
_CONNECTED = np.ones((3, 3, 3), dtype=bool)
_DISC = ndimage.generate_binary_structure(3, 1) & np.array([False, True, False])
_RING = (2, 5)  # voxels off the outline whose tissue is compared between donor and host
_MOST_OFFSET = 0.75  # normalised units

Use = Literal["new", "in place", "null"]


@final
@dataclass(frozen=True, slots=True)
class Order:
    """One lesion that is wanted.

    Attributes:
        class_name: Its class.
        diameter_mm: Allowed range; None = as in the bank.
        in_place: Render a lesion of another class that the host has as this class, instead of a new one.
        null: Paste healthy tissue of the host where the lesion would go, blended like one and labelled as what it is, so
            that a seam tells nothing.
    """

    class_name: str
    diameter_mm: tuple[float, float] | None = None
    in_place: bool = False
    null: bool = False


@final
@dataclass(frozen=True, slots=True, eq=False)
class HostView:
    """A host, or a slab of it, with what was computed on the whole case.

    Attributes:
        case: The host's voxels and labels.
        scale: Map of the whole case to normalised units.
        body: The body in the host.
    """

    case: Case
    scale: CaseScale
    body: Body


@final
@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A lesion with its place, not yet drawn; of a null paste, the texture is the healthy tissue."""

    host: Case
    request: LesionRequest
    edge: Feather
    use: Use = "new"


@final
@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """A host with one new lesion.

    Attributes:
        case: The whole host grid; ``origin`` is synthetic.
        edit_mask: (I, J, K) voxels that may differ from the host; all others are bit-identical.
        site_mm: Centre of the lesion, RAS+.
        diameter_mm: Of the ball of the lesion's volume (of the disc of its area in a host of one slice).
        donor_patient_ids: Whose mask and texture were used.
        class_name: Class of the lesion.
    """

    case: Case
    edit_mask: Mask
    site_mm: tuple[float, float, float]
    diameter_mm: float
    donor_patient_ids: tuple[str, ...]
    class_name: str


@final
@dataclass(frozen=True, slots=True)
class Finish:
    """How lesions are put into their hosts.

    Attributes:
        blending: ``poisson`` blends every lesion so; ``feather`` leaves it to the generator.
        match_noise: Add the noise that the host has more than the drawn patch.
    """

    blending: Blending = "feather"
    match_noise: bool = False


@final
class Renderer:
    """Draws lesions of a bank into hosts with one generator.

    Args:
        bank: Donors, and what is known of their surroundings.
        generator: Draws the lesions.
        feather_voxels: Width of the blend outside a lesion's outline, in-plane voxels.
        patch_voxels: Smallest in-plane size of the patch a generator sees.
        finish: How lesions are put into their hosts.
    """

    def __init__(
        self,
        bank: Bank,
        generator: Generator,
        *,
        feather_voxels: float = 2.0,
        patch_voxels: int = 48,
        finish: Finish | None = None,
    ) -> None:
        self._bank, self._generator, self._finish = bank, generator, finish or Finish()
        self._feather, self._patch = feather_voxels, patch_voxels
        self._training = frozenset(bank.index.training_patients)
        self._donors = {name: _by_size(bank, name) for name in bank.classes}
        self._priors = {name: TissuePrior.learn(found) for name, found in self._donors.items() if found}

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes that can be drawn: those with a lesion in the bank."""
        return tuple(self._priors)

    @property
    def bank(self) -> Bank:
        """The bank it draws from."""
        return self._bank

    @property
    def generator(self) -> Generator:
        """The generator it draws with."""
        return self._generator

    def require_class(self, class_name: str) -> None:
        """Raise DataError if the bank has no lesion of the class, ConfigError if the class is unknown."""
        if class_name not in self._donors:
            raise ConfigError(f"no class is called {class_name!r}", expected=", ".join(self._bank.classes))
        if class_name not in self._priors:
            raise DataError(
                f"the bank holds no lesion of class {class_name}",
                hint="its patients may be held out: choose another --fold, or split into more folds",
            )

    def scale(self, case: Case) -> CaseScale:
        """The host's map to normalised units; on the whole case, never on a slab.

        Raises:
            DataError: If the host has another unit or other channels than the bank.
        """
        scheme = self._bank.index.scheme
        if (case.volume.unit, case.volume.channels) != (scheme.unit, scheme.channels):
            raise DataError(
                f"host holds {', '.join(case.volume.channels)} in {case.volume.unit}",
                where=case.case_id,
                expected=f"{', '.join(scheme.channels)} in {scheme.unit}, as the bank",
            )
        return scheme.case_scale(case.volume)

    def view(self, case: Case) -> HostView:
        """A whole host with its map and its body.

        Raises:
            DataError: If the host has another unit or other channels than the bank.
        """
        return HostView(case, self.scale(case), Body.of(case.volume))

    def tissue(self, host: HostView, class_name: str) -> HostTissue:
        """Where lesions of a class may sit in a host; worth keeping for the next lesion."""
        self.require_class(class_name)
        return map_tissue(host.case, host.scale, host.body, self._priors[class_name])

    def prepare(
        self, host: HostView, order: Order, rng: np.random.Generator, tissue: HostTissue | None = None
    ) -> Prepared:
        """Choose donor, shape and place of one lesion.

        Args:
            host: Where it goes.
            order: What is wanted.
            rng: Randomness.
            tissue: Of the host and class, where it is at hand.

        Raises:
            SplitLeakageError: If the host is no real case of a training patient of the bank.
            LabelError: If the host has no label map; a lesion might hide in it.
            UnreadableError: If the bank is damaged.
            DataError: If no place was found; the line names the constraint.
        """
        self.require_class(order.class_name)
        labels = self._checked(host.case)
        if order.in_place:
            return self._prepare_swap(host, labels, order, rng)
        tissue = tissue or self.tissue(host, order.class_name)
        failure: DataError | None = None
        for attempt in range(_SHAPES):
            entry, wanted = self._pick(order, attempt, rng)
            crop = self._bank.crop(entry.lesion_id)  # a damaged bank is no lack of room
            try:
                require_room(tissue, wanted)
                outline = draw_outline(crop, self._target(host.case, wanted), rng)
                site = find_site(tissue, outline.mask, rng)
            except DataError as error:
                failure = error
                continue
            if order.null:
                return self._null(host, order, outline.mask, (site, find_site(tissue, outline.mask, rng)))
            return self._request(host, order, entry, outline.fill(), site)
        raise failure or DataError("no lesion could be placed", where=host.case.case_id)

    def complete(self, prepared: Sequence[Prepared], rngs: Sequence[np.random.Generator]) -> list[Rendered]:
        """Draw the prepared lesions in one generator call and blend them into their hosts."""
        asked = [(p.request, rng) for p, rng in zip(prepared, rngs, strict=True) if p.use != "null"]
        lesions = iter(self._generator.generate([request for request, _ in asked], [rng for _, rng in asked]))
        return [self._insert(p, _healthy(p.request) if p.use == "null" else next(lesions)) for p in prepared]

    def render(
        self, hosts: Sequence[Case], orders: Sequence[Order], rngs: Sequence[np.random.Generator]
    ) -> list[Rendered]:
        """Draw one lesion into each of these whole hosts; each result depends on host, order and ``rng`` alone.

        Raises:
            DataError: If a lesion cannot be placed.
        """
        prepared = [
            self.prepare(self.view(case), order, rng)
            for case, order, rng in zip(hosts, orders, rngs, strict=True)
        ]
        return self.complete(prepared, rngs)

    def _checked(self, case: Case) -> LabelMap:
        if case.patient_id not in self._training or case.origin is not Origin.REAL:
            raise SplitLeakageError(
                "host is no real case of a training patient of the bank",
                where=case.case_id,
                hint="draw into training patients of the bank's fold",
            )
        if case.label_map is None:
            raise LabelError(
                "host has no label map", where=case.case_id, hint="mark it lesion_free if it holds none"
            )
        if case.label_map.class_names != self._bank.classes:
            raise LabelError("host has another class table than the bank", where=case.case_id)
        return case.label_map

    def _pick(self, order: Order, attempt: int, rng: np.random.Generator) -> tuple[LesionEntry, float | None]:
        """A donor, and the diameter wanted of it where the order has a range; smaller with every attempt."""
        pool = self._donors[order.class_name]
        pool = pool[: max(1, round(len(pool) * 0.6**attempt))]
        if order.diameter_mm is None:
            return pool[int(rng.integers(len(pool)))], None
        low, high = order.diameter_mm
        pool = self._donors[order.class_name]
        typical = [entry.diameter_mm for entry in pool if low <= entry.diameter_mm <= high]
        wanted = float(rng.choice(typical)) * rng.uniform(0.9, 1.1) if typical else rng.uniform(low, high)
        wanted = float(np.clip(wanted * 0.85**attempt, low, high))
        nearest = sorted(pool, key=lambda entry: abs(entry.diameter_mm - wanted))[:_NEAREST]
        return nearest[int(rng.integers(len(nearest)))], wanted

    def _target(self, host: Case, diameter_mm: float | None) -> ShapeTarget:
        volume = host.volume
        return ShapeTarget(
            volume.grid.spacing_mm, volume.spacing_known, volume.grid.shape[2], diameter_mm, self._patch
        )

    def _request(
        self, host: HostView, order: Order, entry: LesionEntry, shape: DrawnShape, site: tuple[int, int, int]
    ) -> Prepared:
        box = Box.centred(site, _triple(shape.mask.shape))
        request = LesionRequest(
            class_name=order.class_name,
            mask=shape.mask,
            host=box.cut(host.case.volume.image),
            texture=host.scale.restore(shape.texture + self._offset(host, entry, shape.mask, box)),
            scale=host.scale,
            spacing_mm=host.case.volume.grid.spacing_mm,
            box=box,
            donor_patient_ids=(entry.patient_id,),
        )
        edge = self._edge(host.case.volume, in_place=order.in_place)
        return Prepared(host.case, request, edge, "in place" if order.in_place else "new")

    def _null(
        self,
        host: HostView,
        order: Order,
        mask: Mask,
        sites: tuple[tuple[int, int, int], tuple[int, int, int]],
    ) -> Prepared:
        """Healthy tissue of the second site for the first."""
        box, other = (Box.centred(site, _triple(mask.shape)) for site in sites)
        volume = host.case.volume
        request = LesionRequest(
            class_name=order.class_name,
            mask=mask,
            host=box.cut(volume.image),
            texture=other.cut(volume.image),
            scale=host.scale,
            spacing_mm=volume.grid.spacing_mm,
            box=box,
            donor_patient_ids=(host.case.patient_id,),
        )
        return Prepared(host.case, request, self._edge(volume, in_place=False), "null")

    def _offset(
        self, host: HostView, entry: LesionEntry, mask: Mask, box: Box
    ) -> Float[np.ndarray, "C 1 1 1"]:
        """What the host's tissue here has more than the donor's; 0 in HU, which mean the same everywhere."""
        if host.case.volume.unit is Unit.HU:
            return np.zeros((len(host.scale.offset), 1, 1, 1), dtype=np.float32)
        rim = ndimage.binary_dilation(mask, _DISC, iterations=_RING[1]) & ~ndimage.binary_dilation(
            mask, _DISC, iterations=_RING[0]
        )
        labels = host.case.label_map
        if labels is not None:
            rim &= ~(labels.crop(box).labels > 0)
        if not rim.any():
            rim = ~mask
        around = np.median(host.scale.normalise(box.cut(host.case.volume.image)[:, rim]), axis=1)
        offset = np.clip(around - np.array(entry.ring_median), -_MOST_OFFSET, _MOST_OFFSET)
        return np.asarray(offset, dtype=np.float32).reshape(-1, 1, 1, 1)

    def _edge(self, volume: Volume, *, in_place: bool) -> Feather:
        """A swapped lesion covers the rim of the one it replaces, which is not labelled and would show."""
        through_plane = _through_plane(volume)
        if in_place:
            return Feather(0.5, 0.5 + max(self._feather, 2.0), through_plane)
        return Feather(-1.0, self._feather, through_plane)

    def _prepare_swap(
        self, host: HostView, labels: LabelMap, order: Order, rng: np.random.Generator
    ) -> Prepared:
        """A lesion of another class keeps its outline and gets the texture of the wanted class."""
        mask = _lesion_of_other_class(labels, order.class_name, host.case.case_id, rng)
        found = Box.around(mask)
        middle = _triple(np.add(found.start, found.stop) // 2)
        extent = found.shape
        in_plane = max(self._patch, 2 * max(extent[:2]))
        slices = max(extent[2], min(2 * extent[2], mask.shape[2]))
        box = Box.centred(middle, (in_plane, in_plane, slices))
        patch = LabelMap(mask.astype(np.uint8), labels.grid, labels.class_names).crop(box).labels > 0
        diameter = mask_diameter_mm(mask, host.case.volume.grid.spacing_mm)
        entry, _ = self._pick(replace(order, diameter_mm=(diameter, diameter)), 0, rng)
        target = replace(self._target(host.case, diameter), patch_voxels=in_plane)
        drawn = draw_shape(self._bank.crop(entry.lesion_id), target, rng)
        shape = DrawnShape(patch, fit_texture(drawn, patch), diameter)
        return self._request(host, order, entry, shape, middle)

    def _insert(self, prepared: Prepared, lesion: Lesion) -> Rendered:
        """Blend a lesion into its host's grid and label it."""
        host, box = prepared.host, prepared.request.box
        labels = host.label_map
        if labels is None:
            raise LabelError("host has no label map", where=host.case_id)
        replaced = prepared.request.mask if prepared.use == "in place" else None
        drawn = _within_range(lesion.image, prepared.request.scale)
        if self._finish.match_noise:
            drawn = match_noise(prepared.request.host, drawn, lesion.mask)
        whole = lesion.mask if replaced is None or lesion.region is None else replaced
        how = "poisson" if self._finish.blending == "poisson" else lesion.blending
        region = _blended_region(lesion, labels.crop(box).labels > 0, replaced)
        patch, edited = blend(prepared.request.host, drawn, region, prepared.edge, how)
        patch = _like_host(patch, prepared.request.host)
        inner, outer = _overlap(box, host.volume.grid.shape)
        image, new_labels = host.volume.image.copy(), labels.labels.copy()
        edit_mask = np.zeros(host.volume.grid.shape, dtype=bool)
        image[(slice(None), *outer)] = patch[(slice(None), *inner)]
        edit_mask[outer] = edited[inner]
        if replaced is not None:
            new_labels[outer][replaced[inner]] = 0
        if prepared.use != "null":
            new_labels[outer][whole[inner]] = labels.class_names.index(lesion.class_name) + 1
        volume = Volume(
            image, host.volume.grid, host.volume.unit, host.volume.channels, host.volume.spacing_known
        )
        middle = host.volume.grid.to_mm(np.argwhere(whole).mean(axis=0) + np.array(box.start))
        centre = (float(middle[0]), float(middle[1]), float(middle[2]))
        case = Case(
            host.case_id,
            host.patient_id,
            volume,
            LabelMap(new_labels, labels.grid, labels.class_names),
            Origin.SYNTHETIC,
            prepared.request.scale,  # of the whole host, where this is one slice of it
            host.volume.grid.nearest_voxel(centre),
        )
        return Rendered(
            case,
            edit_mask,
            centre,
            _diameter_mm(whole, host.volume),
            prepared.request.donor_patient_ids,
            lesion.class_name,
        )


def _by_size(bank: Bank, class_name: str) -> tuple[LesionEntry, ...]:
    return tuple(sorted(bank.entries(class_name), key=lambda entry: (entry.diameter_mm, entry.lesion_id)))


def _triple(values: Sequence[int] | np.ndarray) -> tuple[int, int, int]:
    return (int(values[0]), int(values[1]), int(values[2]))


def _diameter_mm(mask: Mask, volume: Volume) -> float:
    flat = volume.grid.shape[2] == 1
    thick = mask if flat or mask.shape[2] > 1 else np.pad(mask, ((0, 0), (0, 0), (0, 1)))
    return mask_diameter_mm(thick, volume.grid.spacing_mm)


def _through_plane(volume: Volume) -> float:
    """Distance of two slices in in-plane voxels."""
    spacing = volume.grid.spacing_mm
    return spacing[2] / min(spacing[:2]) if volume.spacing_known else _THICK


def _within_range(drawn: Image, scale: CaseScale) -> Image:
    """The drawn patch clipped to what the host's map lets through."""
    tail = (-1, 1, 1, 1)
    low, high = (np.asarray(v, np.float32).reshape(tail) for v in (scale.low, scale.high))
    return np.asarray(np.clip(drawn, low, high))


def _healthy(request: LesionRequest) -> Lesion:
    """A null paste: the tissue that the request brings."""
    return Lesion(request.texture, request.mask, request.class_name)


def _blended_region(lesion: Lesion, labelled: Mask, replaced: Mask | None) -> Mask:
    """Where a lesion's image goes: over all that it replaces, and over no other lesion of the host."""
    region = lesion.mask if lesion.region is None else (lesion.region & ~labelled) | lesion.mask
    return np.asarray(region if replaced is None else region | replaced)


def _like_host(patch: Image, host: Image) -> Image:
    """The blended patch on whole numbers where the host is, so that fractions do not give the lesion away."""
    return np.rint(patch) if np.array_equal(host, np.rint(host)) else patch


def _overlap(
    box: Box, shape: tuple[int, int, int]
) -> tuple[tuple[slice, slice, slice], tuple[slice, slice, slice]]:
    """Index of the box's part inside the image: within the box, and within the image."""
    part = box.clipped(shape)
    inner = [slice(a - s, b - s) for a, b, s in zip(part.start, part.stop, box.start, strict=True)]
    return (inner[0], inner[1], inner[2]), part.slices


def _lesion_of_other_class(labels: LabelMap, class_name: str, case_id: str, rng: np.random.Generator) -> Mask:
    """A random lesion of the host that is not of the class already."""
    wanted = labels.class_names.index(class_name) + 1
    others = (labels.labels > 0) & (labels.labels != wanted)
    components, count = ndimage.label(others, _CONNECTED)
    if count == 0:
        raise DataError(
            f"host has no lesion of another class to turn into {class_name}",
            where=case_id,
            hint="choose another host",
        )
    return np.asarray(components == 1 + int(rng.integers(count)))
