"""What is imported is declared, what is installed is pinned, and what is avoided stays away."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
# Each for a reason: a CUDA build that breaks beside CPU torch, hidden training order, GPL, old pins.
AVOIDED = {
    "torchvision",
    "torchaudio",
    "lightning",
    "pytorch-lightning",
    "pylibjpeg-libjpeg",
    "ray",
    "torchmetrics",
}


def pins() -> dict[str, str]:
    found = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            assert re.fullmatch(r"[a-z0-9-]+==[0-9A-Za-z.!]+", line), (
                f"constraints.txt: not a plain pin: {line}"
            )
            name, number = line.split("==")
            found[name] = number
    return found


def declared() -> list[Requirement]:
    texts = [*PROJECT["dependencies"], *(text for extra in EXTRAS.values() for text in extra)]
    return [Requirement(text) for text in texts if not text.startswith("medaug")]


def needed(requirement: Requirement, seen: set[str]) -> Iterator[str]:
    """The names of everything installed that a requirement brings, itself included."""
    name = canonicalize_name(requirement.name)
    if name in seen:
        return
    seen.add(name)
    try:
        texts = distribution(name).requires or []
    except PackageNotFoundError:
        return
    yield name
    for text in texts:
        inner = Requirement(text)
        wanted = ["", *requirement.extras]
        if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in wanted):
            yield from needed(inner, seen)


def closure() -> set[str]:
    seen: set[str] = set()
    return {name for requirement in declared() for name in needed(requirement, seen)}


def test_every_installed_dependency_is_pinned() -> None:
    cuda = ("nvidia-", "cuda-", "triton")
    loose = sorted(name for name in closure() - set(pins()) if not name.startswith(cuda))
    assert not loose, f"not in constraints.txt: {', '.join(loose)}; run scripts/pin.py"


def test_pins_lie_in_the_declared_ranges() -> None:
    known = pins()
    missing = [r.name for r in declared() if canonicalize_name(r.name) not in known]
    assert not missing, f"declared but not pinned: {missing}; run scripts/pin.py"
    outside = [str(r) for r in declared() if not r.specifier.contains(known[canonicalize_name(r.name)])]
    assert not outside, f"pinned outside their range: {outside}"


def test_avoided_packages_are_not_brought() -> None:
    assert not AVOIDED & set(pins())
    assert not AVOIDED & closure()


def test_a_cpu_build_brings_no_cuda_package() -> None:
    if "+cpu" not in version("torch"):
        pytest.skip("this torch is not the CPU build, so CUDA packages may belong to it")
    cuda = sorted(name for name in closure() if name.startswith(("nvidia-", "cuda-", "triton")))
    assert not cuda, f"CUDA packages beside a CPU torch: {cuda}"


def imports() -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / "medaug").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            names = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                names = [node.module] if node.module else []
            for name in names:
                yield f"{path.relative_to(ROOT).as_posix()}:{node.lineno}", name.split(".")[0]


def test_every_import_is_declared() -> None:
    users = [
        PROJECT["dependencies"],
        *(EXTRAS[name] for name in EXTRAS if name not in ("test", "docs", "dev")),
    ]
    allowed = {canonicalize_name(Requirement(text).name) for texts in users for text in texts}
    providers = packages_distributions()
    odd = []
    for where, top in imports():
        if top == "medaug" or top in sys.stdlib_module_names:
            continue
        brought_by = {canonicalize_name(name) for name in providers.get(top, [])}
        if not brought_by & allowed:
            odd.append(f"{where}: {top}")
    assert not odd, "imported but not declared in pyproject.toml:\n  " + "\n  ".join(odd)
