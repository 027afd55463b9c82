"""Where codes of new lesions are drawn from: the spread of the training lesions' codes, a class and a size at a time.

With a low price on divergence the codes of training lesions do not fill the standard normal, and codes drawn from
that decode to lesions nobody has (the mismatch of Tomczak and Welling, VAE with a VampPrior, AISTATS 2018). Here a
normal distribution is fitted to the posteriors of each class together (the aggregate posterior).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from medaug.engine.checkpoint import State
from medaug.generators._patches.layers import normal

NAMES = ("prior_means", "prior_roots", "prior_growth", "prior_sizes")
_RIDGE = 1e-4
_LITTLE = 0.02  # beside the spread of log size, which is 0.1 or more in a class
_FARTHEST = 2.0  # deviations of log size: beyond, the growth of a code is not known


@final
@dataclass(frozen=True, slots=True, eq=False)
class Prior:
    """A normal distribution of codes for each class, whose mean moves with the size of the lesion.

    Attributes:
        means: (K, Z) of lesions of the class's middle size.
        roots: (K, Z, Z) lower triangular: square roots of the covariances.
        growth: (Z,) change of the mean for one more in the logarithm of the voxels; the same for all classes.
        sizes: (K, 2) mean and deviation of the logarithm of the voxels.
    """

    means: Float[Tensor, "K Z"]
    roots: Float[Tensor, "K Z Z"]
    growth: Float[Tensor, " Z"]
    sizes: Float[Tensor, "K 2"]

    def draw(self, class_index: int, log_size: float, rng: np.random.Generator) -> Float[Tensor, "1 Z"]:
        """The code of a new lesion of a class, of about so many voxels."""
        middle, deviation = (float(v) for v in self.sizes[class_index])
        larger = float(np.clip(log_size - middle, -_FARTHEST * deviation, _FARTHEST * deviation))
        spread = normal((1, self.means.shape[1]), rng) @ self.roots[class_index].T
        return self.means[class_index] + larger * self.growth + spread

    @property
    def state(self) -> State:
        """As it is saved."""
        return dict(zip(NAMES, (self.means, self.roots, self.growth, self.sizes), strict=True))


@final
@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """What the encoder says of the training patches.

    Attributes:
        means: (N, Z) of each posterior.
        variances: (N, Z) of each posterior.
        log_sizes: (N,) logarithm of the voxels of the lesion.
        class_index: (N,) index into the class table.
        shares: (N,) weight within the class; the weights of a class add up to 1.
    """

    means: Float[Tensor, "N Z"]
    variances: Float[Tensor, "N Z"]
    log_sizes: Float[Tensor, " N"]
    class_index: Int[Tensor, " N"]
    shares: Float[Tensor, " N"]


def fit_prior(codes: Codes, classes: int) -> Prior:
    """The prior of a class table; a class of few lesions borrows its covariance from the others.

    The covariance of a class of n (effective) lesions counts n / (n + Z) beside that of all classes, for codes of
    length Z (a shrunk estimate, as in Friedman, Regularized discriminant analysis, JASA 1989).
    """
    weight = codes.shares.double()
    rows = [codes.class_index == number for number in range(classes)]
    z, size = codes.means.double(), codes.log_sizes.double()
    centres = torch.stack([weight[own] @ z[own] / weight[own].sum() for own in rows])
    middles = torch.stack([weight[own] @ size[own] / weight[own].sum() for own in rows])
    apart, larger = z - centres[codes.class_index], size - middles[codes.class_index]
    growth = (weight * larger) @ apart / ((weight * larger) @ larger + _LITTLE)
    rest = apart - larger[:, None] * growth
    own_spread, strength, deviations = [], [], []
    for own in rows:
        share = weight[own] / weight[own].sum()
        own_spread.append(_covariance(rest[own], codes.variances[own].double(), share))
        strength.append(float(1 / share.square().sum()))
        deviations.append((share @ larger[own].square()).sqrt())
    pooled = torch.stack(own_spread).mean(dim=0)
    length = z.shape[1]
    roots = [
        torch.linalg.cholesky(torch.lerp(pooled, spread, n / (n + length)))
        for spread, n in zip(own_spread, strength, strict=True)
    ]
    sizes = torch.stack([middles, torch.stack(deviations)], dim=1)
    return Prior(centres.float(), torch.stack(roots).float(), growth.float(), sizes.float())


def _covariance(rest: Tensor, variances: Tensor, share: Tensor) -> Float[Tensor, "Z Z"]:
    """Of the means about theirs, and of the posteriors about their means."""
    inner = torch.diag(share @ variances + _RIDGE)
    return rest.T @ (share[:, None] * rest) + inner
