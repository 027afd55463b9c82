"""What lies in a ball of an image, as coefficients of rings times harmonics: one definition for discs and balls.

The angular functions of degree l are the polynomials of degree l on the sphere that are orthogonal to those of lower
degree: circular harmonics in the plane, spherical ones in space. Products of the coefficients of two rings, summed
over the functions of one degree, stay as they are when the ball is turned or mirrored or its grey values inverted
(Kazhdan et al., Symposium on Geometry Processing 2003; Bartok et al., Phys. Rev. B 87:184115, 2013).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cache
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

_REFERENCE_POINTS, _TURNED_POINTS = 4000, 160
_GAUSS_SHARE = 0.55
_RING_OFFSET, _RING_WIDTH = 0.3, 0.6
_EDGE = 0.35
_SMALL_TURN_RAD = math.radians(22.0)

Angular = list[Float[np.ndarray, "n m"]]
Pieces = tuple[tuple[Float[np.ndarray, "l k"], Float[np.ndarray, "k m"]], ...]


def angular_functions(directions: Float[np.ndarray, "n d"], degree: int) -> Angular:
    """Orthonormal angular functions of degrees 0..degree at unit directions, a block a degree."""
    dims = directions.shape[1]
    blocks: Angular = []
    below: list[Float[np.ndarray, "n m"]] = []
    for order, (weights, turn) in enumerate(_orthonormal(dims, degree)):
        found = _monomials(directions, order)
        if order >= 2:
            found = found - below[order - 2] @ weights
        blocks.append(found @ turn)
        below.append(
            blocks[order] if order < 2 else np.concatenate([below[order - 2], blocks[order]], axis=1)
        )
    return blocks


@cache
def _orthonormal(dims: int, degree: int) -> Pieces:
    """For each degree: what monomials hold of lower degrees, and what makes the rest orthonormal."""
    reference = _sphere(dims)
    pieces: list[tuple[Float[np.ndarray, "l k"], Float[np.ndarray, "k m"]]] = []
    below: list[np.ndarray] = []
    for order in range(degree + 1):
        found: np.ndarray = _monomials(reference, order)
        lower = below[order - 2] if order >= 2 else found[:, :0]
        # on the sphere r = 1, so a polynomial of degree l holds those of l - 2, l - 4, ... too
        weights = lower.T @ found / len(reference)
        found = found - lower @ weights
        sizes, vectors = np.linalg.eigh(found.T @ found / len(reference))
        kept = sizes > 1e-4 * sizes[-1]
        turn = vectors[:, kept] / np.sqrt(sizes[kept])
        pieces.append((weights, turn))
        below.append(np.concatenate([lower, found @ turn], axis=1))
    return tuple(pieces)


def _sphere(dims: int) -> Float[np.ndarray, "r d"]:
    """Evenly spread directions: a circle, or a Fibonacci sphere."""
    steps = np.arange(_REFERENCE_POINTS) + 0.5
    if dims == 2:
        angles = 2.0 * np.pi * steps / _REFERENCE_POINTS
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)
    heights = 1.0 - 2.0 * steps / _REFERENCE_POINTS
    angles = np.asarray(np.pi * (1.0 + math.sqrt(5.0)) * steps, dtype=np.float64)
    radii = np.sqrt(1.0 - heights**2)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles), heights], axis=1)


def _monomials(points: Float[np.ndarray, "n d"], order: int) -> Float[np.ndarray, "n m"]:
    dims = points.shape[1]
    powers = [np.ones_like(points)]
    for _ in range(order):
        powers.append(powers[-1] * points)
    chosen = [p for p in itertools.product(range(order + 1), repeat=dims) if sum(p) == order]
    return np.stack([math.prod(powers[p][:, axis] for axis, p in enumerate(each)) for each in chosen], axis=1)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Balls:
    """Rings times harmonics in a Gaussian-windowed ball.

    Attributes:
        dims: 2 or 3.
        rings: Number of rings.
        reach: From the middle to the farthest voxel along an axis.
        voxels: (P, d) of the ball, from its middle.
        kernels: (P, B) the value of each there, ordered by degree, ring, function.
        counts: Angular functions of each degree.
    """

    dims: int
    rings: int
    reach: int
    voxels: Tensor
    kernels: Tensor
    counts: tuple[int, ...]

    @staticmethod
    def of(dims: int, radius: float, rings: int, degree: int) -> Balls:
        """Kernels of one radius, in voxels."""
        reach = math.ceil(radius)
        axis = np.arange(-reach, reach + 1, dtype=np.float64)
        points = np.stack(np.meshgrid(*[axis] * dims, indexing="ij"), axis=-1).reshape(-1, dims)
        distance = np.linalg.norm(points, axis=1)
        inside = distance < radius + 0.5
        points, distance = points[inside], distance[inside]
        angular = angular_functions(points / np.maximum(distance, 1e-9)[:, None], degree)
        window = np.clip(radius + 0.5 - distance, 0.0, 1.0) * np.exp(
            -0.5 * (distance / (_GAUSS_SHARE * radius)) ** 2
        )
        kernels = []
        for order, functions in enumerate(angular):
            for ring in range(rings):
                middle = (ring + _RING_OFFSET) / rings * radius
                shell = np.exp(-0.5 * ((distance - middle) / (radius / rings * _RING_WIDTH)) ** 2) * window
                if order:
                    shell = shell * distance / (distance + order * _EDGE)
                kernel = functions * shell[:, None]
                # on a grid, even functions of high degree hold a little of the mean too
                kernel = kernel - window[:, None] * (kernel.sum(axis=0) / window.sum())
                kernels.append(kernel / math.sqrt(float((kernel**2).sum(axis=0).mean()) + 1e-12))
        stack = torch.as_tensor(np.concatenate(kernels, axis=1), dtype=torch.float32)
        counts = tuple(functions.shape[1] for functions in angular)
        return Balls(dims, rings, reach, torch.as_tensor(points, dtype=torch.int64), stack, counts)

    def coefficients(self, tiles: Tensor, inset: int, stride: int) -> Tensor:
        """(N, C, *S) tiles to (N, W, C, B) coefficients of the balls at inset, inset + stride, ... along each axis."""
        n, channels = tiles.shape[:2]
        flat = tiles.reshape(n * channels, 1, *tiles.shape[2:])
        margin = self.reach - inset
        if margin > 0:
            flat = functional.pad(flat, [margin] * 2 * self.dims, mode="replicate")
        elif margin < 0:
            flat = flat[(slice(None), slice(None), *[slice(-margin, margin)] * self.dims)]
        side = flat.shape[-1]
        axis = torch.arange(self.reach, side - self.reach, stride)
        middles = torch.stack(torch.meshgrid(*[axis] * self.dims, indexing="ij"), dim=-1).flatten(0, -2)
        steps = side ** torch.arange(self.dims - 1, -1, -1)
        near = (middles * steps).sum(dim=1)[:, None] + (self.voxels * steps).sum(dim=1)
        # a product of matrices: convolutions of one channel with large kernels are slow
        balls = flat.flatten(1).index_select(1, near.flatten()).reshape(n, channels, *near.shape)
        return (balls @ self.kernels).transpose(1, 2)

    def invariants(self, coefficients: Tensor) -> Tensor:
        """(..., B) coefficients to (..., P) products of rings, which no turn, mirror or inversion changes."""
        columns, at = [], 0
        first, second = np.triu_indices(self.rings)
        weight = torch.as_tensor(np.where(first == second, 1.0, math.sqrt(2.0)), dtype=torch.float32)
        for count in self.counts:
            part = coefficients[..., at : at + self.rings * count]
            part = part.reshape(*part.shape[:-1], self.rings, count)
            products = part @ part.transpose(-1, -2)
            columns.append(products[..., first, second] * weight)
            at += self.rings * count
        return torch.cat(columns, dim=-1)

    def products(self, query: Tensor, source: Tensor) -> Tensor:
        """(N, B) pairs to (N, sum of counts^2): what :func:`turn_rows` weighs to give their agreement, turned."""
        columns, at = [], 0
        for count in self.counts:
            span = slice(at, at + self.rings * count)
            left = query[..., span].reshape(len(query), -1, count)
            right = source[..., span].reshape(len(source), -1, count)
            columns.append((left.transpose(1, 2) @ right).reshape(len(query), -1))
            at += self.rings * count
        return torch.cat(columns, dim=-1)

    def turn_rows(self, turns: Float[np.ndarray, "T d d"]) -> Tensor:
        """(T, sum of counts^2): how the angular functions of a query read those of a source turned by each turn."""
        points = _sphere(self.dims)[:: _REFERENCE_POINTS // _TURNED_POINTS]
        degree = len(self.counts) - 1
        turned = angular_functions((points @ turns.transpose(0, 2, 1)).reshape(-1, self.dims), degree)
        rows = []
        for plain, found in zip(angular_functions(points, degree), turned, strict=True):
            # f(Gy) = sum_m t_m Y_m(Gy), and Y_m(Gy) = sum_n D_nm Y_n(y)
            weights = np.linalg.pinv(plain) @ found.reshape(len(turns), len(points), -1)
            rows.append(weights.reshape(len(turns), -1))
        return torch.as_tensor(np.concatenate(rows, axis=1), dtype=torch.float32)


def turns_of(dims: int) -> Float[np.ndarray, "T d d"]:
    """Turns and mirror images, close enough together for a search: 10 degrees in the plane, about 20 in space."""
    if dims == 2:
        angles = np.deg2rad(np.arange(0, 360, 10))
        plane = np.stack([[np.cos(angles), -np.sin(angles)], [np.sin(angles), np.cos(angles)]])
        turns = plane.transpose(2, 0, 1)
        return np.concatenate([turns, turns @ np.diag([1.0, -1.0])])
    axes = itertools.product(itertools.permutations(range(3)), itertools.product((1.0, -1.0), repeat=3))
    rigid = [np.diag(signs) @ np.eye(3)[list(order)] for order, signs in axes]
    around = [np.array(axis) for axis in itertools.product((-1.0, 0.0, 1.0), repeat=3) if any(axis)]
    small = [np.eye(3), *(turn_about(axis, _SMALL_TURN_RAD) for axis in around)]
    return np.stack([tiny @ big for big in rigid for tiny in small])


def turn_about(axis: Float[np.ndarray, "3"], angle_rad: float) -> Float[np.ndarray, "3 3"]:
    """Rotation about an axis (Rodrigues)."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.asarray(np.eye(3) + math.sin(angle_rad) * cross + (1.0 - math.cos(angle_rad)) * cross @ cross)
