"""Cleaned NIfTI files hold voxels and geometry, bit for bit, and nothing else; sidecars hold how an image was taken."""

import gzip
import json
import struct
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Extension

from medaug.core.errors import IdentifierError, UnreadableError
from medaug.privacy.nifti import clean_gradients, clean_nifti, clean_sidecar

CANARY = b"Kowalczyk^Bronis"
AFFINE = np.array([[0.0, -1.5, 0.1, 4.0], [2.0, 0.0, 0.0, -7.0], [0.0, 0.1, 3.0, 1.0], [0.0, 0.0, 0.0, 1.0]])


def image(kind: Any = nib.Nifti1Image, order: str = "<") -> bytes:
    voxels = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
    made = kind(voxels, AFFINE, kind.header_class(endianness=order))
    for field in ("descrip", "aux_file", "intent_name"):
        made.header[field] = CANARY
    if kind is nib.Nifti1Image:
        made.header["db_name"], made.header["data_type"] = CANARY, CANARY[:10]
        made.header["extents"], made.header["session_error"] = 20200301, 4711
        made.header["glmax"], made.header["glmin"] = 19480315, 4711
    made.header["toffset"] = 20200301.0
    made.header.extensions.append(Nifti1Extension(6, CANARY))
    made.header.extensions.append(Nifti1Extension(2, CANARY * 4))
    return bytes(made.to_bytes())


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("order", ["<", ">"])
def test_voxels_and_geometry_stay_and_texts_go(kind: Any, order: str) -> None:
    raw = image(kind, order) + b"after the voxels: " + CANARY
    clean = clean_nifti(raw, packed=False)
    before, after = kind.from_bytes(image(kind, order)), kind.from_bytes(clean)
    assert CANARY[:8] not in clean
    assert np.array_equal(np.asanyarray(before.dataobj), np.asanyarray(after.dataobj))
    assert np.array_equal(before.affine, after.affine)
    assert before.header["qform_code"] == after.header["qform_code"]
    assert after.header.endianness == before.header.endianness
    assert not len(after.header.extensions)
    assert float(after.header["toffset"]) == 0
    for number in (20200301, 19480315):
        assert struct.pack(order + "i", number) not in clean
    assert len(clean) == after.header.sizeof_hdr + 4 + 24 * after.get_data_dtype().itemsize


@pytest.mark.parametrize(
    ("kind", "spacing", "parameters"), [(nib.Nifti1Image, 76, 56), (nib.Nifti2Image, 104, 80)]
)
def test_axes_that_are_not_there_and_an_intent_that_is_none_hold_nothing(
    kind: Any, spacing: int, parameters: int
) -> None:
    wide = kind is nib.Nifti2Image
    real, width, dims = ("<d", 8, 16 + 5 * 8) if wide else ("<f", 4, 40 + 5 * 2)
    raw = bytearray(image(kind))
    struct.pack_into("<q" if wide else "<h", raw, dims, 4711)
    struct.pack_into(real, raw, spacing + 4 * width, 2.5)
    for place in (spacing + 7 * width, parameters, parameters + 2 * width):
        struct.pack_into(real, raw, place, 19480315.0)
    clean = kind.from_bytes(clean_nifti(bytes(raw), packed=False))
    assert clean.header["dim"].tolist() == [3, 2, 3, 4, 1, 1, 1, 1]
    assert clean.header["pixdim"][4:].tolist() == [2.5, 1, 1, 1]
    assert [float(clean.header[f"intent_p{one}"]) for one in (1, 2, 3)] == [0, 0, 0]
    assert np.allclose(clean.affine, AFFINE)


def test_gzip_says_nothing_of_the_file_it_packed_and_own_output_stays() -> None:
    packed = gzip.compress(image(), mtime=1583020800)
    named = packed[:3] + b"\x08" + packed[4:10] + CANARY + b".nii\0" + packed[10:]
    clean = clean_nifti(named + gzip.compress(CANARY), packed=True)
    assert clean[3:8] == bytes(5)
    assert CANARY not in clean + gzip.decompress(clean)
    assert clean_nifti(clean, packed=True) == clean
    assert gzip.decompress(clean) == clean_nifti(image(), packed=False)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (image()[:-1], "damaged-file"),
        (gzip.compress(image())[:-20], "damaged-file"),
        (b"no image at all" * 40, "not-nifti"),
        (b"", "not-nifti"),
        (image()[:344] + b"ni1\0" + image()[348:], "two-files"),
        (image()[:40] + struct.pack("<8h", 3, -2, 3, 4, 1, 1, 1, 1) + image()[56:], "damaged-file"),
        (image()[:72] + struct.pack("<h", 64) + image()[74:] + CANARY * 9, "damaged-file"),
        (image()[:108] + struct.pack("<f", float("nan")) + image()[112:], "damaged-file"),
    ],
)
def test_what_cannot_be_read_is_refused(content: bytes, code: str) -> None:
    with pytest.raises(UnreadableError) as caught:
        clean_nifti(content, packed=False)
    assert caught.value.code == code


def test_cifti_is_refused_because_its_extension_is_what_it_is() -> None:
    raw = bytearray(image(nib.Nifti2Image))
    struct.pack_into("<i", raw, 504, 3001)
    with pytest.raises(IdentifierError):
        clean_nifti(bytes(raw), packed=False)


def test_sidecars_keep_how_an_image_was_taken_and_nothing_of_whom() -> None:
    kept = {
        "EchoTime": 0.09,
        "SliceTiming": [0, 0.5, 1.0],
        "Modality": "MR",
        "Manufacturer": "Siemens",
        "PhaseEncodingDirection": "j-",
        "SkullStripped": False,
    }
    gone = {
        "PatientName": "Kowalczyk",
        "AcquisitionTime": "10:11:12",
        "EchoNumber": "Kowalczyk",
        "RepetitionTime": 20200301,
        "FlipAngle": [[1]],
        "DwellTime": {"a": 1},
        "BodyPartExamined": "BRAIN of Kowalczyk",
        "InstitutionName": "St. Mary",
        "EchoTime1": float("nan"),
        "SpoilingState": "Kowalczyk",
        "EchoTime2": 10**400,
    }
    text, dropped = clean_sidecar(json.dumps(kept | gone))
    assert json.loads(text) == kept
    assert set(dropped) == set(gone)
    assert clean_sidecar(text) == (text, ())


@pytest.mark.parametrize("text", ["[1]", "{", "3", '{"EchoTime": ' + "1" * 5000 + "}"])
def test_a_sidecar_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(UnreadableError):
        clean_sidecar(text)


def test_gradients_keep_their_numbers_as_they_stand() -> None:
    assert clean_gradients("0  1000\t.5 -1e-3\r\n\n") == "0 1000 .5 -1e-3\n"


@pytest.mark.parametrize(
    "text", ["", "0 Kowalczyk", "0 1\n0", "0 20200301", "0 nan", "# Kowalczyk\n0 1", "0 \u0661"]
)
def test_gradients_of_anything_else_are_refused(text: str) -> None:
    with pytest.raises(UnreadableError):
        clean_gradients(text)
