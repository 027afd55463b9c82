"""What is written, shown by a real Orthanc: stored by STOW, rendered, and compared with the voxels."""

from __future__ import annotations

import gc
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from PIL import Image
from pydicom.pixels.processing import apply_modality_lut

from medaug.layouts._dicom.segmentation import SegmentationType
from tests.pacs.orthanc import Orthanc, own_network, require_orthanc
from tests.unit.layouts._dicom.studies import write_study

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    require_orthanc()
    with own_network():
        one = Orthanc(tmp_path_factory.mktemp("archive") / "plain", 0)
        try:
            one.start()
            one.wait()
            yield one
        finally:
            one.kill()
    gc.collect()


@pytest.mark.parametrize("segmentation", ["BINARY", "LABELMAP"])
@pytest.mark.parametrize("kind", ["CT", "MR", "PT", "MR nominal"])
def test_every_kind_is_stored_and_shown(
    archive: Orthanc, tmp_path: Path, kind: str, segmentation: SegmentationType
) -> None:
    study = write_study(tmp_path, kind, segmentation=segmentation)
    client = DICOMwebClient(archive.url)
    files = [*sorted(study.images.iterdir()), study.seg]
    sent = [pydicom.dcmread(path) for path in files]
    answer = client.store_instances(sent)
    assert not answer.get("FailedSOPSequence")
    assert len(answer.ReferencedSOPSequence) == len(sent)
    for one in (sent[0], sent[-2]):
        values = apply_modality_lut(one.pixel_array, one)
        centre, width = float(one.WindowCenter), float(one.WindowWidth)
        window = np.clip((values - centre) / width + 0.5, 0, 1)
        assert np.abs(_rendered(archive, one) - 255 * window).max() <= 1
        # its DICOMweb stretches from the lowest value to the highest, and takes no window
        picture = client.retrieve_instance_frames_rendered(
            one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID, [1], media_types=("image/png",)
        )
        stretched = (values - values.min()) / np.ptp(values)
        assert np.abs(_grey(picture) - 255 * stretched).max() <= 1
    seg = sent[-1]
    back = client.retrieve_instance(seg.StudyInstanceUID, seg.SeriesInstanceUID, seg.SOPInstanceUID)
    assert back.PixelData == seg.PixelData
    assert [item.SegmentLabel for item in back.SegmentSequence] == [
        item.SegmentLabel for item in seg.SegmentSequence
    ]


def _rendered(archive: Orthanc, one: pydicom.Dataset) -> np.ndarray:
    """As Orthanc's own viewer shows it, by the window of its header."""
    base = archive.url.removesuffix("/dicom-web")
    found = requests.post(f"{base}/tools/lookup", data=str(one.SOPInstanceUID), timeout=10).json()
    (place,) = (item["Path"] for item in found if item["Type"] == "Instance")
    return _grey(requests.get(f"{base}{place}/rendered", headers={"Accept": "image/png"}, timeout=10).content)


def _grey(picture: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture)).convert("L"), np.float64)
