"""A place that a person chose: the lesion goes exactly there, or the reason why it cannot is named."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from medaug.core.case import Case
from medaug.core.errors import DataError
from medaug.core.geometry import NEIGHBOURS_26
from medaug.core.volume import LabelMap, Mask
from medaug.lesions.place import HostTissue

_LEAST_SHARE = 0.8  # of the lesion in tissue that suits its class, as where a place is searched for

Site = tuple[int, int, int]
Point = tuple[float, float, float]


def voxel_at(case: Case, site_mm: Point) -> Site:
    """The voxel of a place.

    Raises:
        DataError: If the place lies outside the image.
    """
    index = np.rint(case.volume.grid.to_index(site_mm)).astype(int)
    if (index < 0).any() or (index >= np.array(case.volume.grid.shape)).any():
        raise DataError(f"site {_said(site_mm)} lies outside the image", where=case.case_id)
    return (int(index[0]), int(index[1]), int(index[2]))


def require_site(tissue: HostTissue, mask: Mask, site_mm: Point) -> Site:
    """Where the patch's middle voxel falls, so that the lesion's centre lies on the place.

    Raises:
        DataError: If the lesion does not fit there; the line names the constraint.
    """
    case = tissue.case
    lesion = np.argwhere(mask)
    middle = np.array(mask.shape) // 2
    start = np.array(voxel_at(case, site_mm)) - np.rint(lesion.mean(axis=0) - middle).astype(int)
    where = lesion - middle + start
    said = f"a lesion of {len(lesion)} voxels at {_said(site_mm)}"
    if (where < 0).any() or (where >= np.array(case.volume.grid.shape)).any():
        raise DataError(f"{said} leaves the image", where=case.case_id)
    voxels = tuple(where.T)
    labels = case.label_map
    if labels is not None and not np.isin(labels.labels[voxels], (0, tissue.tissue_id)).all():
        raise DataError(f"{said} covers another lesion", where=case.case_id)
    cells = tissue.body.cells(where)
    if not tissue.reach[cells].all():
        raise DataError(
            f"{said} comes too near to another lesion or to the edge of the body", where=case.case_id
        )
    share = float(tissue.allowed[cells].mean())
    if share < _LEAST_SHARE:
        raise DataError(
            f"{said} has {share:.0%} of itself in tissue that suits its class",
            where=case.case_id,
            expected=f"{_LEAST_SHARE:.0%}",
        )
    return (int(start[0]), int(start[1]), int(start[2]))


def lesion_at(labels: LabelMap, case: Case, site_mm: Point, class_name: str) -> Mask:
    """The lesion of another class that covers a place.

    Raises:
        DataError: If there is none.
    """
    site = voxel_at(case, site_mm)
    found = int(labels.labels[site])
    if found in (0, labels.class_names.index(class_name) + 1):
        raise DataError(f"no lesion of another class at {_said(site_mm)}", where=case.case_id)
    parts, _ = ndimage.label(labels.labels == found, NEIGHBOURS_26)
    return np.asarray(parts == parts[site])


def _said(site_mm: Point) -> str:
    return "({:.1f}, {:.1f}, {:.1f}) mm".format(*site_mm)
