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
    source = StoredSource([(case, ("dim",)) for case in cases], scheme, frozenset({"patient_001"}))
    drawn = source.draw(("dim",) * 40, tuple(np.random.default_rng(n) for n in range(40)))
    alone = source.draw(("dim",), (np.random.default_rng(7),))
    assert alone[0].case_id == drawn[7].case_id
    assert {case.case_id for case in drawn} == {case.case_id for case in cases}
    assert all(case.scale == scheme.case_scale(case.volume) for case in drawn)
    assert source.donor_patient_ids == {"patient_001"}


def test_a_case_is_drawn_for_what_it_stands_for():
    stands = (("dim", "bright"), (None,), ("bright",))
    cases = [(make_case(n), names) for n, names in enumerate(stands)]
    source = StoredSource(cases, IntensityScheme.for_volume(cases[0][0].volume), frozenset())
    assert source.classes == ("dim", "bright")

    def ids(name):
        drawn = source.draw((name,) * 20, tuple(np.random.default_rng(n) for n in range(20)))
        return {one.case_id for one in drawn}

    assert ids("dim") == {"case_000"}
    assert ids("bright") == {"case_000", "case_002"}
    assert ids(None) == {"case_001"}


def test_what_a_set_does_not_hold_is_refused():
    case = make_case(0, classes=(1,))
    source = StoredSource([(case, ("dim",))], IntensityScheme.for_volume(case.volume), frozenset())
    with pytest.raises(DataError, match="holds no new lesion of class bright"):
        source.draw(("bright",), (np.random.default_rng(0),))
    with pytest.raises(DataError, match="holds no pasted healthy tissue"):
        source.draw((None,), (np.random.default_rng(0),))


def test_an_empty_set_is_refused():
    with pytest.raises(DataError, match="no labelled case"):
        StoredSource([], IntensityScheme.for_volume(make_case(0).volume), frozenset())
