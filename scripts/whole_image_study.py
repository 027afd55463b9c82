"""How good whole images are: label fidelity, level of lesions, and what of a training patient shows through.

    python scripts/whole_image_study.py DATASET --with RUN --made MADE --fold 0

MADE is the output of ``medaug translate DATASET --with RUN --fold 0``. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

from medaug.core.case import TRANSLATIONS, Case, CaseRecord, Manifest, read_manifest
from medaug.core.plan import Translation, read_lines
from medaug.core.seeding import SeedTree
from medaug.core.splits import Fold, read_splits
from medaug.io.dataset import load_case
from medaug.translators.whole_image import WholeImage, load

_SIZE = 24  # of the pictures that are compared


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--with", dest="run", type=Path, required=True)
    parser.add_argument("--made", type=Path, required=True)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--cases", type=int, default=60, help="held-out cases that are drawn again")
    asked = parser.parse_args()
    manifest = read_manifest(asked.dataset)
    fold = read_splits(asked.dataset, manifest).fold(asked.fold)
    translator = load(asked.run)
    held_out = [r for r in manifest.of_patients(frozenset(fold.held_out)) if r.label is not None]
    _fidelity(translator, asked.dataset, manifest, held_out[: asked.cases])
    _levels(asked.dataset, manifest, held_out, asked.made)
    _origin(asked.dataset, manifest, fold, asked.made)


def _fidelity(
    translator: WholeImage, dataset: Path, manifest: Manifest, records: Sequence[CaseRecord]
) -> None:
    """Held-out label maps drawn as images, whose tissues are then found anew."""
    rows, reached = [], []
    names: tuple[str, ...] = ()
    for record in records:
        case = load_case(dataset, record, manifest.classes)
        made = translator.translate(case, SeedTree(0).child("study", record.case_id).rng())
        told, found = translator.label(case), translator.label(made)
        names = told.class_names[: len(told.class_names) - len(manifest.classes)]
        rows.append([_dice(told.labels == n, found.labels == n) for n in range(1, len(names) + 1)])
        tissue = told.labels <= len(names)
        reached.append(float((told.labels == found.labels)[tissue].mean()))
    print(f"\n| tissue | Dice, {len(rows)} held-out label maps |\n|---|---|")
    for name, column in zip(names, np.array(rows).T, strict=True):
        print(f"| {name} | {np.nanmean(column):.3f} |")
    print(f"| voxels with the label they were told | {np.mean(reached):.3f} |")


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if a.sum() > 50 else float("nan")


def _levels(dataset: Path, manifest: Manifest, held_out: Sequence[CaseRecord], made: Path) -> None:
    real = _lesion_means(dataset, manifest, held_out)
    drawn = _lesion_means(made, manifest, read_manifest(made).cases)
    print("\n| class | held-out: mean (deviation), n | made: mean (deviation), n |\n|---|---|---|")
    for name in manifest.classes:
        print(f"| {name} | {_said(real[name])} | {_said(drawn[name])} |")


def _said(values: list[float]) -> str:
    return f"{np.mean(values):.0f} ({np.std(values):.0f}), {len(values)}" if values else "none"


def _lesion_means(dataset: Path, manifest: Manifest, records: Sequence[CaseRecord]) -> dict[str, list[float]]:
    """Mean of the first channel in the middle section of each case's lesion, by class."""
    found: dict[str, list[float]] = {name: [] for name in manifest.classes}
    for record in records:
        case = load_case(dataset, record, manifest.classes)
        for name in record.classes:
            found[name].append(_mean_of(case, name))
    return found


def _mean_of(case: Case, class_name: str) -> float:
    mask = (
        case.label_map.mask(class_name)
        if case.label_map is not None
        else np.zeros(case.volume.grid.shape, bool)
    )
    k = int(mask.sum(axis=(0, 1)).argmax())
    return float(case.volume.image[0, ..., k][mask[..., k]].mean())


def _origin(dataset: Path, manifest: Manifest, fold: Fold, made: Path) -> None:
    """How often the patient who lent the label map is the one whose scan is most alike."""
    gallery, owners = [], []
    for record in manifest.of_patients(frozenset(fold.train)):
        case = load_case(dataset, record, manifest.classes)
        for k in range(record.shape[2]):
            gallery.append(_small(case.volume.image[0, ..., k]))
            owners.append(record.patient_id)
    pictures, names = np.stack(gallery), np.array(owners)
    patients = sorted(set(owners))
    places = []
    rows = {row.case_id: row for row in read_lines(made / TRANSLATIONS, Translation)}
    for record in read_manifest(made).cases:
        case = load_case(made, record, manifest.classes)
        plane = case.volume.image[0, ..., record.shape[2] // 2]
        alike = np.maximum(pictures @ _small(plane), pictures @ _small(plane[::-1]))
        best = {name: float(alike[names == name].max()) for name in patients}
        donor = best[rows[record.case_id].donor_patient_ids[0]]
        places.append(1 + sum(value > donor for value in best.values()))
    rank = np.array(places)
    print(
        f"\nDonor of the label map found first among {len(patients)} training patients: {(rank == 1).mean():.1%}"
    )
    print(
        f"(by chance {1 / len(patients):.1%}); median place {np.median(rank):.0f}, of {len(rank)} made cases."
    )


def _small(plane: np.ndarray) -> np.ndarray:
    """A picture of 24 x 24, of zero mean and unit length."""
    factor = [_SIZE / n for n in plane.shape]
    smooth = ndimage.gaussian_filter(np.clip(plane, -1000, 300), [0.5 / f for f in factor])
    flat = ndimage.zoom(smooth, factor, order=1).ravel()[: _SIZE * _SIZE].astype(np.float64)
    flat -= flat.mean()
    return np.asarray(flat / max(float(np.linalg.norm(flat)), 1e-9))


if __name__ == "__main__":
    main()
