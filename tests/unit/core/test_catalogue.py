"""Every code of a finding is explained, used, and shown by an example."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from medaug.core.catalogue import CATALOGUE_FILE, read_catalogue
from medaug.core.findings import Code

ROOT = Path(__file__).resolve().parents[3]


def test_every_code_is_explained_and_nothing_else() -> None:
    assert list(read_catalogue()) == list(Code)


@pytest.mark.parametrize("code", list(Code))
def test_explanations_are_sentences_and_examples_are_lines(code: Code) -> None:
    entry = read_catalogue()[code]
    assert entry.meaning.endswith(".")
    assert entry.fix.endswith(".")
    assert entry.example
    assert "\n" not in entry.example
    assert not entry.example.endswith(".")


def _text(folder: str) -> str:
    files = [
        path
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path.name not in ("findings.py", Path(__file__).name)
    ]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def test_every_code_is_given_somewhere_and_tested_somewhere() -> None:
    library, tests = _text("medaug"), _text("tests")
    given = set(re.findall(r"Code\.([A-Z0-9_]+)", library))
    assert {code.name for code in Code} <= given
    untested = [code for code in Code if f"Code.{code.name}" not in tests and f'"{code.value}"' not in tests]
    assert not untested


def test_the_file_says_what_it_is() -> None:
    assert CATALOGUE_FILE.read_text(encoding="utf-8").startswith("# What every code")
