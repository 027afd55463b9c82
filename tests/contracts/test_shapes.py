"""The shape check of tests/shapes.py sees what it should see, and leaves the rest alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from jaxtyping import Float, TypeCheckError

from medaug.core.geometry import Grid, lps_to_ras
from medaug.core.volume import Volume
from tests.shapes import check, has_arrays, of_arrays


def same_grid(image: Float[np.ndarray, "C I J K"], weight: Float[np.ndarray, "I J K"] | None) -> None:
    """Both arrays lie on one grid."""


def plain(number: int) -> int:
    return number


def test_shapes_must_agree_with_each_other() -> None:
    checked = of_arrays(typechecker=check)(same_grid)
    image = np.zeros((1, 4, 5, 6), np.float32)
    checked(image, np.zeros((4, 5, 6), np.float32))
    checked(image, None)
    with pytest.raises(TypeCheckError, match="weight"):
        checked(image, np.zeros((4, 5, 7), np.float32))


def test_dtypes_are_seen() -> None:
    with pytest.raises(TypeCheckError, match="image"):
        of_arrays(typechecker=check)(same_grid)(np.zeros((1, 4, 5, 6), np.int16), None)


def test_functions_without_arrays_are_untouched() -> None:
    assert check(plain) is plain
    assert not has_arrays(plain)


@dataclass
class Pair:
    image: Float[np.ndarray, "I J"]
    number: int


@dataclass
class Number:
    number: int


class NoData:
    image: Float[np.ndarray, "I J"]


def later(number: NotThereYet, images: tuple[Float[np.ndarray, "I J"], ...]) -> None:  # type: ignore[name-defined]
    """An annotation that has no meaning hides no array beside it."""


@pytest.mark.parametrize(
    ("what", "expected"), [(same_grid, True), (later, True), (Pair, True), (Number, False), (NoData, False)]
)
def test_arrays_are_found(what: type, *, expected: bool) -> None:
    assert has_arrays(what) is expected


def test_the_library_is_checked() -> None:
    with pytest.raises(TypeCheckError, match="affine"):
        Grid((2, 2, 2), np.eye(3))
    with pytest.raises(TypeCheckError, match="affine"):
        lps_to_ras(np.eye(3))
    assert not hasattr(Volume.crop, "__wrapped__")
