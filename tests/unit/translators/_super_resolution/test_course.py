from __future__ import annotations

import pytest

from medaug.core.case import CaseRecord
from medaug.core.errors import DataError, GeometryError
from medaug.translators._super_resolution.course import Course, choose_course
from medaug.translators._super_resolution.settings import Config
from tests.made_scans import record, scan


def case(number: int, spacing: tuple[float, float, float], *, known: bool = True) -> CaseRecord:
    return record(scan(number, spacing_mm=spacing, spacing_known=known))


THIN, THICK, COARSE = case(0, (1, 1, 1)), case(1, (1, 1, 4)), case(2, (2, 2, 4))


def test_thin_cases_teach_where_there_are_some() -> None:
    course, chosen = choose_course(Config(factor=3), (THIN, THICK))
    assert chosen == (THIN,)
    assert course == Course("through_plane", 3, 3.0, 3.0)


def test_rows_teach_where_all_slices_are_thick() -> None:
    course, chosen = choose_course(Config(factor=4), (THICK, COARSE))
    assert chosen == (THICK,), "pixels of 2 mm cannot teach slices of 1 mm"
    assert course == Course("in_plane", 4, 4.0, 4.0)


def test_the_factor_follows_from_the_thick_cases() -> None:
    assert choose_course(Config(), (THIN, THICK))[0].factor == 4
    assert choose_course(Config(target_spacing_mm=2.0), (THIN, THICK))[0] == Course(
        "through_plane", 2, 4.0, 4.0
    )


def test_thick_slices_can_teach_thicker_ones() -> None:
    course, chosen = choose_course(Config(factor=2, learn_from="through_plane"), (THICK, COARSE))
    assert len(chosen) == 2
    assert course == Course("through_plane", 2, 8.0, 8.0)


def test_slices_like_those_seen_are_taken() -> None:
    course = Course("through_plane", 2, 3.0, 6.0)
    assert [course.takes(mm) for mm in (2.2, 2.25, 6.0, 8.0, 8.1)] == [False, True, True, True, False]
    assert course.range_text == "2.2 to 8 mm"


@pytest.mark.parametrize(
    ("records", "config", "error", "words"),
    [
        ((case(0, (1, 1, 1), known=False),), Config(factor=2), GeometryError, "known spacing"),
        ((record(scan(0, shape=(8, 8, 1))),), Config(factor=2), GeometryError, "several slices"),
        ((THIN,), Config(), DataError, "name factor"),
        ((COARSE,), Config(factor=4), DataError, "pixels"),
        ((THICK,), Config(factor=2, learn_from="through_plane", target_spacing_mm=1), DataError, "in_plane"),
        ((case(0, (0.3, 0.3, 6)),), Config(), DataError, "at most 8 times"),
    ],
)
def test_what_cannot_be_learnt_is_refused(
    records: tuple[CaseRecord, ...], config: Config, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        choose_course(config, records)
