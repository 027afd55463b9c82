"""Every code of a finding is explained, once."""

from __future__ import annotations

from medaug.core.catalogue import CATALOGUE
from medaug.core.findings import Code


def test_every_code_is_explained_and_nothing_else() -> None:
    assert list(CATALOGUE) == list(Code)


def test_explanations_are_sentences() -> None:
    for code, entry in CATALOGUE.items():
        assert entry.severities, code
        assert entry.meaning.endswith("."), code
        assert entry.fix.endswith("."), code
