"""Small sources for the ingest tests: NIfTI files, tables, and a progress that counts."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import nibabel as nib
import numpy as np

from medaug.core.case import CaseRecord, LesionCount, Origin, StoredFile
from medaug.core.volume import Unit

AFFINE = np.diag([-0.7, -0.8, 2.0, 1.0])
SHAPE = (6, 5, 4)


def ct_values(seed: int) -> np.ndarray:
    """Whole numbers that reach air, as CT does."""
    values = np.random.default_rng(seed).integers(-900, 300, SHAPE).astype(np.int16)
    values[0, 0, 0] = -1000
    return values


def mr_values(seed: int) -> np.ndarray:
    """Positive whole numbers."""
    return np.random.default_rng(seed).integers(0, 900, SHAPE).astype(np.int16)


def label_values(*ids: int) -> np.ndarray:
    """One block of four voxels an id."""
    labels = np.zeros(SHAPE, np.uint8)
    for n, number in enumerate(ids):
        labels[1:3, 1 + n, 1:3] = number
    return labels


def save(path: Path, values: np.ndarray, affine: np.ndarray | None = AFFINE) -> Path:
    """Write a NIfTI file, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, affine), path)
    return path


def write_table(folder: Path, rows: list[dict[str, str]], name: str = "cases.csv") -> Path:
    """A table with the union of the rows' columns."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with (folder / name).open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return folder / name


def row(case_id: str, **cells: str) -> dict[str, str]:
    """A row that names its files by the case id, with one class."""
    base = {
        "case_id": case_id,
        "patient_id": f"p_{case_id}",
        "image": f"images/{case_id}.nii.gz",
        "label": f"labels/{case_id}.nii.gz",
        "lesion_classes": "solid",
        "label_ids": "1",
    }
    return base | cells


def ct_set(folder: Path, names: tuple[str, ...] = ("a1", "a2", "a3")) -> list[dict[str, str]]:
    """Files of a small labelled CT set; returns its rows."""
    for n, name in enumerate(names):
        save(folder / "images" / f"{name}.nii.gz", ct_values(n))
        save(folder / "labels" / f"{name}.nii.gz", label_values(1))
    return [row(name) for name in names]


@contextmanager
def deep_folder(below: Path, depth: int) -> Iterator[None]:
    """A file at the end of a chain of folders that most tools cannot walk along; taken away afterwards."""
    here = Path.cwd()
    os.chdir(below)
    try:
        for _ in range(depth):
            Path("d").mkdir()
            os.chdir("d")
        Path("file").touch()
        os.chdir(here)
        yield
        os.chdir(below)
        for _ in range(depth):
            os.chdir("d")
        Path("file").unlink()
        for _ in range(depth):
            os.chdir("..")
            Path("d").rmdir()
    finally:
        os.chdir(here)


def record(
    case_id: str,
    patient_id: str = "",
    classes: tuple[str, ...] = (),
    *,
    unit: Unit = Unit.ARBITRARY,
    channels: tuple[str, ...] = ("MR",),
    modality: str = "MR",
    labelled: bool = True,
    split: Literal["train", "test"] | None = None,
    origin: Origin = Origin.REAL,
    lesions: int = 2,
) -> CaseRecord:
    """A line of a manifest without files."""
    stored = StoredFile(path="x", sha256="0" * 64)
    counts = tuple(LesionCount(class_name=name, count=lesions, voxels=4, volume_mm3=None) for name in classes)
    return CaseRecord(
        case_id=case_id,
        patient_id=patient_id or f"p_{case_id}",
        modality=modality,
        unit=unit,
        channels=channels,
        origin=origin,
        shape=(2, 2, 2),
        spacing_mm=(1, 1, 1),
        images=(stored,) * len(channels),
        label=stored if labelled else None,
        lesions=counts,
        split=split,
    )


@dataclass
class CountingProgress:
    """Remembers what it was told; can stop a run after some units, as Ctrl-C does."""

    started: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    units: int = 0
    stop_at: tuple[str, int] | None = None

    def start(self, label: str, total: int | None) -> None:
        self.started.append(label)
        self.units = 0

    def advance(self, units: int = 1, note: str = "") -> None:
        self.units += units
        if self.stop_at == (self.started[-1], self.units):
            raise KeyboardInterrupt

    def say(self, line: str) -> None:
        self.said.append(line)
