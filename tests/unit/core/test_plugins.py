"""Plugins are found by file name, with a did-you-mean."""

import json
import sys
from pathlib import Path

import pytest

from medaug.core import plugins
from medaug.core.errors import ConfigError
from medaug.core.plugins import kinds, load_plugin


def test_kinds_are_public_files_without_base() -> None:
    found = kinds("transforms")
    assert {"none", "classical"} <= set(found)
    assert "base" not in found
    assert not any(kind.startswith("_") for kind in found)


def test_an_unknown_kind_is_a_config_error_with_a_hint() -> None:
    with pytest.raises(ConfigError, match="did you mean classical"):
        load_plugin("transforms", "clasical")


def test_another_package_adds_a_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = tmp_path / "other-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[medaug.transforms]\nof_others = json\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(plugins, "_of_others", plugins._of_others.__wrapped__)  # as a new process finds it
    assert "of_others" in kinds("transforms")
    assert load_plugin("transforms", "of_others") is json
