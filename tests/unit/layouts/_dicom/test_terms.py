"""The coded term of a class: known, stated, or of medaug's own scheme."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from medaug.core.errors import ConfigError, LabelError
from medaug.layouts._dicom.terms import _KNOWN, CATEGORY, SCHEME, parse_terms, schemes_of, term_of


def test_known_terms_are_those_of_the_standard() -> None:
    """As pydicom holds them, which takes them from PS3.16."""
    held = {(term.scheme_designator, term.value, term.meaning.lower()) for term in _held()}
    for term in (*_KNOWN.values(), CATEGORY):
        assert (term.scheme_designator, term.value, term.meaning.lower()) in held


def _held() -> Iterator[Code]:
    for scheme in (codes.SCT, codes.DCM):
        for word in scheme.dir():
            with suppress(AttributeError, RuntimeError):  # a word that stands for several terms
                yield getattr(scheme, word)


@pytest.mark.parametrize("name", ["Ground Glass", "ground-glass", " GROUND_GLASS"])
def test_a_name_is_known_however_it_is_written(name: str) -> None:
    assert term_of(name, {}).value == "112120"


def test_other_classes_get_a_code_of_their_own() -> None:
    one, other = term_of("odd", {}), term_of("Odd", {})
    assert one.scheme_designator == SCHEME
    assert one.value != other.value
    assert len(one.value) == 16
    assert term_of("odd", {}) == one
    assert [item.CodingSchemeDesignator for item in schemes_of([one, term_of("solid", {})])] == [SCHEME]
    assert not schemes_of([term_of("solid", {})])


def test_stated_codes_come_first() -> None:
    terms = parse_terms("solid=SCT:4147007:Mass, odd = 99ACME:A-1.2")
    assert (term_of("solid", terms).value, term_of("solid", terms).meaning) == ("4147007", "Mass")
    assert (term_of("odd", terms).scheme_designator, term_of("odd", terms).meaning) == ("99ACME", "odd")
    assert parse_terms("") == {}


@pytest.mark.parametrize(
    "text", ["solid", "solid=SCT", "=SCT:1", "a=SCT:1,a=SCT:2", "a=sct:1", f"a=SCT:{17 * '1'}"]
)
def test_codes_of_another_form_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--class-codes"):
        parse_terms(text)


@pytest.mark.parametrize("name", ["", " ", "a\\b", "a\nb", "x" * 65])
def test_names_that_no_header_can_hold_are_refused(name: str) -> None:
    with pytest.raises(LabelError, match="cannot hold"):
        term_of(name, {})
