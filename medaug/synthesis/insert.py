"""Putting a drawn lesion into its host's grid: blended, labelled, and untouched elsewhere."""

from __future__ import annotations

import numpy as np

from medaug.core.case import Case, Origin
from medaug.core.errors import LabelError
from medaug.core.geometry import Box
from medaug.core.lesion import Lesion
from medaug.core.volume import Image, LabelMap, Mask, Volume
from medaug.lesions.blend import Feather, blend
from medaug.lesions.diameter import mask_diameter_mm
from medaug.lesions.harmonise import match_noise
from medaug.synthesis.order import Finish, Prepared, Rendered
from medaug.synthesis.retouch import change_contrast, change_sharpness


def insert(prepared: Prepared, lesion: Lesion, finish: Finish) -> Rendered:
    """Blend a lesion into its host and label it.

    Raises:
        LabelError: If the host has no label map.
    """
    host, box = prepared.host, prepared.request.box
    labels = host.label_map
    if labels is None:
        raise LabelError("host has no label map", where=host.case_id)
    replaced = prepared.request.mask if prepared.order.use == "swap" else None
    lesion, edge = _retouched(prepared, lesion)
    whole = lesion.mask if replaced is None or lesion.region is None else replaced
    how = "poisson" if finish.blending == "poisson" else lesion.blending
    region = _blended_region(lesion, labels.crop(box).labels > 0, replaced)
    drawn = _drawn(prepared, lesion, finish)
    patch, edited = blend(prepared.request.host, drawn, region, edge, how, keep_grain=True)
    patch = _like_host(patch, prepared.request.host)
    part = box.clipped(host.volume.grid.shape)
    inner, outer = part.index_in(box), part.slices
    image, new_labels = host.volume.image.copy(), labels.labels.copy()
    edit_mask = np.zeros(host.volume.grid.shape, dtype=bool)
    image[(slice(None), *outer)] = patch[(slice(None), *inner)]
    edit_mask[outer] = edited[inner]
    if replaced is not None:
        new_labels[outer][replaced[inner]] = 0
    if prepared.order.use != "null":
        new_labels[outer][whole[inner]] = labels.class_names.index(lesion.class_name) + 1
    centre = _centre_mm(whole, box, host.volume)
    case = Case(
        host.case_id,
        host.patient_id,
        _with_image(host.volume, image),
        LabelMap(new_labels, labels.grid, labels.class_names),
        Origin.SYNTHETIC,
        prepared.request.scale,  # of the whole host, where this is one slice of it
        host.volume.grid.nearest_voxel(centre),
    )
    diameter = mask_diameter_mm(whole, host.volume.grid.spacing_mm, flat=host.volume.grid.shape[2] == 1)
    donors = prepared.request.donor_patient_ids
    return Rendered(case, edit_mask, centre, diameter, donors, lesion.class_name, how)


def _retouched(prepared: Prepared, lesion: Lesion) -> tuple[Lesion, Feather]:
    """The lesion with the contrast and sharpness that were ordered; a null paste has neither."""
    order, host, edge = prepared.order, prepared.request.host, prepared.edge
    if order.use == "null":
        return lesion, edge
    in_place = order.use == "swap"
    if order.contrast is not None:
        lesion = change_contrast(host, lesion, order.contrast, in_place=in_place)
    if order.sharpness is not None:
        lesion, edge = change_sharpness(host, lesion, edge, order.sharpness, in_place=in_place)
    return lesion, edge


def _with_image(volume: Volume, image: Image) -> Volume:
    return Volume(image, volume.grid, volume.unit, volume.channels, volume.spacing_known)


def _centre_mm(mask: Mask, box: Box, volume: Volume) -> tuple[float, float, float]:
    middle = volume.grid.to_mm(np.argwhere(mask).mean(axis=0) + np.array(box.start))
    return (float(middle[0]), float(middle[1]), float(middle[2]))


def _drawn(prepared: Prepared, lesion: Lesion, finish: Finish) -> Image:
    """The drawn patch, clipped to the range of the host's intensity map; with the host's noise where ``finish`` asks for it."""
    scale, tail = prepared.request.scale, (-1, 1, 1, 1)
    low, high = (np.asarray(v, np.float32).reshape(tail) for v in (scale.low, scale.high))
    drawn = np.asarray(np.clip(lesion.image, low, high))
    return match_noise(prepared.request.host, drawn, lesion.mask) if finish.match_noise else drawn


def _blended_region(lesion: Lesion, labelled: Mask, replaced: Mask | None) -> Mask:
    """Where a lesion's image goes: over all that it replaces, and over no other lesion of the host."""
    region = lesion.mask if lesion.region is None else (lesion.region & ~labelled) | lesion.mask
    return np.asarray(region if replaced is None else region | replaced)


def _like_host(patch: Image, host: Image) -> Image:
    """The blended patch on whole numbers where the host is, so that fractions do not give the lesion away."""
    return np.rint(patch) if np.array_equal(host, np.rint(host)) else patch
