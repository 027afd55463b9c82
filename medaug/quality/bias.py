"""Does synthesis keep the mix of real lesions: classes, sizes, sites, scanners, sexes and ages?

Counts stand beside those of the training patients' real lesions. A difference is flagged where it is large and not
chance: patients are drawn together (a host and its own real lesions, too), the difference is compared with its spread
over such draws, and all comparisons share an error of 5% (Holm). What was asked for on purpose is told, not blamed.
Apart from the classes themselves, real lesions are weighted to the classes' mix in the set, so that balancing classes
does not look like a skew of sizes or of sexes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, final, get_args

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from medaug.core.assessment import Group
from medaug.core.case import AttributeName, Manifest
from medaug.core.plan import Recipe
from medaug.core.seeding import SeedTree
from medaug.quality.groups import mean_figure
from medaug.quality.resampling import patient_weights, weighted_mean
from medaug.quality.samples import LesionSample
from medaug.quality.scores import diameter_mm

Told = Mapping[AttributeName, str]
Values = Float[np.ndarray, " _"]
_ERROR: Final = 0.05
_LEAST_POINTS: Final = 0.05  # a difference of shares below is none that matters
_NARROW: Final = 0.8  # of the real spread
_FEWEST_LESIONS, _FEWEST_PATIENTS = 10, 5
_BINS: Final = 4
_MOST_VALUES: Final = 12
_UNKNOWN, _OTHER = "unknown", "other"


@final
@dataclass(frozen=True, slots=True)
class Asked:
    """What the recipes of a set say was wanted.

    Attributes:
        lesions: How many of each class; None where a set tells nothing.
        sizes: Whether most had a range of diameters given.
    """

    lesions: Mapping[str, int] | None = None
    sizes: bool = False

    @staticmethod
    def of(recipes: Iterable[Recipe]) -> Asked:
        """What recipes tell; null pastes are no lesions."""
        drawn = [recipe for recipe in recipes if recipe.use != "null"]
        if not drawn:
            return Asked()
        sizes = sum(recipe.wanted_mm is not None for recipe in drawn) > len(drawn) / 2
        return Asked(Counter(recipe.class_name for recipe in drawn), sizes)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Mix:
    """What is compared.

    Attributes:
        made: Synthetic lesions.
        scores: One of each.
        real: Real lesions of the training patients.
        of_made: What is told of each synthetic case, see :func:`inherited`.
        of_real: What is told of each real case.
        asked: What was wanted.
    """

    made: Sequence[LesionSample]
    scores: Values
    real: Sequence[LesionSample]
    of_made: Mapping[str, Told]
    of_real: Mapping[str, Told]
    asked: Asked


def inherited(made: Manifest, real: Manifest, hosts: Mapping[str, str | None]) -> dict[str, Told]:
    """What is told of each synthetic case: of its host where that is known, else its own, else what all its patient's scans tell.

    Args:
        made: The synthetic set, which need not tell anything.
        real: The dataset.
        hosts: The host of each synthetic case, None where nobody knows.
    """
    scans = {record.case_id: record.attributes for record in real.cases}
    of_patient: dict[str, list[Told]] = {}
    for record in real.cases:
        of_patient.setdefault(record.patient_id, []).append(record.attributes)
    found: dict[str, Told] = {}
    for record in made.cases:
        host = hosts.get(record.case_id)
        shared = _shared(of_patient.get(record.patient_id, []))
        found[record.case_id] = scans.get(host or "", {}) or record.attributes or shared
    return found


def _shared(told: Sequence[Told]) -> Told:
    """What all of a patient's scans say alike."""
    first = told[0] if told else {}
    return {name: value for name, value in first.items() if all(one.get(name) == value for one in told)}


def describe_bias(mix: Mix, classes: Sequence[str], seed: SeedTree) -> tuple[Group, ...]:
    """Counts, shares and mean score by class, size and attribute, with flags.

    Args:
        mix: At least one lesion on each side.
        classes: The class table.
        seed: Of the draws.
    """
    draws = _Draws.of(mix, seed.child("draws"))
    named = [tuple(sample.class_name for sample in side) for side in (mix.made, mix.real)]
    tables = [_Table("class", named[0], named[1], tuple(classes))]
    tables += [_sizes(mix), *_attributes(mix)]
    rows = [_Row(table, value, draws) for table in tables for value in table.values]
    spreads = {name: found for name in classes if (found := draws.spread(name, _diameters(mix)))}
    chances = {(row.table.name, row.value): row.chance for row in rows if row.may_be_flagged(mix.asked)}
    if not mix.asked.sizes:
        chances |= {("spread", name): found.chance for name, found in spreads.items()}
    odd = holm(chances)
    return tuple(_group(row, mix, odd, spreads, seed) for row in rows)


@final
@dataclass(frozen=True, slots=True)
class _Table:
    """The value of one attribute of each lesion."""

    name: str
    made: tuple[str, ...]
    real: tuple[str, ...]
    values: tuple[str, ...]


def _diameters(mix: Mix) -> tuple[Values, Values]:
    """Of both sides, mm; of the ball of as many voxels where a spacing is nominal."""
    sides = [[diameter_mm(sample) for sample in side] for side in (mix.made, mix.real)]
    if any(one is None for side in sides for one in side):
        counts = [np.asarray([s.mask.sum() for s in side], dtype=np.float64) for side in (mix.made, mix.real)]
        return np.cbrt(6 * counts[0] / np.pi), np.cbrt(6 * counts[1] / np.pi)
    return np.asarray(sides[0], dtype=np.float64), np.asarray(sides[1], dtype=np.float64)


def _sizes(mix: Mix) -> _Table:
    """Quarters of the real lesions by size."""
    made, real = _diameters(mix)
    unit = "mm" if all(s.is_spacing_known for s in (*mix.made, *mix.real)) else "voxels"
    ends = [f"{edge:.3g}" for edge in np.quantile(real, np.arange(1, _BINS) / _BINS)]
    edges = np.asarray([float(end) for end in ends])
    names = [f"to {ends[0]} {unit}", *(f"{a} to {b} {unit}" for a, b in pairwise(ends))]
    names.append(f"over {ends[-1]} {unit}")
    # edges that fall together would make one name of two bins
    values = tuple(dict.fromkeys(names))
    bins = [np.searchsorted(edges, side, side="left").tolist() for side in (made, real)]
    binned = [tuple(names[n] for n in side) for side in bins]
    return _Table("size", binned[0], binned[1], values)


def _attributes(mix: Mix) -> list[_Table]:
    """One table for each attribute that some case tells."""
    tables = []
    for name in get_args(AttributeName):
        made, real = (
            [told.get(sample.case_id, {}).get(name, _UNKNOWN) for sample in side]
            for side, told in ((mix.made, mix.of_made), (mix.real, mix.of_real))
        )
        common = [value for value, _ in Counter(made + real).most_common(_MOST_VALUES)]
        if set(common) == {_UNKNOWN}:
            continue
        kept = [value for value in common if value != _UNKNOWN]
        sides = [tuple(v if v in common else _OTHER for v in side) for side in (made, real)]
        rest = [value for value in (_OTHER, _UNKNOWN) if value in {*sides[0], *sides[1]}]
        tables.append(_Table(name, sides[0], sides[1], (*sorted(kept), *rest)))
    return tables


@final
@dataclass(frozen=True, slots=True)
class _Difference:
    """Something of the synthetic lesions against real ones: the value, its spread over draws, and how likely chance is."""

    value: float
    low: float
    high: float
    chance: float


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Draws:
    """Both sides' lesions in draws of patients.

    Attributes:
        made: (D, N) how often a synthetic lesion comes up.
        real: (D, M) how often a real one does.
        like_made: (M,) weights that give real lesions the classes' mix of the set.
        freedom: Degrees of freedom of a difference; 0 where there are too few lesions or patients to compare.
    """

    made: Float[np.ndarray, "D N"]
    real: Float[np.ndarray, "D M"]
    like_made: Float[np.ndarray, " M"]
    freedom: int
    class_names: tuple[tuple[str, ...], tuple[str, ...]]

    @staticmethod
    def of(mix: Mix, seed: SeedTree) -> _Draws:
        owners = [[sample.patient_id for sample in side] for side in (mix.made, mix.real)]
        weights = patient_weights([*owners[0], *owners[1]], seed.rng())
        names = [[sample.class_name for sample in side] for side in (mix.made, mix.real)]
        ours, theirs = Counter(names[0]), Counter(names[1])
        like = np.asarray([ours[name] / theirs[name] for name in names[1]])
        patients, lesions = min(len(set(side)) for side in owners), min(len(side) for side in owners)
        enough = patients >= _FEWEST_PATIENTS and lesions >= _FEWEST_LESIONS and like.any()
        return _Draws(
            weights[:, : len(mix.made)], weights[:, len(mix.made) :], like, patients - 1 if enough else 0,
            (tuple(names[0]), tuple(names[1])),
        )  # fmt: skip

    def shares(self, made: Values, real: Values, like: Values) -> _Difference | None:
        """The share of synthetic lesions less that of real ones."""
        value = float(made.mean() - np.average(real, weights=like)) if like.any() else 0.0
        draws = weighted_mean(made, self.made) - weighted_mean(real, self.real * like)
        return self._judged(value, draws)

    def spread(self, name: str, diameters: tuple[Values, Values]) -> _Difference | None:
        """Logarithm of the ratio of the spreads of a class's sizes."""
        logs, weights = [], []
        for side, drawn, names in zip(diameters, (self.made, self.real), self.class_names, strict=True):
            here = np.asarray([one == name for one in names], dtype=bool)
            if here.sum() < _FEWEST_LESIONS:
                return None
            logs.append(np.log(side[here]))
            weights.append(drawn[:, here])
        if min(side.std() for side in logs) < 1e-6:
            return (
                None
                if logs[1].std() < 1e-6
                else _Difference(float("-inf"), float("-inf"), float("-inf"), 0.0)
            )
        value = float(np.log(logs[0].std() / logs[1].std()))
        draws = [_log_deviation(*pair) for pair in zip(logs, weights, strict=True)]
        return self._judged(value, draws[0] - draws[1])

    def _judged(self, value: float, draws: Values) -> _Difference | None:
        known = draws[np.isfinite(draws)]
        if not self.freedom or len(known) < len(draws) / 2:
            return None
        spread = float(known.std())
        if spread < 1e-9:
            return _Difference(value, value, value, 1.0 if abs(value) < 1e-9 else 0.0)
        half = float(stats.t.ppf(0.975, self.freedom)) * spread
        chance = float(2 * stats.t.sf(abs(value) / spread, self.freedom))
        return _Difference(value, value - half, value + half, chance)


def _log_deviation(values: Values, weights: Float[np.ndarray, "D N"]) -> Values:
    """Of each draw; NaN where fewer than two lesions differ."""
    mean = weighted_mean(values, weights)
    variance = weighted_mean(np.square(values), weights) - np.square(mean)
    return np.asarray(np.where(variance > 1e-9, 0.5 * np.log(np.maximum(variance, 1e-9)), np.nan))


@final
class _Row:
    """One value of a table, counted and compared."""

    def __init__(self, table: _Table, value: str, draws: _Draws) -> None:
        self.table, self.value = table, value
        self.rows: Int[np.ndarray, " _"] = np.flatnonzero([one == value for one in table.made])
        made, real = (
            np.asarray([one == value for one in side], dtype=np.float64) for side in (table.made, table.real)
        )
        self.n_real = int(real.sum())
        self.share, self.real_share = float(made.mean()), float(real.mean())
        like = np.ones_like(real) if table.name == "class" else draws.like_made
        self.expected = float(np.average(real, weights=like)) if like.any() else self.real_share
        self.found = draws.shares(made, real, like)

    @property
    def chance(self) -> float:
        """Of a difference as large where there is none."""
        return 1.0 if self.found is None else self.found.chance

    def may_be_flagged(self, asked: Asked) -> bool:
        """Whether the difference can be blamed on synthesis."""
        on_purpose = (self.table.name == "class" and asked.lesions is not None) or (
            self.table.name == "size" and asked.sizes
        )
        return self.found is not None and not on_purpose and self.value != _UNKNOWN

    def words(self) -> str:
        """The difference, where it is large."""
        if self.found is None or abs(self.found.value) < _LEAST_POINTS:
            return ""
        word = "too many" if self.found.value > 0 else "too few"
        of = "" if self.table.name == "class" else " of the same classes"
        ends = f"{100 * self.found.low:+.0f} to {100 * self.found.high:+.0f} points"
        return f"{word}: {self.share:.0%} of the synthetic lesions, {self.expected:.0%} of real ones{of} ({ends})"


def _group(
    row: _Row, mix: Mix, odd: frozenset[tuple[str, str]], spreads: Mapping[str, _Difference], seed: SeedTree
) -> Group:
    flags = [row.words()] if (row.table.name, row.value) in odd else []
    if row.table.name == "class":
        flags += _narrowed(row.value, odd, spreads) + _lost(row, mix.asked)
    owners = [mix.made[int(n)].patient_id for n in row.rows]
    draws = seed.child(row.table.name, row.value).rng()
    return Group(
        attribute=row.table.name,
        value=row.value,
        real=row.n_real,
        synthetic=len(row.rows),
        real_share=round(row.real_share, 4),
        synthetic_share=round(row.share, 4),
        score=mean_figure(mix.scores[row.rows], owners, draws),
        note=_note(row, mix.asked),
        flag="; ".join(flag for flag in flags if flag),
    )


def _narrowed(name: str, odd: frozenset[tuple[str, str]], spreads: Mapping[str, _Difference]) -> list[str]:
    found = spreads.get(name)
    if found is None or ("spread", name) not in odd or np.exp(found.value) >= _NARROW:
        return []
    value, low, high = (float(np.exp(one)) for one in (found.value, found.low, found.high))
    return [
        f"sizes are narrower: they spread {value:.2f} times as far as real ones ({low:.2f} to {high:.2f})"
    ]


def _lost(row: _Row, asked: Asked) -> list[str]:
    """Lesions that were drawn and are not there."""
    wanted = 0 if asked.lesions is None else asked.lesions.get(row.value, 0)
    missing = wanted - len(row.rows)
    return (
        [f"{missing} of {wanted} lesions that were asked for are not there"] if missing > 0.1 * wanted else []
    )


def _note(row: _Row, asked: Asked) -> str:
    if row.table.name == "class" and asked.lesions is not None:
        return f"as asked: {asked.lesions.get(row.value, 0)}"
    return "as asked" if row.table.name == "size" and asked.sizes else ""


def holm(chances: Mapping[tuple[str, str], float]) -> frozenset[tuple[str, str]]:
    """The comparisons that are not chance, all together at an error of 5% (Holm, Scand J Stat 1979)."""
    odd: set[tuple[str, str]] = set()
    for rank, (key, chance) in enumerate(sorted(chances.items(), key=lambda pair: pair[1])):
        if chance > _ERROR / (len(chances) - rank):
            break
        odd.add(key)
    return frozenset(odd)
