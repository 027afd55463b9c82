"""Rule 10: importing medaug, or asking for help, loads no heavy package and no plugin."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.architecture import source

HEAVY = {"torch", "monai", "pydicom", "nibabel", "skimage", "matplotlib", "highdicom", "scipy"}
PLUGIN_FAMILIES = ("generators", "translators", "tasks", "layouts", "transforms")

REPORT = """
import json, sys
sys.stderr.write(json.dumps(sorted(sys.modules)))
"""
HELP = """
import sys
sys.argv = {argv!r}
from medaug.cli.main import main
try:
    main()
except SystemExit as end:
    if end.code not in (0, None):
        raise
"""


def loaded_modules(code: str) -> set[str]:
    """The modules that a fresh interpreter holds after running the code."""
    done = subprocess.run(
        [sys.executable, "-c", code + REPORT],
        cwd=source.ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"the interpreter ended with {done.returncode}:\n{done.stderr}"
    return set(json.loads(done.stderr))


def check(loaded: set[str], what: str) -> None:
    heavy = sorted(HEAVY & loaded)
    assert not heavy, f"{what} loads {', '.join(heavy)}; import it inside the function that needs it"
    plugins = [
        name
        for name in sorted(loaded)
        for family in PLUGIN_FAMILIES
        if name.startswith(f"medaug.{family}.") and not name.endswith(".base")
    ]
    assert not plugins, f"{what} loads the plugins {', '.join(plugins)}"


def test_importing_medaug_is_cheap() -> None:
    check(loaded_modules("import medaug\n"), "import medaug")


@pytest.mark.parametrize("command", [[], ["ingest"], ["synthesize"], ["experiment"], ["demo"], ["augment"]])
def test_help_is_cheap(command: list[str]) -> None:
    argv = ["medaug", *command, "--help"]
    check(loaded_modules(HELP.format(argv=argv)), " ".join(argv))
