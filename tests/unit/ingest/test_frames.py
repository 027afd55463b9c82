"""``--frames cases``: each frame a case of the same patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medaug.ingest.frames import each_frame
from medaug.ingest.sources import ImageSource, LabelSource, SourceCase
from tests.unit.ingest.material import ct_values, label_values, save


def case(*images: ImageSource, label: Path | None = None, is_named: bool = False) -> SourceCase:
    drawn = None if label is None else LabelSource("nifti", (label,))
    return SourceCase(0, "a", "p", is_named, images, drawn)


def test_every_frame_is_a_case_with_the_same_label(tmp_path: Path) -> None:
    four = save(tmp_path / "four.nii.gz", np.stack([ct_values(n) for n in range(3)], axis=-1))
    label = save(tmp_path / "label.nii.gz", label_values(1))
    parts = each_frame([case(ImageSource("nifti", (four,)), label=label, is_named=True)])
    assert [part.images[0].frame for part in parts] == [0, 1, 2]
    assert [part.case_key for part in parts] == ["a_0000", "a_0001", "a_0002"]
    assert {part.patient_key for part in parts} == {"p"}
    assert all(part.label is not None for part in parts)


def test_what_has_no_frames_stays_as_it_is(tmp_path: Path) -> None:
    three = ImageSource("nifti", (save(tmp_path / "a.nii.gz", ct_values(1)),))
    four = save(tmp_path / "b.nii.gz", np.stack([ct_values(n) for n in range(2)], axis=-1))
    damaged = tmp_path / "c.nii.gz"
    damaged.write_bytes(b"no image")
    kept = [
        case(three),
        case(ImageSource("nifti", (four,), frames=("T1", "T2"))),
        case(ImageSource("nifti", (damaged,))),
        case(ImageSource("dicom", (four,))),
    ]
    assert each_frame(kept) == tuple(kept)
