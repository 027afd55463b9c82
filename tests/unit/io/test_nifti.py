"""NIfTI files: exact round trips, and one clear refusal for each way a file can be wrong."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medaug.core.errors import DataError, GeometryError, LabelError, UnreadableError
from medaug.core.findings import Code
from medaug.core.geometry import Grid
from medaug.io.nifti import (
    count_frames,
    is_nifti,
    load_nifti,
    read_channels,
    read_label,
    read_nifti,
    stem,
    write_channels,
    write_label,
    write_volume,
)

AFFINE = np.array([[0.8, 0, 0, -20.5], [0, 0.9, 0.1, 11], [0, -0.1, 2.5, 3], [0, 0, 0, 1.0]])


def _array(rng: np.random.Generator, shape: tuple[int, int, int] = (5, 6, 4)) -> np.ndarray:
    return rng.integers(-1000, 1000, shape).astype(np.float32)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_whole_numbers_are_stored_as_int16_and_come_back_exactly(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    array, grid = _array(rng), Grid((5, 6, 4), AFFINE)
    digest = write_volume(tmp_path / "a.nii.gz", array, grid)
    image = read_nifti(tmp_path / "a.nii.gz")
    assert nib.Nifti1Image.from_filename(tmp_path / "a.nii.gz").get_data_dtype() == np.int16
    assert np.array_equal(image.array, array)
    assert image.grid.agrees_with(grid)
    assert image.sha256 == digest


def test_fractions_and_negative_zero_are_stored_as_float32(tmp_path: Path, rng: np.random.Generator) -> None:
    for value in (0.25, -0.0):
        array = _array(rng)
        array[0, 0, 0] = value
        write_volume(tmp_path / "a.nii.gz", array, Grid((5, 6, 4), AFFINE))
        back = read_nifti(tmp_path / "a.nii.gz").array
        assert back.dtype == np.float32
        assert back.tobytes() == array.tobytes()


def test_the_same_array_gives_the_same_bytes(tmp_path: Path, rng: np.random.Generator) -> None:
    array, grid = _array(rng), Grid((5, 6, 4), AFFINE)
    write_volume(tmp_path / "a.nii.gz", array, grid)
    write_volume(tmp_path / "b.nii.gz", array, grid)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_a_file_read_and_written_again_is_the_same_file(tmp_path: Path, rng: np.random.Generator) -> None:
    array = _array(rng)
    nib.save(nib.Nifti1Image(array, np.diag([-0.7, -0.9, 1.1, 1])), tmp_path / "lps.nii")
    first = read_nifti(tmp_path / "lps.nii")
    write_volume(tmp_path / "a.nii.gz", first.array, first.grid)
    again = read_nifti(tmp_path / "a.nii.gz")
    write_volume(tmp_path / "b.nii.gz", again.array, again.grid)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_header_says_mm_and_scanner_coordinates(tmp_path: Path, rng: np.random.Generator) -> None:
    write_volume(tmp_path / "a.nii.gz", _array(rng), Grid((5, 6, 4), AFFINE))
    header = nib.Nifti1Image.from_filename(tmp_path / "a.nii.gz").header
    assert header.get_xyzt_units()[0] == "mm"
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)


def test_other_axis_orders_are_turned_to_ras_and_back(tmp_path: Path, rng: np.random.Generator) -> None:
    array = _array(rng)
    affine = np.array([[0, 0, 2.0, 5], [-1, 0, 0, 6], [0, -3.0, 0, 7], [0, 0, 0, 1]])
    nib.save(nib.Nifti1Image(array, affine), tmp_path / "psr.nii")
    image = read_nifti(tmp_path / "psr.nii")
    assert image.grid.axcodes == "RAS"
    assert np.array_equal(image.turn.invert(image.array), array)
    index = np.argwhere(image.array == array[1, 2, 3])[0]
    assert np.allclose(image.grid.to_mm(index), (affine @ [1, 2, 3, 1])[:3])


def test_scale_factor_big_endian_and_nifti2_are_read(tmp_path: Path) -> None:
    stored = np.arange(24, dtype=">i2").reshape(2, 3, 4)
    for kind in (nib.Nifti1Image, nib.Nifti2Image):
        image = kind(stored, np.eye(4), kind.header_class(endianness=">"))
        image.header.set_data_dtype(">i2")
        image.header.set_slope_inter(0.5, -3)
        raw = image.to_bytes()
        (tmp_path / "a.nii").write_bytes(raw)
        expected = kind.from_filename(tmp_path / "a.nii").get_fdata()
        assert np.allclose(read_nifti(tmp_path / "a.nii").array, expected)


def test_metres_become_millimetres(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.diag([0.001, 0.002, 0.003, 1]))
    image.header.set_xyzt_units("meter")
    nib.save(image, tmp_path / "m.nii")
    assert np.allclose(read_nifti(tmp_path / "m.nii").grid.spacing_mm, (1, 2, 3))


def test_spacing_is_nominal_only_without_any_affine(tmp_path: Path) -> None:
    bare = nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), None)
    nib.save(bare, tmp_path / "bare.nii")
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4)), tmp_path / "placed.nii")
    assert not read_nifti(tmp_path / "bare.nii").spacing_known
    assert [note.code for note in load_nifti(tmp_path / "bare.nii").findings] == [Code.ORIENTATION_ASSUMED]
    assert load_nifti(tmp_path / "placed.nii").findings == ()
    assert read_nifti(tmp_path / "placed.nii").spacing_known


def test_trailing_single_axes_are_dropped_and_4d_is_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5, 1), np.int16), np.eye(4)), tmp_path / "one.nii")
    nib.save(nib.Nifti1Image(np.zeros((3, 4), np.int16), np.eye(4)), tmp_path / "flat.nii")
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5, 2), np.int16), np.eye(4)), tmp_path / "two.nii")
    assert read_nifti(tmp_path / "one.nii").array.shape == (3, 4, 5)
    assert read_nifti(tmp_path / "flat.nii").array.shape == (3, 4, 1)
    with pytest.raises(GeometryError, match="case_0001: image is 4D"):
        read_nifti(tmp_path / "two.nii", where="case_0001")


@pytest.mark.parametrize("keep", [0, 3, 200, 600])
def test_files_cut_short_are_refused_without_naming_the_path(
    tmp_path: Path, rng: np.random.Generator, keep: int
) -> None:
    write_volume(tmp_path / "Meier_Anna.nii.gz", _array(rng, (9, 9, 9)), Grid((9, 9, 9), AFFINE))
    content = (tmp_path / "Meier_Anna.nii.gz").read_bytes()
    (tmp_path / "Meier_Anna.nii.gz").write_bytes(content[:keep])
    (tmp_path / "Meier_Anna.nii").write_bytes(gzip.decompress(content)[:keep])
    for name in ("Meier_Anna.nii.gz", "Meier_Anna.nii"):
        with pytest.raises(UnreadableError) as caught:
            read_nifti(tmp_path / name)
        assert "Meier" not in caught.value.line()


def test_text_missing_file_and_colour_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.nii").write_text("not an image" * 100)
    colour = np.zeros((2, 2, 2), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(colour, np.eye(4)), tmp_path / "rgb.nii")
    for name in ("text.nii", "missing.nii", "rgb.nii"):
        with pytest.raises(UnreadableError):
            read_nifti(tmp_path / name)


def test_singular_affine_is_refused(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4))
    raw = bytearray(image.to_bytes())
    raw[312:328] = bytes(16)
    (tmp_path / "a.nii").write_bytes(bytes(raw))
    with pytest.raises(GeometryError, match="singular"):
        read_nifti(tmp_path / "a.nii")


@pytest.mark.parametrize(
    ("offset", "content", "kind"),
    [
        (0, b"\xff\x01\x00\x00", None),
        (70, b"\x14\x00", UnreadableError),
        (123, b"\x87", UnreadableError),
        (254, b"\x01\x10", UnreadableError),
        (280, b"\x00\x00\xc0\x7f", GeometryError),
        (344, b"abcd", UnreadableError),
        (108, b"\x00\x00\x80\x7f", UnreadableError),
    ],
)
def test_damaged_headers_are_refused_and_nothing_is_printed(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    offset: int,
    content: bytes,
    kind: type[DataError] | None,
) -> None:
    raw = bytearray(nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4)).to_bytes())
    raw[offset : offset + len(content)] = content
    (tmp_path / "a.nii").write_bytes(bytes(raw))
    if kind is None:
        # nibabel mends the size of the header, which says nothing about the image
        assert read_nifti(tmp_path / "a.nii").array.shape == (2, 2, 2)
    else:
        with pytest.raises(kind):
            read_nifti(tmp_path / "a.nii")
    assert capfd.readouterr() == ("", "")


def test_labels_stored_as_floats_are_accepted_and_fractions_refused(tmp_path: Path) -> None:
    whole = np.array([0, 1, 5, 2], dtype=np.float64).reshape(2, 2, 1)
    nib.save(nib.Nifti1Image(whole, np.eye(4)), tmp_path / "whole.nii")
    nib.save(nib.Nifti1Image(whole / 2, np.eye(4)), tmp_path / "soft.nii")
    nib.save(nib.Nifti1Image(-whole, np.eye(4)), tmp_path / "negative.nii")
    assert read_label(tmp_path / "whole.nii").array.tolist() == whole.astype(int).tolist()
    with pytest.raises(LabelError, match="fractions"):
        read_label(tmp_path / "soft.nii")
    with pytest.raises(LabelError, match="ids of 0 or more"):
        read_label(tmp_path / "negative.nii")


def test_labels_are_written_as_uint8_and_refused_out_of_range(tmp_path: Path) -> None:
    labels, grid = np.array([0, 3, 255, 1]).reshape(2, 2, 1), Grid((2, 2, 1), np.eye(4))
    write_label(tmp_path / "l.nii.gz", labels, grid)
    assert nib.Nifti1Image.from_filename(tmp_path / "l.nii.gz").get_data_dtype() == np.uint8
    assert np.array_equal(read_label(tmp_path / "l.nii.gz").array, labels)
    with pytest.raises(LabelError):
        write_label(tmp_path / "l.nii.gz", labels - 1, grid)


def test_array_off_its_grid_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GeometryError):
        write_volume(tmp_path / "a.nii.gz", np.zeros((2, 2, 2)), Grid((2, 2, 3), np.eye(4)))
    assert list(tmp_path.iterdir()) == []


def test_names() -> None:
    assert is_nifti(Path("a/B.NII.GZ"))
    assert not is_nifti(Path("a/b.nii.txt"))
    assert stem(Path("a/x.1.nii.gz")) == "x.1"


def test_odd_files_are_read_or_refused_as_their_table_says(medaug_data: Path) -> None:
    files = medaug_data / "odd" / "files"
    whole = read_nifti(files / "nibabel/anatomical.nii")
    assert whole.array.shape == (33, 41, 25)
    assert whole.grid.axcodes == "RAS"
    refused = ["nibabel/functional.nii", "nibabel/row_major.dconn.nii", "nibabel/example_nifti2.nii.gz"]
    refused += ["sct_testing_data/mt/warp_template2mt.nii.gz", "sct_testing_data/dmribvecs.txt"]
    for name in refused:
        with pytest.raises(DataError):
            read_nifti(files / name)
    with pytest.raises(LabelError):
        read_label(files / "sct_testing_data/mt/mt1_gmseg.nii.gz")


@pytest.mark.parametrize("whole", [True, False])
def test_channels_on_the_fourth_axis_come_back_exactly(
    tmp_path: Path, rng: np.random.Generator, *, whole: bool
) -> None:
    first = _array(rng)
    image = np.stack([first, first + (1 if whole else 0.25)])
    digest = write_channels(tmp_path / "a.nii.gz", image, Grid((5, 6, 4), AFFINE))
    assert nib.Nifti1Image.from_filename(tmp_path / "a.nii.gz").shape == (5, 6, 4, 2)
    back = read_channels(tmp_path / "a.nii.gz", 2)
    assert np.array_equal(back.array, image)
    assert back.array.dtype == (np.int16 if whole else np.float32)
    assert back.grid.agrees_with(Grid((5, 6, 4), AFFINE))
    assert back.sha256 == digest


def test_channels_are_turned_as_images_are(tmp_path: Path, rng: np.random.Generator) -> None:
    image = np.stack([_array(rng), _array(rng)])
    write_channels(tmp_path / "a.nii.gz", image, Grid((5, 6, 4), np.diag([-1.0, -1.0, 2.0, 1.0])))
    assert np.array_equal(read_channels(tmp_path / "a.nii.gz", 2).array, image[:, ::-1, ::-1])


def test_another_number_of_channels_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    write_channels(tmp_path / "a.nii.gz", np.stack([_array(rng)] * 2), Grid((5, 6, 4), AFFINE))
    with pytest.raises(GeometryError, match="holds 2 channels; expected 3 channels"):
        read_channels(tmp_path / "a.nii.gz", 3)
    write_volume(tmp_path / "b.nii.gz", _array(rng), Grid((5, 6, 4), AFFINE))
    with pytest.raises(GeometryError, match="holds 1 channel;"):
        read_channels(tmp_path / "b.nii.gz", 2)


def _header(values: np.ndarray, **codes: int) -> nib.Nifti1Image:
    image = nib.Nifti1Image(values, np.diag([2.0, 2.0, 2.0, 1.0]))
    image.header["sform_code"], image.header["qform_code"] = codes.get("sform", 1), codes.get("qform", 1)
    return image


@pytest.mark.parametrize(
    ("shift_mm", "codes"), [(0.1, []), (1.0, [Code.TRANSFORM_CONFLICT]), (90.0, [Code.TRANSFORM_CONFLICT])]
)
def test_the_sform_wins_a_conflict_which_is_told(tmp_path: Path, shift_mm: float, codes: list[str]) -> None:
    image = _header(np.zeros((3, 4, 5), np.int16))
    other = np.array(image.affine)
    other[0, 3] += shift_mm
    image.set_qform(other, code=1)
    nib.save(image, tmp_path / "a.nii")
    read = load_nifti(tmp_path / "a.nii")
    assert [note.code for note in read.findings] == codes
    assert read.affine[0, 3] == 0


def test_a_damaged_qform_beside_an_sform_is_told(tmp_path: Path) -> None:
    image = _header(np.zeros((3, 4, 5), np.int16))
    image.header["quatern_b"] = 7
    (tmp_path / "a.nii").write_bytes(image.to_bytes())
    assert [note.code for note in load_nifti(tmp_path / "a.nii").findings] == [Code.TRANSFORM_CONFLICT]
    raw = bytearray(image.to_bytes())
    raw[254:256] = bytes(2)
    (tmp_path / "b.nii").write_bytes(bytes(raw))
    with pytest.raises(GeometryError):
        load_nifti(tmp_path / "b.nii")


@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.Nifti2Pair])
def test_two_files_are_one_image(tmp_path: Path, rng: np.random.Generator, kind: type) -> None:
    array = _array(rng).astype(np.int16)
    nib.save(kind(array, AFFINE), tmp_path / "a.img")
    read = load_nifti(tmp_path / "a.hdr")
    assert np.array_equal(read.array, array)
    assert np.allclose(read.affine, AFFINE)
    assert len(read.sha256) == 2
    (tmp_path / "a.img.gz").write_bytes(gzip.compress((tmp_path / "a.img").read_bytes()))
    (tmp_path / "a.img").unlink()
    assert np.array_equal(load_nifti(tmp_path / "a.hdr").array, array)
    (tmp_path / "a.img.gz").unlink()
    with pytest.raises(UnreadableError, match=r"the \.img file of this two-file NIfTI image is missing"):
        load_nifti(tmp_path / "a.hdr")


def test_colours_become_luminance(tmp_path: Path) -> None:
    for names in (("R", "G", "B"), ("R", "G", "B", "A")):
        colour = np.zeros((2, 3, 4), dtype=[(name, "u1") for name in names])
        for name in names:
            colour[name] = np.arange(24).reshape(2, 3, 4)
        colour["R"][1, 2, 3] = 123
        nib.save(nib.Nifti1Image(colour, np.eye(4)), tmp_path / "a.nii")
        read = load_nifti(tmp_path / "a.nii")
        assert read.array[1, 1, 2] == 18
        assert read.array[1, 2, 3] == np.float32(0.299 * 123 + 0.701 * 23)
        assert [note.code for note in read.findings] == [Code.COLOUR_CONVERTED]


@pytest.mark.parametrize("what", ["vector", "complex", "five axes", "analyze", "dicom", "offset", "shape"])
def test_what_holds_no_intensities_is_refused_by_name(tmp_path: Path, what: str) -> None:
    image = _header(np.zeros((3, 4, 5, 1, 2) if what == "five axes" else (3, 4, 5, 2), np.float32))
    expected = {"five axes": Code.FOUR_AXES, "offset": "", "shape": Code.ABSURD_SIZE}
    if what == "vector":
        image.header["intent_code"] = 1006
    if what == "complex":
        image = nib.Nifti1Image(np.zeros((3, 4, 5), np.complex64), np.eye(4))
    raw = bytearray(image.to_bytes())
    if what == "analyze":
        raw[344:348] = bytes(4)
    if what == "dicom":
        raw = bytearray(128) + b"DICM" + bytes(400)
    if what == "offset":
        raw[108:112] = np.float32(1e12).tobytes()
    if what == "shape":
        raw[42:48] = np.array([30000, 30000, 30000], np.int16).tobytes()
    (tmp_path / "a.nii").write_bytes(bytes(raw))
    with pytest.raises(DataError) as caught:
        load_nifti(tmp_path / "a.nii")
    assert caught.value.code == expected.get(what, Code.UNSUPPORTED_FORMAT)


def test_frames_are_counted_from_the_header_alone(tmp_path: Path) -> None:
    raw = nib.Nifti1Image(np.zeros((3, 4, 5, 7), np.int16), np.eye(4)).to_bytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(raw)[:300])
    assert count_frames(tmp_path / "a.nii.gz") == 7
