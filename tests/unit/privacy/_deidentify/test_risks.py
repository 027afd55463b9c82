"""Which files may carry writing."""

import io

import pytest
from pydicom.dataset import FileDataset

from medaug.privacy._deidentify.risks import burned_in
from medaug.privacy._deidentify.stream import Stream, read_stream
from tests.unit.privacy.canaries import base


def stream_of(dataset: FileDataset) -> Stream:
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return read_stream(out.getvalue())


@pytest.mark.parametrize("modality", ["US", "SC", "CR", "DX", "MG", "XA", "RF", "OT"])
def test_kinds_that_are_written_upon_are_known_by_modality(modality: str) -> None:
    dataset = base()
    dataset.Modality, dataset.BurnedInAnnotation = modality, "NO"
    assert burned_in(stream_of(dataset)) == ("burned-in-text-possible",)


@pytest.mark.parametrize("kind", ["6.1", "3.1", "7", "1.1", "1.2", "12.1", "12.2", "77.1.4"])
def test_kinds_that_are_written_upon_are_known_by_class(kind: str) -> None:
    dataset = base()
    dataset.SOPClassUID = f"1.2.840.10008.5.1.4.1.1.{kind}"
    assert burned_in(stream_of(dataset)) == ("burned-in-text-possible",)


def test_plain_slices_are_none() -> None:
    assert burned_in(stream_of(base())) == ()
