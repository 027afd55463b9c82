"""One finding a code: raised where it should be, and only there."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest

from medaug.core.case import Origin
from medaug.core.errors import DataError, GeometryError, LabelError, UnreadableError
from medaug.core.geometry import Grid
from medaug.core.volume import Unit, Volume
from medaug.ingest import checks
from tests.unit.ingest.material import record

GRID = Grid((4, 4, 4), np.diag([1.0, 1.0, 2.0, 1.0]))


def _volume(image: np.ndarray) -> Volume:
    return Volume(image, GRID, Unit.ARBITRARY, tuple(f"c{n}" for n in range(image.shape[0])))


def _image(channels: int = 1) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(channels, *GRID.shape)).astype(np.float32)


def test_every_error_of_a_reader_has_a_code_and_its_own_words() -> None:
    kinds = {UnreadableError: "unreadable", GeometryError: "geometry", LabelError: "label", DataError: "data"}
    for kind, code in kinds.items():
        finding = checks.check_readable(kind("broken", where="x", expected="whole", hint="mend it"), "c1")
        assert (finding.code, finding.severity, finding.case_id) == (code, "refused", "c1")
        assert finding.message == "broken; expected whole; mend it"


def test_not_finite_images_are_refused_and_constant_ones_where_something_is_to_be_learnt() -> None:
    image = _image(2)
    assert checks.check_finite(_volume(image), "c") is None
    assert checks.check_constant(_volume(image), "c", labelled=True) is None
    broken = image.copy()
    broken[1, 0, 0, :2] = np.nan, np.inf
    finding = checks.check_finite(_volume(broken), "c")
    assert finding is not None
    assert finding.message.startswith("image holds 2 values that are not finite")
    flat = image.copy()
    flat[1] = 3
    severities = []
    for labelled in (True, False):
        finding = checks.check_constant(_volume(flat), "c", labelled=labelled)
        assert finding is not None
        assert "channel c1" in finding.message
        severities.append(finding.severity)
    assert severities == ["refused", "flagged"]


@pytest.mark.parametrize(
    ("step", "told"), [(1.0, True), (255.0, True), (0.5, False), (-1.0, False), (300.0, False)]
)
def test_an_image_of_a_few_whole_numbers_may_be_a_label_map(step: float, told: bool) -> None:
    values = np.zeros((1, *GRID.shape), np.float32)
    values[0, 1:3, 1] = step
    finding = checks.check_label_like(_volume(values), "c")
    assert (finding is not None) == told
    assert finding is None or "2 different whole numbers" in finding.message
    many = np.arange(64, dtype=np.float32).reshape(1, *GRID.shape)
    assert checks.check_label_like(_volume(many), "c") is None


@pytest.mark.parametrize(("shift", "same"), [(0.0, True), (0.01, True), (0.5, False)])
def test_grids_may_differ_by_rounding_only(shift: float, same: bool) -> None:
    other = Grid(GRID.shape, GRID.affine + np.eye(4, k=3) * shift)
    assert checks.same_grid(GRID, other) == same
    assert (checks.check_label_grid(GRID, other, "c") is None) == same
    assert (checks.check_channel_grids([GRID, GRID, other], "c") is None) == same


def test_another_shape_is_named() -> None:
    finding = checks.check_label_grid(GRID, Grid((4, 4, 5), GRID.affine), "c")
    assert finding is not None
    assert "(4, 4, 5) against (4, 4, 4)" in finding.message


def test_labels_against_what_is_said_of_them() -> None:
    empty, drawn = np.zeros(8, int), np.ones(8, int)
    said = {
        (False, False): None,
        (True, True): None,
        (True, False): "lesion-free-labelled",
        (False, True): "label-empty",
    }
    for (free, is_empty), code in said.items():
        finding = checks.check_lesion_free(empty if is_empty else drawn, "c", lesion_free=free)
        assert (finding.code if finding else None) == code


def test_missing_labels_are_refused_where_required() -> None:
    assert checks.check_label_missing("c", required=True).severity == "refused"
    assert checks.check_label_missing("c", required=False).severity == "flagged"


def test_classes_that_are_not_there() -> None:
    assert checks.check_classes_found(["a"], ["a", "b"], "c") is None
    finding = checks.check_classes_found(["a", "b"], ["a"], "c")
    assert finding is not None
    assert "no b" in finding.message


def test_label_ids_without_a_name_are_listed() -> None:
    assert checks.check_label_ids([1, 2], [1, 2, 3], "c") is None
    finding = checks.check_label_ids([9, 1, 7], [1], "c")
    assert finding is not None
    assert (finding.code, finding.message[:16]) == ("label-id-unknown", "label id 7, 9 is")


def test_spacing_nominal_or_suspect() -> None:
    thin, cube = Grid((50, 50, 5), np.eye(4)), Grid((50, 50, 40), np.eye(4))
    codes = [
        checks.check_spacing(thin, "c", known=False, stated=False),
        checks.check_spacing(thin, "c", known=True, stated=False),
        checks.check_spacing(cube, "c", known=True, stated=False),
        checks.check_spacing(thin, "c", known=True, stated=True),
        checks.check_spacing(thin, "c", known=False, stated=True),
    ]
    assert [f.code if f else None for f in codes] == ["spacing-nominal", "spacing-suspect", None, None, None]


def test_duplicates_are_refused_under_two_patients_only() -> None:
    assert checks.check_duplicate_image("a", "b", same_patient=False).severity == "refused"
    assert checks.check_duplicate_image("a", "b", same_patient=True).severity == "flagged"


def test_patients_in_several_sources() -> None:
    (finding,) = checks.check_patient_sources([("p1", 0), ("p2", 0), ("p1", 0), ("p2", 2)])
    assert finding.message.startswith("p2 stands in 2 sources")


def test_classes_with_one_lesion_or_none() -> None:
    one, two = record("c1", "p", ("a",), lesions=1), record("c2", "p", ("b",), lesions=2)
    found = checks.check_single_lesions([one, two], ("a", "b", "c"))
    assert [(f.code, f.case_id) for f in found] == [
        ("single-lesion-class", None),
        ("class-without-lesion", None),
    ]
    made = [record.model_copy(update={"origin": Origin.SYNTHETIC}) for record in (one, two)]
    assert checks.check_single_lesions(made, ("a", "b", "c")) == ()


def test_codes_are_used_by_one_function_each() -> None:
    codes = re.findall(r"_finding\(\s*Code\.([A-Z_]+)", inspect.getsource(checks))
    in_one_function = {"DUPLICATE_IMAGE"}
    assert {code for code in codes if codes.count(code) > 1} <= in_one_function
    assert len(set(codes)) >= 18


def test_an_axis_that_no_dataset_can_hold() -> None:
    assert checks.check_size(Grid((32_767, 1, 1), np.eye(4)), "a") is None
    found = checks.check_size(Grid((3, 32_768, 1), np.eye(4)), "a")
    assert found is not None
    assert (found.code, found.severity) == ("absurd-size", "refused")
