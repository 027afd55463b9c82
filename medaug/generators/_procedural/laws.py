"""How the figures of a class's lesions vary: with size, with the tissue around, with each other, and by chance.

The figures ``y`` of a lesion (all channels in one vector, see ``figures``) follow

    y = a + B x + L e,    e standard normal,

with ``x`` the logarithm of the diameter and the median of the tissue around the lesion (a channel each), standardised
over the class. ``B`` is a ridge estimate (slopes shrink to none), so that the anchor decides where little is known:
levels are absolute (anchor 0) where units mean the same in every scan, as HU do, and contrasts to the tissue around
(anchor 1) elsewhere. ``L L'`` is the covariance of the rest, shrunk to that of all classes together and to its
diagonal as far as lesions are few (after Ledoit and Wolf, J Multivar Anal 2004, with a fixed prior weight). Every
patient weighs the same. Drawn figures stay within what the class has shown, give or take a share of its range.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, final

import numpy as np
from jaxtyping import Float
from pydantic import Field

from medaug.core.config import Document, Frozen
from medaug.generators._procedural.figures import COUNT, LEVEL, Measured

_RIDGE = 2.0  # lesions' worth of belief that a figure depends on nothing
_PRIOR = 4.0  # lesions' worth of belief that a class varies as all do
_FLOOR = 1e-3
_FARTHEST = 2.5  # deviations of size or tissue beyond which the law is not followed
_SLACK = 0.1

Row = tuple[float, ...]


@final
class ClassLaw(Frozen):
    """The law of one class; rows are figures, channel by channel."""

    class_name: str
    lesions: int = Field(ge=1)
    patients: int = Field(ge=1)
    diameter_mm: tuple[float, float] = Field(description="smallest and largest learnt from")
    middle: Row = Field(description="mean of x")
    width: Row = Field(description="deviation of x")
    intercept: Row = Field(description="a")
    slopes: tuple[Row, ...] = Field(description="B")
    spread: tuple[Row, ...] = Field(description="L")
    low: Row = Field(description="smallest value of each figure that is drawn")
    high: Row
    correlation: tuple[Row, ...] = Field(description="of the texture between channels")

    def draw(
        self, diameter_mm: float, around: Float[np.ndarray, " C"], chance: Float[np.ndarray, " F"]
    ) -> Float[np.ndarray, "C 9"]:
        """Figures of a new lesion, ``level`` still anchored.

        Args:
            diameter_mm: Of the lesion; beyond the learnt sizes the nearest counts.
            around: Median of the host's tissue around it.
            chance: Standard normal.
        """
        size = float(np.clip(diameter_mm, *self.diameter_mm))
        x = np.concatenate([[np.log(size)], around])
        x = np.clip((x - np.array(self.middle)) / np.array(self.width), -_FARTHEST, _FARTHEST)
        y = np.array(self.intercept) + np.array(self.slopes) @ x + np.array(self.spread) @ chance
        return np.asarray(np.clip(y, self.low, self.high).reshape(-1, COUNT))


@final
class Laws(Document):
    """``laws.json``: all that a trained ``procedural`` generator knows; no voxels of anybody."""

    anchor: Literal[0, 1] = Field(description="1: levels are contrasts to the tissue around")
    channels: int = Field(ge=1)
    classes: tuple[ClassLaw, ...] = Field(min_length=1)

    def of(self, class_name: str) -> ClassLaw | None:
        """The law of a class; None where it is not known."""
        return next((law for law in self.classes if law.class_name == class_name), None)


@final
class Sample(Frozen):
    """The lesion that was measured."""

    class_name: str
    patient_id: str
    diameter_mm: float


def fit_laws(samples: Sequence[Sample], measured: Sequence[Measured], *, anchored: bool) -> Laws:
    """The laws of all classes among the samples, in order of their first lesion.

    Args:
        samples: Whose lesions they are; at least one.
        measured: Their figures.
        anchored: Whether levels are contrasts to the tissue around.
    """
    figures = np.stack([_vector(m, anchored=anchored) for m in measured])
    predictors = np.stack(
        [np.concatenate([[np.log(s.diameter_mm)], m.around]) for s, m in zip(samples, measured, strict=True)]
    )
    correlations = np.stack([m.correlation for m in measured])
    own = []
    for name in dict.fromkeys(sample.class_name for sample in samples):
        rows = np.array([n for n, sample in enumerate(samples) if sample.class_name == name])
        lesions = tuple(samples[n] for n in rows)
        own.append(_Lesions(lesions, predictors[rows], figures[rows], correlations[rows]))
    pooled = sum(lesions.scatter for lesions in own) / len(samples)
    laws = tuple(lesions.law(np.asarray(pooled)) for lesions in own)
    return Laws(anchor=1 if anchored else 0, channels=len(measured[0].figures), classes=laws)


@final
class _Lesions:
    """The lesions of one class, and how their figures follow from size and tissue."""

    def __init__(
        self,
        samples: Sequence[Sample],
        predictors: Float[np.ndarray, "N P"],
        figures: Float[np.ndarray, "N F"],
        correlations: Float[np.ndarray, "N C C"],
    ) -> None:
        self._samples, self._figures, self._correlations = samples, figures, correlations
        self._weights = _weights([sample.patient_id for sample in samples])
        *self._line, rest = _regress(predictors, figures, self._weights)
        self.scatter: Float[np.ndarray, "F F"] = (rest.T * self._weights) @ rest

    def law(self, pooled: Float[np.ndarray, "F F"]) -> ClassLaw:
        """Their law; ``pooled`` is the covariance of the rest over all classes."""
        own, count = self._figures, len(self._figures)
        sizes = [sample.diameter_mm for sample in self._samples]
        middle, width, intercept, slopes = self._line
        covariance = (self.scatter + _PRIOR * pooled) / (count + _PRIOR)
        slack = _SLACK * np.ptp(own, axis=0) + np.sqrt(np.diag(pooled)) / count
        return ClassLaw(
            class_name=self._samples[0].class_name,
            lesions=count,
            patients=len({sample.patient_id for sample in self._samples}),
            diameter_mm=(min(sizes), max(sizes)),
            middle=_row(middle),
            width=_row(width),
            intercept=_row(intercept),
            slopes=_table(slopes),
            spread=_table(_root(covariance, count)),
            low=_row(own.min(axis=0) - slack),
            high=_row(own.max(axis=0) + slack),
            correlation=_table(np.average(self._correlations, axis=0, weights=self._weights)),
        )


def _vector(measured: Measured, *, anchored: bool) -> Float[np.ndarray, " F"]:
    figures = measured.figures.copy()
    if anchored:
        figures[:, LEVEL] -= measured.around
    return figures.ravel()


def _weights(patients: Sequence[str]) -> Float[np.ndarray, " N"]:
    """One for each lesion on average, the same in sum for each patient."""
    own = np.array([1.0 / patients.count(patient) for patient in patients])
    return np.asarray(own * len(own) / own.sum())


def _regress(
    x: Float[np.ndarray, "N P"], y: Float[np.ndarray, "N F"], weights: Float[np.ndarray, " N"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean and width of x, intercept, ridge slopes, and the rest."""
    middle = np.average(x, axis=0, weights=weights)
    width = np.sqrt(np.average((x - middle) ** 2, axis=0, weights=weights)) + _FLOOR
    standard = (x - middle) / width
    intercept = np.average(y, axis=0, weights=weights)
    normal = (standard.T * weights) @ standard + _RIDGE * np.eye(x.shape[1])
    slopes = np.linalg.solve(normal, (standard.T * weights) @ (y - intercept)).T
    return middle, width, intercept, slopes, y - intercept - standard @ slopes.T


def _root(covariance: Float[np.ndarray, "F F"], lesions: int) -> Float[np.ndarray, "F F"]:
    """Cholesky factor of the covariance, its off-diagonal shrunk as far as lesions are few."""
    kept = lesions / (lesions + len(covariance))
    own = np.diag(covariance) + _FLOOR**2
    return np.asarray(np.linalg.cholesky(kept * covariance + np.diag(own - kept * np.diag(covariance))))


def _row(values: np.ndarray) -> Row:
    return tuple(round(float(value), 6) for value in values)


def _table(values: np.ndarray) -> tuple[Row, ...]:
    return tuple(_row(row) for row in values)
