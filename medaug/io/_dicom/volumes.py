"""Several volumes under one series, told apart by what their headers say: echoes, b-values, time points, phases.

File names never matter. InstanceNumber is looked at where nothing else in any header tells volumes apart, and only if it
counts the same slices in the same order again and again; it never places a slice.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, pairwise, product
from typing import Final, final

import numpy as np

from medaug.io._dicom.frame import Frame

Key = tuple[str, ...]

_LAST_RESORT = "instance"
# Times that pass while a volume is acquired: only their order at each place tells volumes apart
_CLOCKS: Final = ("trigger_ms", "reference_ms", "acquired_at", "acquisition_time", "content_time")
# Phases of a gated scan may be acquired slice by slice, so that volumes overlap in time
_MAY_OVERLAP: Final = frozenset({"trigger_ms"})
_MOST_TRAITS = 3
_TOGETHER: Final = frozenset({"echo_ms", "echo", "b", "direction", "inversion_ms", "flip", "time", "phase"})
# Free text may name a person: such volumes are numbered
_SHOWN: Final = {
    "echo_ms": "echo_{}ms",
    "echo": "echo_{}",
    "b": "b{}",
    "inversion_ms": "ti_{}ms",
    "flip": "flip_{}",
    "time": "time_{}",
    "reference_ms": "time_{}ms",
    "phase": "phase_{}",
    "kvp": "kvp_{}",
    "repetition_ms": "tr_{}ms",
    "acquisition": "acquisition_{}",
    "trigger_ms": "trigger_{}ms",
}
_NUMBERED: Final = {"acquired_at": "time", "acquisition_time": "time", "content_time": "time"}
# Traits of volumes that only the order of their clocks tells apart
_RANKED: Final = {clock: "phase_number" if clock == "trigger_ms" else "time_number" for clock in _CLOCKS}


@final
@dataclass(frozen=True, slots=True)
class Part:
    """Frames that belong together, and what tells them from the others.

    Attributes:
        name: A word that may be shown.
        frames: In the order of their places.
        is_acquired_together: What tells it apart (echo, b-value, time point) never changes the places of slices.
    """

    name: str
    frames: tuple[Frame, ...]
    is_acquired_together: bool = False


@final
@dataclass(frozen=True, slots=True)
class _Told:
    """A frame with its traits by name."""

    frame: Frame
    traits: Mapping[str, str]

    def key(self, names: Iterable[str]) -> Key:
        """Its values of these traits; empty where the header is silent."""
        return tuple(self.traits.get(name, "") for name in names)


Slots = Sequence[Sequence[_Told]]
Groups = Mapping[Key, Sequence[_Told]]


def volumes_of(slots: Sequence[Sequence[Frame]]) -> tuple[Part, ...] | None:
    """Volumes of one frame a place, or None where nothing tells them apart.

    Args:
        slots: The frames at each place in order, the same number (above 1) everywhere.
    """
    told = [[_told(frame) for frame in slot] for slot in slots]
    varying = _varying(one for slot in told for one in slot)
    for names in _combined(varying, 1, _MOST_TRAITS):
        groups = _by_traits(told, names, 1)
        if groups is not None:
            # directions are counted within their b-value
            wider = tuple(n for n in varying if n in names or (n == "b" and "direction" in names))
            within = _by_traits(told, wider, 1)
            return _named(groups, names) if within is None else _named(within, wider)
    still = [name for name in varying if name not in _CLOCKS]
    clocks = [name for name in _CLOCKS if name in varying]
    for names, clock in product(_combined(still, 0, _MOST_TRAITS - 1), clocks):
        groups = _by_clock(told, names, clock)
        if groups is not None:
            return _named(groups, (*names, _RANKED[clock]))
    return _by_instance(told)


def _combined(names: Sequence[str], fewest: int, most: int) -> Iterator[tuple[str, ...]]:
    """Combinations of traits, the smallest first."""
    return chain.from_iterable(combinations(names, size) for size in range(fewest, most + 1))


def separated(frames: Sequence[Frame]) -> tuple[Part, ...] | None:
    """Frames of different grids by the one trait that tells them apart, or None.

    Every part has two frames or more: a frame that differs from all others is a fault, not a volume.
    """
    told = [_told(frame) for frame in frames]
    for name in _varying(told):
        groups: dict[Key, list[_Told]] = {}
        for one in told:
            groups.setdefault(one.key((name,)), []).append(one)
        if name not in _CLOCKS and min(len(group) for group in groups.values()) > 1:
            return _named({key: groups[key] for key in sorted(groups, key=_order)}, (name,))
    return None


def _told(frame: Frame) -> _Told:
    return _Told(frame, {trait.name: trait.value for trait in frame.traits})


def _varying(told: Iterable[_Told]) -> list[str]:
    """Traits that are not the same everywhere, the most telling first."""
    values: dict[str, set[str]] = {}
    count: Counter[str] = Counter()
    total = 0
    for one in told:
        total += 1
        count.update(one.traits.keys())
        for name, value in one.traits.items():
            values.setdefault(name, set()).add(value)
    return [
        name
        for name, held in values.items()
        if name != _LAST_RESORT and (len(held) > 1 or count[name] < total)
    ]


Rank = tuple[int, tuple[float, ...], str]


def _order(key: Key) -> tuple[Rank, ...]:
    """Nothing first, then numbers and vectors by size, then words."""
    return tuple(_rank(part) for part in key)


def _rank(text: str) -> Rank:
    try:
        return (0, tuple(float(part) for part in text.split()), text)
    except ValueError:
        return (1, (), text)


def _by_traits(slots: Slots, names: Sequence[str], each: int) -> dict[Key, list[_Told]] | None:
    """Frames by their values of some traits, if every place holds each combination ``each`` times."""
    groups: dict[Key, list[_Told]] = {}
    for slot in slots:
        held = Counter(one.key(names) for one in slot)
        if set(held.values()) != {each} or (groups and held.keys() != groups.keys()):
            return None
        for one in slot:
            groups.setdefault(one.key(names), []).append(one)
    return {key: groups[key] for key in sorted(groups, key=_order)}


def _by_clock(slots: Slots, names: Sequence[str], clock: str) -> dict[Key, list[_Told]] | None:
    """Within each combination of traits: the earliest frame of each place, the next, and so on."""
    kinds = {one.key(names) for one in slots[0]}
    each = len(slots[0]) // len(kinds)
    if each < 2 or _by_traits(slots, names, each) is None:
        return None
    groups: dict[Key, list[_Told]] = {}
    for kind in sorted(kinds, key=_order):
        series = [[one for one in slot if one.key(names) == kind] for slot in slots]
        ranked = [sorted(slot, key=lambda one: _rank(one.traits.get(clock, ""))) for slot in series]
        if any(len({one.traits.get(clock) for one in slot}) < each for slot in ranked):
            return None
        for rank in range(each):
            groups[*kind, str(rank + 1)] = [slot[rank] for slot in ranked]
        if clock not in _MAY_OVERLAP and _overlap([[slot[n] for slot in ranked] for n in range(each)], clock):
            return None
    return groups


def _overlap(volumes: Sequence[Sequence[_Told]], clock: str) -> bool:
    """Whether a volume begins before the one before it ends."""
    times = [[_rank(one.traits.get(clock, "")) for one in volume] for volume in volumes]
    return any(max(early) >= min(late) for early, late in pairwise(times))


def _by_instance(slots: Slots) -> tuple[Part, ...] | None:
    """Volumes that InstanceNumber counts one after the other, each through all places in one direction."""
    numbers = [[_rank(one.traits.get(_LAST_RESORT, "")) for one in slot] for slot in slots]
    if any(len(value) != 1 for slot in numbers for _, value, _ in slot):
        return None
    if len(slots) < 3 or len({number for slot in numbers for number in slot}) < sum(map(len, slots)):
        return None
    ranked = [
        [one for _, one in sorted(zip(n, s, strict=True), key=_first)]
        for n, s in zip(numbers, slots, strict=True)
    ]
    volumes = [[slot[rank] for slot in ranked] for rank in range(len(slots[0]))]
    counted = [[_rank(one.traits[_LAST_RESORT]) for one in volume] for volume in volumes]
    directions = {tuple(np.sign(np.diff([value[0] for _, value, _ in volume]))) for volume in counted}
    if len(directions) > 1 or len(set(next(iter(directions)))) > 1 or _overlap(volumes, _LAST_RESORT):
        return None
    return tuple(
        Part(f"volume_{number}", tuple(one.frame for one in volume))
        for number, volume in enumerate(volumes, start=1)
    )


def _first(pair: tuple[Rank, _Told]) -> Rank:
    return pair[0]


def _named(groups: Groups, names: Sequence[str]) -> tuple[Part, ...]:
    """Each group with a name of what tells it apart; unlike every other name."""
    ranks = {
        place: {
            value: rank for rank, value in enumerate(dict.fromkeys(key[place] for key in groups), start=1)
        }
        for place in range(len(names))
    }
    parts: list[Part] = []
    taken: set[str] = set()
    for number, (key, told) in enumerate(groups.items(), start=1):
        words = [_word(name, key[place], ranks[place][key[place]]) for place, name in enumerate(names)]
        name = re.sub(r"[^A-Za-z0-9_.+-]", "-", "_".join(words))[:60]
        name = f"{name}_{number}" if name in taken else name
        taken.add(name)
        parts.append(Part(name, tuple(one.frame for one in told), _TOGETHER.issuperset(names)))
    return tuple(parts)


def like(first: Frame, second: Frame) -> bool:
    """Whether no header says that two frames show different things; times and numbers aside."""
    one, other = _told(first).traits, _told(second).traits
    names = (one.keys() | other.keys()) - {_LAST_RESORT, *_CLOCKS}
    return all(one.get(name) == other.get(name) for name in names)


def _word(name: str, value: str, rank: int) -> str:
    if name.startswith("type_"):
        return f"type_{value or 'none'}"
    if name in _NUMBERED:
        return f"{_NUMBERED[name]}_{rank}"
    if name in _RANKED.values():
        return f"{name.removesuffix('_number')}_{value}"
    if name in _SHOWN and value:
        return _SHOWN[name].format(value)
    return f"{name}_{rank}"
