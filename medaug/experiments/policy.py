"""Learning an augmentation policy: short trainings on an inner fold of the training patients, scored by Dice.

The patients that will be tested are never seen: the inner fold divides the training patients of the outer one.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, final

import numpy as np
import yaml
from pydantic import Field, JsonValue

from medaug.core.case import Case, Origin
from medaug.core.config import Document, Frozen
from medaug.core.errors import DataError, SplitLeakageError
from medaug.core.runs import Progress, RunDir, open_run
from medaug.core.seeding import SeedTree
from medaug.core.splits import Fold
from medaug.core.storage import storage_error, write_text_atomic
from medaug.core.strata import LESION_FREE, Patient, deal
from medaug.core.volume import Unit
from medaug.experiments.cell import Trained
from medaug.metrics.scoring import dice_by_class
from medaug.transforms.base import LearntConfig, TransformConfig, Tried, parse_transforms

POLICY, POLICY_YAML, TRIALS = "policy.json", "policy.yaml", "trials"
_TRIAL_STEP: Final = "policy trial"


class TrainTrial(Protocol):
    """Trains the task for the short time of a trial."""

    def __call__(
        self, transforms: TransformConfig, cases: Sequence[Case], run: RunDir, seed: SeedTree
    ) -> Trained:
        """Train with that augmentation on these real cases alone; resumes what lies in the run folder."""
        ...


@final
@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """What is learnt, inside which patients.

    Attributes:
        config: The kind of policy, and how long to search.
        unit: Of the images.
        modality: DICOM modality code of the images.
        fold: Its training patients are the only ones that may be looked at.
        cases: Real training cases.
    """

    config: LearntConfig
    unit: Unit
    modality: str
    fold: Fold
    cases: Sequence[Case]


@final
class Trial(Frozen):
    """One short training."""

    parameters: dict[str, float]
    score: float = Field(description="mean over classes of the Dice on the inner held-out patients")
    dice: dict[str, float] = Field(description="mean over patients, of each class that they carry")
    steps: int
    seconds: float


@final
class PolicyReport(Document):
    """``policy.json``: what was tried on which part of the training patients, and what was learnt."""

    kind: str
    complete: bool
    inner_training_patients: int
    inner_held_out_patients: int
    trials: tuple[Trial, ...] = Field(description="the first one is the default")
    best: int | None = Field(description="number of the best trial, from 0; null before the first")
    transforms: dict[str, JsonValue] = Field(
        description="the policy of the best trial, ready for a YAML file"
    )

    @property
    def steps(self) -> int:
        """Optimiser steps of all trials."""
        return sum(trial.steps for trial in self.trials)


@final
@dataclass(frozen=True, slots=True)
class Learnt:
    """The policy, and what it took to learn it.

    Attributes:
        transforms: The augmentation to train with.
        report: Every trial.
    """

    transforms: TransformConfig
    report: PolicyReport


def learn_policy(
    search: Search, train: TrainTrial, run: RunDir, progress: Progress, seed: SeedTree
) -> Learnt:
    """Try policies on an inner fold and keep the best; ``policy.json`` and ``policy.yaml`` are left in the run folder.

    A search that was interrupted goes on with the next trial, and one that is done is not repeated.

    Raises:
        DependencyError: If the package of the search is missing.
        DataError: If too few patients carry a lesion to hold any out.
        SplitLeakageError: If a case is synthetic, or of a patient who is not trained on.
    """
    search.config.check_packages()
    _guard(search)
    inner = inner_fold(search.cases, search.fold, search.config.inner_share, seed.child("inner"))
    path = run.path / POLICY
    report = PolicyReport.read(path) if path.is_file() else _report(search, inner, ())
    total = search.config.trials
    for number in range(len(report.trials), total):
        trial = _attempt(search, inner, report.trials, train, run, seed)
        report = _report(search, inner, (*report.trials, trial))
        report.write(path)
        _remove(run.path / TRIALS)
        progress.say(f"policy trial {number + 1} of {total}: mean Dice {trial.score:.3f} on inner patients")
    if not any(trial.score for trial in report.trials):
        progress.say(
            "no trial found a lesion, so the default is kept: longer trials (steps_share) are needed"
        )
    learnt = Learnt(parse_transforms(report.transforms), report)
    write_text_atomic(run.path / POLICY_YAML, policy_yaml(report))
    return learnt


def _guard(search: Search) -> None:
    """Nothing but real cases of training patients may choose a policy."""
    allowed = set(search.fold.train)
    for case in search.cases:
        if case.origin is not Origin.REAL:
            raise SplitLeakageError("a made case is about to choose a policy", where=case.case_id)
        if case.patient_id not in allowed:
            raise SplitLeakageError(
                f"patient {case.patient_id} is not in the training part of fold {search.fold.index}",
                where=case.case_id,
                hint="a policy is learnt inside the training patients alone",
            )


def inner_fold(cases: Sequence[Case], fold: Fold, share: float, seed: SeedTree) -> Fold:
    """Hold out a share of the training patients, balanced by class; every class can still be trained on.

    Args:
        cases: Labelled cases of training patients.
        fold: The outer fold.
        share: Of the patients.
        seed: Decides who.

    Raises:
        DataError: If nobody with a lesion can be held out.
    """
    strata: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        if case.label_map is not None:
            names, ids = case.label_map.class_names, np.unique(case.label_map.labels)
            strata[case.patient_id].update(names[number - 1] for number in ids if number)
    patients = [Patient(key, frozenset(strata[key] or {LESION_FREE})) for key in sorted(strata)]
    order = seed.rng().permutation(len(patients))
    train, held_out = deal([patients[n] for n in order], [1 - share, share])
    taught = {name for patient in train for name in patient.strata}
    for patient in list(held_out):
        if patient.strata - taught:
            held_out.remove(patient)
            train.append(patient)
            taught |= patient.strata
    if not any(patient.strata - {LESION_FREE} for patient in held_out):
        raise DataError(
            f"{len(patients)} labelled training patients are too few to hold any out for learning a policy",
            hint="annotate more patients, or use classical augmentation",
        )
    return Fold(
        index=fold.index,
        train=tuple(sorted(patient.patient_id for patient in train)),
        held_out=tuple(sorted(patient.patient_id for patient in held_out)),
    )


def _attempt(
    search: Search,
    inner: Fold,
    before: Sequence[Trial],
    train: TrainTrial,
    run: RunDir,
    seed: SeedTree,
) -> Trial:
    tried = [Tried(parameters=trial.parameters, score=trial.score) for trial in before]
    parameters = search.config.propose(tried, search.unit, search.modality, seed)
    transforms = search.config.policy(parameters, search.unit, search.modality)
    allowed = [case for case in search.cases if case.patient_id in inner.train]
    asked = Tried(parameters=parameters, score=0.0)
    with open_run(run.path / TRIALS / f"{len(before):03d}", _TRIAL_STEP, asked, {}) as trial_run:
        # the same first weights and patches in every trial: what differs is the policy
        trained = train(transforms, allowed, trial_run, seed.child("trial"))
        dice = _score(trained, [case for case in search.cases if case.patient_id in inner.held_out])
    return Trial(
        parameters=parameters,
        score=float(np.mean(list(dice.values()))),
        dice=dice,
        steps=trained.optimiser_steps,
        seconds=round(trained.seconds, 2),
    )


def _score(trained: Trained, cases: Sequence[Case]) -> dict[str, float]:
    """Dice of each class, cases averaged inside a patient first."""
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for case in cases:
        if case.label_map is None:
            continue
        scores = dice_by_class(trained.predict(case.volume).label_map, case.label_map)
        for name, dice in zip(case.label_map.class_names, scores, strict=True):
            if dice is not None:
                values[name][case.patient_id].append(dice)
    return {name: _mean_of_means(patients) for name, patients in sorted(values.items())}


def _mean_of_means(values: Mapping[str, Sequence[float]]) -> float:
    return round(float(np.mean([np.mean(own) for own in values.values()])), 6)


def _report(search: Search, inner: Fold, trials: tuple[Trial, ...]) -> PolicyReport:
    # the earliest of those that tie: the default wins unless something is better
    best = max(range(len(trials)), key=lambda n: (trials[n].score, -n)) if trials else None
    chosen: dict[str, JsonValue] = {}
    if best is not None:
        policy = search.config.policy(trials[best].parameters, search.unit, search.modality)
        chosen = policy.model_dump(mode="json", exclude_none=True)
    return PolicyReport(
        kind=search.config.kind,
        complete=len(trials) == search.config.trials,
        inner_training_patients=len(inner.train),
        inner_held_out_patients=len(inner.held_out),
        trials=trials,
        best=best,
        transforms=chosen,
    )


def policy_yaml(report: PolicyReport) -> str:
    """The learnt policy as settings that can be pasted under ``transforms`` of any configuration."""
    trials, best = report.trials, report.best or 0
    head = (
        f"# Learnt by {report.kind}: trial {best + 1} of {len(trials)}, mean Dice {trials[best].score:.3f} on "
        f"{report.inner_held_out_patients} inner patients; the default, trial 1, had {trials[0].score:.3f}.\n"
        "# The best of several trials looks better on the patients that chose it than it is.\n"
    )
    return head + yaml.safe_dump(report.transforms, sort_keys=False, default_flow_style=None, width=110)


def _remove(folder: Path) -> None:
    """The model of a trial has served its purpose."""
    try:
        if folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        raise storage_error(error, folder) from error
