"""House rules about what library code may say, and where files may lie."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tests.architecture import source
from tests.architecture.test_figures import listing

DRAWERS = {"utils", "util", "helpers", "helper", "common", "misc"}
BLANKET = {"Exception", "BaseException"}


def _says(node: ast.AST, name: str) -> bool:
    """Whether an expression is this name; its last word is looked at first, since unparsing is slow."""
    last = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return last == name.rsplit(".", maxsplit=1)[-1] and ast.unparse(node) == name


def _calls(name: str) -> Iterator[str]:
    for module in source.modules():
        for node in source.nodes(module):
            if isinstance(node, ast.Call) and _says(node.func, name):
                yield f"{module.where}:{node.lineno}"


def test_no_assert_in_library_code() -> None:
    rows = [
        f"{module.where}:{node.lineno}"
        for module in source.modules()
        for node in source.nodes(module)
        if isinstance(node, ast.Assert)
    ]
    assert not rows, f"assert disappears under python -O; raise a MedaugError:{listing(rows)}"


def test_no_print() -> None:
    rows = list(_calls("print"))
    assert not rows, f"print in library code; log it, return it, or report progress:{listing(rows)}"


def test_only_the_cli_exits() -> None:
    names = ("sys.exit", "exit", "quit", "os._exit")
    rows = [
        row
        for name in names
        for row in _calls(name)
        if not row.startswith(("medaug/cli/", "medaug/__main__.py"))
    ]
    assert not rows, f"leaving the process outside cli; raise a MedaugError:{listing(rows)}"


def _is_blanket(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(ast.unparse(one) in BLANKET for one in caught)


def _gives_on(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def test_no_blanket_except() -> None:
    rows = [
        f"{module.where}:{node.lineno}"
        for module in source.modules()
        for node in source.nodes(module)
        if isinstance(node, ast.ExceptHandler) and _is_blanket(node) and not _gives_on(node)
    ]
    assert not rows, f"catches everything and hides it; name the foreign exceptions:{listing(rows)}"


def test_no_drawer_modules() -> None:
    rows = [m.where for m in source.modules() if set(m.name.split(".")) & DRAWERS]
    assert not rows, (
        f"a module named after nothing collects everything; name it after its topic:{listing(rows)}"
    )


def test_environment_variables_are_read_only_by_the_cli() -> None:
    rows = [
        f"{module.where}:{node.lineno}"
        for module in source.modules()
        if not module.name.startswith("medaug.cli")
        for node in source.nodes(module)
        if isinstance(node, ast.Attribute) and (_says(node, "os.environ") or _says(node, "os.getenv"))
    ]
    assert not rows, f"environment variables below cli; take an argument:{listing(rows)}"


def test_every_room_stands_on_a_floor() -> None:
    table = tomllib.loads((source.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = table["tool"]["importlinter"]["contracts"]
    floors = next(c for c in contracts if c["id"] == "floors")["layers"]
    planned = {room.strip(" ()") for floor in floors for room in floor.split("|")}
    folders = {p.parent.name for p in source.LIBRARY.glob("*/__init__.py")}
    assert folders <= planned, f"rooms that the import contract does not know: {sorted(folders - planned)}"
    bare = {p.name for p in source.LIBRARY.iterdir() if p.is_dir() and any(p.glob("*.py"))} - folders
    assert not bare, f"rooms without __init__.py, which the import contract would not see: {sorted(bare)}"


# Abstract or final (rule 8)


def _classes() -> Iterator[tuple[source.Module, ast.ClassDef]]:
    for module in source.modules():
        for node in source.nodes(module):
            if isinstance(node, ast.ClassDef):
                yield module, node


def _names(nodes: list[ast.expr]) -> set[str]:
    return {ast.unparse(node).split("[")[0].split("(")[0].split(".")[-1] for node in nodes}


# Bases that hold nothing of their own: nobody makes one of them.
PURE_BASES = {"Frozen", "Aliased", "Document", "Summary"}


def _is_abstract(node: ast.ClassDef) -> bool:
    if _names(node.bases) & {"ABC", "Protocol"}:
        return True
    decorators = [
        d for child in node.body if isinstance(child, source.AnyFunction) for d in child.decorator_list
    ]
    return "abstractmethod" in _names(decorators)


def test_classes_are_abstract_or_final() -> None:
    inherited = {name for _, node in _classes() for name in _names(node.bases)}
    rows = []
    for module, node in _classes():
        is_final = "final" in _names(node.decorator_list)
        is_enumeration = any(name.endswith("Enum") for name in _names(node.bases))
        is_inner_error = node.name.endswith("Error") and node.name in inherited
        if not (
            is_final or is_enumeration or is_inner_error or _is_abstract(node) or node.name in PURE_BASES
        ):
            rows.append(f"{module.where}:{node.lineno} {node.name}")
    assert not rows, f"classes that are neither abstract nor @final (rule 8):{listing(rows)}"


def test_no_final_class_is_subclassed() -> None:
    finals = {node.name for _, node in _classes() if "final" in _names(node.decorator_list)}
    rows = [
        f"{module.where}:{node.lineno} {node.name}"
        for module, node in _classes()
        if _names(node.bases) & finals
    ]
    assert not rows, f"subclasses of a final class; compose instead:{listing(rows)}"


# What is private stays in its room


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _is_module(address: str) -> bool:
    path = source.ROOT.joinpath(*address.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def _foreign_private_names(module: source.Module) -> Iterator[str]:
    """Imports of a name with an underscore, except of a private module by its own room."""
    room = ".".join(module.name.split(".")[:2]) + "."
    for node in source.nodes(module):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("medaug"):
            continue
        addresses = [f"{node.module}.{alias.name}" for alias in node.names]
        private = [a for a in addresses if any(_is_private(part) for part in a.split("."))]
        own = [
            a for a in private if a.startswith(room) and (_is_module(a) or not _is_private(a.split(".")[-1]))
        ]
        if set(private) - set(own):
            yield f"{module.where}:{node.lineno} {ast.unparse(node)}"


def test_private_names_are_not_imported() -> None:
    rows = [row for module in source.modules() for row in _foreign_private_names(module)]
    assert not rows, f"imports of what another module keeps to itself; give it a public name:{listing(rows)}"


# Tests mirror the library (rule 24)


def _names_a_module(test: Path) -> bool:
    relative = test.relative_to(source.ROOT / "tests" / "unit")
    room = source.LIBRARY / relative.parent
    words = test.stem.removeprefix("test_").split("_")
    candidates = ["_".join(words[:n]) for n in range(len(words), 0, -1)]
    return any(
        (room / f"{lead}{name}{tail}").exists()
        for name in candidates
        for lead in ("", "_")
        for tail in (".py", "/__init__.py")
    )


def test_unit_tests_mirror_the_library() -> None:
    tests = sorted((source.ROOT / "tests" / "unit").rglob("test_*.py"))
    rows = [t.relative_to(source.ROOT).as_posix() for t in tests if not _names_a_module(t)]
    assert not rows, (
        f"tests/unit/ROOM/test_NAME.py belongs to medaug/ROOM/NAME.py, which is missing:{listing(rows)}"
    )
