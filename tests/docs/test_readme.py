"""The README's promises that can be checked without reading it."""

from __future__ import annotations

import re

from tests.docs.pages import ROOT, blocks

README = ROOT / "README.md"
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")


def test_set_up_is_two_commands() -> None:
    first = blocks(README)[0]
    assert first.body.split() == ["scripts/demo", "scripts/test"]


def test_links_lead_somewhere() -> None:
    dead = [
        target for target in LINK.findall(README.read_text(encoding="utf-8")) if not (ROOT / target).exists()
    ]
    assert not dead, f"README links to nothing: {dead}"


def test_continuous_integration_calls_the_test_command() -> None:
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    called = [line.split()[0] for line in lines if line.startswith("scripts/")]
    assert called == ["scripts/check", "scripts/test"]
