"""``keygen`` as a user calls it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from medaug.core.errors import ConfigError
from medaug.core.runs import NoProgress
from medaug.workflows.keygen import KeygenOptions, keygen


def test_writes_a_pair_and_refuses_to_do_it_again(tmp_path: Path) -> None:
    options = KeygenOptions(out=tmp_path / "keys", passphrase=SecretStr("correct horse"))
    summary = keygen(options, NoProgress())
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["signing.key", "signing.pub"]
    assert summary.fingerprint in "\n".join(summary.lines())
    with pytest.raises(ConfigError, match="never replaced"):
        keygen(options, NoProgress())


def test_passphrase_does_not_show(tmp_path: Path) -> None:
    options = KeygenOptions(out=tmp_path, passphrase=SecretStr("correct horse"))
    assert "horse" not in repr(options) + options.model_dump_json()
