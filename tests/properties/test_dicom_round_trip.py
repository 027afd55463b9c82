"""Whatever grid and values an image has, its DICOM series and segmentation put every voxel back where it was."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from medaug.core.geometry import Grid, to_ras
from medaug.core.volume import LabelMap, Unit, Volume
from medaug.io.annotations import combine, target_of
from medaug.io.dicom import read_series
from medaug.io.segmentation import read_seg
from medaug.layouts.dicom import SegSettings, SeriesIdentity, Uids, write_seg, write_series

# highdicom 0.28 packs the bits of frames of less than eight pixels wrongly
SIZES, SLICES = (
    st.integers(3, 5),
    st.integers(3, 5),
)  # highdicom packs binary frames of under 8 pixels wrongly
SPACINGS = st.floats(0.3, 6.0)
FLIPS = st.sampled_from([-1.0, 1.0])
Values = Literal["uint8", "int16", "uint16", "eighths", "scaled", "float32"]
CLASSES = ("solid", "odd class", "edema")


def drawn(kind: Values, rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    if kind == "float32":
        return rng.normal(0, 400, shape).astype(np.float32)
    if kind == "eighths":
        return (rng.integers(-4000, 4000, shape) / 8).astype(np.float32)
    if kind == "scaled":
        return (rng.integers(0, 60, shape) * 0.37).astype(np.float32)
    limits = np.iinfo(kind)
    return rng.integers(limits.min, limits.max, shape, endpoint=True).astype(np.float32)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Oblique, uneven, and with axes that run either way."""
    affine = np.eye(4)
    turn = Rotation.random(random_state=draw(st.integers(0, 2**32 - 1))).as_matrix()
    affine[:3, :3] = turn @ np.diag([draw(SPACINGS) * draw(FLIPS) for _ in range(3)])
    affine[:3, 3] = [draw(st.floats(-900, 900)) for _ in range(3)]
    return Grid((draw(SIZES), draw(SIZES), draw(SLICES)), affine)


@settings(max_examples=30, deadline=None)
@given(
    grid=grids(),
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["uint8", "int16", "uint16", "eighths", "scaled", "float32"]),
    modality=st.sampled_from(["CT", "MR"]),
    segmentation=st.sampled_from(["BINARY", "LABELMAP"]),
)
def test_series_gives_back_voxels_places_and_classes(
    grid: Grid,
    seed: int,
    kind: Values,
    modality: Literal["CT", "MR"],
    segmentation: Literal["BINARY", "LABELMAP"],
) -> None:
    rng = np.random.default_rng(seed)
    image = drawn(kind, rng, grid.shape)
    labels = rng.integers(0, len(CLASSES) + 1, grid.shape).astype(np.uint8)
    labels.flat[0] = 1
    identity = SeriesIdentity(Uids(b"k", ("p",)), "p", "p^", modality)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        volume = Volume(image[None], grid, Unit.HU if modality == "CT" else Unit.ARBITRARY, ("x",))
        slices = write_series(volume, identity, folder / "images")
        settings_ = SegSettings(segmentation)
        write_seg(LabelMap(labels, grid, CLASSES), slices, identity, folder / "seg.dcm", settings_)
        series = read_series(sorted((folder / "images").iterdir()))
        seg = read_seg(folder / "seg.dcm", target_of(series))
    expected, turn = to_ras(grid)
    assert series.volume.grid.agrees_with(expected, tolerance_mm=1e-4)
    step = float(slices[0].get("RescaleSlope", 1)) if kind == "float32" else 0
    assert np.abs(series.volume.image[0] - turn.apply(image)).max() <= step / 2 + 1e-6 * step
    assert np.array_equal(combine(seg.segments, CLASSES).labels, turn.apply(labels))
