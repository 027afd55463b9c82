"""One reader for all formats: the same volume whatever file it comes in, and a fourth axis that is never guessed."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medaug.core.errors import DataError, GeometryError, LabelError
from medaug.core.findings import Code
from medaug.core.geometry import Grid
from medaug.io.images import (
    companion,
    count_frames,
    read_image,
    read_label_file,
    read_slicer_segments,
    slicer_drawing,
)
from medaug.io.nrrd import load_nrrd
from tests.unit.io import test_metaimage, test_nrrd

VALUES = test_nrrd.VALUES
ONTO = Grid((4, 5, 6), np.array([[1, 0, 0, -3], [0, 1, 0, -4], [0, 0, 2, 0], [0, 0, 0, 1.0]]))


def nifti(path: Path, values: np.ndarray, affine: np.ndarray | None = None) -> Path:
    nib.save(nib.Nifti1Image(values, np.eye(4) if affine is None else affine), path)
    return path


def slicer(path: Path, layers: np.ndarray, origin: str = "(0,0,0)") -> Path:
    """A segmentation of three segments in two layers; ``layers`` is (layer, i, j, k)."""
    fields = {
        "Segment0_Name": "core",
        "Segment0_LabelValue": "1",
        "Segment0_Layer": "0",
        "Segment0_Tags": "TerminologyEntry:Ctx~SCT^49755003^Altered~SCT^4147007^Mass~^^~|",
        "Segment1_Name": "edge",
        "Segment1_LabelValue": "2",
        "Segment1_Layer": "0",
        "Segment2_Name": "whole",
        "Segment2_LabelValue": "1",
        "Segment2_Layer": "1",
    }
    test_nrrd.write(
        path,
        layers.astype(np.int16).tobytes(order="F"),
        dimension="4",
        sizes=" ".join(str(n) for n in layers.shape),
        kinds="list domain domain domain",
        space_directions="none (1,0,0) (0,1,0) (0,0,2)",
        space_origin=origin,
    )
    lines = "".join(f"{key}:={value}\n" for key, value in fields.items()).encode()
    path.write_bytes(path.read_bytes().replace(b"# a comment\n", lines))
    return path


def test_every_format_gives_the_same_volume(tmp_path: Path) -> None:
    lps = np.diag([-1.0, -1.0, 1.0, 1.0])
    files = [
        nifti(tmp_path / "a.nii.gz", VALUES, lps @ test_nrrd.AFFINE),
        test_nrrd.write(tmp_path / "a.nrrd"),
    ]
    read = [read_image(path) for path in files]
    assert read[0].grid.axcodes == "RAS"
    assert np.array_equal(read[0].image, read[1].image)
    assert read[0].grid.agrees_with(read[1].grid)
    turned = read_image(test_metaimage.write(tmp_path / "a.mha"))
    assert turned.grid.axcodes == "RAS"
    index = np.argwhere(turned.image[0] == VALUES[1, 2, 3])[0]
    expected = np.array([1 - 2 * 0.6, 2 + 0.5, 3 + 3 * 1.2]) * (-1, -1, 1)
    assert np.allclose(turned.grid.to_mm(index), expected)


def test_a_fourth_axis_is_asked_for(tmp_path: Path) -> None:
    four = np.random.default_rng(0).integers(0, 99, (3, 4, 5, 3)).astype(np.int16)
    path = nifti(tmp_path / "Meier.nii", four)
    with pytest.raises(GeometryError, match="case_1: image is 4D") as caught:
        read_image(path, where="case_1")
    assert caught.value.code == Code.FOUR_AXES
    assert np.array_equal(read_image(path, "channels").image, np.moveaxis(four, 3, 0))
    assert np.array_equal(read_image(path, 2).image[0], four[..., 2])
    with pytest.raises(GeometryError, match="3 frames"):
        read_image(path, 3)
    assert count_frames(path) == 3
    flat = nifti(tmp_path / "flat.nii", four[:, :, :1])
    assert read_image(flat, 1).image.shape == (1, 3, 4, 1)


def test_pages_are_slices_or_frames(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((2, 3), n, np.uint8)) for n in (5, 6)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert read_image(tmp_path / "a.tif").image.shape == (1, 3, 2, 2)
    assert read_image(tmp_path / "a.tif", "channels").image.shape == (2, 3, 2, 1)
    assert read_image(tmp_path / "a.tif", 1).image.max() == 6
    assert count_frames(tmp_path / "a.tif") == 2


def test_sheared_grids_are_refused(tmp_path: Path) -> None:
    affine = np.eye(4)
    affine[1, 2] = 0.1
    with pytest.raises(GeometryError, match=r"5\.7 degrees") as caught:
        read_image(nifti(tmp_path / "a.nii", VALUES, affine))
    assert caught.value.code == Code.SHEARED_GRID
    affine[1, 2] = 1e-3
    assert read_image(nifti(tmp_path / "b.nii", VALUES, affine)).grid.axcodes == "RAS"


def test_what_a_name_or_a_label_cannot_be(tmp_path: Path) -> None:
    for name, what in (("a.mgz", "FreeSurfer MGH"), ("a.txt", "no format")):
        with pytest.raises(DataError, match=what) as caught:
            read_image(tmp_path / name)
        assert caught.value.code == Code.UNSUPPORTED_FORMAT
    for values in (VALUES / 2, VALUES - 5, np.where(VALUES > 3, np.nan, 0)):
        with pytest.raises(LabelError) as refused:
            read_label_file(nifti(tmp_path / "l.nii", values.astype(np.float32)))
        assert refused.value.code == Code.LABEL_NOT_WHOLE
    colour = np.zeros((2, 2, 2), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(colour, np.eye(4)), tmp_path / "rgb.nii")
    with pytest.raises(LabelError, match="colour"):
        read_label_file(tmp_path / "rgb.nii")
    four = nifti(tmp_path / "four.nii", np.stack([VALUES, VALUES], axis=-1))
    with pytest.raises(GeometryError):
        read_label_file(four, "channels")
    assert np.array_equal(read_label_file(four, 1).labels, VALUES)


def test_second_files_are_found_through_their_header(tmp_path: Path) -> None:
    test_nrrd.write(tmp_path / "a.nhdr", b"", data_file="a.raw")
    (tmp_path / "a.raw").write_bytes(b"")
    test_metaimage.write(tmp_path / "b.mhd", b"", ElementDataFile="gone.raw")
    nib.save(nib.Nifti1Pair(VALUES, np.eye(4)), tmp_path / "c.img")
    assert companion(tmp_path / "a.nhdr") == (tmp_path / "a.raw").resolve()
    assert companion(tmp_path / "b.mhd") is None
    assert companion(tmp_path / "c.hdr") == tmp_path / "c.img"
    assert companion(tmp_path / "d.nii") is None


def test_slicer_segments_fall_on_the_voxels_of_their_image(tmp_path: Path) -> None:
    layers = np.zeros((2, 2, 3, 2), np.int16)
    layers[0, 0, 1, 0], layers[0, 1, 2, 1] = 1, 2
    layers[1, 0, 1:] = 1
    # stored is only the part of the grid from voxel (1, 0, 2) of the image on, LPS
    path = slicer(tmp_path / "a.seg.nrrd", layers, "(1,0,4)")
    read = read_slicer_segments(path, ONTO, frozenset({1, 3}))
    assert [(s.number, s.name, s.voxels) for s in read.segments] == [(1, "core", 1), (3, "whole", 4)]
    # (1, 1, 4) mm LPS is voxel (2, 3, 2) of the turned image
    assert np.argwhere(read.segments[0].mask).tolist() == [[2, 3, 2]]
    drawing = slicer_drawing(path)
    assert drawing is not None
    assert [(d.number, d.name) for d in drawing.declared] == [(1, "core"), (2, "edge"), (3, "whole")]
    assert drawing.declared[0].codes == ("SCT:4147007",)
    assert slicer_drawing(test_nrrd.write(tmp_path / "b.nrrd")) is None
    assert load_nrrd(path).frames == 2


def test_slicer_segments_off_the_grid_or_outside_are_refused(tmp_path: Path) -> None:
    path = slicer(tmp_path / "a.seg.nrrd", np.ones((2, 2, 3, 2), np.int16), "(1,0,4)")
    wanted = frozenset({1})
    for onto in (
        Grid((4, 5, 6), np.diag([1.0, 1.0, 2.5, 1.0])),
        Grid((4, 5, 6), np.array([[1, 0, 0, -3.3], [0, 1, 0, -4], [0, 0, 2, 0], [0, 0, 0, 1.0]])),
        Grid((4, 5, 3), np.array([[1, 0, 0, -3], [0, 1, 0, -4], [0, 0, 2, 0], [0, 0, 0, 1.0]])),
    ):
        with pytest.raises(GeometryError) as caught:
            read_slicer_segments(path, onto, wanted)
        assert caught.value.code == Code.LABEL_GRID
    lost = path.read_bytes().replace(b"Segment2_Layer:=1", b"Segment2_Layer:=7")
    path.write_bytes(lost)
    with pytest.raises(LabelError, match="layer"):
        read_slicer_segments(path, ONTO, frozenset({3}))


def test_a_bomb_in_gzip_is_refused(tmp_path: Path) -> None:
    raw = nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4)).to_bytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(raw + bytes(8 << 20)))
    with pytest.raises(DataError) as caught:
        read_image(tmp_path / "a.nii.gz")
    assert caught.value.code == Code.ABSURD_SIZE
