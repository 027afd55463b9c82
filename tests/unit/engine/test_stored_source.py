"""Synthetic cases from a folder."""

from __future__ import annotations

import numpy as np
import pytest

from medaug.core.errors import DataError
from medaug.core.intensity import IntensityScheme
from medaug.engine.stored_source import StoredSource
from tests.unit.tasks.cases import make_case


def test_each_rng_decides_for_itself_and_the_scale_is_that_of_the_case():
    cases = [make_case(n) for n in range(5)]
    scheme = IntensityScheme.for_volume(cases[0].volume)
    source = StoredSource(cases, scheme, frozenset({"patient_001"}))
    drawn = source.draw(tuple(np.random.default_rng(n) for n in range(40)))
    alone = source.draw((np.random.default_rng(7),))
    assert alone[0].case_id == drawn[7].case_id
    assert {case.case_id for case in drawn} == {case.case_id for case in cases}
    assert all(case.scale == scheme.case_scale(case.volume) for case in drawn)
    assert source.donor_patient_ids == {"patient_001"}


def test_an_empty_set_is_refused():
    with pytest.raises(DataError, match="no labelled case"):
        StoredSource([], IntensityScheme.for_volume(make_case(0).volume), frozenset())
