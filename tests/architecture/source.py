"""Reads the library's own source with ast, so that the house rules can be measured without importing it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "medaug"

AnyFunction = ast.FunctionDef | ast.AsyncFunctionDef
BLOCKS = (
    ast.If,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.With,
    ast.AsyncWith,
    ast.Try,
    ast.TryStar,
    ast.Match,
)


@dataclass(frozen=True, slots=True)
class Module:
    """One source file of the library."""

    path: Path
    name: str
    lines: int
    tree: ast.Module

    @property
    def where(self) -> str:
        """The path as a reader would type it."""
        return self.path.relative_to(ROOT).as_posix()


@dataclass(frozen=True, slots=True)
class Function:
    """One function or method, with the place where it is defined."""

    module: Module
    node: AnyFunction
    is_method: bool

    @property
    def where(self) -> str:
        """path:line name, clickable in most editors."""
        return f"{self.module.where}:{self.node.lineno} {self.node.name}"

    @property
    def length(self) -> int:
        """Lines from `def` to the last line, docstring included, decorators not."""
        return (self.node.end_lineno or self.node.lineno) - self.node.lineno + 1

    @property
    def is_static(self) -> bool:
        """Whether the first parameter is an ordinary one although this is a method."""
        return any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in self.node.decorator_list)

    @property
    def parameters(self) -> list[ast.arg]:
        """Parameters without self or cls and without *args and **kwargs."""
        found = [*self.node.args.posonlyargs, *self.node.args.args, *self.node.args.kwonlyargs]
        return found[1:] if self.is_method and not self.is_static else found


@cache
def modules() -> tuple[Module, ...]:
    """Every Python file below medaug/, parsed once."""
    found = []
    for path in sorted(LIBRARY.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append(Module(path, name, text.count("\n"), ast.parse(text, filename=str(path))))
    return tuple(found)


@cache
def nodes(module: Module) -> tuple[ast.AST, ...]:
    """Every node of a module, walked once."""
    return tuple(ast.walk(module.tree))


@cache
def functions() -> tuple[Function, ...]:
    """Every function of the library, nested ones and methods included."""
    return tuple(f for module in modules() for f in _functions_in(module))


def _functions_in(module: Module) -> Iterator[Function]:
    methods = {
        id(child)
        for node in nodes(module)
        if isinstance(node, ast.ClassDef)
        for child in node.body
        if isinstance(child, AnyFunction)
    }
    for node in nodes(module):
        if isinstance(node, AnyFunction):
            yield Function(module, node, id(node) in methods)


def nesting(node: ast.AST) -> int:
    """The deepest stack of blocks below a node; elif is no deeper than its if, inner functions stand alone."""
    deepest = 0
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (*(AnyFunction.__args__), ast.ClassDef, ast.Lambda)):
            continue
        is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        own = 1 if isinstance(child, BLOCKS) and not is_elif else 0
        deepest = max(deepest, own + nesting(child))
    return deepest


def is_annotated(function: Function) -> bool:
    """Whether every parameter and the result carry an annotation."""
    arguments = function.node.args
    extra = [a for a in (arguments.vararg, arguments.kwarg) if a is not None]
    parameters = [*function.parameters, *extra]
    return function.node.returns is not None and all(a.annotation is not None for a in parameters)


def percentile_95(values: list[int]) -> int:
    """The nearest-rank 95th percentile; 0 for nothing."""
    if not values:
        return 0
    ranked = sorted(values)
    return ranked[max(0, -(-95 * len(ranked) // 100) - 1)]


# Imports


def _is_type_checking(node: ast.If) -> bool:
    test = node.test
    name = test.attr if isinstance(test, ast.Attribute) else test.id if isinstance(test, ast.Name) else ""
    return name == "TYPE_CHECKING"


def _import_statements(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """Imports that run, at once or once a function is called: not those under TYPE_CHECKING."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and _is_type_checking(node):
            yield from _import_statements(node.orelse)
        else:
            inner = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
            yield from _import_statements(inner)


def import_graph() -> dict[str, set[str]]:
    """Which library module imports which."""
    known = {module.name for module in modules()}
    graph: dict[str, set[str]] = {name: set() for name in known}
    for module in modules():
        for node in _import_statements(module.tree.body):
            graph[module.name] |= _targets(node) & known - {module.name}
        for node in _import_statements(module.tree.body):
            if isinstance(node, ast.ImportFrom) and node.module in known:
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                if names <= known:  # only submodules: the package itself is no more than their address
                    graph[module.name].discard(node.module)
    return graph


def _targets(node: ast.Import | ast.ImportFrom) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    base = node.module or ""
    return {base} | {f"{base}.{alias.name}" for alias in node.names}


def cycles() -> list[list[str]]:
    """Groups of modules that import each other (strongly connected components of two or more)."""
    graph = import_graph()
    reach = {name: _reachable(graph, name) for name in graph}
    groups = {
        frozenset({name} | {other for other in reach[name] if name in reach[other]})
        for name in graph
        if name in reach[name]
    }
    return sorted(sorted(group) for group in groups)


def _reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(graph[name])
    return seen
