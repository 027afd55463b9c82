"""What users may import, and that they are told of it."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from medaug import transforms

DOCS = Path(__file__).resolve().parents[3] / "docs"
# For those who write to or read from files of a training
INNER = {"AUGMENTATIONS", "Drawn", "Journal", "read_drawn", "replay", "PRESETS", "STEPS", "Step"}


def test_every_step_is_public():
    assert {kind.__name__ for kind in transforms.STEPS.values()} <= set(transforms.__all__)


def test_names_are_there_once_and_in_order():
    assert len(set(transforms.__all__)) == len(transforms.__all__)
    public = {name for name in vars(transforms) if not name.startswith("_")}
    modules = {name for name in public if inspect.ismodule(getattr(transforms, name))}
    assert public - modules == set(transforms.__all__)


@pytest.mark.parametrize("name", transforms.__all__)
def test_a_public_name_says_what_it_is(name):
    thing = getattr(transforms, name)
    if callable(thing):
        assert inspect.getdoc(thing)
    if name not in INNER:
        assert name in (DOCS / "how-to" / "augment.md").read_text(encoding="utf-8")


def test_a_policy_names_the_kinds_it_may_draw():
    from medaug.core.volume import Unit
    from medaug.transforms._steps.policy import PolicyAugment

    for kind, settings, names in (
        ("classical", {"steps": [{"step": "flip"}, {"step": "gamma", "probability": 0}]}, {"flip"}),
        ("randaugment", {"only": ["blur", "blur", "scale"]}, {"blur", "scale"}),
        ("trivialaugment", {"only": ["shear"]}, {"shear"}),
        ("none", {}, set()),
    ):
        built = transforms.parse_transforms({"kind": kind, **settings}).build(Unit.ARBITRARY)
        assert isinstance(built, PolicyAugment)
        assert {one.model_fields["kind"].default for one in built.kinds} == names
        assert built.keeps_size
    cropping = transforms.parse_transforms({"kind": "classical", "size": [8, 8]}).build(Unit.ARBITRARY)
    assert isinstance(cropping, PolicyAugment)
    assert not cropping.keeps_size
