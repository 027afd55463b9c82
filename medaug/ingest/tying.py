"""Which image each annotation was drawn on, by the images and series it names, else by its frame of reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from medaug.core.geometry import Affine
from medaug.io.drawings import Drawing

_OFF_SLICE: Final = 0.05


@final
@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """An image that annotations may have been drawn on.

    Attributes:
        instance_uids: Of all its volumes.
        affine_lps: (column, row, slice) index to LPS+ mm; None where it is not known.
        slices: How many there are.
    """

    series_uid: str
    frame_of_reference_uid: str
    instance_uids: frozenset[str]
    affine_lps: Affine | None = None
    slices: int = 0

    def holds(self, positions_mm: Sequence[tuple[float, float, float]]) -> int:
        """How many of some positions lie on its slices."""
        if self.affine_lps is None or not positions_mm:
            return 0
        inverse = np.linalg.inv(self.affine_lps)
        along = np.array(positions_mm) @ inverse[2, :3] + inverse[2, 3]
        on_slice = np.abs(along - np.rint(along)) < _OFF_SLICE
        return int(np.count_nonzero(on_slice & (along > -0.5) & (along < self.slices - 0.5)))


@final
@dataclass(frozen=True, slots=True)
class Tied:
    """Annotations by image: ``of[n]`` are those of candidate n, and ``left`` those of none."""

    of: tuple[tuple[Drawing, ...], ...]
    left: tuple[Drawing, ...]


def tie(drawings: Sequence[Drawing], candidates: Sequence[Candidate]) -> Tied:
    """Tie each annotation to the image that holds most of the images it names.

    Volumes of one multi-frame file are told apart by where the frames of a segmentation lie. Regions of a structure set that name images of their own are tied one by one, so that a set drawn on two series is
    divided. What names no image goes to the only image of the series it names; what names no series, to the only image
    of its frame of reference.
    """
    of: list[list[Drawing]] = [[] for _ in candidates]
    left = []
    for drawing in drawings:
        homes: dict[int | None, set[int]] = {}
        for item in drawing.declared:
            homes.setdefault(_home(drawing, item.instance_uids, candidates), set()).add(item.number)
        for home, numbers in (homes or {_home(drawing, frozenset(), candidates): set()}).items():
            part = drawing.only(frozenset(numbers))
            if home is None:
                left.append(part)
            else:
                of[home].append(part)
    return Tied(tuple(tuple(drawn) for drawn in of), tuple(left))


def _home(drawing: Drawing, own_uids: frozenset[str], candidates: Sequence[Candidate]) -> int | None:
    for uids in (own_uids, drawing.instance_uids):
        shared = [len(uids & candidate.instance_uids) for candidate in candidates]
        if any(shared):
            # volumes of one multi-frame file share its UID: where frames lie tells them apart
            most = [n for n, count in enumerate(shared) if count == max(shared)]
            return max(most, key=lambda n: (candidates[n].holds(drawing.positions_mm), -n))
    of_series = [n for n, c in enumerate(candidates) if c.series_uid in drawing.series_uids]
    if drawing.series_uids:
        return of_series[0] if len(of_series) == 1 else None
    spaces = drawing.frame_of_reference_uids
    near = [n for n, c in enumerate(candidates) if c.frame_of_reference_uid in spaces]
    return near[0] if len(near) == 1 else None
