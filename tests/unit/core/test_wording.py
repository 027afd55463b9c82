"""Counts read well."""

import pytest

from medaug.core.wording import counted


@pytest.mark.parametrize(("number", "words"), [(0, "0 cases"), (1, "1 case"), (2, "2 cases")])
def test_counts_agree_with_their_noun(number: int, words: str) -> None:
    assert counted(number, "case") == words
