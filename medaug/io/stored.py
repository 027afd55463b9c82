"""Images of any file format between decoding and use: the fourth axis is settled here, once for all formats."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

import numpy as np

from medaug.core.errors import GeometryError, LabelError, UnreadableError
from medaug.core.findings import Code, Finding
from medaug.core.geometry import Affine

Frames = Literal["channels", "cases"] | int | None
# cosine of the angle between two axes; the rounding of headers written as text stays below a tenth of it
_SHEAR = 2e-3


@final
@dataclass(frozen=True, slots=True, eq=False)
class StoredImage:
    """A file after decoding and scaling, in its own order of axes.

    Attributes:
        array: (I, J, K), or (I, J, K, N) where the file has a fourth axis.
        affine: Voxel index to RAS+ mm.
        spacing_known: False where the spacing of the affine is nominal.
        sha256: Of the bytes of each file.
        findings: What was odd, without a case id.
    """

    array: np.ndarray
    affine: Affine
    spacing_known: bool
    sha256: tuple[str, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def frames(self) -> int:
        """Length of the fourth axis, 1 where there is none."""
        return int(self.array.shape[3]) if self.array.ndim == 4 else 1


def channels_first(image: StoredImage, frames: Frames) -> np.ndarray:
    """The array as (C, I, J, K), with the fourth axis used as asked; an image of three axes is one channel.

    Raises:
        GeometryError: If there is a fourth axis and nothing says what it is, or it has no such frame (``four-axes``).
    """
    if image.array.ndim == 3:
        return image.array[np.newaxis]
    if frames == "channels":
        return np.moveaxis(image.array, 3, 0)
    if isinstance(frames, int):
        if frames >= image.frames:
            what, expected = f"image has {image.frames} frames", f"--frames below {image.frames}"
            raise GeometryError(what, expected=expected, code=Code.FOUR_AXES)
        return np.moveaxis(image.array[..., frames : frames + 1], 3, 0)
    raise GeometryError(
        f"image is 4D ({image.frames} frames)",
        expected="3D",
        hint="say whether they are channels, cases or time: --frames channels, cases or NUMBER",
        code=Code.FOUR_AXES,
    )


def spatial_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Three or four axes: trailing axes of length 1 dropped, missing ones added.

    Raises:
        GeometryError: If five axes or more are left (``four-axes``).
    """
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) > 4:
        hint = "take one frame and one channel out"
        raise GeometryError(f"image is {len(shape)}D", expected="3D or 4D", hint=hint, code=Code.FOUR_AXES)
    return shape + (1,) * (3 - len(shape))


def inside_folder(header: Path, name: str) -> Path:
    """The file that a header names for its voxels, which must lie in the header's folder or below it.

    Raises:
        UnreadableError: If it lies elsewhere, or does not exist.
    """
    folder = header.parent.resolve()
    try:
        other = (folder / name).resolve()
        is_file = other.is_relative_to(folder) and other.is_file()
    except (OSError, ValueError) as error:
        raise UnreadableError("header names no data file that can be opened") from error
    if not other.is_relative_to(folder):
        hint = "put the data file beside its header"
        raise UnreadableError("header names a data file outside its folder", hint=hint)
    if not is_file:
        raise UnreadableError("the data file of this header is missing", hint="put it beside its header")
    return header.parent / name


def require_upright(affine: Affine) -> None:
    """Refuse a grid whose axes are not perpendicular: sizes and distances along them would be wrong.

    Raises:
        GeometryError: If two axes are more than a tenth of a degree off (``sheared-grid``).
    """
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(lengths).all() or lengths.min() <= 0:
        return  # the grid itself refuses it
    cosines = affine[:3, :3] / lengths
    off = float(np.abs(cosines.T @ cosines - np.eye(3)).max())
    if off > _SHEAR:
        angle = np.degrees(np.arcsin(min(off, 1.0)))
        hint = "resample image and label onto a grid of perpendicular axes"
        raise GeometryError(
            f"axes are {angle:.1f} degrees off the perpendicular", hint=hint, code=Code.SHEARED_GRID
        )


def whole_numbers(values: np.ndarray) -> np.ndarray:
    """Label ids as int32, whatever type they are stored in.

    Raises:
        LabelError: If a value is no whole number from 0 on (``label-not-whole``).
    """
    if values.dtype.kind == "f" and not (np.isfinite(values).all() and (values == np.rint(values)).all()):
        raise LabelError(
            "label map holds fractions",
            expected="whole numbers",
            hint="threshold it",
            code=Code.LABEL_NOT_WHOLE,
        )
    if values.min() < 0 or values.max() > np.iinfo(np.int32).max:
        what = f"label map holds {values.min():g} to {values.max():g}"
        raise LabelError(what, expected="ids of 0 or more", code=Code.LABEL_NOT_WHOLE)
    return values.astype(np.int32, copy=False)
