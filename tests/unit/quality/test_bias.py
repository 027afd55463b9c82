"""What is narrowed, missing or too many is flagged; chance, and what was asked for, is not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from medaug.core.assessment import Group
from medaug.core.case import CaseRecord, Manifest
from medaug.core.plan import Recipe
from medaug.core.seeding import SeedTree
from medaug.quality.bias import Asked, Mix, Told, describe_bias, holm, inherited
from medaug.quality.samples import LesionSample
from medaug.quality.scores import diameter_mm
from tests.unit.ingest.material import record

CLASSES = ("solid", "faint")


def _lesion(patient: int, name: str, diameter: float, *, known: bool = True) -> LesionSample:
    """A lesion of four voxels, whose spacing gives it its diameter."""
    step = diameter * (np.pi / 24) ** (1 / 3)
    image, mask = np.zeros((1, 2, 2, 1), np.float32), np.ones((2, 2, 1), dtype=bool)
    return LesionSample(f"c{patient}", f"p{patient}", name, image, mask, (step, step, step), known)


def _cohort(seed: int, patients: int = 60) -> list[LesionSample]:
    """One to three lesions a patient; a patient's are alike in size, and faint ones are larger."""
    rng = np.random.default_rng(seed)
    found = []
    for patient in range(patients):
        usual = rng.normal(2.0, 0.4)
        for _ in range(int(rng.integers(1, 4))):
            name = CLASSES[int(rng.random() < 0.3)]
            size = float(np.exp(usual + 0.5 * CLASSES.index(name) + rng.normal(0.0, 0.3)))
            found.append(_lesion(patient, name, size))
    return found


def _told(samples: Sequence[LesionSample], seed: int) -> dict[str, Told]:
    rng = np.random.default_rng(seed)
    cases = sorted({sample.case_id for sample in samples})
    return {case: {"sex": "MF"[int(rng.integers(2))], "site": "xyz"[int(rng.integers(3))]} for case in cases}


def _described(
    made: Sequence[LesionSample],
    real: Sequence[LesionSample],
    told: dict[str, Told],
    asked: Asked | None = None,
) -> dict[tuple[str, str], Group]:
    mix = Mix(made, np.full(len(made), 0.5), real, told, told, asked or Asked())
    return {(row.attribute, row.value): row for row in describe_bias(mix, CLASSES, SeedTree(0))}


def test_a_set_of_small_lesions_is_narrowed() -> None:
    real = _cohort(1)
    small = [one for one in real if (diameter_mm(one) or 0) < 8]
    found = _described(small, real, {})
    assert "sizes are narrower" in found["class", "solid"].flag
    largest = [row for row in found.values() if row.attribute == "size"][-1]
    assert largest.value.startswith("over ")
    assert largest.synthetic == 0
    assert "too few" in largest.flag
    assert found["class", "faint"].note == ""


def test_a_random_subset_is_not_flagged() -> None:
    odd = 0
    for seed in range(40):
        real, rng = _cohort(seed), np.random.default_rng(seed)
        made = [real[int(n)] for n in rng.choice(len(real), 70, replace=False)]
        odd += any(row.flag for row in _described(made, real, _told(real, seed)).values())
    assert odd <= 4


def test_a_missing_sex_is_flagged_and_a_rare_value_is_not() -> None:
    real = _cohort(3)
    told = _told(real, 3)
    told |= {"c0": {"sex": "O", "site": "x"}}
    men = [one for one in real if told[one.case_id].get("sex") == "M"]
    found = _described(men, real, told)
    assert "too few" in found["sex", "F"].flag
    assert "too many" in found["sex", "M"].flag
    assert found["sex", "O"].flag == ""
    assert not any(row.flag for row in found.values() if row.attribute in ("site", "size"))


def test_class_counts_are_told_where_they_were_asked_for_and_flagged_where_not() -> None:
    real = _cohort(4)
    faint = [one for one in real if one.class_name == "faint"]
    plain, asked = (
        _described(faint, real, {}, Asked(lesions)) for lesions in (None, {"faint": len(faint), "solid": 0})
    )
    assert "too many" in plain["class", "faint"].flag
    assert "too few" in plain["class", "solid"].flag
    assert asked["class", "faint"].flag == asked["class", "solid"].flag == ""
    assert asked["class", "faint"].note == f"as asked: {len(faint)}"
    # the other classes' mix does not look like other sizes
    assert not any(row.flag for row in plain.values() if row.attribute == "size")
    lost = _described(faint, real, {}, Asked({"faint": 2 * len(faint)}))["class", "faint"]
    assert f"{len(faint)} of {2 * len(faint)} lesions that were asked for are not there" in lost.flag


def test_sizes_that_were_asked_for_are_not_blamed() -> None:
    real = _cohort(1)
    small = [one for one in real if (diameter_mm(one) or 0) < 8]
    found = _described(small, real, {}, Asked({"solid": 1}, sizes=True))
    assert not any(row.flag for row in found.values())
    assert {row.note for row in found.values() if row.attribute == "size"} == {"as asked"}


def test_counts_shares_and_scores_stand_in_every_row() -> None:
    real = _cohort(5)
    found = _described(real[:30], real, _told(real, 5))
    rows = [row for row in found.values() if row.attribute == "site"]
    assert [row.value for row in rows] == ["x", "y", "z"]
    assert sum(row.synthetic for row in rows) == 30
    assert sum(row.real_share for row in rows) == pytest.approx(1.0, abs=1e-3)
    assert rows[0].score is not None
    assert rows[0].score.value == 0.5
    sizes = [row for row in found.values() if row.attribute == "size"]
    assert len(sizes) == 4
    assert sum(row.real for row in sizes) == len(real)
    assert "unknown" not in {row.value for row in found.values()}


def test_a_few_patients_are_counted_and_not_judged() -> None:
    real = _cohort(6, patients=3)
    found = _described([one for one in real if one.class_name == "solid"], real, {})
    assert not any(row.flag for row in found.values())


def test_sizes_are_in_voxels_where_a_spacing_is_nominal() -> None:
    real = [_lesion(n, "solid", 5.0, known=n > 0) for n in range(8)]
    sizes = [row for row in _described(real, real, {}).values() if row.attribute == "size"]
    assert all(row.value.endswith("voxels") for row in sizes)
    assert sum(row.real for row in sizes) == 8


def test_a_synthetic_case_has_what_its_host_has() -> None:
    def told(one: CaseRecord, **attributes: str) -> CaseRecord:
        return one.model_copy(update={"attributes": attributes})

    real = Manifest(
        name="real",
        classes=CLASSES,
        cases=(
            told(record("a1", "pa"), sex="F", age="40-49"),
            told(record("a2", "pa"), sex="F", age="50-59"),
            record("b1", "pb"),
        ),
    )
    made = Manifest(
        name="made",
        classes=CLASSES,
        cases=(record("s1", "pa"), record("s2", "pa"), told(record("s3", "pb"), sex="M"), record("s4", "pc")),
    )
    found = inherited(made, real, {"s1": "a2", "s3": "b1"})
    assert found == {
        "s1": {"sex": "F", "age": "50-59"},
        "s2": {"sex": "F"},
        "s3": {"sex": "M"},
        "s4": {},
    }


def test_recipes_tell_what_was_asked() -> None:
    base = Recipe(
        case_id="s", host_case_id="h", host_patient_id="p", donor_patient_ids=(), generator="vae", generator_sha256="0",
        bank_sha256="0", fold=0, training_scope_sha256="0", class_name="solid", site_mm=(0, 0, 0), diameter_mm=4, seed=0,
        edit_mask="e",
    )  # fmt: skip
    null = base.model_copy(update={"use": "null"})
    ranged = base.model_copy(update={"wanted_mm": (3.0, 5.0), "class_name": "faint"})
    assert Asked.of([null]) == Asked()
    assert Asked.of([base, null, ranged]) == Asked({"solid": 1, "faint": 1}, sizes=False)
    assert Asked.of([base, ranged, ranged]).sizes


def test_holm_stops_at_the_first_that_may_be_chance() -> None:
    assert holm({("a", "1"): 0.01, ("a", "2"): 0.02, ("a", "3"): 0.9}) == {("a", "1"), ("a", "2")}
    assert holm({("a", "1"): 0.02, ("a", "2"): 0.03, ("a", "3"): 0.04}) == frozenset()
    assert holm({}) == frozenset()
