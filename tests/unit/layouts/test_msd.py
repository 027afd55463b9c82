"""The Decathlon's form: what its dataset.json says, and several channels as the fourth axis of one file."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np

from medaug.core.runs import NoProgress
from medaug.core.volume import Unit
from medaug.io.dataset import load_case
from medaug.layouts.base import Export
from medaug.layouts.msd import MsdLayout
from tests.unit.privacy.synthetic_set import CLASSES, make_set


def test_description_and_fourth_axis(tmp_path: Path) -> None:
    material = make_set(tmp_path, unit=Unit.ARBITRARY, channels=("FLAIR", "T1"))
    bare = material.manifest.cases[1].model_copy(update={"label": None})
    manifest = material.manifest.model_copy(update={"cases": (material.manifest.cases[0], bare)})
    written = MsdLayout().write(Export(material.dataset, manifest, tmp_path / "out", b""), NoProgress())
    description = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert description["labels"] == {"0": "background", "1": "solid", "2": "ground_glass"}
    assert description["modality"] == {"0": "FLAIR", "1": "T1"}
    assert description["training"] == [
        {"image": "./imagesTr/syn_0.nii.gz", "label": "./labelsTr/syn_0.nii.gz"}
    ]
    assert (description["numTraining"], description["numTest"]) == (1, 1)
    assert description["test"] == ["./imagesTs/syn_1.nii.gz"]
    assert (description["tensorImageSize"], description["licence"]) == ("4D", "CC-BY-4.0")
    stored = nib.Nifti1Image.from_filename(tmp_path / "out" / "imagesTr" / "syn_0.nii.gz")
    wanted = load_case(material.dataset, material.manifest.cases[0], CLASSES).volume
    assert stored.shape == (12, 10, 4, 2)
    assert np.array_equal(np.asanyarray(stored.dataobj)[..., 1], wanted.image[1])
    assert written.cases[0].holds_channels_in_one_file
