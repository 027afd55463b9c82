"""Attacks medaug's private training: is a canary among the patients? What the answers betray bounds epsilon from below.

    python scripts/canary_attack.py            # with the dp extra; about five minutes on one core

The strongest attack that the promise allows for (Nasr et al., IEEE S&P 2021): the attacker sees the noisy gradient of
every step and knows everything about everybody but whether the canary, a patient whose gradient nobody else has a part
of, is there. Many short trainings with and without it; the threshold is chosen on one half, and on the other half the
rates of right and wrong alarms give, by Clopper and Pearson at 95%, a lower bound of epsilon. At zero noise it must
exceed what is claimed, else the attack is too weak to show anything; at the real noise it must not.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import torch
from scipy import stats
from torch import nn

from medaug.core.budget import PrivacyRequest
from medaug.core.seeding import SeedTree
from medaug.engine.dp import PrivacyPlan, PrivateGradients, noise_for

PATIENTS: Final = 12
SIZE: Final = 8  # of the gradient; the last number is the canary's alone
RATE: Final = 0.5
STEPS: Final = 8
DELTA: Final = 1e-5
CONFIDENCE: Final = 0.95


@final
@dataclass(frozen=True, slots=True)
class Betrayal:
    """What an attack found.

    Attributes:
        claimed: Epsilon that was promised.
        noise_multiplier: Of the training that was attacked.
        bound: Epsilon is no less than this, at 95%.
        right: Share of trainings with the canary that were told.
        wrong: Share of trainings without it that were taken for such.
    """

    claimed: float
    noise_multiplier: float
    bound: float
    right: float
    wrong: float


def attack(claimed: float, trainings: int, *, noisy: bool, seed: int = 0) -> Betrayal:
    """Train so often with the canary and so often without it, and tell them apart."""
    noise = noise_for(claimed, DELTA, RATE, STEPS) if noisy else 0.0
    root = SeedTree(seed).child("canary", str(noisy))
    present, absent = (
        np.array([_seen(noise, root.child(number, str(there)), there=there) for number in range(trainings)])
        for there in (True, False)
    )
    half = trainings // 2
    threshold = _threshold(present[:half], absent[:half])
    right, wrong = (int((part[half:] > threshold).sum()) for part in (present, absent))
    count = trainings - half
    return Betrayal(claimed, noise, _bound(right, wrong, count), right / count, wrong / count)


def _seen(noise: float, seed: SeedTree, *, there: bool) -> float:
    """One training; returns what all its gradients say together in the canary's direction."""
    count = PATIENTS + there
    module = nn.Linear(SIZE, 1, bias=False)
    with torch.no_grad():
        module.weight.zero_()
    request = PrivacyRequest(epsilon=None, delta=DELTA, randomness="seeded")
    private = PrivateGradients(module, PrivacyPlan(request, count, RATE, STEPS, noise), seed)
    signals = torch.from_numpy(seed.rng().normal(size=(PATIENTS + 1, SIZE))).float()
    signals[:, -1] = 0
    signals[-1] = torch.eye(SIZE)[-1]  # the canary
    total = 0.0
    for _ in range(STEPS):
        drawn = private.draw()
        if len(drawn):
            samples = signals[torch.as_tensor(drawn)].requires_grad_()
            private.fill(module(samples).squeeze(1), torch.arange(len(drawn)))
        else:
            private.fill(None, None)
        gradient = module.weight.grad
        if gradient is None:
            raise RuntimeError("the step left no gradient")
        total += float(gradient[0, -1]) * RATE * count
    return total


def _threshold(present: np.ndarray, absent: np.ndarray) -> float:
    """Where the two betray most, with rates that leave room for chance."""
    places = np.unique(np.concatenate([present, absent]))
    middles = (places[1:] + places[:-1]) / 2 if len(places) > 1 else places
    return float(max(middles, key=lambda place: _worth(present > place, absent > place)))


def _worth(present: np.ndarray, absent: np.ndarray) -> tuple[float, float]:
    """What alarms are worth: the bound they would give, and where there is none how much more often they are right."""
    right, wrong, count = int(present.sum()), int(absent.sum()), len(present)
    return _bound(right, wrong, count), (right - wrong) / count


def _bound(right: int, wrong: int, count: int) -> float:
    """What alarms say of epsilon, or that there was none, whichever says more; 0 where neither says anything."""
    return max(0.0, _said(right, wrong, count), _said(count - wrong, count - right, count))


def _said(right: int, wrong: int, count: int) -> float:
    """Epsilon from P(right) <= exp(epsilon) P(wrong) + delta, with the least and the most that the rates may be."""
    outside = (1 - CONFIDENCE) / 2
    least = float(stats.beta.ppf(outside, right, count - right + 1)) if right else 0.0
    most = float(stats.beta.ppf(1 - outside, wrong + 1, count - wrong)) if wrong < count else 1.0
    return math.log((least - DELTA) / most) if least > DELTA else 0.0


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trainings", type=int, default=1000, help="with the canary, and as many without it")
    parser.add_argument("--epsilon", type=float, nargs="+", default=[1.0, 2.0, 4.0])
    asked = parser.parse_args()
    print("| claimed epsilon | noise multiplier | told | false alarms | epsilon at least |")
    print("| --- | --- | --- | --- | --- |")
    for claimed in asked.epsilon:
        for noisy in (False, True):
            found = attack(claimed, asked.trainings, noisy=noisy)
            print(
                f"| {claimed:g} | {found.noise_multiplier:.2f} | {found.right:.1%} | {found.wrong:.1%} "
                f"| {found.bound:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
