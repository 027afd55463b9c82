"""Verdicts, shares and the law of chance."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from medaug.copying.audit import Evidence, audit, copy_share, count_certain, judge
from medaug.copying.calibration import Calibration
from medaug.copying.imprint import Host, same_share
from medaug.copying.search import CopySearch
from medaug.core.runs import NoProgress
from tests.unit.copying.textures import imprint, texture

SOUND = Evidence(samples=100, judged=100, flagged=0, of_hosts=0, held_out=40, recall=0.9)


@pytest.mark.parametrize(
    ("change", "verdict", "words"),
    [
        ({}, "pass", "found 90% of planted copies"),
        ({"flagged": 1}, "pass", "1 of 100"),
        ({"flagged": 10}, "fail", "where chance gives 1.0% at most"),
        ({"flagged": 10, "chance": 0.08}, "pass", "10 of 100"),
        ({"flagged": 1, "certain": 1}, "fail", "1 of them beyond all chance"),
        ({"held_out": 19, "recall": None}, "inconclusive", "19 held-out patients"),
        ({"recall": 0.4}, "inconclusive", "40% of planted copies"),
        ({"recall": None}, "inconclusive", "no training sample is large enough"),
        ({"judged": 0}, "inconclusive", "no synthetic case shows enough"),
        ({"judged": 40}, "inconclusive", "60 of 100 synthetic cases show too little"),
    ],
)
def test_verdicts(change: dict[str, Any], verdict: str, words: str) -> None:
    found, reasons = judge("lesion", replace(SOUND, **change))
    assert found == verdict
    assert words in " ".join(reasons)


def test_hosts_fail_the_background() -> None:
    found, reasons = judge("background", replace(SOUND, flagged=5, of_hosts=5))
    assert found == "fail"
    assert "5 of 100 synthetic cases show the scan of a training patient" in reasons[0]


def test_shares_have_the_exact_interval_and_a_detection_limit() -> None:
    share = copy_share("lesion", replace(SOUND, flagged=7))
    exact = stats.binomtest(7, 100).proportion_ci(method="exact")
    assert (share.low, share.high) == pytest.approx((exact.low, exact.high))
    assert share.detection_limit == pytest.approx(3 / 90)
    assert copy_share("lesion", replace(SOUND, judged=0)).detection_limit == 1.0
    assert copy_share("lesion", replace(SOUND, recall=None)).detection_limit == 1.0


def _law(values: np.ndarray) -> Calibration:
    law = Calibration.fitted_on({str(n): float(v) for n, v in enumerate(values)})
    assert law is not None
    return law


def test_the_threshold_is_passed_by_about_one_in_a_hundred_and_by_no_more_than_chance_says() -> None:
    rng = np.random.default_rng(0)
    laws = [_law(rng.gumbel(1.0, 0.5, 30)) for _ in range(300)]
    shares = [-np.expm1(-np.exp(-(law.threshold - 1.0) / 0.5)) for law in laws]
    assert 0.008 < np.mean(shares) < 0.02
    assert np.mean([share <= law.chance for share, law in zip(shares, laws, strict=True)]) > 0.9
    assert Calibration.fitted_on({str(n): 1.0 for n in range(19)}) is None


def test_chance_alone_fails_one_set_in_twenty_at_most() -> None:
    rng = np.random.default_rng(1)
    failed = 0
    for _ in range(300):
        law = _law(rng.gumbel(1.0, 0.5, 30))
        failed += count_certain([law.score(v) for v in rng.gumbel(1.0, 0.5, 200)], law) > 0
    assert failed <= 0.05 * 300
    assert count_certain([law.score(12.0)], law) == 1


def test_fewer_patients_leave_more_to_chance() -> None:
    values = np.random.default_rng(1).gumbel(1.0, 0.5, 20)
    few, many = _law(values), _law(np.tile(values, 10))
    assert few.threshold == pytest.approx(many.threshold, rel=0.03)
    assert few.chance > many.chance > 0.01
    assert few.beyond_chance(0.001) > many.beyond_chance(0.001) > many.threshold


def test_copies_fail_a_set_and_hosts_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medaug.copying.search._PLANTED", 1)
    training = [imprint(n, "t") for n in range(8)]
    search = CopySearch(training, [imprint(100 + n, "h") for n in range(20)], 0, NoProgress())
    edit = np.zeros((48, 48, 1), bool)
    edit[10:38, 10:38] = True
    copies = [imprint(n, "s", texture(n)) for n in range(5)]
    hosted = replace(imprint(9, "s", texture(300)), edit_mask=edit, host=Host("t1", 0.9))
    found = audit([*copies, hosted], search, NoProgress())
    assert found.verdict.lesion == found.verdict.background == "fail"
    named = {(flag.case_id, flag.part): flag.source_case_id for flag in found.flagged}
    assert named[("s3", "lesion")] == named[("s3", "background")] == "t3"
    assert named[("s9", "background")] == "t1"
    assert [share.judged for share in found.shares] == [6, 6]
    assert found.share("background").flagged == 6
    assert found.closest[0].score >= found.closest[-1].score
    assert found.threshold == 1.0


def test_the_share_of_same_voxels() -> None:
    first = texture(1)
    second = first.copy()
    second[0, :12] += 1.0
    everywhere = np.ones(first.shape[1:], bool)
    assert same_share(first, second, everywhere) == 0.75
    assert same_share(first, texture(1, (48, 48, 2)), everywhere) == 0.0
    assert same_share(first, second, ~everywhere) == 0.0
