"""Series as the command line wants them: a cine is asked for, volumes on one grid are channels unless it says otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import FileDataset

from medaug.core.errors import DataError
from medaug.core.findings import Code
from medaug.ingest.series import pair_series
from medaug.ingest.sources import Choices
from medaug.ingest.stacks import only_stack, opened
from medaug.io.headers import Series, scan
from tests.unit.io._dicom.pictures import write_picture

_US, _CINE = "1.2.840.10008.5.1.4.1.1.6.1", "1.2.840.10008.5.1.4.1.1.3.1"


def _series(folder: Path) -> Series:
    """A still and a cine of three pictures."""
    pictures = np.random.default_rng(1).integers(0, 255, (3, 4, 5)).astype(np.uint8)

    def still(dataset: FileDataset) -> None:
        dataset.SOPInstanceUID, dataset.Modality = "1.2.9", "US"

    def cine(dataset: FileDataset) -> None:
        dataset.Modality = "US"

    write_picture(folder / "a", pictures[0], still, _US)
    write_picture(folder / "b", pictures, cine, _CINE)
    (series,) = scan([folder / "a", folder / "b"]).images
    return series


def test_a_cine_is_asked_for_and_the_still_beside_it_is_read(tmp_path: Path) -> None:
    found = pair_series(_series(tmp_path).files, 0)
    assert sorted(case.problem_code for case in found.cases) == ["", Code.FOUR_AXES]
    assert len({case.case_key for case in found.cases}) == 2
    (asked,) = [case for case in found.cases if case.problem]
    assert "--frames" in asked.problem
    with pytest.raises(DataError) as caught:
        only_stack([tmp_path / "b"], Choices())
    assert caught.value.code == Code.FOUR_AXES


def test_a_cine_becomes_what_was_asked_for(tmp_path: Path) -> None:
    series = _series(tmp_path)
    channels = opened(series, Choices(frames="channels"))
    assert sorted(len(one.image.frames) for one in channels) == [0, 3]
    assert len(opened(series, Choices(frames="cases"))) == 4
    one_each = opened(series, Choices(frames=1))
    assert [one.fault for one in one_each] == [None, None]
    assert [len(one.stack.volumes) for one in one_each if one.stack is not None] == [1, 1]
