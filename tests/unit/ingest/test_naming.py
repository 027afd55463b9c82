"""``--class-map``, and the class of every segment."""

from __future__ import annotations

from pathlib import Path

import pytest

from medaug.core.errors import ConfigError
from medaug.ingest.naming import ClassMap, Term, name_segments, parse_class_map
from medaug.ingest.sources import ClassId, ImageSource, LabelSource, SourceCase
from medaug.io.drawings import Declared, Drawing

NONE: frozenset[str] = frozenset()


def _named(class_map: str, *declared: Declared, stated: tuple[ClassId, ...] = ()) -> SourceCase:
    drawing = Drawing(Path("s"), False, declared, NONE, NONE, NONE, "p")
    label = LabelSource("dicom", (Path("s"),), drawings=(drawing,))
    case = SourceCase(0, "k", "p", False, (ImageSource("dicom", (Path("x"),)),), label, stated)
    return name_segments(case, label, parse_class_map(class_map) if class_map else ClassMap())


def _tables(case: SourceCase) -> list[list[tuple[int, str]]]:
    assert case.label is not None
    assert case.problem == ""
    return [[(pair.label_id, pair.name) for pair in table] for table in case.label.tables]


LIVER = Declared(1, "Liver", ("SCT:10200004",))
MASS = Declared(4, "Mass", ("SCT:4147007",))
BODY = Declared(9, "Body, outline", ())


def test_a_map_holds_ids_names_and_codes() -> None:
    assert parse_class_map(" 2=gg, 1=solid") == ClassMap((ClassId(1, "solid"), ClassId(2, "gg")))
    found = parse_class_map("1=liver,Liver=liver,SCT:4147007=mass,Tumour=mass,3=background,Body=Background")
    assert found.ids == (ClassId(1, "liver"), ClassId(3, "background"))
    assert found.terms[1:] == (
        Term("SCT:4147007", "mass"),
        Term("Tumour", "mass"),
        Term("Body", "background"),
    )
    assert found.classes == ("liver", "mass")


@pytest.mark.parametrize("text", ["solid", "0=a", "1=", "=a", "1=a,1=b", "1=a,2=a", "A=x,A=y", ""])
def test_what_maps_nothing_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_class_map(text)
    assert refused.value.where == "--class-map"


def test_without_a_map_segments_keep_their_names() -> None:
    case = _named("", LIVER, MASS)
    assert _tables(case) == [[(1, "Liver"), (4, "Mass")]]
    assert case.classes == (ClassId(1, "Liver"), ClassId(4, "Mass"))


def test_a_map_of_ids_says_nothing_about_segments() -> None:
    assert _tables(_named("1=spleen", LIVER)) == [[(1, "Liver")]]


def test_names_win_over_codes_and_classes_stand_in_the_order_of_the_map() -> None:
    case = _named("SCT:4147007=lump,Liver=organ,SCT:10200004=wrong", LIVER, MASS)
    assert _tables(case) == [[(1, "organ"), (4, "lump")]]
    assert case.classes == (ClassId(2, "organ"), ClassId(1, "lump"))


def test_several_names_may_mean_one_class_and_a_class_means_itself() -> None:
    case = _named("Liver=organ,Mass=organ", LIVER, MASS, Declared(6, "organ", ()))
    assert _tables(case) == [[(1, "organ"), (4, "organ"), (6, "organ")]]
    assert case.classes == (ClassId(1, "organ"),)


def test_what_is_mapped_to_background_is_left_out() -> None:
    case = _named("Liver=background,Mass=mass", LIVER, MASS)
    assert _tables(case) == [[(4, "mass")]]


def test_unknown_names_refuse_the_case_by_number() -> None:
    for case in (_named("Liver=liver", LIVER, BODY), _named("", BODY, stated=(ClassId(1, "a"),))):
        assert case.problem_code == "label-name-unknown"
        assert "segment 9" in case.problem
        assert "outline" not in case.problem
        assert case.classes == ()


@pytest.mark.parametrize("name", ["", "Background", "a\nb"])
def test_a_name_that_no_class_can_have_refuses_the_case(name: str) -> None:
    case = _named("", Declared(2, name, ()))
    assert case.problem_code == "label-name-unknown"


def test_the_table_names_segments_by_number() -> None:
    case = _named("Liver=wrong", LIVER, MASS, stated=(ClassId(1, "organ"), ClassId(4, "Background")))
    assert _tables(case) == [[(1, "organ")]]
    assert case.classes == (ClassId(1, "organ"),)
