"""Dealing patients out: every part gets its share of every stratum."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from medaug.core.strata import Patient, deal


def patients(strata):
    return [Patient(f"p{n}", frozenset(names)) for n, names in enumerate(strata)]


@given(
    strata=st.lists(st.frozensets(st.sampled_from("abc"), min_size=1), min_size=1, max_size=40),
    parts=st.integers(2, 5),
)
@settings(max_examples=60, deadline=None)
def test_everybody_is_dealt_once(strata, parts):
    dealt = deal(patients(strata), [1.0] * parts)
    assert sorted(p.patient_id for part in dealt for p in part) == sorted(
        p.patient_id for p in patients(strata)
    )
    assert len(dealt) == parts


def test_a_rare_stratum_is_shared_out_too():
    strata = [{"rare", "common"}] * 4 + [{"common"}] * 36
    large, small = deal(patients(strata), [0.75, 0.25])
    assert (len(large), len(small)) == (30, 10)
    assert sum("rare" in p.strata for p in small) == 1
