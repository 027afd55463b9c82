"""The measuring rod itself: a figure that could not fail would be worth nothing."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.architecture import source


def function_in(text: str) -> source.Function:
    tree = ast.parse(text)
    node = tree.body[0]
    assert isinstance(node, ast.FunctionDef)
    module = source.Module(source.LIBRARY / "example.py", "medaug.example", text.count("\n"), tree)
    return source.Function(module, node, is_method=False)


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        ("def f():\n    return 1", 0),
        ("def f():\n    if a:\n        b()\n    elif c:\n        d()\n    else:\n        e()", 1),
        ("def f():\n    for a in b:\n        with c:\n            if d:\n                e()", 3),
        ("def f():\n    try:\n        a()\n    except E:\n        if b:\n            c()", 2),
        ("def f():\n    if a:\n        def g():\n            for b in c:\n                d()", 1),
    ],
)
def test_nesting_counts_blocks(text: str, depth: int) -> None:
    assert source.nesting(function_in(text).node) == depth


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("def f(a: int, *, b: str) -> None: ...", True),
        ("def f(a: int): ...", False),
        ("def f(a, b: int) -> None: ...", False),
        ("def f(*a) -> None: ...", False),
        ("def f(**a) -> None: ...", False),
    ],
)
def test_annotations_are_seen(text: str, complete: bool) -> None:
    assert source.is_annotated(function_in(text)) is complete


def test_percentile_is_nearest_rank() -> None:
    assert source.percentile_95(list(range(1, 101))) == 95
    assert source.percentile_95([7]) == 7
    assert source.percentile_95([]) == 0


def test_cycles_are_found_and_type_checking_is_not_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "__init__": "",
        "a": "from medaug.b import x",
        "b": "import medaug.c",
        "c": "try:\n    from medaug import a\nexcept ImportError:\n    a = None",
        "d": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from medaug.e import y",
        "e": "from medaug.d import z\ndef f():\n    import medaug.a",
        "f": "import medaug.g",
        "g": "def f():\n    import medaug.f",
    }
    (tmp_path / "medaug").mkdir()
    for name, text in files.items():
        (tmp_path / "medaug" / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr(source, "ROOT", tmp_path)
    monkeypatch.setattr(source, "LIBRARY", tmp_path / "medaug")
    source.modules.cache_clear()
    try:
        assert source.cycles() == [["medaug.a", "medaug.b", "medaug.c"], ["medaug.f", "medaug.g"]]
    finally:
        source.modules.cache_clear()
