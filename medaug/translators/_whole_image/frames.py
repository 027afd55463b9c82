"""Whole cases on the network's grid, and what is learnt from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Integer, UInt8
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from medaug.core.case import Case
from medaug.core.geometry import Grid
from medaug.core.intensity import CaseScale, IntensityScheme
from medaug.core.volume import Labels, Unit, Volume
from medaug.translators._whole_image.tissue import OUTSIDE, Tissues

_GRAIN_FLOOR = 1e-3


@final
@dataclass(frozen=True, slots=True)
class LabelTable:
    """What the numbers of a layout mean: 0 outside the body, then tissues from dark to bright, then classes.

    Attributes:
        tissues: Number of tissue clusters.
        classes: The dataset's class table.
        anatomy: Classes that are organs.
    """

    tissues: int
    classes: tuple[str, ...]
    anatomy: tuple[str, ...]

    @property
    def planes(self) -> int:
        """Number of labels, the outside included."""
        return 1 + self.tissues + len(self.classes)

    @property
    def lesions(self) -> tuple[str, ...]:
        """Classes that are lesions."""
        return tuple(name for name in self.classes if name not in self.anatomy)

    def number(self, class_name: str) -> int:
        """Label of a class."""
        return 1 + self.tissues + self.classes.index(class_name)

    def class_labels(self, layout: Labels) -> Labels:
        """(I, J, K) ids of the class table, 0 elsewhere."""
        ids = layout.astype(np.int16) - self.tissues
        return np.asarray(np.maximum(ids, 0), dtype=np.uint8)

    def hides(self, labels: Labels) -> np.ndarray:
        """Where a label map of the class table holds lesions."""
        numbers = [self.classes.index(name) + 1 for name in self.lesions]
        return np.isin(labels, numbers)


@final
@dataclass(frozen=True, slots=True)
class Frame:
    """How a grid of any size is brought to the network's, in plane without distortion.

    In 2D the slices stay as they are; in 3D they are resampled too. Scans smaller than the network's image are padded.

    Attributes:
        grid: What comes out, and is filled by the scan: at most ``size``.
        size: Of the network's image.
        source: Shape of the scan.
    """

    grid: Grid
    size: tuple[int, ...]
    source: tuple[int, int, int]

    @staticmethod
    def of(grid: Grid, size: tuple[int, ...]) -> Frame:
        """The frame of a scan's grid."""
        shrink = max(1.0, grid.shape[0] / size[0], grid.shape[1] / size[1])
        i, j = (min(size[n], max(1, round(grid.shape[n] / shrink))) for n in (0, 1))
        k = size[2] if len(size) == 3 else grid.shape[2]
        shape = (i, j, k)
        factors = np.array([old / new for old, new in zip(grid.shape, shape, strict=True)])
        affine = np.array(grid.affine)
        affine[:3, 3] = grid.affine[:3, :3] @ ((factors - 1) / 2) + grid.affine[:3, 3]
        affine[:3, :3] = grid.affine[:3, :3] * factors
        return Frame(Grid(shape, affine), size, grid.shape)

    def image(self, image: Float[np.ndarray, "C I J K"]) -> Float[np.ndarray, "C i j k"]:
        """Averaged down, so that nothing is aliased; slices interpolated in 3D."""
        if self.source == self.grid.shape:
            return np.asarray(image, dtype=np.float32)
        stack = torch.from_numpy(np.ascontiguousarray(image.transpose(0, 3, 1, 2), dtype=np.float32))
        plane = functional.interpolate(stack, size=self.grid.shape[:2], mode="area").numpy()
        turned = np.ascontiguousarray(plane.transpose(0, 2, 3, 1))
        factor = (1.0, 1.0, 1.0, self.grid.shape[2] / self.source[2])
        if factor[3] == 1.0:
            return turned
        return np.asarray(ndimage.zoom(turned, factor, order=1, mode="nearest", grid_mode=True))

    def labels(self, labels: Integer[np.ndarray, "I J K"]) -> UInt8[np.ndarray, "i j k"]:
        """The nearest voxel's label."""
        if self.source == self.grid.shape:
            return np.asarray(labels, dtype=np.uint8)
        places = [
            np.minimum(((np.arange(new) + 0.5) * old / new).astype(int), old - 1)
            for old, new in zip(self.source, self.grid.shape, strict=True)
        ]
        return np.asarray(labels[np.ix_(*places)], dtype=np.uint8)

    def padded(self, array: np.ndarray, *, outside: float) -> np.ndarray:
        """(..., i, j, k) in the middle of the network's image."""
        return np.pad(array, [(0, 0)] * (array.ndim - 3) + self._margins(), constant_values=outside)

    def cut(self, array: np.ndarray) -> np.ndarray:
        """Undo :meth:`padded`."""
        i, j, k = (slice(low, low + n) for (low, _), n in zip(self._margins(), self.grid.shape, strict=True))
        return np.asarray(array[..., i, j, k])

    def _margins(self) -> list[tuple[int, int]]:
        spare = [wanted - n for wanted, n in zip(self.size[:2], self.grid.shape[:2], strict=True)]
        return [(n // 2, n - n // 2) for n in spare] + [(0, 0)]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A case as the network sees it.

    Attributes:
        layout: (i, j, k) labels of :class:`LabelTable`.
        image: (C, i, j, k) normalised.
        grid: Of both.
    """

    layout: UInt8[np.ndarray, "i j k"]
    image: Float[np.ndarray, "C i j k"]
    grid: Grid


def stage(
    case: Case, size: tuple[int, ...], tissues: Tissues, table: LabelTable, *, bare: bool = False
) -> Scene:
    """Bring a case to the network's grid and label its tissues.

    Args:
        case: A whole case.
        size: Of the network's image.
        tissues: Of the fold.
        table: What the labels mean.
        bare: Leave the case's lesions out, filled with what surrounds them.
    """
    frame = Frame.of(case.volume.grid, size)
    volume = case.volume
    native = frame.image(volume.image)
    small = Volume(native, frame.grid, volume.unit, volume.channels, volume.spacing_known)
    given = np.zeros(frame.grid.shape, dtype=np.uint8)
    if case.label_map is not None:
        given = frame.labels(case.label_map.labels)
    lesions = table.hides(given)
    layout = tissues.label(small, lesions if bare else None)
    shown = (given > 0) & ~lesions if bare else given > 0
    layout[shown] = given[shown] + table.tissues
    return Scene(layout, scale_of(small).normalise(native), frame.grid)


def scale_of(volume: Volume) -> CaseScale:
    """The map of a case to normalised units."""
    return IntensityScheme.for_volume(volume).case_scale(volume)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """Pairs of layout and image that are learnt from, as the network takes them.

    Attributes:
        layouts: (N, *S) uint8.
        images: (N, C, *S) float32, normalised.
        grain: (N, C) logarithm of the fine texture's deviation.
        case_index: (N,) of which training case.
        class_index: (N,) a lesion class that is seen, -1 where none is.
    """

    layouts: Tensor
    images: Tensor
    grain: Tensor
    case_index: np.ndarray
    class_index: np.ndarray


def frames_of(scene: Scene, frame: Frame) -> tuple[Tensor, Tensor]:
    """A scene's layouts (B, *S) and images (B, C, *S): its slices in 2D, itself in 3D."""
    layout = torch.from_numpy(frame.padded(scene.layout, outside=OUTSIDE))
    image = torch.from_numpy(frame.padded(scene.image, outside=float(scene.image.min())))
    if len(frame.size) == 3:
        return layout[None], image[None]
    return layout.permute(2, 0, 1).contiguous(), image.permute(3, 0, 1, 2).contiguous()


def one_hot(layouts: Tensor, planes: int) -> Float[Tensor, "B P *S"]:
    """The layouts as maps, one plane a label."""
    return functional.one_hot(layouts.long(), planes).movedim(-1, 1).float().contiguous()


def fine_part(images: Float[Tensor, "B C *S"]) -> Float[Tensor, "B C *S"]:
    """What is left of images without their means over three voxels in plane."""
    if images.ndim == 4:
        return images - functional.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
    return images - functional.avg_pool3d(images, (3, 3, 1), 1, (1, 1, 0), count_include_pad=False)


def grain_of(images: Float[Tensor, "B C *S"], layouts: Tensor) -> Float[Tensor, "B C"]:
    """Logarithm of the typical size of the fine part inside the body: the noise of the scan, not its edges."""
    rows = []
    for fine, layout in zip(fine_part(images).abs(), layouts, strict=True):
        body = layout != OUTSIDE
        inside = fine[:, body] if bool(body.any()) else fine.flatten(1)
        rows.append(torch.log(inside.median(dim=1).values + _GRAIN_FLOOR))
    return torch.stack(rows)


def made_volume(image: Float[np.ndarray, "C i j k"], grid: Grid, like: Volume, scale: CaseScale) -> Volume:
    """A made image in native units; whole numbers in HU, as scanners store them."""
    native = scale.restore(image)
    low, high = (np.asarray(v, np.float32).reshape(-1, 1, 1, 1) for v in (scale.low, scale.high))
    native = np.clip(native, low, high)
    if like.unit is Unit.HU:
        native = np.rint(native)
    return Volume(native.astype(np.float32), grid, like.unit, like.channels, like.spacing_known)
