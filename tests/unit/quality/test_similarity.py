"""SSIM equals scikit-image's, MS-SSIM equals MONAI's, where these can measure at all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from monai.metrics.regression import compute_ms_ssim
from skimage.metrics import structural_similarity

from medaug.core.geometry import Box
from medaug.core.seeding import SeedTree
from medaug.quality.similarity import (
    fitted_scales,
    fitted_size,
    fitted_window,
    lesion_box,
    ms_ssim,
    pairwise_ms_ssim,
    pairwise_ssim,
    similarity_figure,
    ssim_parts,
)
from tests.unit.quality.textured import lesion


def _pair(shape: tuple[int, ...], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    first = rng.normal(0.5, 0.3, shape)
    return torch.from_numpy(first), torch.from_numpy(first + rng.normal(0.0, 0.2, shape))


@pytest.mark.parametrize("shape", [(1, 1, 15, 13), (1, 1, 11, 12, 9)])
def test_ssim_is_that_of_scikit_image(shape):
    first, second = _pair(shape)
    window = (7,) * (len(shape) - 2)
    mine = float(ssim_parts(first, second, window, 2.0)[0][0])
    whole = structural_similarity(
        first[0, 0].numpy(), second[0, 0].numpy(), win_size=7, data_range=2.0, use_sample_covariance=False
    )
    assert mine == pytest.approx(whole, abs=1e-9)


@pytest.mark.parametrize(("shape", "scales", "window"), [((3, 1, 32, 32), 3, 7), ((2, 1, 16, 16, 8), 2, 3)])
def test_ms_ssim_is_that_of_monai(shape, scales, window):
    first, second = _pair(shape, 1)
    weights = np.array([0.0448, 0.2856, 0.3001][:scales])
    windows = [min(7, n >> (scales - 1)) for n in shape[2:]]
    windows = [n - 1 + n % 2 for n in windows]
    assert window in windows
    theirs = compute_ms_ssim(
        first.float(),
        second.float(),
        spatial_dims=len(shape) - 2,
        data_range=2.0,
        kernel_type="uniform",
        kernel_size=windows,
        weights=tuple(weights / weights.sum()),
    )
    assert ms_ssim(first, second, 2.0).numpy() == pytest.approx(theirs[:, 0].numpy(), abs=1e-4)


def test_an_image_is_wholly_like_itself():
    first, _ = _pair((2, 1, 32, 32))
    assert ms_ssim(first, first, 1.0).numpy() == pytest.approx([1.0, 1.0])


def test_windows_fit():
    assert fitted_window((30, 6, 5, 1)) == (7, 5, 5, 1)


def test_only_the_box_is_compared():
    rng = np.random.default_rng(3)
    first = rng.normal(size=(1, 20, 20, 1)).astype(np.float32)
    second = first.copy()
    second[:, :5] += 9.0
    inner, outer = Box((8, 8, 0), (18, 18, 1)), Box((0, 0, 0), (10, 10, 1))
    assert pairwise_ssim([first, second], inner, 4.0) == pytest.approx(1.0)
    assert pairwise_ssim([first, second], outer, 4.0) < 0.9


def test_boxes_are_cut_to_the_lesion_and_pairs_are_of_different_patients():
    image = np.arange(400, dtype=np.float32).reshape(1, 20, 20, 1)
    mask = np.zeros((20, 20, 1), dtype=bool)
    mask[4:12, 6:14] = True
    box = lesion_box(image, mask, (8, 8))
    assert np.array_equal(box[0].numpy(), image[0, 4:12, 6:14, 0])
    boxes = torch.stack([_pair((1, 32, 32), n)[0] for n in range(4)])
    values, pairs = pairwise_ms_ssim(boxes, ["a", "a", "b", "c"], 2.0)
    assert pairs.tolist() == [[0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    assert len(values) == 5
    assert lesion_box(np.repeat(image, 3, axis=3), np.repeat(mask, 3, axis=2), (8, 8, 3)).shape == (
        1,
        8,
        8,
        3,
    )


@pytest.mark.parametrize(
    ("shape", "scales"), [((200, 180), 5), ((64, 64), 4), ((32, 32), 3), ((9, 40), 1), ((32, 32, 8), 2)]
)
def test_scales_fit_the_size(shape, scales):
    assert fitted_scales(shape) == scales


@pytest.mark.parametrize("side", [3, 8, 16, 64])
def test_images_of_any_size_are_compared(side):
    first, second = _pair((2, 1, side, side))
    found = ms_ssim(first, second, 2.0)
    assert ((found > 0) & (found < 1)).all()


def test_lesions_that_are_all_alike_score_higher_than_those_that_differ():
    real = [lesion(n) for n in range(12)]
    alike = [replace(real[0], patient_id=sample.patient_id) for sample in real]
    size = fitted_size(real)
    assert size == (16, 16)
    varied, same = (similarity_figure(some, size, 2.0, SeedTree(0)) for some in (real, alike))
    assert varied is not None
    assert same is not None
    assert same.value == pytest.approx(1.0, abs=1e-6)
    assert varied.low < varied.value < varied.high < 0.9
    one_patient = [replace(sample, patient_id="p") for sample in real]
    assert similarity_figure(one_patient, size, 2.0, SeedTree(0)) is None
