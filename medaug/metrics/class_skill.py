"""How well lesion classes are told apart: AUC, sensitivity and specificity of one class against the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import rankdata

from medaug.core.candidates import ClassSkill, JudgedLesion
from medaug.core.seeding import SeedTree
from medaug.metrics.resampled import Chosen, estimates


@final
@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """Predicted class probabilities of lesions, or of patients.

    Attributes:
        patient_ids: Of every row.
        probabilities: (n, N) of every class.
        answers: (n, N) the most probable class of a lesion; those of all lesions of a patient.
        carried: (n, N) the classes that the row really has.
    """

    patient_ids: tuple[str, ...]
    probabilities: Float[np.ndarray, "n N"]
    answers: Bool[np.ndarray, "n N"]
    carried: Bool[np.ndarray, "n N"]


def of_lesions(lesions: Sequence[JudgedLesion], classes: Sequence[str]) -> Judgement:
    """A row a lesion."""
    probabilities = np.array([one.probabilities for one in lesions], dtype=np.float64)
    return Judgement(
        tuple(one.patient_id for one in lesions),
        probabilities,
        np.eye(len(classes), dtype=bool)[probabilities.argmax(axis=1)],
        np.array([[one.class_name == name for name in classes] for one in lesions]),
    )


def of_patients(rows: Judgement) -> Judgement:
    """A row a patient: the surest of the patient's lesions speaks, class by class."""
    patients = tuple(sorted(set(rows.patient_ids)))
    own = [np.array([one == patient for one in rows.patient_ids]) for patient in patients]
    return Judgement(
        patients,
        np.stack([rows.probabilities[mine].max(axis=0) for mine in own]),
        np.stack([rows.answers[mine].any(axis=0) for mine in own]),
        np.stack([rows.carried[mine].any(axis=0) for mine in own]),
    )


def confusion(rows: Judgement) -> tuple[tuple[int, ...], ...]:
    """How many rows of each class (down) got each answer (across)."""
    table = rows.carried.astype(np.int64).T @ rows.answers.astype(np.int64)
    return tuple(tuple(line) for line in table.tolist())


def auc(scores: Float[np.ndarray, "n"], positive: Bool[np.ndarray, "n"]) -> float:
    """Area under the ROC curve: how often a positive scores above a negative, ties counting half.

    Exact, by the Mann-Whitney U statistic (Hanley and McNeil, Radiology 1982); NaN where one side is empty.
    """
    n, others = int(positive.sum()), int((~positive).sum())
    if not n or not others:
        return float("nan")
    return float((rankdata(scores)[positive].sum() - n * (n + 1) / 2) / (n * others))


def class_skills(rows: Judgement, classes: Sequence[str], seed: SeedTree) -> tuple[ClassSkill, ...]:
    """Every class against the rest, with 95% intervals over patients."""
    return tuple(_skill(rows, n, name, seed.child(name).rng()) for n, name in enumerate(classes))


def _skill(rows: Judgement, number: int, class_name: str, rng: np.random.Generator) -> ClassSkill:
    scores, answered = rows.probabilities[:, number], rows.answers[:, number]
    carried = rows.carried[:, number]

    def figures(chosen: Chosen) -> Float[np.ndarray, "3"]:
        here, said = carried[chosen], answered[chosen]
        return np.array([auc(scores[chosen], here), _share(said[here]), _share(~said[~here])])

    with_it, without = (
        len({one for one, has in zip(rows.patient_ids, carried, strict=True) if has == wanted})
        for wanted in (True, False)
    )
    # of disjoint pairs there are so many, and an area of A puts k of them in order with probability A to the k
    bearing = (min(with_it, without), with_it, without)
    area, sensitivity, specificity = estimates(rows.patient_ids, figures, bearing, rng)
    return ClassSkill(
        class_name=class_name,
        n=int(carried.sum()),
        n_others=int((~carried).sum()),
        auc=area,
        sensitivity=sensitivity,
        specificity=specificity,
    )


def _share(said: Bool[np.ndarray, "n"]) -> float:
    return float(said.mean()) if len(said) else float("nan")
