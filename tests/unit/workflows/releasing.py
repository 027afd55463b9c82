"""A call of `medaug release`, as tests ask for it."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from medaug.privacy.keys import PRIVATE_KEY
from medaug.workflows.release import ReleaseOptions
from tests.unit.privacy.synthetic_set import Material

PASSPHRASE = "correct horse"


def options(material: Material, keys: Path, out: Path, **more: object) -> ReleaseOptions:
    """Everything that a release needs, and more."""
    asked = {
        "synthetic": material.dataset,
        "assessment": material.assessment,
        "key": keys / PRIVATE_KEY,
        "out": out,
        "passphrase": SecretStr(PASSPHRASE),
    }
    return ReleaseOptions.model_validate(asked | more)
