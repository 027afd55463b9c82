"""Writes constraints.txt: an exact version of everything that any extra of medaug installs.

    .venv/bin/python scripts/pin.py            # after scripts/check, which installs the dev extra

Run it with the oldest Python that medaug supports, so that the newest versions found still support it.
What pip resolves for this machine is pinned; what other supported Pythons and systems need besides
(by the packages' own markers) is resolved in a second round and pinned too.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).resolve().parents[1]
OLDEST: Final = (3, 11)
# torch decides which CUDA build a machine gets. pymdown-extensions 13 wants Python 3.11.5, and Debian 12
# has 3.11.2. Every other package moves with its range.
DECIDED: Final = ("torch==2.13.0", "pymdown-extensions<13")
BUILD_TOOLS: Final = ("hatchling>=1.27", "editables")
TARGETS: Final = tuple(
    {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": platform}
    | {"platform_system": system, "platform_machine": machine, "os_name": "posix"}
    | {"implementation_name": "cpython", "platform_python_implementation": "CPython"}
    for python in ("3.11", "3.12", "3.13")
    for platform, system, machine in (
        ("linux", "Linux", "x86_64"),
        ("linux", "Linux", "aarch64"),
        ("darwin", "Darwin", "arm64"),
    )
)
HEADER: Final = """\
# Exact versions of every direct and transitive dependency, all extras and the build tools included.
# Made by `.venv/bin/python scripts/pin.py` with Python {python}; do not edit by hand.
# Used as `pip install -c constraints.txt` and, for the build backend, PIP_CONSTRAINT=constraints.txt.
#
# The pins hold for Python 3.11 to 3.13 on Linux and macOS. They name no package index.
# On Linux, torch from the public index brings its CUDA packages (nvidia-*, cuda-*, triton). They were
# not installed where this file was made, so they are not pinned here: torch's own metadata bounds them.
"""


def resolve(requirements: list[str]) -> list[dict[str, Any]]:
    """The metadata of everything that pip would install for the requirements on this machine."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "-qq", "--dry-run", "--ignore-installed"]
        subprocess.run([*command, "--report", str(report), *requirements], cwd=ROOT, check=True)
        items: list[dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))["install"]
    return [item["metadata"] | {"extras": item.get("requested_extras", [])} for item in items]


def wanted_elsewhere(packages: list[dict[str, Any]]) -> set[str]:
    """What a supported Python or system other than this one needs besides the packages."""
    here = {canonicalize_name(package["name"]) for package in packages}
    needed = set()
    for package in packages:
        for text in package.get("requires_dist", []):
            requirement = Requirement(text)
            if canonicalize_name(requirement.name) not in here and applies(requirement, package["extras"]):
                needed.add(f"{requirement.name}{requirement.specifier}")
    return needed


def applies(requirement: Requirement, extras: list[str]) -> bool:
    """Whether a requirement holds on any supported target, with any of the extras that were asked for."""
    marker = requirement.marker
    if marker is None:
        return True
    return any(marker.evaluate({**target, "extra": extra}) for target in TARGETS for extra in ["", *extras])


def main() -> int:
    """Resolve, look for what other targets need, and write the file."""
    if sys.version_info[:2] != OLDEST:
        print(
            f"run this with Python {OLDEST[0]}.{OLDEST[1]}, the oldest that medaug supports", file=sys.stderr
        )
        return 2
    wanted = [".[dev,itk]", *BUILD_TOOLS, *DECIDED]
    packages = resolve(wanted)
    while extra := wanted_elsewhere(packages):
        print(f"other targets also need: {', '.join(sorted(extra))}")
        wanted = [*wanted, *sorted(extra)]
        packages = resolve(wanted)
    pins = {
        canonicalize_name(package["name"]): package["version"].split("+")[0]
        for package in packages
        if package["name"] != "medaug"
    }
    lines = [f"{name}=={version}" for name, version in sorted(pins.items())]
    text = HEADER.format(python=".".join(map(str, OLDEST))) + "\n".join(lines) + "\n"
    (ROOT / "constraints.txt").write_text(text, encoding="utf-8")
    print(f"constraints.txt: {len(lines)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
