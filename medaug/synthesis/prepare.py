"""Choosing donor, shape and place of a lesion; what the generator will see of it is cut out of the host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import final

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from medaug.core.case import Case
from medaug.core.errors import DataError
from medaug.core.geometry import NEIGHBOURS_4, NEIGHBOURS_26, Box
from medaug.core.lesion import LesionCrop, LesionEntry, LesionRequest
from medaug.core.volume import LabelMap, Mask, Unit, Volume
from medaug.lesions.bank import Bank
from medaug.lesions.blend import Feather
from medaug.lesions.diameter import mask_diameter_mm
from medaug.lesions.harmonise import match_level
from medaug.lesions.place import HostTissue, find_like, find_site, require_room
from medaug.lesions.shape import (
    DrawnShape,
    Outline,
    ShapeTarget,
    draw_shape,
    fit_texture,
)
from medaug.lesions.shape_source import ShapeSource
from medaug.synthesis.donors import Donors
from medaug.synthesis.order import HostView, Order, Prepared
from medaug.synthesis.site import Site, lesion_at, require_site

_SHAPES = 4  # shapes tried in a host, ever smaller ones, before it is given up
_THICK = 4.0  # in-plane voxels between slices whose spacing is unknown
_RING = (2, 5)  # voxels off the outline whose tissue is compared between donor and host
_MOST_OFFSET = 0.75  # normalised units


@final
@dataclass(frozen=True, slots=True)
class Frame:
    """What a lesion's patch is like.

    Attributes:
        feather_voxels: Width of the blend outside a lesion's outline, in-plane voxels; at 2 a detector still finds the seam.
        patch_voxels: Smallest in-plane size of the patch a generator sees.
    """

    feather_voxels: float = 4.0
    patch_voxels: int = 48


@final
class Preparer:
    """Prepares lesions of a bank for hosts."""

    def __init__(self, bank: Bank, donors: Donors, frame: Frame, shapes: ShapeSource) -> None:
        self._bank, self._donors, self._frame, self._shapes = bank, donors, frame, shapes
        self._door = Lock()  # lesions are prepared side by side; the bank's cache is for one at a time

    def place(self, host: HostView, order: Order, tissue: HostTissue, rng: np.random.Generator) -> Prepared:
        """A new lesion, or a null paste, in healthy tissue.

        Raises:
            UnreadableError: If the bank is damaged.
            DataError: If no place was found; the line names the constraint.
        """
        failure: DataError | None = None
        for attempt in range(_SHAPES):
            entry, wanted = self._pick(order, attempt, rng)
            crop, seed = self._crop(entry), int(rng.integers(2**62))
            try:
                require_room(tissue, wanted)
                outline = self._outline(host.case, crop, wanted, seed)
                site = self._site(order, tissue, outline.mask, rng)
            except DataError as error:
                failure = error
                continue
            if order.use == "null":
                return self._null(
                    host, order, outline.mask, (site, find_like(tissue, outline.mask, site, rng))
                )
            if order.room_mm is not None and order.diameter_mm is not None:
                outline = self._outline(host.case, crop, order.diameter_mm[0], seed)
            return self._request(host, order, entry, outline.fill(), site)
        raise failure or DataError("no lesion could be placed", where=host.case.case_id)

    def _crop(self, entry: LesionEntry) -> LesionCrop:
        with self._door:
            return self._bank.crop(entry.lesion_id)

    def _outline(self, host: Case, crop: LesionCrop, wanted_mm: float | None, seed: int) -> Outline:
        """The same seed gives the same shape in any size."""
        target = self._target(host, wanted_mm)
        with self._door:
            self._shapes.learn(crop.entry.class_name, target.slices)
        return self._shapes.outline(crop, target, np.random.default_rng(seed))

    def _site(self, order: Order, tissue: HostTissue, mask: Mask, rng: np.random.Generator) -> Site:
        if order.site_mm is not None:
            return require_site(tissue, mask, order.site_mm)
        return find_site(tissue, mask, rng)

    def swap(self, host: HostView, labels: LabelMap, order: Order, rng: np.random.Generator) -> Prepared:
        """A lesion of another class keeps its outline and gets the texture of the wanted class.

        Raises:
            DataError: If the host has no lesion of another class.
        """
        mask = self._replaced(host.case, labels, order, rng)
        found = Box.around(mask)
        middle = _triple(np.add(found.start, found.stop) // 2)
        extent = found.shape
        in_plane = max(self._frame.patch_voxels, 2 * max(extent[:2]))
        slices = max(extent[2], min(2 * extent[2], mask.shape[2]))
        box = Box.centred(middle, (in_plane, in_plane, slices))
        patch = LabelMap(mask.astype(np.uint8), labels.grid, labels.class_names).crop(box).labels > 0
        diameter = mask_diameter_mm(mask, host.case.volume.grid.spacing_mm)
        entry, _ = self._pick(replace(order, diameter_mm=(diameter, diameter)), 0, rng)
        target = replace(self._target(host.case, diameter), patch_voxels=in_plane)
        drawn = draw_shape(self._crop(entry), target, rng)
        shape = DrawnShape(patch, fit_texture(drawn, patch), diameter)
        return self._request(host, order, entry, shape, middle)

    def _replaced(self, host: Case, labels: LabelMap, order: Order, rng: np.random.Generator) -> Mask:
        if order.site_mm is not None:
            return lesion_at(labels, host, order.site_mm, order.class_name)
        return _lesion_of_other_class(labels, order.class_name, host.case_id, rng)

    def _pick(self, order: Order, attempt: int, rng: np.random.Generator) -> tuple[LesionEntry, float | None]:
        """A donor, and the diameter wanted of it where the order has a range; smaller with every attempt."""
        if order.room_mm is not None:
            return self._donors.nearest(order.class_name, order.room_mm, rng), order.room_mm
        if order.diameter_mm is None:
            return self._donors.of_any_size(order.class_name, attempt, rng), None
        wanted = self._donors.wanted_mm(order.class_name, order.diameter_mm, attempt, rng)
        return self._donors.nearest(order.class_name, wanted, rng), wanted

    def _target(self, host: Case, diameter_mm: float | None) -> ShapeTarget:
        grid, known = host.volume.grid, host.volume.spacing_known
        return ShapeTarget(grid.spacing_mm, known, grid.shape[2], diameter_mm, self._frame.patch_voxels)

    def _request(
        self, host: HostView, order: Order, entry: LesionEntry, shape: DrawnShape, site: Site
    ) -> Prepared:
        box = Box.centred(site, _triple(shape.mask.shape))
        request = LesionRequest(
            class_name=order.class_name,
            mask=shape.mask,
            host=box.cut(host.case.volume.image),
            texture=host.scale.restore(shape.texture + _offset(host, entry, shape.mask, box)),
            scale=host.scale,
            spacing_mm=host.case.volume.grid.spacing_mm,
            box=box,
            donor_patient_ids=(entry.patient_id,),
        )
        return Prepared(host.case, request, self._edge(host.case.volume, order), order)

    def _null(self, host: HostView, order: Order, mask: Mask, sites: tuple[Site, Site]) -> Prepared:
        """Healthy tissue of the second site for the first."""
        box, other = (Box.centred(site, _triple(mask.shape)) for site in sites)
        volume = host.case.volume
        request = LesionRequest(
            class_name=order.class_name,
            mask=mask,
            host=box.cut(volume.image),
            texture=match_level(box.cut(volume.image), other.cut(volume.image), mask),
            scale=host.scale,
            spacing_mm=volume.grid.spacing_mm,
            box=box,
            donor_patient_ids=(host.case.patient_id,),
        )
        return Prepared(host.case, request, self._edge(volume, order), order)

    def _edge(self, volume: Volume, order: Order) -> Feather:
        """A swapped lesion covers the rim of the one it replaces, which is not labelled and would show."""
        through_plane = _through_plane(volume)
        width = self._frame.feather_voxels
        if order.use == "swap":
            return Feather(0.5, 0.5 + max(width, 2.0), through_plane)
        return Feather(-0.5, width, through_plane)  # every labelled voxel is wholly lesion


def _offset(host: HostView, entry: LesionEntry, mask: Mask, box: Box) -> Float[np.ndarray, "C 1 1 1"]:
    """What the host's tissue here has more than the donor's; 0 in HU, which mean the same everywhere."""
    if host.case.volume.unit is Unit.HU:
        return np.zeros((len(host.scale.offset), 1, 1, 1), dtype=np.float32)
    rim = ndimage.binary_dilation(mask, NEIGHBOURS_4, iterations=_RING[1]) & ~ndimage.binary_dilation(
        mask, NEIGHBOURS_4, iterations=_RING[0]
    )
    labels = host.case.label_map
    if labels is not None:
        rim &= ~(labels.crop(box).labels > 0)
    if not rim.any():
        rim = ~mask
    around = np.median(host.scale.normalise(box.cut(host.case.volume.image)[:, rim]), axis=1)
    offset = np.clip(around - np.array(entry.ring_median), -_MOST_OFFSET, _MOST_OFFSET)
    return np.asarray(offset, dtype=np.float32).reshape(-1, 1, 1, 1)


def _triple(values: Sequence[int] | np.ndarray) -> tuple[int, int, int]:
    return (int(values[0]), int(values[1]), int(values[2]))


def _through_plane(volume: Volume) -> float:
    """Distance of two slices in in-plane voxels."""
    spacing = volume.grid.spacing_mm
    return spacing[2] / min(spacing[:2]) if volume.spacing_known else _THICK


def _lesion_of_other_class(labels: LabelMap, class_name: str, case_id: str, rng: np.random.Generator) -> Mask:
    """A random lesion of the host that is not of the class already."""
    wanted = labels.class_names.index(class_name) + 1
    others = (labels.labels > 0) & (labels.labels != wanted)
    components, count = ndimage.label(others, NEIGHBOURS_26)
    if count == 0:
        raise DataError(
            f"host has no lesion of another class to turn into {class_name}",
            where=case_id,
            hint="choose another host",
        )
    return np.asarray(components == 1 + int(rng.integers(count)))
