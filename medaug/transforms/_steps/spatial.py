"""Steps of geometry: parameters in mm and degrees, so that an anisotropic patch turns as the patient would."""

from __future__ import annotations

import math
from typing import Literal, Self, final

import numpy as np
from jaxtyping import Float64
from pydantic import Field

from medaug.transforms._steps.step import Facts, Matrix, SpatialStep

Three = tuple[float, float, float]
# A cubic B-spline field is a bijection where no control point moves more than this share of a cell
# (Choi and Lee, Graphical Models 62, 2000: 1 / 2.046 in 2D, 1 / 2.479 in 3D)
_FOLDING_FREE = {2: 0.48, 3: 0.40}


def _affine(linear: Float64[np.ndarray, "D D"]) -> Matrix:
    matrix = np.eye(len(linear) + 1)
    matrix[:-1, :-1] = linear
    return matrix


def _signed(rng: np.random.Generator, limit: float) -> float:
    return float(rng.uniform(-limit, limit))


@final
class Flip(SpatialStep):
    """Mirror along axes; at any magnitude above 0 each allowed axis is mirrored with probability one half."""

    kind: Literal["flip"] = "flip"
    axes: tuple[int, ...] = Field(description="axes I, J, K that are mirrored")

    @classmethod
    def draw(cls, magnitude: float, rng: np.random.Generator, facts: Facts) -> Self:
        """Any of the first two axes: left-right and front-back; K keeps head and feet apart."""
        chosen = rng.random(2) < 0.5
        return cls(axes=tuple(axis for axis in range(2) if chosen[axis] and magnitude > 0))

    def pull_back(self, facts: Facts) -> Matrix:
        """Minus one along the mirrored axes."""
        return _affine(np.diag([-1.0 if axis in self.axes else 1.0 for axis in range(facts.dims)]))


@final
class Rotate(SpatialStep):
    """Turn about the middle; 1 = 30 degrees in-plane and, in 3D, 15 degrees out of it."""

    kind: Literal["rotate"] = "rotate"
    angles_deg: Three = Field(description="about the axes I, J, K; 2D turns about K alone")

    @classmethod
    def draw(cls, magnitude: float, rng: np.random.Generator, facts: Facts) -> Self:
        """Uniform within the limits; out of plane in 3D alone."""
        tilt = 15.0 * magnitude if facts.dims == 3 else 0.0
        return cls(angles_deg=(_signed(rng, tilt), _signed(rng, tilt), _signed(rng, 30.0 * magnitude)))

    def pull_back(self, facts: Facts) -> Matrix:
        """The inverse of turning about I, then J, then K."""
        a, b, c = (math.radians(angle) for angle in self.angles_deg)
        about_k = np.array([[math.cos(c), -math.sin(c), 0], [math.sin(c), math.cos(c), 0], [0, 0, 1.0]])
        if facts.dims == 2:
            return _affine(about_k[:2, :2].T)
        about_j = np.array([[math.cos(b), 0, math.sin(b)], [0, 1.0, 0], [-math.sin(b), 0, math.cos(b)]])
        about_i = np.array([[1.0, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]])
        return _affine((about_k @ about_j @ about_i).T)


@final
class Scale(SpatialStep):
    """Grow or shrink; 1 = by up to 1.4, all axes together and each by up to 1.1 beside."""

    kind: Literal["scale"] = "scale"
    factors: Three = Field(description="along I, J, K; above 1 grows what is shown")

    @classmethod
    def draw(cls, magnitude: float, rng: np.random.Generator, facts: Facts) -> Self:
        """Uniform in the logarithm, so that growing and shrinking are alike."""
        together = _signed(rng, math.log(1.4) * magnitude)
        own = [_signed(rng, math.log(1.1) * magnitude) for _ in range(3)]
        return cls(
            factors=(math.exp(together + own[0]), math.exp(together + own[1]), math.exp(together + own[2]))
        )

    def pull_back(self, facts: Facts) -> Matrix:
        """One over the factors."""
        return _affine(np.diag([1 / factor for factor in self.factors[: facts.dims]]))


@final
class Shear(SpatialStep):
    """Slide planes along each other; 1 = by up to 0.2 mm a mm in each direction in 2D, 0.067 in 3D, where there are six."""

    kind: Literal["shear"] = "shear"
    amounts: tuple[float, ...] = Field(description="the off-diagonal elements, row by row: 2 in 2D, 6 in 3D")

    @classmethod
    def draw(cls, magnitude: float, rng: np.random.Generator, facts: Facts) -> Self:
        """Uniform within the limit, shared out over the directions."""
        count = facts.dims * (facts.dims - 1)
        return cls(amounts=tuple(_signed(rng, 0.4 * magnitude / count) for _ in range(count)))

    def pull_back(self, facts: Facts) -> Matrix:
        """The inverse of the sheared axes."""
        linear = np.eye(facts.dims)
        linear[~np.eye(facts.dims, dtype=bool)] = self.amounts
        return _affine(np.linalg.inv(linear))


@final
class Translate(SpatialStep):
    """Shift; 1 = by up to a fifth of the patch along each axis."""

    kind: Literal["translate"] = "translate"
    shift_mm: Three

    @classmethod
    def draw(cls, magnitude: float, rng: np.random.Generator, facts: Facts) -> Self:
        """Uniform within the limit."""
        extent = [n * s for n, s in zip(facts.shape, facts.spacing_mm, strict=True)] + [0.0]
        i, j, k = (_signed(rng, 0.2 * magnitude * size) for size in extent[:3])
        return cls(shift_mm=(i, j, k))

    def pull_back(self, facts: Facts) -> Matrix:
        """Back by the shift."""
        matrix = np.eye(facts.dims + 1)
        matrix[:-1, -1] = [-shift for shift in self.shift_mm[: facts.dims]]
        return matrix


@final
class Crop(SpatialStep):
    """Cut a window out, by whole voxels; what lies outside is padded. 1 = of the same size, an eighth of it aside at most.

    The random crop of a padded image (He et al., CVPR 2016). Nothing is interpolated where no other geometry comes with it.
    """

    kind: Literal["crop"] = "crop"
    size: tuple[int, ...] = Field(description="of the window in voxels; the same for all patches of a batch")
    start: tuple[int, ...] = Field(
        description="voxel of the input at which the window begins; may lie outside"
    )

    @classmethod
    def draw(cls, magnitude: float, rng: np.random.Generator, facts: Facts) -> Self:
        """A shift of whole voxels, uniform within the limit."""
        start = tuple(round(_signed(rng, n / 8 * magnitude)) for n in facts.shape)
        return cls(size=facts.shape, start=start)

    @classmethod
    def anywhere(cls, size: tuple[int, ...], rng: np.random.Generator, facts: Facts) -> Self:
        """A window of that size anywhere inside, or around, all places alike."""
        room = [n - wanted for n, wanted in zip(facts.shape, size, strict=True)]
        start = tuple(int(rng.integers(min(left, 0), max(left, 0), endpoint=True)) for left in room)
        return cls(size=size, start=start)

    def pull_back(self, facts: Facts) -> Matrix:
        """The way from the middle of the patch to that of the window."""
        matrix = np.eye(facts.dims + 1)
        whole = zip(self.start, self.size, facts.shape, facts.spacing_mm, strict=True)
        matrix[:-1, -1] = [(first + (count - n) / 2) * step_mm for first, count, n, step_mm in whole]
        return matrix


@final
class Permute(SpatialStep):
    """Exchange axes of equal size and spacing (quarter turns and mirror images of them)."""

    kind: Literal["permute"] = "permute"
    order: tuple[int, ...] = Field(description="order[n] is the input axis that output axis n shows")

    @classmethod
    def draw(cls, magnitude: float, rng: np.random.Generator, facts: Facts) -> Self:
        """Any order among the axes that agree in size and spacing with each other."""
        order = np.arange(facts.dims)
        kinds = [(n, round(s, 4)) for n, s in zip(facts.shape, facts.spacing_mm, strict=True)]
        for kind in sorted(set(kinds)):
            alike = np.flatnonzero([one == kind for one in kinds])
            order[alike] = alike[rng.permutation(len(alike))] if magnitude > 0 else alike
        return cls(order=tuple(int(axis) for axis in order))

    def pull_back(self, facts: Facts) -> Matrix:
        """A permutation matrix."""
        linear = np.zeros((facts.dims, facts.dims))
        linear[list(self.order), np.arange(facts.dims)] = 1.0
        return _affine(linear)


@final
class Perspective(SpatialStep):
    """Look at a 2D image from the side; 1 = opposite edges scale by up to 1.25 against each other. Nothing in 3D."""

    kind: Literal["perspective"] = "perspective"
    slant: tuple[float, float] = Field(
        description="change of scale from the middle to the edge, along I and J"
    )

    @classmethod
    def draw(cls, magnitude: float, rng: np.random.Generator, facts: Facts) -> Self:
        """Uniform within the limit."""
        limit = 0.11 * magnitude if facts.dims == 2 else 0.0
        return cls(slant=(_signed(rng, limit), _signed(rng, limit)))

    def pull_back(self, facts: Facts) -> Matrix:
        """A last row that grows towards one edge."""
        matrix = np.eye(facts.dims + 1)
        if facts.dims == 2:
            half = [max(n - 1, 1) * s / 2 for n, s in zip(facts.shape, facts.spacing_mm, strict=True)]
            matrix[-1, :2] = [slant / size for slant, size in zip(self.slant, half, strict=True)]
        return matrix


@final
class Elastic(SpatialStep):
    """Deform smoothly; 1 = control points move by up to the bound below which nothing folds.

    The displacement is a cubic B-spline on a coarse lattice (Rueckert et al., IEEE TMI 18, 1999), folding-free by
    construction (Choi and Lee, Graphical Models 62, 2000).
    """

    kind: Literal["elastic"] = "elastic"
    cells: tuple[int, ...] = Field(description="cells of the lattice along each axis")
    share: float = Field(ge=0, le=1, description="of the folding-free bound")
    seed: int = Field(ge=0, description="of the displacements")

    @classmethod
    def draw(cls, magnitude: float, rng: np.random.Generator, facts: Facts) -> Self:
        """About five cells along the longest side, cells of equal size in mm, at least one an axis."""
        extent = [n * s for n, s in zip(facts.shape, facts.spacing_mm, strict=True)]
        cell_mm = max(extent) / 5
        cells = tuple(max(1, round(size / cell_mm)) for size in extent)
        return cls(cells=cells, share=magnitude, seed=int(rng.integers(1 << 62)))

    def control(self, facts: Facts) -> Float64[np.ndarray, "D *M"] | None:
        """Uniform displacements in mm; an axis of one voxel does not move."""
        if self.share == 0:
            return None
        points = tuple(cells + 3 for cells in self.cells)
        rng = np.random.default_rng(self.seed)
        field = rng.uniform(-1, 1, (facts.dims, *points)) * self.share * _FOLDING_FREE[facts.dims]
        for axis, (n, spacing, cells) in enumerate(
            zip(facts.shape, facts.spacing_mm, self.cells, strict=True)
        ):
            field[axis] *= (n - 1) * spacing / cells
        return np.asarray(field)
