"""What a score by patient tells of who was trained on: figures, their intervals, and what chance gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np
from jaxtyping import Bool, Float

from medaug.core.assessment import Figure

FALSE_POSITIVE_SHARE: Final = 0.01
CHANCE: Final = 0.025  # of either of two figures, so that chance fails one set in 20 at most
_DRAWS = 2000
_TAILS = (0.025, 0.975)

PerPatient = Float[np.ndarray, " P"]
Draws = Float[np.ndarray, " D"]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Suspicion:
    """How suspect every patient is, by the attack and by its control.

    Attributes:
        is_member: (P,) whether the patient was trained on.
        attack: (P,) from the synthetic set; larger = more suspect.
        control: (P,) from lesions that cannot have been copied.
        classes: Of each patient, what was compared.
    """

    is_member: Bool[np.ndarray, " P"]
    attack: PerPatient
    control: PerPatient
    classes: tuple[tuple[str, ...], ...]

    @property
    def n_members(self) -> int:
        """Training patients."""
        return int(self.is_member.sum())

    @property
    def n_others(self) -> int:
        """Held-out patients."""
        return int((~self.is_member).sum())


@final
@dataclass(frozen=True, slots=True)
class Weighed:
    """A figure of the attack beside the same of its control.

    Attributes:
        figure: Of the attack.
        control: Of the control.
        above: By how much the attack is above it; 97.5% of draws say more.
        chance: Share of draws in which membership dealt by lot gives as much.
    """

    figure: Figure
    control: Figure
    above: float
    chance: float

    @property
    def is_beyond_chance(self) -> bool:
        """Whether chance hardly gives so much."""
        return self.chance <= CHANCE

    @property
    def is_told(self) -> bool:
        """Whether it is beyond chance, and not of the patients as such."""
        return self.is_beyond_chance and self.above > 0


def weigh(found: Suspicion, rng: np.random.Generator) -> tuple[Weighed, Weighed]:
    """Area under the curve, and rate at 1% false positives, with 95% percentile intervals by patient.

    Training and held-out patients are each drawn anew, the same for attack and control. What chance gives is told by
    dealing membership by lot among patients of the same classes (Fisher's permutation test): exact, since the attack's
    scores do not depend on who is a member.
    """
    inside = found.is_member.astype(np.float64)
    members, others = (_drawn_anew(side, rng) for side in (inside, 1.0 - inside))
    dealt = _dealt(found, rng)
    weighed = []
    for figure in (areas, rates):
        ours, theirs = figure(found.attack, members, others), figure(found.control, members, others)
        value, usual = (
            float(figure(s, inside[None], 1 - inside[None])[0]) for s in (found.attack, found.control)
        )
        by_lot = figure(found.attack, dealt, 1.0 - dealt)
        weighed.append(
            Weighed(
                figure=_with_interval(value, ours),
                control=_with_interval(usual, theirs),
                above=float(np.quantile(ours - theirs, _TAILS[0])),
                chance=(1 + int((by_lot >= value - 1e-9).sum())) / (1 + _DRAWS),
            )
        )
    return weighed[0], weighed[1]


def _drawn_anew(side: PerPatient, rng: np.random.Generator) -> Float[np.ndarray, "D P"]:
    """How often each patient of a side comes up when it is drawn with replacement."""
    return rng.multinomial(int(side.sum()), side / side.sum(), size=_DRAWS).astype(np.float64)


def _dealt(found: Suspicion, rng: np.random.Generator) -> Float[np.ndarray, "D P"]:
    dealt = np.repeat(found.is_member[None], _DRAWS, axis=0)
    for kind in sorted(set(found.classes)):
        of_kind = [n for n, names in enumerate(found.classes) if names == kind]
        dealt[:, of_kind] = rng.permuted(dealt[:, of_kind], axis=1)
    return dealt.astype(np.float64)


def _with_interval(value: float, draws: Draws) -> Figure:
    low, high = (float(end) for end in np.quantile(draws, _TAILS))
    return Figure(value=value, low=low, high=high)


def areas(
    scores: PerPatient, members: Float[np.ndarray, "D P"], others: Float[np.ndarray, "D P"]
) -> Float[np.ndarray, " D"]:
    """Area under the curve: the share of pairs in which the member is more suspect.

    Args:
        scores: Of the patients.
        members: How often each counts as a member.
        others: How often as held out.
    """
    wins = np.sign(scores[:, None] - scores) / 2 + 0.5
    pairs = members.sum(axis=1) * others.sum(axis=1)
    return np.asarray(((members @ wins) * others).sum(axis=1) / pairs)


def rates(
    scores: PerPatient, members: Float[np.ndarray, "D P"], others: Float[np.ndarray, "D P"]
) -> Float[np.ndarray, " D"]:
    """Share of members above the score that at most 1 in 100 others pass (Carlini et al., IEEE S&P 2022).

    Fewer than 100 others: none may pass it. Arguments as in :func:`areas`.
    """
    order = np.argsort(-scores, kind="stable")
    passed = others[:, order].cumsum(axis=1)
    first = np.argmax(passed > FALSE_POSITIVE_SHARE * passed[:, -1:], axis=1)
    least = scores[order][first]
    return np.asarray((members * (scores > least[:, None])).sum(axis=1) / members.sum(axis=1))
