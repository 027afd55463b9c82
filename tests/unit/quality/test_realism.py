"""Every class is described in every space: what differs is far, what is alike lies at the floor, what is too few is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

from medaug.core.assessment import Figure, SpaceQuality
from medaug.core.runs import NoProgress
from medaug.core.seeding import SeedTree
from medaug.quality.extractor import Extractor
from medaug.quality.realism import Description, Lesions, describe_classes
from medaug.quality.samples import LesionSample
from tests.unit.quality.textured import CLASSES, lesion

SIDE = 24
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")


class Levels(nn.Module):
    """Mean, deviation and grain of the middle."""

    def forward(self, image: Tensor) -> Tensor:
        middle = image[:, :, 26:38, 26:38].flatten(1)
        grain = (image[:, :, 26:38, 26:38] - image[:, :, 27:39, 26:38]).flatten(1)
        return torch.stack([middle.mean(1), middle.std(1), grain.std(1), middle.amax(1)], dim=1)


@pytest.fixture(scope="module")
def real() -> list[LesionSample]:
    return [lesion(n) for n in range(2 * SIDE)]


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> Extractor:
    path: Path = tmp_path_factory.mktemp("net") / "net.pt"
    example = torch.zeros(2, 1, 64, 64)
    torch.jit.save(torch.jit.trace(Levels(), example), str(path))
    return Extractor(path)


def described(
    made: list[LesionSample], real: list[LesionSample], extractor: Extractor | None = None
) -> Description:
    """The classes of a set against two halves of real lesions."""
    half = len(real) // 2
    lesions = Lesions(tuple(made), tuple(real[:half]), tuple(real[half:]))
    return describe_classes(lesions, CLASSES, SeedTree(0), NoProgress(), extractor)


def changed(sample: LesionSample, change: Callable[[np.ndarray], np.ndarray]) -> LesionSample:
    """A lesion with another image around its mask."""
    near = ndimage.binary_dilation(sample.mask, iterations=2)
    image = np.where(near, change(sample.image), sample.image).astype(np.float32)
    return replace(sample, image=image, figures=None)


def shown(figure: Figure | None) -> Figure:
    assert figure is not None
    return figure


def spaces(made: list[LesionSample], real: list[LesionSample], extractor: Extractor) -> list[SpaceQuality]:
    return list(described(made, real, extractor).classes[0].spaces)


def test_new_lesions_of_the_same_kind_lie_at_the_floor(real, extractor):
    found = described([lesion(n) for n in range(100, 100 + SIDE)], real, extractor)
    quality = found.classes[0]
    assert (quality.n_synthetic, quality.n_training, quality.n_held_out) == (SIDE, SIDE, SIDE)
    assert [space.space for space in quality.spaces] == ["figures", "encoder", "extractor"]
    for space in quality.spaces:
        for name in ("kernel", "frechet", "precision", "recall", "density", "coverage"):
            figure, floor = (shown(getattr(space, name + end)) for end in ("", "_floor"))
            assert figure.low <= floor.high
            assert floor.low <= figure.high
        assert shown(space.kernel).low <= 0.0
    assert shown(quality.spaces[0].frechet).low <= 0.0
    assert shown(quality.ms_ssim).low <= shown(quality.ms_ssim_real).high
    assert {"diameter_mm", "roundness", "solidity"} <= {row.name for row in quality.spreads}
    assert not found.notes


def test_a_blurred_set_is_farther_in_every_space(real, extractor):
    fresh = [lesion(n) for n in range(100, 100 + SIDE)]
    blurred = [changed(s, lambda image: ndimage.gaussian_filter(image, (0, 1.5, 1.5, 0))) for s in fresh]
    pairs = zip(spaces(fresh, real, extractor), spaces(blurred, real, extractor), strict=True)
    for sharp, soft in pairs:
        assert shown(soft.kernel).value > shown(sharp.kernel).value
        assert shown(soft.frechet).value > shown(sharp.frechet).value
        assert shown(soft.kernel).value > shown(soft.kernel_floor).value
        assert shown(soft.frechet).value > shown(soft.frechet_floor).value
    figures = spaces(blurred, real, extractor)[0]
    assert shown(figures.kernel).low > shown(figures.kernel_floor).high
    assert shown(figures.precision).value < shown(figures.precision_floor).value


def test_a_collapsed_set_loses_recall_and_is_all_alike(real):
    model = lesion(101)
    rng = np.random.default_rng(0)
    made = [
        replace(changed(model, lambda image: image + rng.normal(0.0, 0.02, image.shape)), patient_id=f"p{n}")
        for n in range(SIDE)
    ]
    quality = described(made, real).classes[0]
    figures = quality.spaces[0]
    assert shown(figures.recall).value < 0.2 < shown(figures.recall_floor).value
    assert shown(figures.coverage).value < shown(figures.coverage_floor).value - 0.3
    assert shown(quality.ms_ssim).low > shown(quality.ms_ssim_real).high


def test_too_few_lesions_have_no_figures_and_it_is_said(real):
    found = described(real[:4], real)
    few, none = found.classes
    assert few.spaces[0].kernel is None
    assert few.spaces[0].kernel_floor is not None
    assert few.ms_ssim is None
    assert few.ms_ssim_real is not None
    assert (none.n_synthetic, none.spaces[0].kernel_floor) == (0, None)
    assert found.notes == (
        "solid: 4 synthetic lesions of 4 patients; distances take at least 5 of 4 patients",
    )
    some = described(real[:8], real)
    assert shown(some.classes[0].spaces[0].kernel).value < 1.0
    assert some.classes[0].spaces[0].frechet is None
    assert some.classes[0].spaces[0].recall is None
    assert some.classes[0].spaces[0].recall_floor is not None
    wanted = "solid: 8 synthetic lesions of 8 patients; Frechet distance, precision, recall, density"
    assert some.notes[0].startswith(wanted)


def test_lesions_of_one_host_are_no_sample(real):
    made = [replace(sample, patient_id="p") for sample in real[:SIDE]]
    found = described(made, real)
    assert found.classes[0].spaces[0].kernel is None
    assert "lesions of 1 patients" in found.notes[0]


def test_nothing_held_out_leaves_counts(real):
    lesions = Lesions(tuple(real[:SIDE]), tuple(real[SIDE:]), ())
    quality = describe_classes(lesions, CLASSES, SeedTree(0), NoProgress()).classes[0]
    assert quality.n_held_out == 0
    assert all(space.kernel is None and space.recall_floor is None for space in quality.spaces)
    assert quality.spreads == ()
    assert quality.ms_ssim is not None


def test_many_features_are_brought_down_to_their_leading_components(real, tmp_path):
    class Wide(nn.Module):
        """Every pixel a feature."""

        def forward(self, image: Tensor) -> Tensor:
            return image[:, 0, 24:40, 24:40].flatten(1)

    torch.jit.save(torch.jit.trace(Wide(), torch.zeros(2, 1, 64, 64)), str(tmp_path / "net.pt"))
    brighter = [changed(lesion(n), lambda image: image + 1.0) for n in range(100, 100 + SIDE)]
    space = spaces(brighter, real, Extractor(tmp_path / "net.pt"))[2]
    assert shown(space.kernel).low > shown(space.kernel_floor).high


def test_too_few_training_lesions_teach_no_encoder(real):
    lesions = Lesions(tuple(real[:5]), tuple(real[5:15]), tuple(real[15:]))
    found = describe_classes(lesions, CLASSES, SeedTree(0), NoProgress())
    assert [space.space for space in found.classes[0].spaces] == ["figures"]
    assert found.classes[0].spaces[0].kernel is not None
    assert any(note.startswith("no encoder: half of the training patients") for note in found.notes)
