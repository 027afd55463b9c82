"""Which image each annotation was drawn on, by the images and series it names, else by its frame of reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from medaug.io.drawings import Drawing


@final
@dataclass(frozen=True, slots=True)
class Candidate:
    """An image that annotations may have been drawn on."""

    series_uid: str
    frame_of_reference_uid: str
    instance_uids: frozenset[str]


@final
@dataclass(frozen=True, slots=True)
class Tied:
    """Annotations by image: ``of[n]`` are those of candidate n, and ``left`` those of none."""

    of: tuple[tuple[Drawing, ...], ...]
    left: tuple[Drawing, ...]


def tie(drawings: Sequence[Drawing], candidates: Sequence[Candidate]) -> Tied:
    """Tie each annotation to the image that holds most of the images it names.

    Regions of a structure set that name images of their own are tied one by one, so that a set drawn on two series is
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
            return shared.index(max(shared))
    of_series = [n for n, c in enumerate(candidates) if c.series_uid in drawing.series_uids]
    if drawing.series_uids:
        return of_series[0] if len(of_series) == 1 else None
    spaces = drawing.frame_of_reference_uids
    near = [n for n, c in enumerate(candidates) if c.frame_of_reference_uid in spaces]
    return near[0] if len(near) == 1 else None
