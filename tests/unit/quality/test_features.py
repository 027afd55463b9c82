"""Features say what they are named after."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.feature import graycomatrix, graycoprops
from skimage.measure import regionprops

from medaug.quality.features import Standardiser, feature_names, lesion_features

SPACING = (1.0, 1.0, 2.0)


def disc(radii=(6.0, 6.0)):
    i, j, k = np.indices((32, 32, 3))
    return (((i - 15.5) / radii[0]) ** 2 + ((j - 15.5) / radii[1]) ** 2 < 1) & (k == 1)


def named(image, mask):
    return dict(zip(feature_names(("CT",)), lesion_features([(image, mask, SPACING)])[0], strict=True))


def test_intensity_and_contrast():
    mask = disc()
    image = np.where(mask, 2.0, 0.5)[None].astype(np.float32)
    found = named(image, mask)
    assert found["CT_mean"] == pytest.approx(2.0)
    assert found["CT_std"] == pytest.approx(0.0)
    assert found["CT_contrast_to_ring"] == pytest.approx(1.5)
    assert found["CT_gradient_edge"] > 2 * found["CT_gradient_inside"] > 0
    assert found["CT_glcm_contrast"] == 0.0
    assert found["log_volume_mm3"] == pytest.approx(np.log(2.0 * mask.sum()))


def test_shape_tells_round_from_long():
    image = np.zeros((1, 32, 32, 3), np.float32)
    round_, long = named(image, disc()), named(image, disc((3.0, 12.0)))
    assert round_["eccentricity"] < 0.1
    assert long["eccentricity"] > 0.95
    assert round_["roundness"] > long["roundness"]


def test_texture_tells_rough_from_smooth():
    mask = disc()
    rough = np.random.default_rng(0).normal(0.0, 1.0, (1, 32, 32, 3)).astype(np.float32)
    smooth = np.broadcast_to(np.linspace(-2, 4, 32)[None, :, None, None], rough.shape).astype(np.float32)
    assert named(rough, mask)["CT_glcm_contrast"] > 10 * named(smooth, mask)["CT_glcm_contrast"]
    assert named(smooth, mask)["CT_glcm_correlation"] > 0.9


def test_what_lies_outside_the_lesion_is_not_its_texture():
    mask = disc()
    image = np.zeros((1, 32, 32, 3), np.float32)
    noisy = image + np.where(mask, 0.0, np.random.default_rng(1).normal(0.0, 1.0, mask.shape)).astype(
        np.float32
    )
    for name in ("CT_glcm_contrast", "CT_glcm_energy", "CT_mean", "CT_std"):
        assert named(noisy, mask)[name] == named(image, mask)[name]


def test_standardiser_limits_outliers_and_keeps_constants():
    features = np.random.default_rng(2).normal(3.0, 2.0, (50, 4))
    features[:, 3] = 7.0
    scale = Standardiser.fitted_on(features)
    done = scale.apply(features)
    np.testing.assert_allclose(done[:, :3].mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(done[:, :3].std(axis=0), 1.0)
    assert (done[:, 3] == 0.0).all()
    assert scale.apply(features[:1] + 1e9).max() == 10.0


def _blobs(count: int) -> list[tuple[np.ndarray, np.ndarray, tuple[float, float, float]]]:
    """Lesions of many shapes and sizes in noise, in images of many sizes; some touch the border."""
    rng = np.random.default_rng(5)
    found = []
    for _ in range(count):
        shape = (int(rng.integers(4, 30)), int(rng.integers(4, 30)), int(rng.integers(1, 5)))
        field = ndimage.gaussian_filter(rng.normal(size=shape), 1.2)
        mask = field >= np.quantile(field, rng.uniform(0.5, 0.98))
        found.append((rng.normal(0.0, 1.5, (2, *shape)).astype(np.float32), mask, (0.7, 0.8, 2.0)))
    return found


def test_lesions_measured_together_are_those_measured_one_by_one():
    parts = _blobs(90)
    together = lesion_features(parts)
    alone = np.concatenate([lesion_features([part]) for part in parts])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_figures_are_those_of_numpy_and_scikit_image():
    names = feature_names(("a", "b"))
    for part, row in zip(_blobs(40), lesion_features(_blobs(40)), strict=True):
        image, mask, _ = part
        found = dict(zip(names, row, strict=True))
        inside = image[1][mask].astype(np.float64)
        assert found["b_p25"] == pytest.approx(np.percentile(inside, 25), abs=1e-9)
        assert found["b_std"] == pytest.approx(inside.std(), abs=1e-9)
        gradient = np.hypot(*np.gradient(image[1], axis=(0, 1)))
        assert found["b_gradient_inside"] == pytest.approx(gradient[mask].mean(), abs=1e-5)
        plane = mask[..., int(np.argmax(mask.sum(axis=(0, 1))))]
        region = regionprops(plane.astype(np.uint8))[0]
        assert found["eccentricity"] == pytest.approx(region.eccentricity, abs=1e-6)
        assert found["solidity"] == pytest.approx(plane.sum() / max(region.area_convex, 1))
        assert found["extent"] == pytest.approx(region.extent)


def test_texture_is_that_of_scikit_image():
    image, mask, spacing = _blobs(1)[0]
    k = int(np.argmax(mask.sum(axis=(0, 1))))
    grey = np.clip((image[0, ..., k] + 2) / 6 * 16, 0, 15).astype(np.uint8) + 1
    angles = (0.0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
    shown = np.where(mask[..., k], grey, 0).astype(np.uint8)
    counts = graycomatrix(shown, [1], angles, 17, symmetric=True)[1:, 1:].sum(axis=3, keepdims=True)
    found = dict(zip(feature_names(("a", "b")), lesion_features([(image, mask, spacing)])[0], strict=True))
    for name in ("contrast", "homogeneity", "energy", "correlation"):
        theirs = float(graycoprops(counts / counts.sum(), name)[0, 0])
        assert found[f"a_glcm_{name}"] == pytest.approx(theirs, abs=1e-9)
