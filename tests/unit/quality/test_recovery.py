"""Classifiers learn what can be told, and the ratio says how much of it is kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medaug.core.seeding import SeedTree
from medaug.quality.looks import look_at
from medaug.quality.networks import Training, train_judge
from medaug.quality.recovery import (
    ClassJudge,
    ClassReader,
    Logistic,
    balanced_accuracy,
    compare_recovery,
    lesion_inputs,
)
from tests.unit.quality.seen import KINDS, disc, discs

QUICK = Training(steps=30, batch=8)


def test_regression_finds_the_direction_and_weighs_classes_alike():
    rng = np.random.default_rng(0)
    classes = np.array([0] * 180 + [1] * 20)
    features = rng.normal(size=(200, 3))
    features[:, 1] += 2.5 * classes
    told = Logistic(features, classes).probabilities(
        np.array([[0.0, 0.0, 0.0], [0.0, 2.5, 0.0], [0.0, 1.25, 0.0]])
    )
    assert told.sum(axis=1) == pytest.approx([1.0, 1.0, 1.0])
    assert told[0, 0] > 0.7
    assert told[1, 1] > 0.7
    assert abs(told[2, 1] - 0.5) < 0.15


def test_bright_and_dark_lesions_are_told_apart_by_both():
    judge = ClassJudge(discs(0, 24), SeedTree(0), QUICK)
    fresh = discs(100, 20)
    seen = judge.opinions(fresh)
    for opinion in (seen.network, seen.features):
        assert np.mean(opinion.argmax(axis=1) == fresh.class_index) >= 0.9


def test_training_is_the_same_again():
    looks = discs(0, 8)
    first, second = (
        train_judge(lesion_inputs(looks), looks.class_index, Training(steps=3, batch=4), SeedTree(1), 1)
        for _ in range(2)
    )
    inputs = lesion_inputs(discs(50, 4))
    assert np.array_equal(first.probabilities(inputs), second.probabilities(inputs))


def test_networks_see_volumes():
    looks = discs(0, 6, (16, 16, 4))
    judge = train_judge(lesion_inputs(looks), looks.class_index, Training(steps=2, batch=4), SeedTree(1), 1)
    assert judge.probabilities(lesion_inputs(looks)).shape == (6, 2)


def test_balanced_accuracy_weighs_classes_alike():
    right = np.array([1.0, 1.0, 1.0, 0.0])
    classes = np.array([0, 0, 0, 1])
    weights = np.array([[1.0, 1, 1, 1], [1, 0, 0, 0]])
    assert balanced_accuracy(right, classes, weights) == pytest.approx([0.5, 1.0])


def test_the_ratio_falls_where_the_class_is_lost():
    judge = ClassJudge(discs(0, 24), SeedTree(0), QUICK)
    real = discs(100, 20)
    lost = look_at([disc(200 + n, n % 2, level=0.0) for n in range(20)], (16, 16), KINDS)
    opinions = [judge.opinions(looks).features for looks in (lost, real)]
    found = compare_recovery((opinions[0], lost), (opinions[1], real), SeedTree(2))
    assert found.made.value == pytest.approx(0.5, abs=0.01)
    assert found.real.value > 0.9
    assert found.ratio.value == pytest.approx(found.made.value / found.real.value)
    assert found.ratio.high < 0.8
    assert found.by_class == pytest.approx((1.0, 0.0))


def _class_reader(count: int) -> ClassReader:
    return ClassReader([disc(n, n % 2) for n in range(count)])


def test_a_class_is_recovered_where_it_can_be_seen():
    reader, fresh = _class_reader(24), [disc(100 + n, n % 2) for n in range(20)]
    right, own = reader.recovered(fresh)
    assert right.mean() >= 0.9
    assert own.min() > 0.4
    swapped = [replace(one, class_name=KINDS[1 - KINDS.index(one.class_name)]) for one in fresh]
    wrong, theirs = reader.recovered(swapped)
    assert wrong == pytest.approx(1 - right)
    assert theirs == pytest.approx(1 - own)


def test_a_class_of_too_few_lesions_or_of_one_patient_is_not_known():
    real = [disc(n, n % 2) for n in range(24)]
    few = ClassReader([*(one for one in real if one.class_name == "dark"), *real[1:6:2]])
    assert few.classes == ("dark",)
    right, own = few.recovered(real[:4])
    assert np.isnan(right).all()
    assert np.isnan(own).all()
    lone = [replace(one, patient_id="p0") if one.class_name == "bright" else one for one in real]
    assert ClassReader(lone).classes == ("dark",)
    stranger = replace(real[0], class_name="other")
    assert np.isnan(_class_reader(24).recovered([stranger])[0]).all()
