"""Every class is described: figures where there are enough lesions, else words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medaug.core.runs import NoProgress
from medaug.core.seeding import SeedTree
from medaug.quality.realism import Description, Lesions, describe_classes
from medaug.quality.samples import LesionSample, figures_of
from tests.unit.quality.textured import CLASSES, lesion


@pytest.fixture(scope="module")
def real() -> list[LesionSample]:
    return [lesion(n) for n in range(24)]


def described(made: list[LesionSample], real: list[LesionSample]) -> Description:
    """The classes of a set against two halves of real lesions."""
    lesions = Lesions(tuple(made), tuple(real[:12]), tuple(real[12:]))
    return describe_classes(lesions, CLASSES, SeedTree(0), NoProgress())


def shifted(sample: LesionSample) -> LesionSample:
    return replace(sample, figures=figures_of([sample])[0] + 3.0)


def test_few_lesions_have_no_distance(real):
    found = described(real[:4], real)
    few, none = found.classes
    assert (few.n_synthetic, few.n_training, few.n_held_out) == (4, 12, 12)
    assert few.spaces[0].kernel is None
    assert few.spaces[0].kernel_floor is not None
    assert (none.n_synthetic, none.spaces[0].kernel_floor) == (0, None)
    assert any("solid: 4 synthetic" in note for note in found.notes)


def test_shifted_lesions_are_far_from_real_ones(real):
    made = [shifted(sample) for sample in real[:8]]
    found = described(made, real)
    space = found.classes[0].spaces[0]
    assert space.kernel is not None
    assert space.kernel_floor is not None
    assert space.kernel.low > space.kernel_floor.high
