"""Settings of augmentation, chosen by kind."""

from __future__ import annotations

import pytest

from medaug.core.errors import ConfigError
from medaug.transforms.base import parse_transforms
from medaug.transforms.classical import Config


def test_kind_chooses_the_file():
    assert parse_transforms({"kind": "classical", "labels": "argmax"}) == Config(labels="argmax")


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        ({}, "kind is missing; expected adaptive, carvemix, classical, copy_paste, cutmix, mixup, none"),
        ({"kind": "clasical"}, "did you mean classical"),
        ({"kind": "classical", "step": []}, "did you mean steps"),
        ({"kind": "classical", "padding": "wrap"}, "padding: input should be"),
    ],
)
def test_wrong_settings_are_named(raw, line):
    with pytest.raises(ConfigError, match=line):
        parse_transforms(raw)
