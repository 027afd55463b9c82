"""Every figure against MONAI, scikit-image or its published definition, on random masks, flat and solid, anisotropic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics.hausdorff_distance import compute_hausdorff_distance
from monai.metrics.meandice import compute_dice
from monai.metrics.surface_dice import compute_surface_dice
from scipy.spatial.distance import cdist
from skimage.measure import label, regionprops

from medaug.core.geometry import Grid
from medaug.core.results import DiceRow
from medaug.core.volume import LabelMap, Prediction
from medaug.metrics.matching import LESION_IOU
from medaug.metrics.scoring import Scored, Terms, dice_by_class, score_case

# no distance between two voxels of these spacings equals one of these tolerances
SPACINGS, TOLERANCES = (0.7, 1.0, 2.5), (0.61, 1.37, 3.07)
Masks = tuple[np.ndarray, np.ndarray, tuple[float, float, float]]


@st.composite
def masks(draw: st.DrawFn) -> Masks:
    """Two masks of one shape, neither of them empty, and a spacing."""
    shape = (draw(st.integers(2, 9)), draw(st.integers(2, 9)), draw(st.sampled_from([1, 1, 2, 5])))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    share = draw(st.sampled_from([0.05, 0.3, 0.7, 1.0]))
    reference = rng.random(shape) < share
    prediction = reference ^ (rng.random(shape) < draw(st.sampled_from([0.0, 0.1, 0.6])))
    for mask in (prediction, reference):
        mask[tuple(rng.integers(0, shape))] = True
    spacing = [draw(st.sampled_from(SPACINGS)) for _ in range(3)]
    return prediction, reference, (spacing[0], spacing[1], spacing[2])


def row(
    prediction: np.ndarray,
    reference: np.ndarray,
    spacing: Sequence[float],
    tolerance_mm: float = 1.0,
    confidence: np.ndarray | None = None,
) -> DiceRow:
    grid = Grid(reference.shape, np.diag([*spacing, 1.0]))
    ours, theirs = (LabelMap(mask.astype(np.uint8), grid, ("solid",)) for mask in (prediction, reference))
    of = Scored("any", None, 0, 0, "c", "p")
    (only,) = score_case(of, Prediction(ours, confidence), theirs, Terms(True, tolerance_mm))
    assert dice_by_class(ours, theirs) == (only.dice,)
    return only


def one_hot(mask: np.ndarray) -> torch.Tensor:
    """What MONAI takes: without the third axis where it is flat."""
    return torch.from_numpy(mask[..., 0] if mask.shape[2] == 1 else mask)[None, None].float()


def spacing_of(mask: np.ndarray, spacing: Sequence[float]) -> list[float]:
    return list(spacing[:2] if mask.shape[2] == 1 else spacing)


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
@settings(deadline=None, max_examples=40)
@given(drawn=masks(), tolerance_mm=st.sampled_from(TOLERANCES))
def test_overlap_and_surfaces_are_those_of_monai(drawn: Masks, tolerance_mm: float) -> None:
    prediction, reference, spacing = drawn
    ours = row(prediction, reference, spacing, tolerance_mm)
    given_, outlined = one_hot(prediction), one_hot(reference)
    assert ours.dice == pytest.approx(float(compute_dice(given_, outlined)), abs=1e-6)
    mm = spacing_of(reference, spacing)
    surface = compute_surface_dice(
        given_, outlined, [tolerance_mm], include_background=True, spacing=mm, use_subvoxels=True
    )
    assert ours.surface_dice == pytest.approx(float(surface), abs=1e-5)
    distance = compute_hausdorff_distance(
        given_, outlined, include_background=True, percentile=95, spacing=mm
    )
    assert ours.hd95_mm == pytest.approx(float(distance), abs=1e-3)


@settings(deadline=None, max_examples=20)
@given(drawn=masks(), tolerance_mm=st.sampled_from(TOLERANCES))
def test_which_side_is_called_the_reference_changes_signs_at_most(drawn: Masks, tolerance_mm: float) -> None:
    prediction, reference, spacing = drawn
    one, other = (
        row(*pair, spacing, tolerance_mm) for pair in ((prediction, reference), (reference, prediction))
    )
    assert one.dice == pytest.approx(other.dice)
    assert one.surface_dice == pytest.approx(other.surface_dice)
    assert one.hd95_mm == other.hd95_mm
    assert one.volume_error_mm3 == -(other.volume_error_mm3 or 0.0)


@settings(deadline=None, max_examples=20)
@given(drawn=masks(), tolerance_mm=st.sampled_from(TOLERANCES), seed=st.integers(0, 2**32 - 1))
def test_background_around_and_between_changes_nothing_but_distances(
    drawn: Masks, tolerance_mm: float, seed: int
) -> None:
    prediction, reference, spacing = drawn
    rng = np.random.default_rng(seed)
    solid = reference.shape[2] > 1
    pads = [tuple(rng.integers(1, 9, 2)) if axis < 2 or solid else (0, 0) for axis in range(3)]
    wide, wide_reference = (np.pad(mask, pads) for mask in (prediction, reference))
    assert row(wide, wide_reference, spacing, tolerance_mm) == row(
        prediction, reference, spacing, tolerance_mm
    )
    # a second copy far away, empty planes between: every point keeps its neighbour, so the shares stay
    gap = np.zeros((40, *reference.shape[1:]), dtype=bool)
    twice, twice_reference = (np.concatenate([mask, gap, mask]) for mask in (prediction, reference))
    both = row(twice, twice_reference, spacing, tolerance_mm)
    once = row(prediction, reference, spacing, tolerance_mm)
    assert both.surface_dice == pytest.approx(once.surface_dice)
    assert both.hd95_mm == pytest.approx(_hd95(twice, twice_reference, spacing), abs=1e-3)


def _hd95(prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float]) -> float:
    """By its definition: all pairs of boundary voxels."""
    sides = []
    for mask in (prediction, reference):
        flat = mask.shape[2] == 1
        padded = np.pad(mask, [(1, 1), (1, 1), (0, 0) if flat else (1, 1)])
        inside = np.ones_like(padded)
        for axis in range(2 if flat else 3):
            inside &= np.roll(padded, 1, axis) & np.roll(padded, -1, axis)
        sides.append(np.argwhere(padded & ~inside) * np.asarray(spacing))
    apart = cdist(*sides)
    return float(max(np.percentile(apart.min(axis=axis), 95) for axis in (0, 1)))


def _best(iou: np.ndarray) -> float:
    """Largest sum of IoU over all one-to-one pairings, by trying them all."""
    if not iou.size:
        return 0.0
    rest = iou[1:]
    tries = [_best(rest)]
    tries += [iou[0, n] + _best(np.delete(rest, n, axis=1)) for n in np.flatnonzero(iou[0] >= LESION_IOU)]
    return max(tries)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), share=st.sampled_from([0.08, 0.15, 0.25]), flat=st.booleans())
def test_lesions_are_paired_as_well_as_can_be(seed: int, share: float, flat: bool) -> None:
    rng = np.random.default_rng(seed)
    shape = (8, 6, 1) if flat else (6, 4, 3)
    reference = rng.random(shape) < share
    prediction = reference ^ (rng.random(shape) < 0.12)
    counts = row(prediction, reference, (1.0, 1.0, 1.0)).lesions
    assert counts is not None
    given_, n_given = label(prediction, connectivity=3, return_num=True)
    outlined, n_outlined = label(reference, connectivity=3, return_num=True)
    iou = np.zeros((n_outlined, n_given))
    for r in range(n_outlined):
        for p in range(n_given):
            a, b = outlined == r + 1, given_ == p + 1
            iou[r, p] = (a & b).sum() / (a | b).sum()
    assert (counts.reference, counts.predicted) == (n_outlined, n_given)
    assert counts.iou_sum == pytest.approx(_best(iou), abs=1e-5)
    assert counts.iou_sum <= counts.matched <= min(n_given, n_outlined)
    assert sum(size.reference for size in counts.sizes) == n_outlined
    assert sum(size.found for size in counts.sizes) == counts.matched


@settings(deadline=None, max_examples=30)
@given(drawn=masks(), seed=st.integers(0, 2**32 - 1))
def test_calibration_error_is_that_of_its_definition(drawn: Masks, seed: int) -> None:
    prediction, reference, spacing = drawn
    confidence = np.random.default_rng(seed).random(reference.shape).astype(np.float32)
    inside = prediction | reference
    sure, right = confidence[inside].astype(np.float64), (prediction == reference)[inside]
    error = 0.0
    for n in range(15):
        here = (sure > n / 15) & (sure <= (n + 1) / 15)
        if here.any():
            error += here.mean() * abs(right[here].mean() - sure[here].mean())
    found = row(prediction, reference, spacing, confidence=confidence).calibration_error
    assert found == pytest.approx(error, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(masks())
def test_volume_error_is_the_relative_volume_difference(drawn: Masks) -> None:
    """Signed, in the definition of Heimann et al., IEEE TMI 28 (2009), section V."""
    prediction, reference, spacing = drawn
    found = row(prediction, reference, spacing)
    volumes = [
        regionprops(mask.astype(np.uint8), spacing=spacing)[0].area for mask in (prediction, reference)
    ]
    assert found.volume_error_mm3 == pytest.approx(volumes[0] - volumes[1])
    assert found.volume_error == pytest.approx(volumes[0] / volumes[1] - 1)
