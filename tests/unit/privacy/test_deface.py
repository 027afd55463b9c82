"""Faces go, brains stay, and what cannot be told is said to be so; on made-up heads, and on patients' where they are at hand."""

import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from medaug.core.errors import GeometryError
from medaug.core.geometry import Grid
from medaug.core.volume import Unit, Volume
from medaug.io.nifti import read_label, read_nifti
from medaug.phantom.head import HeadScan, HeadSpec, draw_head
from medaug.privacy.deface import Defaced, deface

THICK = (3.0, 3.0, 5.0)


@cache
def head(spec: HeadSpec) -> HeadScan:
    return draw_head(spec, np.random.default_rng(1))


@cache
def defaced(spec: HeadSpec) -> Defaced:
    return deface(head(spec).volume, modality="MR")


@pytest.mark.parametrize(
    "spec",
    [
        HeadSpec(spacing_mm=THICK),
        HeadSpec(weighting="FLAIR", spacing_mm=THICK, turn_deg=(8.0, 10.0, 15.0)),
        HeadSpec(weighting="PD", spacing_mm=THICK, turn_deg=(-10.0, 0.0, 0.0)),
        HeadSpec(weighting="T1", spacing_mm=THICK, size=0.8, is_child=True, crooked_mm=6.0),
        HeadSpec(weighting="T2", spacing_mm=THICK, noise=0.08, bias=0.5),
        HeadSpec(spacing_mm=(5.0, 3.0, 3.0)),
    ],
    ids=["upright", "oblique", "chin down", "child", "noisy", "thick sagittal"],
)
def test_no_brain_goes_and_no_nose_stays(spec: HeadSpec) -> None:
    scan, made = head(spec), defaced(spec)
    assert made.report.outcome == "defaced"
    assert not (made.removed & scan.brain).any()
    assert (made.removed & scan.nose).sum() >= 0.99 * scan.nose.sum()
    assert made.report.face_left is not None
    assert made.report.face_left < 0.2


def test_nothing_else_changes_and_what_goes_becomes_air() -> None:
    spec = HeadSpec(spacing_mm=THICK)
    before, made = head(spec).volume, defaced(spec)
    assert np.array_equal(before.image[:, ~made.removed], made.volume.image[:, ~made.removed])
    values = np.unique(made.volume.image[0][made.removed])
    assert len(values) == 1
    assert values[0] < 20
    assert made.report.removed_share == pytest.approx(made.removed.mean(), abs=1e-4)


def test_spared_voxels_stay_even_in_the_face() -> None:
    spec = HeadSpec(spacing_mm=THICK)
    scan = head(spec)
    made = deface(scan.volume, scan.nose, modality="MR")
    assert not (made.removed & scan.nose).any()
    assert made.report.outcome == "quarantined"


def test_every_channel_loses_the_same_voxels_to_its_own_air() -> None:
    spec = HeadSpec(spacing_mm=THICK)
    scan, alone = head(spec), defaced(spec)
    image = np.concatenate([scan.volume.image, 2 * scan.volume.image + 100])
    made = deface(replace(scan.volume, image=image, channels=("T1", "other")), modality="MR")
    assert np.array_equal(made.removed, alone.removed)
    assert made.volume.image[1][made.removed].min() >= 100


def test_nominal_spacing_is_replaced_by_that_of_an_adult() -> None:
    spec = HeadSpec(weighting="PD", spacing_mm=THICK)
    scan = head(spec)
    grid = Grid(scan.volume.grid.shape, np.diag([1.0, 1.0, 1.0, 1.0]))
    made = deface(replace(scan.volume, grid=grid, spacing_known=False), modality="MR")
    assert made.report.outcome == "defaced"
    assert not made.report.spacing_believed
    assert not (made.removed & scan.brain).any()
    assert (made.removed & scan.nose).sum() >= 0.95 * scan.nose.sum()


def test_a_stripped_brain_has_no_face() -> None:
    made = deface(head(HeadSpec(spacing_mm=THICK, has_skin=False)).volume, modality="MR")
    assert (made.report.outcome, made.report.reason) == ("nothing", "skull-stripped")
    assert not made.removed.any()


@pytest.mark.parametrize("axis", [1, 2], ids=["face behind", "upside down"])
def test_a_head_that_lies_the_wrong_way_is_left_out(axis: int) -> None:
    volume = head(HeadSpec(spacing_mm=THICK)).volume
    made = deface(replace(volume, image=np.flip(volume.image, axis + 1)), modality="MR")
    assert made.report.outcome == "quarantined"
    assert not made.removed.any()


def test_what_is_no_head_or_unknown_is_told_apart() -> None:
    noise = np.random.default_rng(0).normal(100, 5, (1, 40, 40, 20)).astype(np.float32)
    crop = Volume(noise, Grid((40, 40, 20), np.eye(4)), Unit.ARBITRARY, ("x",))
    assert deface(crop, modality="MR").report.reason == "no-head-in-view"
    volume = head(HeadSpec(spacing_mm=THICK)).volume
    assert deface(volume, modality="US").report.reason == "modality-untested"
    assert deface(volume, modality="CT").report.reason == "head-ct-untested"
    assert deface(volume, modality="MR", part="other").report.reason == "said-to-be-no-head"
    thin = replace(
        volume, image=volume.image[..., :6], grid=Grid((*volume.grid.shape[:2], 6), volume.grid.affine)
    )
    assert deface(thin, modality="MR").report.reason == "too-few-slices"
    leg = replace(volume, image=np.where(volume.image > 20, 100.0, 0.0).astype(np.float32))
    assert deface(leg, modality="MR").report.outcome == "quarantined"


def test_other_axes_and_other_grids_are_errors() -> None:
    volume = head(HeadSpec(spacing_mm=THICK)).volume
    turned = Grid(volume.grid.shape, np.diag([-3.0, 3.0, 5.0, 1.0]))
    with pytest.raises(GeometryError, match="LAS"):
        deface(replace(volume, grid=turned), modality="MR")
    with pytest.raises(GeometryError, match="spared"):
        deface(volume, np.zeros((2, 2, 2), dtype=bool), modality="MR")


@pytest.mark.skipif("MEDAUG_DATA" not in os.environ, reason="MEDAUG_DATA names no folder of real scans")
def test_patients_keep_lesions_that_nobody_asked_to_spare() -> None:
    folder = Path(os.environ["MEDAUG_DATA"])
    name = max(path.name for path in (folder / "lgg_flair" / "images").iterdir())
    image = read_nifti(folder / "lgg_flair" / "images" / name)
    label = read_label(folder / "lgg_flair" / "labels" / name)
    volume = Volume(image.array[None].astype(np.float32), image.grid, Unit.ARBITRARY, ("FLAIR",), False)
    made = deface(volume, modality="MR")
    assert made.report.outcome == "defaced"
    assert not made.removed[label.array > 0].any()
