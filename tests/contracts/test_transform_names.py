"""What users may import, and that they are told of it."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from medaug import transforms
from medaug.core.volume import Unit

DOCS = Path(__file__).resolve().parents[2] / "docs"
# What workflows and those who write policies of their own need
INNER = {
    "AUGMENTATIONS", "PRESETS", "STEPS", "Dims", "Drawn", "Journal", "PolicyAugment", "SpatialStep", "Step", "change_case",
    "compose", "draw_case", "in_words", "read_drawn", "replay",
}  # fmt: skip


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
    if inspect.isclass(thing) or inspect.isfunction(thing):
        assert inspect.getdoc(thing)
    if name not in INNER:
        assert name in (DOCS / "how-to" / "augment.md").read_text(encoding="utf-8")


def test_a_policy_names_the_kinds_it_may_draw():
    for kind, settings, names in (
        ("classical", {"steps": [{"step": "flip"}, {"step": "gamma", "probability": 0}]}, {"flip"}),
        ("randaugment", {"only": ["blur", "blur", "scale"]}, {"blur", "scale"}),
        ("trivialaugment", {"only": ["shear"]}, {"shear"}),
        ("none", {}, set()),
    ):
        built = transforms.parse_transforms({"kind": kind, **settings}).build(Unit.ARBITRARY)
        assert isinstance(built, transforms.PolicyAugment)
        assert {one.model_fields["kind"].default for one in built.kinds} == names
        assert built.keeps_size
    cropping = transforms.parse_transforms({"kind": "classical", "size": [8, 8]}).build(Unit.ARBITRARY)
    assert isinstance(cropping, transforms.PolicyAugment)
    assert not cropping.keeps_size
