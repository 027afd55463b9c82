"""The shape check of tests/shapes.py sees what it should see, and leaves the rest alone."""

from __future__ import annotations

import numpy as np
import pytest
from jaxtyping import Float, TypeCheckError, jaxtyped

from tests.shapes import check


def same_grid(image: Float[np.ndarray, "C I J K"], weight: Float[np.ndarray, "I J K"] | None) -> None:
    """Both arrays lie on one grid."""


def plain(number: int) -> int:
    return number


def test_shapes_must_agree_with_each_other() -> None:
    checked = jaxtyped(same_grid, typechecker=check)
    image = np.zeros((1, 4, 5, 6), np.float32)
    checked(image, np.zeros((4, 5, 6), np.float32))
    checked(image, None)
    with pytest.raises(TypeCheckError, match="weight"):
        checked(image, np.zeros((4, 5, 7), np.float32))


def test_dtypes_are_seen() -> None:
    with pytest.raises(TypeCheckError, match="image"):
        jaxtyped(same_grid, typechecker=check)(np.zeros((1, 4, 5, 6), np.int16), None)


def test_functions_without_arrays_are_untouched() -> None:
    assert check(plain) is plain
