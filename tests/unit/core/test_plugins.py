"""Plugins are found by file name, with a did-you-mean."""

import pytest

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
