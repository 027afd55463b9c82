"""Class tables: consecutive ids, kept where they can be, and no label without a name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medaug.core.errors import LabelError
from medaug.ingest.classes import class_table, present_ids, to_class_ids, with_class_names
from medaug.ingest.naming import ClassMap
from medaug.ingest.sources import ClassId, ImageSource, LabelSource, SourceCase
from medaug.io.drawings import Declared, Drawing
from tests.unit.ingest.material import label_values, save


def _case(*classes: ClassId, label: Path | None = Path("l"), source: int = 0) -> SourceCase:
    labels = None if label is None else LabelSource("nifti", (label,))
    return SourceCase(source, "c", "p", False, (ImageSource("nifti", (Path("x"),)),), labels, classes)


def test_consistent_consecutive_ids_are_kept() -> None:
    cases = [_case(ClassId(2, "a")), _case(ClassId(1, "z")), _case(ClassId(3, "m"))]
    assert class_table(cases) == ("z", "a", "m")


def test_gaps_and_conflicts_are_remapped_by_id_then_name() -> None:
    assert class_table([_case(ClassId(7, "a"), ClassId(3, "b"))]) == ("b", "a")
    assert class_table([_case(ClassId(1, "b")), _case(ClassId(1, "a")), _case(ClassId(5, "b"))]) == ("a", "b")


def test_background_is_no_class_and_unprintable_names_are_refused() -> None:
    assert class_table([_case(ClassId(1, "Background"), ClassId(2, "a"))]) == ("a",)
    for name in ("a\nb", ""):
        with pytest.raises(LabelError):
            class_table([_case(ClassId(1, name))])


def test_a_case_may_hold_the_other_classes_of_its_source() -> None:
    cases, made_up = with_class_names([_case(ClassId(1, "a")), _case(ClassId(2, "b")), _case()], ClassMap())
    assert not made_up
    assert [{c.label_id for c in case.classes} for case in cases] == [{1, 2}] * 3


def test_an_id_with_two_names_in_one_source_says_nothing_about_other_rows() -> None:
    cases, _ = with_class_names([_case(ClassId(1, "a")), _case(ClassId(1, "b"))], ClassMap())
    assert [[c.name for c in case.classes] for case in cases] == [["a"], ["b"]]


def test_names_come_from_the_class_map_or_are_made_up(tmp_path: Path) -> None:
    label = save(tmp_path / "l.nii.gz", label_values(2, 5))
    cases, made_up = with_class_names([_case(label=label)], ClassMap((ClassId(2, "x"),)))
    assert (cases[0].classes, made_up) == ((ClassId(2, "x"),), False)
    cases, made_up = with_class_names([_case(label=label)], ClassMap())
    assert (cases[0].classes, made_up) == ((ClassId(2, "class_2"), ClassId(5, "class_5")), True)


def test_segments_of_seg_objects_name_no_label_map() -> None:
    none: frozenset[str] = frozenset()
    seg = Drawing(Path("s"), False, (Declared(1, "Liver", ()),), none, none, none, "p")
    drawn = replace(_case(), label=LabelSource("dicom", (Path("s"),), drawings=(seg,)))
    cases, _ = with_class_names([drawn, _case(label=None)], ClassMap())
    assert cases[0].classes == (ClassId(1, "Liver"),)
    assert cases[1].classes == ()


def test_labels_are_mapped_by_name() -> None:
    labels = label_values(7, 3)
    mapped = to_class_ids(labels, [ClassId(7, "a"), ClassId(3, "b")], ("b", "a"))
    assert np.array_equal(mapped == 2, labels == 7)
    assert np.array_equal(mapped == 1, labels == 3)
    assert mapped.dtype == np.uint8


def test_ids_called_background_are_left_out_and_many_classes_fit() -> None:
    names = tuple(f"c{n}" for n in range(1, 301))
    table = [ClassId(1, "c300"), ClassId(2, "Background")]
    mapped = to_class_ids(np.array([0, 1, 2]), table, names)
    assert mapped.tolist() == [0, 300, 0]


def test_an_id_without_a_name_is_refused() -> None:
    with pytest.raises(LabelError, match="does not name"):
        to_class_ids(label_values(1, 9), [ClassId(1, "a")], ("a",))


def test_present_ids_of_small_and_huge_labels() -> None:
    assert present_ids(np.array([0, 3, 3, 1])) == [1, 3]
    assert present_ids(np.array([0, 2**30])) == [2**30]
    assert present_ids(np.zeros(4, int)) == []
