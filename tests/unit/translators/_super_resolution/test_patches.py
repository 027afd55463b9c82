from __future__ import annotations

import numpy as np
import pytest

from medaug.core.errors import DataError
from medaug.core.runs import NoProgress
from medaug.core.seeding import SeedTree
from medaug.translators._super_resolution.course import choose_course
from medaug.translators._super_resolution.patches import Lessons, Patches, gather, make_pair
from medaug.translators._super_resolution.settings import Config
from medaug.translators._super_resolution.slices import along_last, between_weights
from tests.made_scans import MadeCases, scan

SMALL = Config(factor=2, patch=8, depth=4, patches=6, profile="box")


def gathered(cases: MadeCases, config: Config = SMALL) -> Patches:
    course, chosen = choose_course(config, cases.records)
    return gather(config, Lessons(course, cases, chosen), NoProgress(), SeedTree(0))


def test_thick_slices_and_what_is_lost_make_the_truth() -> None:
    fine = np.random.default_rng(0).normal(size=(2, 3, 4, 12)).astype(np.float32)
    pair = make_pair(fine, 1.0, 4, SMALL, np.random.default_rng(0))
    assert pair is not None
    count = pair.thick.shape[-1]
    positions = (np.arange(4 * count) + 0.5) / 4 - 0.5
    whole = along_last(pair.thick, between_weights(count, positions, 3)) + pair.lost
    starts = [n for n in range(4) if np.allclose(whole, fine[..., n : n + 4 * count], atol=1e-5)]
    assert starts, "the truth begins at one of the fine slices"


def test_too_few_slices_make_no_pair() -> None:
    assert make_pair(np.zeros((1, 4, 4, 7), np.float32), 1.0, 4, SMALL, np.random.default_rng(0)) is None


def test_patches_come_from_every_case_in_3d() -> None:
    patches = gathered(MadeCases.of([scan(0), scan(1)]))
    assert patches.thick.shape == (6, 1, 8, 8, 4)
    assert patches.lost.shape == (6, 1, 8, 8, 8)
    assert float(patches.lost.abs().max()) > 0


def test_rows_are_planes_with_all_channels() -> None:
    cases = MadeCases.of([scan(0, spacing_mm=(1, 1, 2), channels=("T1", "T2"))])
    patches = gathered(cases)
    assert patches.thick.shape == (6, 2, 8, 4)
    assert patches.lost.shape == (6, 2, 8, 8)


def test_same_seed_same_patches() -> None:
    first, second = (gathered(MadeCases.of([scan(0)])) for _ in range(2))
    assert first.thick.equal(second.thick)


def test_cases_too_small_for_the_factor_are_refused() -> None:
    with pytest.raises(DataError, match="at least 16 slices"):
        gathered(MadeCases.of([scan(0, shape=(9, 9, 9))]), Config(factor=8))
