"""On real nodules: hand-crafted lesions have the statistics of their class, under one mask in one host."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medaug.core.lesion import LesionRequest
from medaug.core.runs import NoProgress, open_run
from medaug.core.seeding import SeedTree
from medaug.core.volume import Unit
from medaug.generators.procedural import Config, fit
from medaug.lesions.bank import Bank, bank_of_cases
from tests.e2e.test_real_hosts import LUNG, cases_of
from tests.made_lesions import request
from tests.small_cases import fold_of


@pytest.fixture(scope="module")
def bank(medaug_data: Path) -> Bank:
    folder = medaug_data / "lidc_nodules"
    if not folder.is_dir():
        pytest.skip("no lidc_nodules in MEDAUG_DATA")
    cases = cases_of(folder, 16, LUNG, Unit.HU, "CT")
    return bank_of_cases(cases, fold_of(cases))


def asked(class_name: str) -> LesionRequest:
    """A ball of 8 mm in quiet lung, whatever the class."""
    made = request("bright", shape=(40, 40, 5), radius=5.7)
    return LesionRequest(
        class_name, made.mask, made.host, made.texture, made.scale, made.spacing_mm, made.box, ()
    )


def test_classes_are_as_dense_as_real_ones_and_in_their_order(bank, tmp_path):
    config = Config()
    with open_run(tmp_path / "run", "fit", config, {}) as run:
        generator = fit(config, bank, run, NoProgress(), SeedTree(0))
    drawn, real = {}, {}
    for name in LUNG:
        lesions = generator.generate([asked(name)] * 24, [np.random.default_rng(n) for n in range(24)])
        drawn[name] = float(np.mean([lesion.image[0][lesion.mask].mean() for lesion in lesions]))
        real[name] = float(np.mean([entry.texture_native[0].mean for entry in bank.entries(name)]))
    order = ["ground_glass", "part_solid", "solid", "calcified"]
    assert sorted(real, key=lambda name: real[name]) == order
    assert sorted(drawn, key=lambda name: drawn[name]) == order
    for name in LUNG:  # sizes differ, and density rises with size
        assert drawn[name] == pytest.approx(real[name], abs=120)
