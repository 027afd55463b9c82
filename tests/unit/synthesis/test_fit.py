"""Fitting checks the fold first."""

from __future__ import annotations

import pytest

from medaug.core.budget import PrivacyRequest
from medaug.core.errors import DataError, SplitLeakageError
from medaug.core.runs import NoProgress, open_run
from medaug.core.seeding import SeedTree
from medaug.generators import copy_paste, procedural, vae
from medaug.generators.base import CARD, WEIGHTS, read_card
from medaug.lesions.bank import bank_of_cases
from medaug.synthesis.fit import fit_generator, fit_or_fall_back
from tests.small_cases import chest, fold_of

BOTH = ("solid", "ground_glass")
CASES = [chest(1, BOTH), chest(2, BOTH)]


def network(**changes):
    """The smallest network that learns."""
    small = {"size": (16, 16), "base": 4, "z_size": 4, "batch_size": 2, "steps": 2, "device": "cpu"}
    return vae.Config(**{**small, **changes})


def fit(config, fold, tmp_path, how=fit_generator, cases=CASES):
    bank = bank_of_cases(cases, fold_of(cases))
    with open_run(tmp_path / "run", "fit", config, {}) as run:
        return how(config, bank, fold, run, NoProgress(), SeedTree(3))


def learnt_from(path):
    """How many lesions the generator in a run folder has learnt from."""
    card = read_card(path / "run")
    assert card.learnt is not None
    return sum(card.learnt.lesions.values())


def test_a_kind_that_has_to_be_trained_is_trained_on_the_bank(tmp_path):
    fit(procedural.Config(), fold_of(CASES), tmp_path)
    assert learnt_from(tmp_path) == 4


def test_other_kinds_are_built(tmp_path):
    assert fit(copy_paste.Config(), fold_of(CASES), tmp_path).kind == "copy_paste"


def test_a_bank_of_another_fold_is_refused(tmp_path):
    with pytest.raises(SplitLeakageError, match="patient_002"):
        fit(procedural.Config(), fold_of(CASES[:1], CASES[1:]), tmp_path)


def test_the_card_says_what_was_learnt_from(tmp_path):
    fit(procedural.Config(), fold_of(CASES), tmp_path)
    card = read_card(tmp_path / "run")
    assert card.learnt is not None
    assert card.learnt.lesions == {"solid": 2, "ground_glass": 2}
    assert card.learnt.patients == {"solid": 2, "ground_glass": 2}
    low, high = card.learnt.diameter_mm["solid"]
    assert 0 < low <= high
    assert "class solid has only 2 lesions: expect little variety" in card.notes
    assert card.instead_of is None


def test_a_network_is_not_trained_on_a_handful_of_lesions(tmp_path):
    fitted = fit(network(), fold_of(CASES), tmp_path, fit_or_fall_back)
    assert fitted.kind == "procedural"
    assert not (tmp_path / "run" / WEIGHTS).exists()
    assert not (tmp_path / "run" / "log.jsonl").exists()
    card = read_card(tmp_path / "run")
    assert card.instead_of == "vae"
    assert card.notes[0] == (
        "4 lesions are too few to train vae (8 are needed): a procedural generator was fitted instead"
    )


def test_eight_lesions_are_enough_and_a_kind_without_network_needs_fewer(tmp_path):
    cases = [chest(n, BOTH) for n in range(1, 5)]
    assert fit(network(), fold_of(cases), tmp_path / "eight", fit_or_fall_back, cases).kind == "vae"
    assert learnt_from(tmp_path / "eight") == 8
    fit(procedural.Config(), fold_of(CASES), tmp_path / "four", fit_or_fall_back)
    assert learnt_from(tmp_path / "four") == 4
    assert read_card(tmp_path / "four" / "run").instead_of is None


def test_a_promise_is_not_broken_by_a_generator_that_hides_nobody(tmp_path):
    with pytest.raises(DataError, match="procedural hides nobody"):
        fit(network(dp=PrivacyRequest(epsilon=8)), fold_of(CASES), tmp_path, fit_or_fall_back)
    assert not (tmp_path / "run" / CARD).exists()
