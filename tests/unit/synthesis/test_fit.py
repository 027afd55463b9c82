"""Fitting checks the fold first."""

from __future__ import annotations

import pytest

from medaug.core.config import Frozen
from medaug.core.errors import SplitLeakageError
from medaug.core.runs import NoProgress, open_run
from medaug.core.seeding import SeedTree
from medaug.generators import copy_paste
from medaug.lesions.bank import bank_of_cases
from medaug.synthesis.fit import fit_generator
from tests.small_cases import chest, fold_of

CASES = [chest(1), chest(2)]


class Learning(Frozen):
    """A configuration that notes what it is given."""

    kind: str = "learning"

    def build(self):
        raise NotImplementedError

    def fit(self, bank, run, progress, seed):
        run.log("fit", lesions=len(bank.entries()), seed=seed.seed)
        return copy_paste.Config().build()


def fit(config, fold, tmp_path):
    bank = bank_of_cases(CASES, fold_of(CASES))
    with open_run(tmp_path / "run", "fit", Learning(), {}) as run:
        return fit_generator(config, bank, fold, run, NoProgress(), SeedTree(3))


def test_a_trainable_kind_is_trained_on_the_bank(tmp_path):
    fit(Learning(), fold_of(CASES), tmp_path)
    assert '"lesions": 2' in (tmp_path / "run" / "log.jsonl").read_text()


def test_other_kinds_are_built(tmp_path):
    assert fit(copy_paste.Config(), fold_of(CASES), tmp_path).kind == "copy_paste"


def test_a_bank_of_another_fold_is_refused(tmp_path):
    with pytest.raises(SplitLeakageError, match="patient_002"):
        fit(Learning(), fold_of(CASES[:1], CASES[1:]), tmp_path)
