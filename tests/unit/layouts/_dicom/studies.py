"""A small study of each kind that is written, for judges that are not medaug."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medaug.core.geometry import Grid
from medaug.core.volume import LabelMap, Unit, Volume
from medaug.layouts._dicom.segmentation import SegmentationType
from medaug.layouts.dicom import SegSettings, SeriesIdentity, Uids, write_seg, write_series

CLASSES = ("solid", "odd class", "ground_glass")
KINDS = ("CT", "CT nominal", "MR", "MR flat", "MR fine", "MR nominal", "PT", "OT nominal", "OT flat nominal")


@dataclass(frozen=True)
class Study:
    """What was written, and where."""

    volume: Volume
    label_map: LabelMap
    images: Path
    seg: Path


def write_study(
    folder: Path, kind: str, *, is_synthetic: bool = True, segmentation: SegmentationType = "BINARY"
) -> Study:
    """A study of one of :data:`KINDS`."""
    modality, _, word = kind.partition(" ")
    turn = np.linalg.qr(np.array([[1, 0.1, -0.2], [-0.1, 1, 0.15], [0.2, -0.1, 1.0]]))[0]
    affine = np.eye(4)
    affine[:3, :3] = turn * np.sign(np.diag(turn)) @ np.diag([0.7, 0.9, 2.5])
    affine[:3, 3] = (-31.25, 12.5, 100.75)
    grid = Grid((24, 20, 1 if "flat" in word else 6), affine)
    rng = np.random.default_rng(3)
    image = rng.normal(0, 300, (1, *grid.shape)).astype(np.float32)
    image = image / 1e5 if word == "fine" else image
    unit = {"CT": Unit.HU, "PT": Unit.SUV}.get(modality, Unit.ARBITRARY)
    volume = Volume(np.rint(image) if modality == "CT" else image, grid, unit, ("x",), "nominal" not in word)
    labels = np.zeros(grid.shape, np.uint8)
    labels[2:6, 3:9, :2], labels[12, 12, -1], labels[16:20, 2:4, -1] = 1, 2, 3
    identity = SeriesIdentity(
        uids=Uids(b"key", ("p1", kind, segmentation, str(is_synthetic))),
        patient_id="p1",
        patient_name="p1^",
        modality=modality,
        description="x",
        is_synthetic=is_synthetic,
        study="case_1",
    )
    study = Study(volume, LabelMap(labels, grid, CLASSES), folder / "images", folder / "seg.dcm")
    slices = write_series(volume, identity, study.images)
    write_seg(study.label_map, slices, identity, study.seg, SegSettings(segmentation))
    return study
