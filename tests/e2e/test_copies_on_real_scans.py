"""Copies of real lung nodules are found, other patients are not; drawn with a seed that nothing was tuned on."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from medaug.copying.imprint import Imprint
from medaug.copying.planting import CHANGES, plant
from medaug.copying.search import CopySearch
from medaug.core.runs import NoProgress
from medaug.io.nifti import read_label, read_nifti

SEED = 90210
SIDE = 64
TRAINING, JUDGES, OTHERS = 60, 30, 10
# a single copy of each is drawn; these may be beyond the search (see docs/results/copying.md)
FAINT = {"patch", "blend"}


def patch_of(folder: Path, row: dict[str, str], name: str) -> Imprint:
    """64 x 64 around the nodule's largest section."""
    image, label = read_nifti(folder / row["image"]), read_label(folder / row["label"])
    lesion = label.array > 0
    k = int(np.argmax(lesion.sum(axis=(0, 1))))
    middle = np.argwhere(lesion[..., k]).mean(axis=0)
    corner = [int(np.clip(m - SIDE / 2, 0, n - SIDE)) for m, n in zip(middle, lesion.shape[:2], strict=True)]
    place = (slice(corner[0], corner[0] + SIDE), slice(corner[1], corner[1] + SIDE), slice(k, k + 1))
    pixels = (np.clip(image.array[place], -1024, 1500) + 400) / 500
    return Imprint(name, name, pixels[None].astype(np.float32), np.asarray(lesion[place]), (1.0, 1.0, 1.0))


@pytest.fixture(scope="module")
def patches(medaug_data: Path) -> list[Imprint]:
    folder = medaug_data / "lidc_nodules"
    if not folder.is_dir():
        pytest.skip("no lidc_nodules in MEDAUG_DATA")
    with (folder / "cases.csv").open(encoding="utf-8", newline="") as handle:
        rows = {row["patient_id"]: row for row in csv.DictReader(handle)}
    names = np.random.default_rng(SEED).permutation(sorted(rows))[: TRAINING + JUDGES + OTHERS]
    return [patch_of(folder, rows[name], f"patient_{n}") for n, name in enumerate(names)]


@pytest.mark.slow
def test_copies_are_flagged_and_named_and_other_patients_are_not(patches: list[Imprint]) -> None:
    training, others = patches[:TRAINING], patches[TRAINING + JUDGES :]
    search = CopySearch(training, patches[TRAINING : TRAINING + JUDGES], SEED, NoProgress())
    flagged = [one.case_id for one in others if any(m.score >= 1.0 for m in search.nearest(one))]
    assert len(flagged) <= 1
    rng = np.random.default_rng(SEED)
    missed, misnamed = [], []
    for change in CHANGES:
        source, other = training[int(rng.integers(TRAINING))], others[int(rng.integers(OTHERS))]
        copy = plant(source.image[..., 0], other.image[..., 0], change, rng)[..., None]
        nothing = np.zeros(source.lesion.shape, dtype=bool)
        (found,) = search.nearest(Imprint("copy", "nobody", copy, nothing, source.spacing_mm))
        missed += [change] if found.score < 1.0 else []
        misnamed += [change] if found.source_case_id != source.case_id else []
    assert set(missed) <= FAINT
    assert set(misnamed) <= FAINT
