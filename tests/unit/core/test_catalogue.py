"""Every code of a finding is explained, once."""

from __future__ import annotations

from medaug.core.catalogue import read_catalogue
from medaug.core.findings import Code


def test_every_code_is_explained_and_nothing_else() -> None:
    assert list(read_catalogue()) == list(Code)


def test_explanations_are_sentences() -> None:
    for code, entry in read_catalogue().items():
        assert entry.severities, code
        assert entry.meaning.endswith("."), code
        assert entry.fix.endswith("."), code
