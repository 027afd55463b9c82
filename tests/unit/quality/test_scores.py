"""Lesions that are odd, of another class than asked, or wrongly outlined score less than real ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from medaug.core.assessment import ClassQuality
from medaug.core.seeding import SeedTree
from medaug.quality.features import Standardiser
from medaug.quality.samples import LesionSample, figures_of
from medaug.quality.scores import (
    Material,
    Scores,
    aligned,
    alike_in_size,
    diameter_mm,
    nearest_real,
    numbers_in_case,
    score_samples,
)
from tests.unit.quality.seen import KINDS, disc


def _discs(first: int, count: int) -> list[LesionSample]:
    found = [disc(first + n, n % 2, level=1.0 + n % 2) for n in range(count)]
    return [replace(one, figures=row) for one, row in zip(found, figures_of(found), strict=True)]


TRAINING, HELD_OUT = _discs(0, 60), _discs(500, 30)


def _scored(
    made: Sequence[LesionSample], dice: np.ndarray | None = None, dice_held_out: np.ndarray | None = None
) -> Scores:
    return score_samples(Material(made, TRAINING, HELD_OUT, dice, dice_held_out), KINDS, SeedTree(3))


def _swapped(samples: Sequence[LesionSample]) -> list[LesionSample]:
    return [replace(one, class_name=KINDS[1 - KINDS.index(one.class_name)]) for one in samples]


def test_real_lesions_score_as_real_ones() -> None:
    found = _scored(_discs(900, 30), dice=np.full(30, 0.9), dice_held_out=np.full(30, 0.9))
    for name in KINDS:
        parts = found.classes[name]
        assert parts.recovered is not None
        assert parts.score is not None
        assert parts.score_real is not None
        assert parts.recovered.value > 0.9
        assert parts.label_dice is not None
        assert parts.label_dice_real is not None
        assert parts.label_dice.value == pytest.approx(parts.label_dice_real.value)
        assert parts.score.value == pytest.approx(parts.score_real, abs=0.15)
    quality = parts.added_to(ClassQuality(class_name="bright", n_synthetic=15, n_training=30, n_held_out=15))
    assert (quality.score, quality.seam_auc_real) == (parts.score, parts.seam_auc_real)


def test_a_class_swapped_set_loses_its_recovery_and_is_not_typical() -> None:
    right, wrong = _scored(_discs(900, 30)), _scored(_swapped(_discs(900, 30)))
    for name in KINDS:
        kept, lost = right.classes[name].recovered, wrong.classes[name].recovered
        assert kept is not None
        assert lost is not None
        assert lost.high < 0.2
        assert kept.value > 0.9
        assert right.classes[name].recovered_real == wrong.classes[name].recovered_real
    assert max(s.typical for s in wrong.samples) <= np.median([s.typical for s in right.samples])


def test_the_worst_lesion_is_the_odd_one() -> None:
    made = _discs(900, 30)
    odd = replace(made[7], image=made[7].image + 6.0 * made[7].mask, figures=None)
    found = _scored([*made[:7], odd, *made[8:]])
    worst = min(found.samples, key=lambda one: one.score)
    assert (worst.case_id, worst.lesion, worst.class_name) == (odd.case_id, 0, odd.class_name)


def test_a_missing_dice_lowers_the_score_and_what_was_not_asked_is_null() -> None:
    made = _discs(900, 12)
    plain = _scored(made)
    assert all(one.label_dice is None for one in plain.samples)
    missed = _scored(made, dice=np.zeros(12))
    assert all(a.score < b.score for a, b in zip(missed.samples, plain.samples, strict=True))
    assert missed.classes["dark"].score_real is None


def test_a_single_class_has_no_class_to_recover() -> None:
    one_kind = [[s for s in side if s.class_name == "dark"] for side in (TRAINING, HELD_OUT, _discs(900, 24))]
    found = score_samples(Material(one_kind[2], one_kind[0], one_kind[1]), KINDS, SeedTree(3))
    assert set(found.classes) == {"dark"}
    assert found.classes["dark"].recovered is None
    assert all(one.recovered is None for one in found.samples)


def test_lesions_are_numbered_within_their_case() -> None:
    made = [replace(one, case_id=case) for one, case in zip(_discs(0, 4), "abba", strict=True)]
    assert numbers_in_case(made) == [0, 0, 1, 1]
    values = aligned(made, {"a": (0.1, 0.2)})
    assert values[[0, 3]] == pytest.approx([0.1, 0.2])
    assert np.isnan(values[[1, 2]]).all()


def test_diameters_are_those_of_the_ball_or_nobody_knows() -> None:
    sample = disc(1, 0)
    volume = sample.mask.sum() * 0.8 * 0.8 * 2.0
    assert diameter_mm(sample) == pytest.approx((6 * volume / np.pi) ** (1 / 3))
    assert diameter_mm(replace(sample, is_spacing_known=False)) is None


def test_the_nearest_real_lesion_is_of_the_same_class() -> None:
    scale = Standardiser.fitted_on(figures_of(TRAINING))
    assert nearest_real(TRAINING[4], TRAINING, scale) is TRAINING[4]
    assert nearest_real(replace(TRAINING[4], class_name="other"), TRAINING, scale) is None


def test_real_lesions_are_weighted_to_the_sizes_of_the_synthetic_ones() -> None:
    def sized(number: int, step: float, name: str = "dark") -> LesionSample:
        return replace(disc(number, 0), spacing_mm=(step, step, step), class_name=name)

    real = [sized(n, 1.0 if n < 10 else 4.0) for n in range(20)] + [sized(20, 1.0, "bright")]
    small = alike_in_size([sized(50 + n, 1.0) for n in range(8)], real)
    assert small[:10].sum() == 8 * 5
    assert small[10:].sum() == 0
    dice = np.where(np.arange(21) < 10, 0.4, 0.8)
    found = score_samples(
        Material([sized(50 + n, 1.0) for n in range(8)], TRAINING, real, np.full(8, 0.4), dice),
        KINDS,
        SeedTree(0),
    ).classes["dark"]
    assert found.label_dice_real is not None
    assert found.label_dice_real.value == pytest.approx(0.4)


def test_without_held_out_lesions_there_is_no_class_to_recover_and_no_floor() -> None:
    found = score_samples(Material(_discs(900, 30), TRAINING, ()), KINDS, SeedTree(3))
    parts = found.classes["dark"]
    assert (parts.recovered, parts.seam_auc_real) == (None, None)
    assert parts.seam_auc is not None
    assert parts.score is not None


def test_held_out_patients_move_no_sample() -> None:
    made, dice = _discs(900, 12), np.linspace(0.2, 0.9, 12)
    found, other, none = (
        score_samples(Material(made, TRAINING, kept, dice), KINDS, SeedTree(3)).samples
        for kept in (HELD_OUT, _swapped(_discs(700, 20)), ())
    )
    assert found == other == none
