"""The plan: which lesion goes into which host, spread evenly over patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from medaug.core.case import CaseRecord
from medaug.core.errors import ConfigError, DataError
from medaug.core.plan import PlannedLesion, Use
from medaug.core.seeding import SeedTree
from medaug.synthesis.balance import ClassCount
from medaug.synthesis.sizes import Range, SizeLimits
from medaug.synthesis.sweep import Sweep


@final
@dataclass(frozen=True, slots=True)
class Wishes:
    """What all lesions of a plan have in common.

    Attributes:
        diameter_mm: Allowed range; None = as in the bank.
        swap_share: Share of each class's lesions that are drawn over a lesion of another class.
        null_share: Share of null pastes among all cases; they come on top of the lesions.
        sweep: Each lesion is drawn with each of these values.
    """

    diameter_mm: Range | None = None
    swap_share: float = 0.0
    null_share: float = 0.0
    sweep: Sweep | None = None

    def check(self) -> None:
        """Raise ConfigError if the wishes contradict each other."""
        if self.diameter_mm is not None and not 0.0 < self.diameter_mm[0] <= self.diameter_mm[1]:
            low, high = self.diameter_mm
            raise ConfigError(
                f"is {low:g}:{high:g}", where="--diameter-mm", expected="LOW:HIGH, both above 0"
            )
        if self.swap_share == 1.0 and self.diameter_mm is not None:
            raise ConfigError(
                "a swapped lesion keeps the outline of the old one",
                where="--diameter-mm",
                hint="leave it out",
            )
        if self.sweep is None:
            return
        if self.null_share:
            raise ConfigError("a sweep has no null pastes", where="--null-share", hint="leave it out")
        if self.sweep.name == "diameter_mm" and (self.swap_share or self.diameter_mm):
            where = "--diameter-mm" if self.diameter_mm else "--swap-share"
            raise ConfigError("the sweep says the diameters", where=where, hint="leave it out")


def usable_hosts(records: Sequence[CaseRecord]) -> tuple[CaseRecord, ...]:
    """Real cases whose lesions are all known: labelled ones, and those known to hold none.

    Raises:
        DataError: If there is none.
    """
    hosts = tuple(record for record in records if record.is_labelled_scan)
    if not hosts:
        raise DataError(
            "no host: the fold's training patients have no labelled case",
            hint="mark hosts lesion_free in cases.csv",
        )
    return hosts


def hosts_for(use: Use, class_name: str, hosts: Sequence[CaseRecord]) -> tuple[CaseRecord, ...]:
    """The hosts that can take a lesion of a class.

    Raises:
        DataError: If a lesion is to be swapped, and no host has one of another class.
    """
    if use != "swap":
        return tuple(hosts)
    found = tuple(h for h in hosts if any(name != class_name for name in h.classes))
    if not found:
        raise DataError(
            f"no training case has a lesion of another class to turn into {class_name}",
            hint="draw new lesions instead, without --swap-share",
        )
    return found


def make_plan(
    counts: Sequence[ClassCount],
    hosts: Sequence[CaseRecord],
    seed: SeedTree,
    wishes: Wishes | None = None,
    limits: SizeLimits | None = None,
) -> tuple[PlannedLesion, ...]:
    """Give every wanted lesion a host and a seed of its own.

    Hosts are dealt like cards: patients in random order, one case of each, again and again, so that no patient and
    no case is used once more than another before its turn. Hosts of a class do not depend on the other classes.

    Args:
        counts: Lesions wanted.
        hosts: Where they may go; training patients of the fold.
        seed: Root of the plan's randomness.
        wishes: What they have in common.
        limits: Keep the sizes within what was learnt.

    Raises:
        ConfigError: If the wishes contradict each other.
        DataError: If no host suits, or a size was not learnt and that is an error.
    """
    wishes = wishes or Wishes()
    wishes.check()
    plan: list[PlannedLesion] = []
    for wanted in counts:
        plan += _of_class(wanted, usable_hosts(hosts), seed, wishes)
    swept = [one for lesion in plan for one in _swept(lesion, wishes.sweep, limits)]
    named = [lesion.model_copy(update=_names(n, lesion)) for n, lesion in _numbered(swept)]
    return tuple(named) if limits is None else limits.within(named)


def _of_class(
    wanted: ClassCount, hosts: Sequence[CaseRecord], seed: SeedTree, wishes: Wishes
) -> list[PlannedLesion]:
    """New lesions, then swapped ones, then null pastes; each kind is dealt its own hosts."""
    swapped = round(wanted.count * wishes.swap_share)
    nulls = round(wanted.count * wishes.null_share / (1.0 - wishes.null_share))
    kinds: tuple[tuple[Use, int], ...] = (
        ("new", wanted.count - swapped),
        ("swap", swapped),
        ("null", nulls),
    )
    plan: list[PlannedLesion] = []
    for use, count in kinds:
        if count == 0:
            continue
        tree = seed if use == "new" else seed.child(use)
        dealt = deal_hosts(
            hosts_for(use, wanted.class_name, hosts), count, tree.child("hosts", wanted.class_name)
        )
        plan += [
            PlannedLesion(
                case_id="x",
                host_case_id=host.case_id,
                class_name=wanted.class_name,
                seed=tree.child("lesion", wanted.class_name, number).seed,
                use=use,
                diameter_mm=None if use == "swap" else wishes.diameter_mm,
            )
            for number, host in enumerate(dealt)
        ]
    return plan


def _swept(lesion: PlannedLesion, sweep: Sweep | None, limits: SizeLimits | None) -> list[PlannedLesion]:
    """The lesion with each value of the sweep; of sizes that are clamped to the same one, one is kept."""
    if sweep is None:
        return [lesion]
    if sweep.name != "diameter_mm":
        return [lesion.model_copy(update={sweep.name: value, "group": "x"}) for value in sweep.values]
    sizes = [(value, value) for value in sweep.values]
    if limits is not None:
        sizes = list(dict.fromkeys(limits.clamp(lesion.class_name, size) for size in sizes))
    common = {"group": "x", "room_mm": sizes[-1][1]}
    return [lesion.model_copy(update={"diameter_mm": size, **common}) for size in sizes]


def _numbered(plan: Sequence[PlannedLesion]) -> list[tuple[tuple[int, int], PlannedLesion]]:
    """Each lesion with the number of its lesion, and its number among the cases of a sweep."""
    numbered: list[tuple[tuple[int, int], PlannedLesion]] = []
    last: tuple[str, int] | None = None
    number = member = 0
    for lesion in plan:
        same = lesion.group is not None and (lesion.class_name, lesion.seed) == last
        number, member = (number, member + 1) if same else (number + 1, 1)
        last = (lesion.class_name, lesion.seed)
        numbered.append(((number, member), lesion))
    return numbered


def _names(place: tuple[int, int], lesion: PlannedLesion) -> dict[str, str | None]:
    name = f"SYN_{place[0]:05d}"
    if lesion.group is None:
        return {"case_id": name}
    return {"case_id": f"{name}_{place[1]}", "group": name}


def deal_hosts(hosts: Sequence[CaseRecord], count: int, seed: SeedTree) -> tuple[CaseRecord, ...]:
    """``count`` hosts, evenly over patients, then over the cases of each."""
    rng = seed.rng()
    own: dict[str, list[CaseRecord]] = {}
    for host in hosts:
        own.setdefault(host.patient_id, []).append(host)
    names = sorted(own)
    patients = [names[n] for n in rng.permutation(len(names))]
    # only the patients that get a turn are shuffled, so that a few hosts out of many cost little
    decks = [[own[p][n] for n in rng.permutation(len(own[p]))] for p in patients[:count]]
    dealt = []
    for turn in range(count):
        deck = decks[turn % len(patients)]
        dealt.append(deck[turn // len(patients) % len(deck)])
    return tuple(dealt)
