"""What to draw: how many lesions of which class, spread evenly over the hosts."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from medaug.core.case import CaseRecord, Origin
from medaug.core.errors import ConfigError, DataError
from medaug.core.plan import PlannedLesion
from medaug.core.seeding import SeedTree

_WHERE = "--per-class"


@final
@dataclass(frozen=True, slots=True)
class ClassCount:
    """How many lesions of a class are wanted."""

    class_name: str
    count: int


def parse_counts(texts: Sequence[str], classes: tuple[str, ...]) -> tuple[ClassCount, ...]:
    """Read ``CLASS=COUNT`` texts.

    Raises:
        ConfigError: If a text is of another form, a class is unknown or named twice, or a count is not positive.
    """
    counts = tuple(_parse_count(text, classes) for text in texts)
    if not counts:
        raise ConfigError(
            "no class is named", where=_WHERE, expected="CLASS=COUNT, e.g. " + f"{classes[0]}=50"
        )
    names = [count.class_name for count in counts]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"class {name} is named twice", where=_WHERE)
    return counts


def _parse_count(text: str, classes: tuple[str, ...]) -> ClassCount:
    name, equals, number = text.rpartition("=")
    if not equals or not name.strip() or not number.strip().isdecimal() or int(number) < 1:
        raise ConfigError(
            f"cannot read {text!r}", where=_WHERE, expected="CLASS=COUNT with a count of at least 1"
        )
    name = name.strip()
    if name not in classes:
        close = difflib.get_close_matches(name, classes, n=1)
        raise ConfigError(
            f"no class is called {name!r}",
            where=_WHERE,
            expected=", ".join(classes),
            hint=f"did you mean {close[0]}?" if close else "",
        )
    return ClassCount(name, int(number))


def usable_hosts(records: Sequence[CaseRecord]) -> tuple[CaseRecord, ...]:
    """Real cases whose lesions are all known: labelled ones, and those known to hold none.

    Raises:
        DataError: If there is none.
    """
    hosts = tuple(r for r in records if r.origin is Origin.REAL and r.label is not None)
    if not hosts:
        raise DataError(
            "no host: the fold's training patients have no labelled case",
            hint="mark hosts lesion_free in cases.csv",
        )
    return hosts


def make_plan(
    counts: Sequence[ClassCount],
    hosts: Sequence[CaseRecord],
    seed: SeedTree,
    diameter_mm: tuple[float, float] | None = None,
) -> tuple[PlannedLesion, ...]:
    """Give every wanted lesion a host and a seed of its own.

    Hosts are dealt like cards: patients in random order, one case of each, again and again, so that no patient and
    no case is used once more than another before its turn. Hosts of a class do not depend on the other classes.

    Args:
        counts: Lesions wanted.
        hosts: Where they may go; training patients of the fold.
        seed: Root of the plan's randomness.
        diameter_mm: Allowed range; None = as in the bank.
    """
    plan: list[PlannedLesion] = []
    for wanted in counts:
        dealt = deal_hosts(usable_hosts(hosts), wanted.count, seed.child("hosts", wanted.class_name))
        for number, host in enumerate(dealt):
            plan.append(
                PlannedLesion(
                    case_id=f"SYN_{len(plan) + 1:05d}",
                    host_case_id=host.case_id,
                    class_name=wanted.class_name,
                    seed=seed.child("lesion", wanted.class_name, number).seed,
                    diameter_mm=diameter_mm,
                )
            )
    return tuple(plan)


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
