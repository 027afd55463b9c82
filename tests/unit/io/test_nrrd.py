"""NRRD files: the voxels where Slicer and ITK put them, and one refusal for each way a header can be wrong."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medaug.core.errors import DataError
from medaug.core.findings import Code
from medaug.core.geometry import lps_to_ras
from medaug.io.nrrd import SlicerSegment, count_frames, data_file, declared_segments, load_nrrd

VALUES = np.arange(24, dtype=np.int16).reshape((2, 3, 4), order="F")
RAW = VALUES.tobytes(order="F")
DIRECTIONS = "(0.5,0,0) (0,0.6,0.1) (0,-0.2,1.2)"
AFFINE = np.array([[0.5, 0, 0, 1], [0, 0.6, -0.2, 2], [0, 0.1, 1.2, 3], [0, 0, 0, 1.0]])


def write(path: Path, content: Any = RAW, **changes: str) -> Path:
    """A file with the fields given changed; ``none`` takes one out."""
    fields = {
        "type": "short",
        "dimension": "3",
        "space": "left-posterior-superior",
        "sizes": "2 3 4",
        "space directions": DIRECTIONS,
        "kinds": "domain domain domain",
        "endian": "little",
        "encoding": "raw",
        "space origin": "(1,2,3)",
    }
    fields |= {key.replace("_", " "): value for key, value in changes.items()}
    lines = ["NRRD0004", "# a comment", *(f"{key}: {value}" for key, value in fields.items() if value)]
    path.write_bytes("\n".join([*lines, "", ""]).encode() + content)
    return path


def refusal(path: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        load_nrrd(path)
    assert path.stem not in caught.value.line()
    return caught.value


def test_voxels_and_affine_are_as_stated(tmp_path: Path) -> None:
    image = load_nrrd(write(tmp_path / "a.nrrd"))
    assert np.array_equal(image.array, VALUES)
    assert np.allclose(lps_to_ras(image.affine), AFFINE)
    assert image.spacing_known
    assert image.findings == ()


@pytest.mark.parametrize(
    ("space", "signs"),
    [("right-anterior-superior", (-1, -1, 1)), ("LAS", (1, -1, 1)), ("left-posterior-superior", (1, 1, 1))],
)
def test_every_space_lands_in_the_same_world(tmp_path: Path, space: str, signs: tuple[int, int, int]) -> None:
    flip = np.diag([*signs, 1.0])
    stated = flip @ AFFINE
    directions = " ".join(f"({','.join(str(n) for n in stated[:3, axis])})" for axis in range(3))
    origin = f"({','.join(str(n) for n in stated[:3, 3])})"
    path = write(tmp_path / "a.nrrd", space=space, space_directions=directions, space_origin=origin)
    assert np.allclose(lps_to_ras(load_nrrd(path).affine), AFFINE)


def test_all_encodings_give_the_same_voxels(tmp_path: Path) -> None:
    raw = VALUES.tobytes(order="F")
    text = " ".join(str(n) for n in VALUES.ravel(order="F")).encode()
    (tmp_path / "away.raw").write_bytes(b"xx" + raw)
    written = [
        write(tmp_path / "gzip.nrrd", gzip.compress(raw), encoding="gzip"),
        write(tmp_path / "bzip2.nrrd", bz2.compress(raw), encoding="bzip2"),
        write(tmp_path / "text.nrrd", text, encoding="ascii"),
        write(tmp_path / "big.nrrd", VALUES.astype(">i2").tobytes(order="F"), endian="big"),
        write(tmp_path / "skip.nrrd", b"a line\nxx" + raw, line_skip="1", byte_skip="2"),
        write(tmp_path / "end.nrrd", b"anything" + raw, byte_skip="-1"),
        write(tmp_path / "away.nhdr", b"", data_file="away.raw", byte_skip="2"),
    ]
    for path in written:
        assert np.array_equal(load_nrrd(path).array, VALUES), path.name
    assert data_file(tmp_path / "away.nhdr") == (tmp_path / "away.raw").resolve()
    assert data_file(tmp_path / "gzip.nrrd") is None
    assert len(load_nrrd(tmp_path / "away.nhdr").sha256) == 2


def test_spacings_alone_say_nothing_of_orientation(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nrrd", space="", space_directions="", space_origin="", spacings="0.5 0.6 1.2")
    image = load_nrrd(path)
    assert np.allclose(np.abs(np.diag(image.affine)[:3]), (0.5, 0.6, 1.2))
    assert [note.code for note in image.findings] == [Code.ORIENTATION_ASSUMED]
    bare = load_nrrd(write(tmp_path / "b.nrrd", space="", space_directions="", space_origin=""))
    assert not bare.spacing_known


def test_an_axis_outside_space_is_the_fourth(tmp_path: Path) -> None:
    changes = {
        "dimension": "4",
        "sizes": "2 3 4 1",
        "kinds": "vector domain domain domain",
        "space_directions": "none (1,0,0) (0,1,0) (0,0,1)",
    }
    path = write(tmp_path / "a.nrrd", **changes)
    image = load_nrrd(path)
    assert image.array.shape == (3, 4, 1, 2)
    assert image.array[1, 2, 0, 1] == VALUES[1, 1, 2]
    assert count_frames(path) == 2
    colours = np.repeat(VALUES.astype(np.uint8)[np.newaxis], 3, axis=0)
    changes |= {"sizes": "3 2 3 4", "kinds": "RGB-color domain domain domain", "type": "uchar"}
    grey = load_nrrd(write(tmp_path / "b.nrrd", colours.tobytes(order="F"), **changes))
    assert np.array_equal(grey.array, VALUES)
    assert [note.code for note in grey.findings] == [Code.COLOUR_CONVERTED]
    assert count_frames(tmp_path / "b.nrrd") == 1


def test_slicer_segments_are_declared(tmp_path: Path) -> None:
    fields = {
        "Segment0_ID": "Segment_1",
        "Segment0_Name": "solid part ",
        "Segment0_LabelValue": "3",
        "Segment0_Layer": "0",
        "Segment1_ID": "Segment_2",
        "Segment1_LabelValue": "1",
        "Segment1_Layer": "1",
    }
    path = write(tmp_path / "a.seg.nrrd")
    content = path.read_bytes().replace(
        b"# a comment\n", "".join(f"{k}:={v}\n" for k, v in fields.items()).encode()
    )
    path.write_bytes(content)
    assert declared_segments(path) == (SlicerSegment("solid part", 0, 3), SlicerSegment("Segment_2", 1, 1))
    path.write_bytes(content.replace(b"LabelValue:=3", b"LabelValue:=x"))
    with pytest.raises(DataError, match="no whole number"):
        declared_segments(path)
    assert declared_segments(write(tmp_path / "b.nrrd")) == ()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"sizes": "2 3 5"}, Code.TRUNCATED_FILE),
        ({"sizes": "20000 30000 5"}, Code.ABSURD_SIZE),
        ({"sizes": "2 3 0"}, Code.ABSURD_SIZE),
        ({"sizes": "2 3"}, ""),
        ({"type": "block"}, Code.UNSUPPORTED_FORMAT),
        ({"encoding": "hex"}, Code.UNSUPPORTED_FORMAT),
        ({"encoding": "gzip"}, ""),
        ({"endian": ""}, ""),
        ({"space": "scanner-xyz"}, ""),
        ({"space_directions": "(nan,0,0) (0,1,0) (0,0,1)"}, ""),
        ({"space_units": '"furlong" "furlong" "furlong"'}, ""),
        ({"kinds": "complex domain domain", "space_directions": "none (1,0) (0,1)"}, Code.UNSUPPORTED_FORMAT),
        ({"space_directions": "none none (0,0,1)", "kinds": ""}, Code.FOUR_AXES),
        ({"data_file": "LIST"}, Code.UNSUPPORTED_FORMAT),
        ({"data_file": "../outside.raw"}, ""),
        ({"data_file": "missing.raw"}, ""),
        ({"byte_skip": "-1", "sizes": "2 3 5"}, Code.TRUNCATED_FILE),
        ({"dimension": "x"}, ""),
    ],
)
def test_wrong_headers_are_refused(tmp_path: Path, changes: dict[str, str], code: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "outside.raw").write_bytes(VALUES.tobytes())
    assert refusal(write(inner / "Meier_Anna.nrrd", **changes)).code == code


def test_bombs_are_refused_before_they_fill_memory(tmp_path: Path) -> None:
    bomb = gzip.compress(bytes(8 << 20))
    assert refusal(write(tmp_path / "bomb.nrrd", bomb, encoding="gzip")).code == Code.ABSURD_SIZE
    (tmp_path / "text.nrrd").write_bytes(b"NRRD0004\n" + b"a" * 100_000)
    assert refusal(tmp_path / "text.nrrd").code == Code.ABSURD_SIZE
    (tmp_path / "other.nrrd").write_bytes(b"PNG")
    assert refusal(tmp_path / "other.nrrd").code == Code.UNSUPPORTED_FORMAT
    refusal(write(tmp_path / "words.nrrd", b"1 2 x" + b" 0" * 21, encoding="ascii"))


@pytest.mark.parametrize("compress", [True, False])
def test_files_of_itk_are_read_as_itk_reads_them(tmp_path: Path, compress: bool) -> None:
    sitk = pytest.importorskip("SimpleITK", reason="the reader is compared with SimpleITK's")
    rng = np.random.default_rng(3)
    values = rng.integers(-900, 900, (4, 5, 6)).astype(np.int16)
    image = sitk.GetImageFromArray(values)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetOrigin((-12.5, 3.25, 90.0))
    image.SetDirection(turn.ravel())
    sitk.WriteImage(image, str(tmp_path / "a.nrrd"), compress)
    read = load_nrrd(tmp_path / "a.nrrd")
    assert np.array_equal(read.array, values.T)
    expected = np.eye(4)
    expected[:3, :3], expected[:3, 3] = turn * (0.7, 0.8, 2.5), (-12.5, 3.25, 90.0)
    assert np.abs(lps_to_ras(read.affine) - expected).max() < 1e-3
    vectors = sitk.Compose([image, image + 1])
    sitk.WriteImage(vectors, str(tmp_path / "v.nrrd"), compress)
    assert np.array_equal(load_nrrd(tmp_path / "v.nrrd").array[..., 1], values.T + 1)
    sitk.WriteImage(image[:, :, 1], str(tmp_path / "flat.nrrd"), compress)
    flat = load_nrrd(tmp_path / "flat.nrrd")
    assert np.array_equal(flat.array[..., 0], values[1].T)
    assert flat.findings == ()
