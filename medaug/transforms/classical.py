"""Classical augmentation: each change on its own chance, chosen to keep the class recognisable."""

from __future__ import annotations

from typing import Final, Literal, final

from pydantic import Field

from medaug.core.volume import Unit
from medaug.engine.augment import BatchAugment
from medaug.engine.warp import Interpolation, LabelMode, Padding, Resampling
from medaug.transforms._steps.policy import Chance, Each, PolicyAugment
from medaug.transforms._steps.registry import Preset, preset_steps
from medaug.transforms.base import TransformConfig

# How often a step comes where a policy names none: geometry often, what changes grey values less so.
_CHANCES: Final = {
    "flip": Chance(step="flip"),
    "rotate": Chance(step="rotate", probability=0.7, magnitude=(0, 0.7)),
    "scale": Chance(step="scale", probability=0.7, magnitude=(0, 0.6)),
    "shear": Chance(step="shear", probability=0.3, magnitude=(0, 0.5)),
    "elastic": Chance(step="elastic", probability=0.2, magnitude=(0, 0.6)),
}
_GREY_CHANCE, _GREY_MAGNITUDE = 0.15, (0.0, 0.6)
# A patch is already cut at a random place
_LEFT_OUT: Final = frozenset({"translate", "sharpen"})


@final
class Config(TransformConfig):
    """Settings of classical augmentation; without ``steps`` they follow the kind of image."""

    kind: Literal["classical"] = "classical"
    steps: tuple[Chance, ...] | None = Field(
        default=None, description="what may happen, how often, how strongly"
    )
    preset: Preset = Field(default="auto", description="the kind of image; auto goes by modality and unit")
    image: Interpolation = "linear"
    labels: LabelMode = "nearest"
    padding: Padding = "border"
    size: tuple[int, ...] | None = Field(
        default=None, description="voxels to which patches are cropped, or padded, each at a random place"
    )

    def build(self, unit: Unit, modality: str = "") -> BatchAugment:
        """The augmentation for images of that unit and modality."""
        chances = self.steps if self.steps is not None else default_chances(self.preset, unit, modality)
        return PolicyAugment(Each(chances), Resampling(self.image, self.labels, self.padding), self.size)


def default_chances(preset: Preset, unit: Unit, modality: str) -> tuple[Chance, ...]:
    """What happens to a patch of that kind of image where nobody says otherwise."""
    names = (step.model_fields["kind"].default for step in preset_steps(preset, unit, modality))
    return tuple(
        _CHANCES.get(name, Chance(step=name, probability=_GREY_CHANCE, magnitude=_GREY_MAGNITUDE))
        for name in names
        if name not in _LEFT_OUT
    )
