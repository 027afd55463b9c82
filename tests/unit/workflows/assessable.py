"""Small real and synthetic sets that an assessment can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from medaug.core.case import SPLITS, Case, Manifest, Origin
from medaug.core.plan import Recipe
from medaug.core.splits import Fold, Splits
from medaug.core.volume import LabelMap, Volume
from medaug.io.dataset import CaseFacts, finish_dataset, write_case
from tests.small_cases import labels_of
from tests.unit.quality.textured import CLASSES, textured

HASH = "0" * 64


def write_set(
    folder: Path,
    cases: Sequence[Case],
    recipes: Sequence[Recipe] = (),
    edits: Mapping[str, np.ndarray] | None = None,
) -> Manifest:
    records = tuple(
        write_case(folder, case, CaseFacts("CT"), (edits or {}).get(case.case_id)) for case in cases
    )
    manifest = Manifest(name=folder.name, classes=CLASSES, cases=records)
    finish_dataset(folder, manifest, (), recipes)
    return manifest


def make_real(folder: Path, train: Sequence[int], held_out: Sequence[int]) -> Path:
    """A dataset of one case a patient, with fold 0 and its mirror image, fold 1."""
    manifest = write_set(folder, [textured(n) for n in (*train, *held_out)])
    sides = [tuple(f"patient_{n:04d}" for n in part) for part in (train, held_out)]
    folds = (
        Fold(index=0, train=sides[0], held_out=sides[1]),
        Fold(index=1, train=sides[1], held_out=sides[0]),
    )
    Splits(seed=0, dataset_sha256=manifest.content_sha256, folds=folds).write(folder / SPLITS)
    return folder


def recipe_for(case: Case, host: Case, edit_path: str, scope: str, **how: Any) -> Recipe:
    facts = {
        "case_id": case.case_id, "host_case_id": host.case_id, "host_patient_id": host.patient_id,
        "donor_patient_ids": (host.patient_id,), "generator": "copy_paste", "generator_sha256": HASH,
        "bank_sha256": HASH, "fold": 0, "training_scope_sha256": scope, "class_name": "solid",
        "site_mm": (0.0, 0.0, 0.0), "diameter_mm": 8.0, "seed": 1, "edit_mask": edit_path,
    }  # fmt: skip
    return Recipe(**(facts | how))


def in_context(number, host_number, texture):
    """A host whose lesion's voxels are drawn anew; with its edit mask."""
    host = textured(host_number)
    edit = ndimage.binary_dilation(labels_of(host) > 0, np.ones((3, 3, 1), bool))
    image = host.volume.image.copy()
    image[:, edit] = texture[:, edit]
    volume = Volume(image, host.volume.grid, host.volume.unit, host.volume.channels)
    made = replace(host, case_id=f"SYN_{number:03d}", volume=volume, origin=Origin.SYNTHETIC)
    return made, host, edit


def scope_of(real):
    return Splits.read(real / SPLITS).fold(0).scope_sha256


def make_in_context(real: Path, folder: Path, *, copies: bool, count: int = 10, **how: Any) -> Path:
    cases: list[Case] = []
    recipes: list[Recipe] = []
    edits: dict[str, np.ndarray] = {}
    for number in range(count):
        donor = textured(number if copies else 500 + number)
        made, host, edit = in_context(number, number, donor.volume.image)
        if not copies:
            labels = np.where(labels_of(donor) > 0, 1, 0) * edit
            made = replace(made, label_map=LabelMap(labels.astype(np.uint8), host.volume.grid, CLASSES))
        cases.append(made)
        edits[made.case_id] = edit
        recipes.append(recipe_for(made, host, f"edits/{made.case_id}.nii.gz", scope_of(real), **how))
    write_set(folder, cases, recipes, edits)
    return folder
