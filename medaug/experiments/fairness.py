"""Checks that all arms were trained alike; else a gain may be only more training, or oversampling."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from medaug.core.errors import TrainingError
from medaug.core.results import ArmCost

SHARE_TOLERANCE = 0.1  # shares are counted over random patches; a true difference of policy is larger


def check_fairness(costs: Sequence[ArmCost]) -> None:
    """Raise TrainingError unless all arms took the same steps, patch size, share of lesion patches and first seed."""
    if not costs:
        return
    first = costs[0]
    for cost in costs[1:]:
        if cost.optimiser_steps != first.optimiser_steps:
            _refuse(cost, f"took {cost.optimiser_steps} steps", f"{first.optimiser_steps} as {first.arm}")
        if cost.patch_size != first.patch_size:
            _refuse(cost, f"had patches of {cost.patch_size}", f"{first.patch_size} as {first.arm}")
    for group in _on_the_same(costs):
        _check_lesion_share(group)
        _check_seeds(group)


def equal_terms(costs: Sequence[ArmCost]) -> tuple[str, ...]:
    """What :func:`check_fairness` found equal, in sentences; nothing for a single arm."""
    if len({cost.arm for cost in costs}) < 2:
        return ()
    first = costs[0]
    said = [
        f"Every training took {first.optimiser_steps} optimiser steps.",
        f"Every training patch had {' x '.join(str(side) for side in first.patch_size)} voxels.",
        f"{_span([cost.lesion_patch_share for cost in costs])} of the training patches held a lesion, in every arm.",
    ]
    counted = [cost for cost in costs if cost.class_patch_shares]
    if len(counted) == len(costs):
        shares = (f"{name} {_span([_share_of(name)(cost) for cost in costs])}" for name in _classes(costs))
        said.append(f"Shares of the training patches that held a class, in every arm: {', '.join(shares)}.")
    groups = _on_the_same(costs)
    if all(cost.first_seed is not None for cost in costs):
        said.append(
            "Trainings of one subset, fold and seed began with the same weights and saw real patches in the same order."
        )
    if all(len({cost.training_cases for cost in group}) == 1 for group in groups):
        said.append("Trainings of one subset and fold had the same real cases, whatever the arm.")
    return tuple(said)


def unequal_classes(costs: Sequence[ArmCost]) -> tuple[str, ...]:
    """Classes that one arm saw more often than another, in sentences.

    Patches are dealt to the classes alike in all arms; what mixes patches puts lesions of one class beside another's.
    """
    found: dict[str, tuple[float, str]] = {}
    for group in _on_the_same(costs):
        for name in _classes(group):
            ranked = sorted(group, key=_share_of(name))
            low, high = _share_of(name)(ranked[0]), _share_of(name)(ranked[-1])
            said = f"{ranked[-1].arm} had {name} in {high:.0%} of its patches, {ranked[0].arm} in {low:.0%}."
            if high - low > SHARE_TOLERANCE and high - low > found.get(name, (0.0, ""))[0]:
                found[name] = (high - low, said)
    return tuple(said for _, said in found.values())


def _on_the_same(costs: Sequence[ArmCost]) -> list[list[ArmCost]]:
    """Trainings that differ in their arm alone."""
    groups: dict[Hashable, list[ArmCost]] = {}
    for cost in costs:
        groups.setdefault((cost.n_annotated, cost.fold, cost.seed), []).append(cost)
    return list(groups.values())


def _classes(costs: Sequence[ArmCost]) -> list[str]:
    """The classes that were counted in all."""
    shared = set.intersection(*(set(cost.class_patch_shares) for cost in costs))
    return [name for name in costs[0].class_patch_shares if name in shared]


def _share_of(class_name: str) -> Callable[[ArmCost], float]:
    return lambda cost: cost.class_patch_shares[class_name]


def _check_lesion_share(group: Sequence[ArmCost]) -> None:
    ranked = sorted(group, key=lambda cost: cost.lesion_patch_share)
    low, high = ranked[0].lesion_patch_share, ranked[-1].lesion_patch_share
    if high - low > SHARE_TOLERANCE:
        _refuse(
            ranked[-1], f"had a lesion in {high:.0%} of its patches", f"about {low:.0%} as {ranked[0].arm}"
        )


def _check_seeds(group: Sequence[ArmCost]) -> None:
    known = [cost for cost in group if cost.first_seed is not None]
    for cost in known[1:]:
        if cost.first_seed != known[0].first_seed:
            _refuse(cost, "began with other weights", f"those of {known[0].arm}")


def _span(shares: Sequence[float]) -> str:
    low, high = f"{min(shares):.0%}", f"{max(shares):.0%}"
    return low if low == high else f"{low} to {high}"


def _refuse(cost: ArmCost, what: str, expected: str) -> None:
    raise TrainingError(
        f"arm {cost.arm} {what}",
        where=f"fold {cost.fold} seed {cost.seed}",
        expected=expected,
        hint="arms are compared only on equal terms",
    )
