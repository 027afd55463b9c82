"""Is the class that was asked for the class that a classifier sees, trained on real lesions of other patients?"""

from __future__ import annotations

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
