"""Copies fail a set, strangers do not, and too little evidence passes nothing."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from medaug.core.case import Case
from medaug.core.geometry import Grid
from medaug.core.runs import NoProgress
from medaug.core.volume import LabelMap, Unit, Volume
from medaug.quality.memorization import (
    Calibration,
    Nearest,
    audit_lesions,
    can_be_judged,
    judge,
    plant_copy,
)
from medaug.quality.samples import LesionSample, cut_lesions
from tests.unit.quality.textured import lesion

TRAINING = [lesion(n) for n in range(30)]
HELD_OUT = [lesion(n) for n in range(100, 125)]
STRANGERS = [lesion(n) for n in range(200, 225)]


def audit(synthetic, held_out=HELD_OUT):
    return audit_lesions(synthetic, TRAINING, held_out, np.random.default_rng(0), NoProgress())


def test_copies_fail_and_name_their_source():
    rng = np.random.default_rng(1)
    found = audit([plant_copy(sample, rng) for sample in TRAINING[:12]] + STRANGERS[:8])
    assert found.verdict == "fail"
    named = {(flag.case_id, flag.source_case_id) for flag in found.flagged}
    assert sum(a == b for a, b in named) >= 11
    assert sum(flag.case_id >= "case_0200" for flag in found.flagged) <= 1
    assert all(flag.score >= 1.0 and flag.part == "lesion" for flag in found.flagged)
    assert [row[2] for row in found.closest] == sorted((row[2] for row in found.closest), reverse=True)
    assert "look like copies" in found.reasons[0]


def test_strangers_pass_with_a_detection_limit():
    found = audit(STRANGERS)
    assert found.verdict == "pass"
    assert not found.flagged
    assert found.recall is not None
    assert found.recall > 0.9
    assert found.detection_limit == pytest.approx(3 / (25 * found.recall))


def test_few_held_out_lesions_are_inconclusive_and_the_number_is_said():
    found = audit(STRANGERS, HELD_OUT[:8])
    assert found.verdict == "inconclusive"
    assert "8 held-out lesions to calibrate on, 20 are needed" in found.reasons


def test_no_held_out_lesion_gives_no_threshold():
    found = audit(TRAINING[:5], [])
    assert found.verdict == "inconclusive"
    assert found.recall is None
    assert found.detection_limit == 1.0
    assert not found.flagged


def test_plain_copies_fail_even_with_few_held_out_lesions():
    assert audit(TRAINING[:20], HELD_OUT[:10]).verdict == "fail"


def test_one_training_lesion_is_enough_to_search():
    found = audit_lesions(STRANGERS[:3], TRAINING[:1], HELD_OUT, np.random.default_rng(0), NoProgress())
    assert found.n_judged == 3


def test_sections_are_judged_against_sections():
    sections = [sample.slice_at(sample.largest_slice) for sample in TRAINING[:10]]
    found = audit(sections)
    assert found.verdict == "fail"
    assert sum(flag.case_id == flag.source_case_id for flag in found.flagged) >= 9


def test_results_do_not_depend_on_order():
    forward, backward = audit(STRANGERS[:6]), audit(STRANGERS[:6][::-1])
    assert {(q.case_id, score) for q, _, score in forward.closest} == {
        (q.case_id, score) for q, _, score in backward.closest
    }


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [
        ((100, 100, 0, 80, 0.9), "pass"),
        ((100, 100, 1, 80, 0.9), "pass"),
        ((100, 100, 4, 80, 0.9), "fail"),
        ((100, 100, 0, 19, 0.9), "inconclusive"),
        ((100, 100, 4, 10, 0.9), "inconclusive"),
        ((100, 100, 60, 10, 0.9), "fail"),
        ((100, 40, 0, 80, 0.9), "inconclusive"),
        ((100, 100, 0, 80, 0.3), "inconclusive"),
        ((100, 100, 4, 80, 0.3), "fail"),
        ((5, 0, 0, 80, 0.9), "inconclusive"),
        ((100, 100, 0, 0, None), "inconclusive"),
    ],
)
def test_verdicts(counts, verdict):
    found, reasons = judge(*counts)
    assert found == verdict
    assert reasons


def calibrated(found: Sequence[Nearest]) -> Calibration:
    law = Calibration.fitted_on(found)
    assert law is not None
    return law


def test_threshold_is_stricter_with_fewer_held_out_lesions_and_holds_its_rate():
    rng = np.random.default_rng(3)

    def draw(n):
        return [Nearest(0, float(rng.gumbel(2.0, 0.3)), math.log(60)) for _ in range(n)]

    few = np.mean([calibrated(draw(20)).threshold for _ in range(50)])
    many = np.mean([calibrated(draw(200)).threshold for _ in range(50)])
    assert few > many
    rates = []
    for _ in range(100):
        law = calibrated(draw(60))
        rates.append(np.mean([law.score(one) >= 1.0 for one in draw(200)]))
    assert np.mean(rates) < 0.01
    assert Calibration.fitted_on(draw(4)) is None


def test_size_is_taken_into_account():
    rng = np.random.default_rng(4)
    sizes = rng.uniform(3.0, 6.0, 80)
    found = [Nearest(0, 3.0 - 0.4 * s + float(rng.gumbel(0.0, 0.05)), s) for s in sizes]
    law = calibrated(found)
    assert law.score(Nearest(0, 1.9, 6.0)) > 1.0
    assert law.score(Nearest(0, 1.9, 3.0)) < 1.0
    assert law.score(Nearest(0, 1.9, 0.5)) == law.score(Nearest(0, 1.9, law.smallest))


def test_specks_are_not_judged():
    speck = lesion(1)
    small = np.zeros_like(speck.mask)
    small[3:6, 3:6, 2] = True
    assert can_be_judged(speck)
    assert not can_be_judged(replace(speck, mask=small))


def lidc_lesions(folder, count):
    """The largest lesion each of some real lung nodules drawn at random, one case a patient."""
    with (folder / "cases.csv").open() as handle:
        rows = list({row["patient_id"]: row for row in csv.DictReader(handle)}.values())
    samples: list[LesionSample] = []
    for row in (rows[n] for n in np.random.default_rng(7).permutation(len(rows))[:count]):
        image, label = (nib.as_closest_canonical(nib.load(folder / row[c])) for c in ("image", "label"))
        grid = Grid(image.shape, image.affine)
        volume = Volume(image.get_fdata(dtype=np.float32)[None], grid, Unit.HU, ("CT",))
        mask = (np.asarray(label.dataobj) > 0).astype(np.uint8)
        cut = cut_lesions(Case(row["case_id"], row["patient_id"], volume, LabelMap(mask, grid, ("nodule",))))
        samples += [max(cut, key=lambda sample: sample.mask.sum())] if cut else []
    return samples


def test_real_nodules_are_told_from_their_copies(medaug_data):
    samples = lidc_lesions(medaug_data / "lidc_nodules", 150)
    training, held_out, strangers = samples[:80], samples[80:115], samples[115:]
    rng = np.random.default_rng(0)
    copies = [plant_copy(sample, rng) for sample in training[::4]]
    found = audit_lesions(copies, training, held_out, np.random.default_rng(1), NoProgress())
    assert found.verdict == "fail"
    assert len(found.flagged) >= 0.6 * found.n_judged
    assert np.mean([flag.case_id == flag.source_case_id for flag in found.flagged]) >= 0.95
    apart = audit_lesions(strangers, training, held_out, np.random.default_rng(1), NoProgress())
    assert len(apart.flagged) <= 1
    assert apart.verdict != "fail"
