"""Is the class that was asked for the class that a classifier sees, trained on real lesions of other patients?

An assessment asks a classifier that learnt on the HELD-OUT real lesions: it cannot know what a generator copied from
its training patients by heart, and the training patients' own lesions, which it has not seen either, show how well it
does on real ones. It learns on fewer lesions than there are, but no worse for the one side than for the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from medaug.core.seeding import SeedTree
from medaug.quality.features import Features, Standardiser
from medaug.quality.looks import Looks
from medaug.quality.networks import Training, train_judge
from medaug.quality.resampling import DRAWS, Estimate, estimate, patient_weights, weighted_mean
from medaug.quality.samples import LesionSample, figures_of

_FEWEST = 4  # lesions, and half as many patients, from which a class can be learnt
_PENALTY = 0.02
_ITERATIONS = 200


@final
class Logistic:
    """Multinomial logistic regression on standardised features, classes weighing the same, with an L2 penalty.

    Attributes:
        scale: Standardises the features.
        weights: (F + 1, O), the last row the offsets.
    """

    def __init__(self, features: Features, classes: Int[np.ndarray, " N"], penalty: float = _PENALTY) -> None:
        self.scale = Standardiser.fitted_on(features)
        inputs = torch.from_numpy(_padded(self.scale.apply(features)))
        target = torch.as_tensor(classes)
        counts = torch.bincount(target).double()
        share = (1.0 / counts)[target] / len(counts)
        weights = torch.zeros(inputs.shape[1], len(counts), dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.LBFGS([weights], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimiser.zero_grad()
            told = torch.log_softmax(inputs @ weights, dim=1)[torch.arange(len(target)), target]
            loss = -(share * told).sum() + penalty * weights[:-1].square().sum()
            loss.backward()
            return loss

        optimiser.step(closure)
        self.weights = weights.detach()

    def probabilities(self, features: Float[np.ndarray, "M F"]) -> Float[np.ndarray, "M O"]:
        """Probability of each class."""
        inputs = torch.from_numpy(_padded(self.scale.apply(features)))
        return torch.softmax(inputs @ self.weights, dim=1).numpy()


def _padded(features: Features) -> Float[np.ndarray, "N G"]:
    return np.hstack([features, np.ones((len(features), 1))])


@final
class ClassReader:
    """Tells the classes of lesions by their radiological features.

    Args:
        learnt: Real lesions. A class with fewer than 4 of them, or of one patient, is not known.
    """

    def __init__(self, learnt: Sequence[LesionSample]) -> None:
        names = sorted({sample.class_name for sample in learnt})
        self.classes = tuple(name for name in names if _can_be_learnt(learnt, name))
        known = [sample for sample in learnt if sample.class_name in self.classes]
        numbers = np.asarray([self.classes.index(sample.class_name) for sample in known], dtype=np.int64)
        self._logistic = Logistic(figures_of(known), numbers) if len(self.classes) > 1 else None

    def probabilities(self, samples: Sequence[LesionSample]) -> Float[np.ndarray, "N O"]:
        """Probability of each class that is known; no column where there are not two."""
        if self._logistic is None or not samples:
            return np.zeros((len(samples), 0))
        return self._logistic.probabilities(figures_of(samples))

    def recovered(
        self, samples: Sequence[LesionSample]
    ) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
        """Whether a lesion's own class is the likeliest (1 or 0), and its probability; NaN where it is not known."""
        told = self.probabilities(samples)
        right, own = np.full(len(samples), np.nan), np.full(len(samples), np.nan)
        for row, sample in enumerate(samples):
            if told.shape[1] and sample.class_name in self.classes:
                column = self.classes.index(sample.class_name)
                right[row], own[row] = float(told[row].argmax() == column), told[row, column]
        return right, own


def _can_be_learnt(samples: Sequence[LesionSample], name: str) -> bool:
    owners = [sample.patient_id for sample in samples if sample.class_name == name]
    return len(owners) >= _FEWEST and len(set(owners)) >= _FEWEST // 2


def lesion_inputs(looks: Looks) -> Float[Tensor, "N C *S"]:
    """What a network sees of lesions: image, mask, and the image inside the mask."""
    images = torch.from_numpy(looks.images)
    masks = torch.from_numpy(looks.masks.astype(np.float32))[:, None]
    return torch.cat([images, masks, images * masks], dim=1)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Opinions:
    """What two classifiers say of lesions: probabilities of each class."""

    network: Float[np.ndarray, "N O"]
    features: Float[np.ndarray, "N O"]


@final
class ClassJudge:
    """A network on image and mask, and a regression on radiological features, both trained on the same lesions.

    Args:
        real: Real lesions to learn from.
        seed: Root of all randomness.
        training: Of the network.
    """

    def __init__(self, real: Looks, seed: SeedTree, training: Training | None = None) -> None:
        self._network = train_judge(lesion_inputs(real), real.class_index, training or Training(), seed)
        self._features = Logistic(real.features, real.class_index)

    def opinions(self, looks: Looks) -> Opinions:
        """Their opinions on lesions."""
        return Opinions(
            self._network.probabilities(lesion_inputs(looks)), self._features.probabilities(looks.features)
        )


def balanced_accuracy(
    right: Float[np.ndarray, " N"], classes: Int[np.ndarray, " N"], weights: Float[np.ndarray, "D N"]
) -> Float[np.ndarray, " D"]:
    """Mean over classes of the weighted share that is right, for each row of weights; classes not drawn left out."""
    shares = []
    for number in np.unique(classes):
        here = classes == number
        shares.append(weighted_mean(right[here], weights[:, here]))
    return np.asarray(np.nanmean(np.stack(shares), axis=0))


@final
@dataclass(frozen=True, slots=True)
class Recovered:
    """Balanced accuracies on made and on real lesions of the same patients, and their ratio."""

    made: Estimate
    real: Estimate
    ratio: Estimate
    by_class: tuple[float, ...]


def compare_recovery(
    made: tuple[Float[np.ndarray, "N O"], Looks], real: tuple[Float[np.ndarray, "M O"], Looks], seed: SeedTree
) -> Recovered:
    """Balanced accuracy on made lesions over that on real ones, with patients drawn for intervals.

    Args:
        made: Opinions on made lesions, and these; their class is the one asked for.
        real: The same of real lesions that the classifier has not seen.
        seed: Root of the draws.
    """
    parts = [_scored(*pair, seed.child(number)) for number, pair in enumerate((made, real))]
    ratio = parts[0] / np.maximum(parts[1], 1e-9)
    ours, theirs, ratios = (estimate(float(part[0]), part[1:]) for part in (*parts, ratio))
    classes = made[1].class_index
    right = made[0].argmax(axis=1) == classes
    return Recovered(
        ours, theirs, ratios, tuple(float(right[classes == c].mean()) for c in np.unique(classes))
    )


def _scored(opinion: Float[np.ndarray, "N O"], looks: Looks, seed: SeedTree) -> Float[np.ndarray, " D"]:
    """Balanced accuracy of all lesions, then of each draw of patients."""
    right = (opinion.argmax(axis=1) == looks.class_index).astype(np.float64)
    weights = patient_weights(looks.patients, seed.rng(), DRAWS)
    return balanced_accuracy(right, looks.class_index, np.vstack([np.ones((1, len(looks))), weights]))
