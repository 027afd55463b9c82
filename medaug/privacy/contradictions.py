"""Recipes against the files that they speak of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from medaug.core.case import CaseRecord
from medaug.core.plan import Recipe
from medaug.core.volume import Mask
from medaug.io.dataset import load_case, load_edit_mask

_ROOM_MM = 1.0  # besides a voxel: the centre of a lesion is rounded


def contradictions(
    dataset: Path, record: CaseRecord, classes: tuple[str, ...], recipes: tuple[Recipe, ...]
) -> Iterator[str]:
    """What the files of a case say against its recipes, each in a clause.

    Raises:
        DataError: If a file cannot be read.
    """
    if not recipes or record.edit_mask is None:
        return
    edited = load_edit_mask(dataset, record)
    if not edited.any():
        yield f"{record.case_id} has an empty edit mask"
        return
    case = load_case(dataset, record, classes)
    labels = None if case.label_map is None else case.label_map.labels
    for recipe in recipes:
        if not _is_near(recipe, edited, case.volume.grid.affine):
            yield f"{record.case_id} was changed elsewhere than its recipe says"
        if recipe.use == "null":
            continue
        if recipe.class_name not in classes:
            yield f"{record.case_id} has a recipe for a class that the set does not have"
        elif labels is None or not (labels[edited] == classes.index(recipe.class_name) + 1).any():
            yield f"{record.case_id} holds no {recipe.class_name} where its recipe put one"


def _is_near(recipe: Recipe, edited: Mask, affine: np.ndarray) -> bool:
    """Whether the centre of the lesion lies in the box around all that was changed."""
    centre = np.linalg.solve(affine, np.array([*recipe.site_mm, 1.0]))[:3]
    room = 1.0 + _ROOM_MM / np.linalg.norm(affine[:3, :3], axis=0)
    places = np.argwhere(edited)
    return bool(np.all(centre >= places.min(axis=0) - room) and np.all(centre <= places.max(axis=0) + room))
