"""MetaImage files: the voxels where ITK puts them, and one refusal for each way a header can be wrong."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medaug.core.errors import DataError
from medaug.core.findings import Code
from medaug.core.geometry import lps_to_ras
from medaug.io.metaimage import count_frames, data_file, load_metaimage

VALUES = np.arange(24, dtype=np.int16).reshape((2, 3, 4), order="F")
RAW = VALUES.tobytes(order="F")


def write(path: Path, content: Any = RAW, **changes: str) -> Path:
    """A file with the fields given changed; an empty one is taken out."""
    fields = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        # rows are the directions of the axes: x runs to +y here
        "TransformMatrix": "0 1 0 -1 0 0 0 0 1",
        "Offset": "1 2 3",
        "ElementSpacing": "0.5 0.6 1.2",
        "DimSize": "2 3 4",
        "ElementType": "MET_SHORT",
        "ElementDataFile": "LOCAL",
    }
    last = changes.pop("ElementDataFile", "LOCAL")
    fields |= changes
    fields.pop("ElementDataFile")
    lines = [f"{key} = {value}" for key, value in fields.items() if value]
    path.write_bytes("\n".join([*lines, f"ElementDataFile = {last}", ""]).encode() + content)
    return path


def refusal(path: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        load_metaimage(path)
    assert path.stem not in caught.value.line()
    return caught.value


def test_voxels_and_affine_are_as_stated(tmp_path: Path) -> None:
    image = load_metaimage(write(tmp_path / "a.mha"))
    assert np.array_equal(image.array, VALUES)
    expected = np.array([[0, -0.6, 0, 1], [0.5, 0, 0, 2], [0, 0, 1.2, 3], [0, 0, 0, 1]])
    assert np.allclose(lps_to_ras(image.affine), expected)
    assert image.spacing_known
    assert image.findings == ()


def test_all_encodings_give_the_same_voxels(tmp_path: Path) -> None:
    raw = VALUES.tobytes(order="F")
    text = " ".join(str(n) for n in VALUES.ravel(order="F")).encode()
    (tmp_path / "away.raw").write_bytes(b"head" + raw)
    (tmp_path / "away.zraw").write_bytes(zlib.compress(raw))
    written = [
        write(tmp_path / "zlib.mha", zlib.compress(raw), CompressedData="True"),
        write(tmp_path / "text.mha", text, BinaryData="False"),
        write(tmp_path / "big.mha", VALUES.astype(">i2").tobytes(order="F"), BinaryDataByteOrderMSB="True"),
        write(tmp_path / "msb.mha", VALUES.astype(">i2").tobytes(order="F"), ElementByteOrderMSB="True"),
        write(tmp_path / "raw.mhd", b"", ElementDataFile="away.raw", HeaderSize="4"),
        write(tmp_path / "end.mhd", b"", ElementDataFile="away.raw", HeaderSize="-1"),
        write(tmp_path / "z.mhd", b"", ElementDataFile="away.zraw", CompressedData="True"),
    ]
    for path in written:
        assert np.array_equal(load_metaimage(path).array, VALUES), path.name
    assert data_file(tmp_path / "raw.mhd") == (tmp_path / "away.raw").resolve()
    assert data_file(tmp_path / "zlib.mha") is None


def test_what_the_header_leaves_out(tmp_path: Path) -> None:
    bare = load_metaimage(write(tmp_path / "a.mha", TransformMatrix="", ElementSpacing=""))
    assert not bare.spacing_known
    assert [note.code for note in bare.findings] == [Code.ORIENTATION_ASSUMED]
    centimetres = load_metaimage(write(tmp_path / "b.mha", DistanceUnits="cm"))
    assert np.allclose(np.linalg.norm(centimetres.affine[:3, :3], axis=0), (5, 6, 12))


def test_a_fourth_axis_and_channels_are_kept_apart_from_space(tmp_path: Path) -> None:
    matrix = "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"
    four = {"NDims": "4", "DimSize": "2 3 2 2", "TransformMatrix": matrix, "Offset": "0 0 0 0"}
    path = write(tmp_path / "t.mha", **four, ElementSpacing="1 1 1 5")
    assert load_metaimage(path).array.shape == (2, 3, 2, 2)
    assert count_frames(path) == 2
    path = write(tmp_path / "c.mha", DimSize="3 4 1", ElementNumberOfChannels="2")
    image = load_metaimage(path)
    assert image.array.shape == (3, 4, 1, 2)
    assert image.array[2, 3, 0, 1] == VALUES[1, 2, 3]
    assert count_frames(path) == 2
    flat = {"NDims": "2", "DimSize": "6 4", "TransformMatrix": "1 0 0 1", "Offset": "0 0"}
    assert load_metaimage(write(tmp_path / "f.mha", **flat, ElementSpacing="1 1")).array.shape == (6, 4, 1)
    assert count_frames(tmp_path / "f.mha") == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"DimSize": "2 3 5"}, Code.TRUNCATED_FILE),
        ({"DimSize": "200000 3000 5"}, Code.ABSURD_SIZE),
        ({"DimSize": "2 -3 4"}, Code.ABSURD_SIZE),
        ({"DimSize": "2 3"}, ""),
        ({"DimSize": ""}, ""),
        ({"NDims": "5", "DimSize": "2 3 4 1 1"}, Code.FOUR_AXES),
        ({"ElementType": "MET_OTHER"}, Code.UNSUPPORTED_FORMAT),
        ({"ElementNumberOfChannels": "0"}, ""),
        ({"ElementToIntensityFunctionSlope": "2"}, Code.UNSUPPORTED_FORMAT),
        ({"CompressedData": "True"}, ""),
        ({"TransformMatrix": "1 0 0"}, ""),
        ({"Offset": "1 2 nan"}, ""),
        ({"ElementSpacing": "1 x 1"}, ""),
        ({"DistanceUnits": "furlong"}, ""),
        ({"ElementDataFile": "LIST"}, Code.UNSUPPORTED_FORMAT),
        ({"ElementDataFile": "slice%03d.raw 1 4 1"}, Code.UNSUPPORTED_FORMAT),
        ({"ElementDataFile": "../outside.raw"}, ""),
        ({"ElementDataFile": "missing.raw"}, ""),
    ],
)
def test_wrong_headers_are_refused(tmp_path: Path, changes: dict[str, str], code: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "outside.raw").write_bytes(VALUES.tobytes())
    assert refusal(write(inner / "Meier_Anna.mha", **changes)).code == code


def test_bombs_and_other_files_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "bomb.mha", zlib.compress(bytes(8 << 20)), CompressedData="True")
    assert refusal(path).code == Code.ABSURD_SIZE
    (tmp_path / "none.mha").write_bytes(b"no header at all" * 9)
    refusal(tmp_path / "none.mha")


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("ending", [".mha", ".mhd"])
def test_files_of_itk_are_read_as_itk_reads_them(tmp_path: Path, ending: str, compress: bool) -> None:
    sitk = pytest.importorskip("SimpleITK", reason="the reader is compared with SimpleITK's")
    rng = np.random.default_rng(3)
    values = rng.integers(-900, 900, (4, 5, 6)).astype(np.int16)
    image = sitk.GetImageFromArray(values)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetOrigin((-12.5, 3.25, 90.0))
    image.SetDirection(turn.ravel())
    path = tmp_path / f"a{ending}"
    sitk.WriteImage(image, str(path), compress)
    read = load_metaimage(path)
    assert np.array_equal(read.array, values.T)
    expected = np.eye(4)
    expected[:3, :3], expected[:3, 3] = turn * (0.7, 0.8, 2.5), (-12.5, 3.25, 90.0)
    assert np.abs(lps_to_ras(read.affine) - expected).max() < 1e-3
    sitk.WriteImage(sitk.Compose([image, image + 1]), str(path), compress)
    assert np.array_equal(load_metaimage(path).array[..., 1], values.T + 1)
