"""Pasted lesions are copies by their recipes, and silence counts only as far as the search sees in a host."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from medaug.copying.imprint import Imprint
from medaug.copying.search import CopySearch
from medaug.core.case import RECIPES
from medaug.core.plan import Recipe, read_lines, write_lines
from medaug.core.runs import NoProgress
from medaug.workflows._assess.checks import open_job
from medaug.workflows._assess.copies import with_membership
from medaug.workflows._assess.in_context import pasted, recall_in_context, with_pasted, with_recall
from medaug.workflows._assess.job import AssessOptions, Job
from tests.unit.report.assessed import audit
from tests.unit.workflows.assessable import make_in_context, make_real


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_real(tmp_path_factory.mktemp("real") / "real", range(4), range(100, 102))


def job_of(real: Path, folder: Path, *changes: Mapping[str, object]) -> Job:
    made = make_in_context(real, folder / "syn", copies=False, count=3)
    rows = read_lines(made / RECIPES, Recipe)
    whole = [row.model_copy(update=change) for row, change in zip(rows, changes, strict=False)]
    write_lines(made / RECIPES, (*whole, *rows[len(whole) :]))
    return open_job(AssessOptions(synthetic=made, against=real, out=folder / "out"))


def test_pasted_lesions_are_flagged_with_their_donor(real, tmp_path):
    donor = {"generator": "carvemix", "donor_patient_ids": ("patient_0003",)}
    flags = pasted(job_of(real, tmp_path, {"generator": "cgan"}, donor, {"use": "null"}))
    assert [(f.case_id, f.source_case_id, f.part, f.score) for f in flags] == [
        ("SYN_001", "case_0003", "lesion", 1.0)
    ]
    assert flags[0].transform == "carvemix of a donor's voxels, as its recipe says"


def test_a_set_with_pasted_lesions_fails(real, tmp_path):
    flags = pasted(job_of(real, tmp_path))
    found = with_pasted(audit("pass", "fail"), flags)
    assert found.verdict.lesion == "fail"
    assert found.shares[0].flagged == sum(flag.part == "lesion" for flag in found.flagged) == 3
    assert found.shares[0].low > 0
    assert (
        found.reasons[0]
        == "lesion: 3 synthetic lesions are voxels of training patients, as their recipes say"
    )
    assert with_pasted(audit(), ()) == audit()
    # what the search has found, too, is not counted twice
    again = with_pasted(
        audit("fail", "fail", copied=4), (flags[0].model_copy(update={"case_id": "syn_000"}), *flags[1:])
    )
    assert again.shares[0].flagged == 6


@pytest.mark.parametrize("verdict", ["pass", "inconclusive", "fail"])
def test_lesions_that_tell_who_was_trained_on_fail(verdict):
    before = audit("pass", "fail")
    known = before.membership
    assert known is not None
    attacked = known.model_copy(update={"verdict": verdict})
    found = with_membership(before, attacked)
    assert found.membership == attacked
    assert found.verdict.lesion == ("fail" if verdict == "fail" else "pass")
    assert (found.reasons == before.reasons) == (verdict != "fail")


@pytest.mark.parametrize(("recall", "verdict"), [(0.2, "inconclusive"), (0.0, "inconclusive"), (0.6, "pass")])
def test_a_pass_rests_on_what_is_seen_in_a_host(recall, verdict):
    found = with_recall(audit("pass", "fail"), recall)
    assert found.verdict.lesion == verdict
    assert found.recall == found.shares[0].recall == recall
    assert found.detection_limit == pytest.approx(min(1.0, 3 / (170 * recall)) if recall else 1.0)
    assert found.shares[1] == audit().shares[1]
    assert with_recall(audit(), None) == audit()
    assert with_recall(audit(), 0.99) == audit()


class Search:
    """Finds what it is told to, and notes what it was shown."""

    def __init__(self, found: set[str]) -> None:
        self.found, self.shown = found, list[Imprint]()

    def calibration(self, _part: str) -> object:
        return object()

    def nearest_to_all(self, cases: Iterable[Imprint]) -> Iterator[tuple[Imprint, tuple[Any, ...]]]:
        for case in cases:
            self.shown.append(case)
            score = 1.2 if case.case_id in self.found else 0.4
            yield case, (SimpleNamespace(part="lesion", score=score, source_patient_id=case.patient_id),)


def test_training_lesions_are_shown_through_edit_masks(real, tmp_path):
    search = Search({"case_0001"})
    assert recall_in_context(job_of(real, tmp_path), cast(CopySearch, search), NoProgress()) == 0.25
    for case in search.shown:
        assert case.edit_mask is not None
        assert not (case.lesion & ~case.edit_mask).any()
        assert 0 < case.edit_mask.mean() < 0.5
