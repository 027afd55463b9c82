"""The configuration of the conditional GAN."""

from __future__ import annotations

from typing import Literal, Self, final

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from medaug.core.config import Frozen
from medaug.generators._cgan.losses import Objective
from medaug.generators._cgan.networks import NetSpec
from medaug.generators._patches.layers import Dims
from medaug.generators._patches.variant import Privacy, PrivateVariant, asks_privacy
from medaug.generators._patches.window import check_size


@final
class LossWeights(Frozen):
    """How much each term counts beside the adversarial one, whose weight is 1; 0 leaves a term out."""

    blurred_l1: float = Field(
        default=4.0, ge=0, description="lesions re-drawn as their own class, 3-voxel means"
    )
    features: float = Field(
        default=2.0, ge=0, description="mean and deviation of the discriminator's features"
    )
    histogram: float = Field(default=8.0, ge=0, description="soft cumulative histogram inside the mask")
    grain: float = Field(
        default=2.0, ge=0, description="deviation of broad, middle and fine parts inside the mask"
    )
    rim: float = Field(
        default=3.0,
        ge=0,
        description="level and steepness in shells of equal depth, from the rim to the core",
    )
    diversity: float = Field(default=1.0, ge=0, description="mode seeking: two z must give two lesions")
    teacher: float = Field(
        default=0.5, ge=0, description="what the teacher makes of them, where there is one"
    )
    lecam: float = Field(default=0.1, ge=0, description="discriminator regulariser, after the class ramp")


_PRIVATE = PrivateVariant(
    needed={
        "backbone": ("dcgan", "spade looks at the hosts, which are patients'"),
        "bottleneck": ("conv", "a dcgan has no bottleneck"),
        "coarse": ("noise", "a texture is a patient's lesion"),
        "teacher": (None, "it has seen real lesions without noise"),
        "compile": (False, "compiled layers tell no gradient by patient"),
    },
    suited={
        "objective": "non_saturating",
        "critic_base": 8,
        "weights": {},
        "steps": 2000,
        "learning_rate": 2e-4,
        "critic_learning_rate": 1e-3,
        "ema": 0.995,
    },
)
_REAL_TERMS = ("blurred_l1", "features", "histogram", "grain", "rim", "teacher", "lecam")


@final
class Config(Frozen):
    """``kind: cgan``: a conditional GAN, in context, coarse to fine; the defaults are the 2D toy preset."""

    kind: Literal["cgan"] = "cgan"
    dims: Dims = 2
    size: tuple[int, ...] = Field(default=(48, 48), description="network patch in voxels, one number an axis")
    base: int = Field(default=16, ge=4, le=128, description="channels of the generator's first level")
    critic_base: int = Field(
        default=24, ge=4, le=256, description="channels of the discriminator's first level"
    )
    z_size: int = Field(default=16, ge=1, le=128)
    coarse: Literal["noise", "texture"] = Field(
        default="noise",
        description="what stands in the mask at first: class statistics with noise, or a real texture",
    )
    objective: Objective = "hinge"
    backbone: Literal["spade", "dcgan"] = Field(
        default="spade", description="dcgan: from noise, class and mask alone, without looking at the host"
    )
    conditional: bool = Field(default=True, description="whether the networks are told the class")
    bottleneck: Literal["conv", "transformer"] = Field(
        default="conv", description="transformer: two blocks of self-attention on the coarsest level"
    )
    distort: bool = Field(
        default=True, description="whether the discriminator sees its lesions moved and toned"
    )
    teacher: str | None = Field(
        default=None, description="run folder of a segmentation of the same fold that judges made lesions"
    )
    compile: bool = Field(default=False, description="compile the networks for training, with torch.compile")
    steps: PositiveInt = 4000
    batch_size: int = Field(default=16, ge=2)
    learning_rate: PositiveFloat = 4e-4
    critic_learning_rate: PositiveFloat = 8e-4
    swap_share: float = Field(
        default=0.5, ge=0, le=1, description="share of a batch drawn as another lesion's class"
    )
    fresh_share: float = Field(
        default=0.5, ge=0, le=1, description="share of a batch drawn into healthy tissue, not over the lesion"
    )
    ramp: float = Field(
        default=0.1, ge=0, le=1, description="share of the steps over which the class is faded in"
    )
    ema: float = Field(default=0.995, ge=0, lt=1, description="decay of the averaged weights that are kept")
    weights: LossWeights = LossWeights()
    samples_every: PositiveInt = Field(default=500, description="steps between pictures of samples")
    slices_per_lesion: PositiveInt = Field(default=12, description="2D: at most so many slices of one lesion")
    device: str = Field(default="auto", description="auto, cpu, cuda or cuda:N")
    dp: Privacy = None

    @model_validator(mode="before")
    @classmethod
    def _private_variant(cls, raw: object) -> object:
        if not asks_privacy(raw):
            return raw
        chosen = _PRIVATE.chosen(raw)
        weights = chosen["weights"]
        if isinstance(weights, LossWeights):
            weights = weights.model_dump(exclude_unset=True)
        if not isinstance(weights, dict):
            return chosen  # what it is instead is told by its own check
        seen = [name for name in _REAL_TERMS if weights.get(name, 0.0)]
        if seen:
            raise ValueError(f"dp: weights.{seen[0]} must be 0: the generator would see real lesions")
        return {**chosen, "weights": {**weights, **dict.fromkeys(_REAL_TERMS, 0.0)}}

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        check_size(self.size, self.dims)
        if self.backbone == "dcgan" and self.bottleneck == "transformer":
            raise ValueError("a dcgan has no bottleneck")
        if self.backbone == "dcgan" and self.base % 4:
            raise ValueError("base must be a multiple of 4 with dcgan")
        return self

    def net_spec(self, channels: int, classes: int) -> NetSpec:
        """What the networks are built from, for images of so many channels and a table of so many classes."""
        attention = 2 if self.bottleneck == "transformer" else 0
        return NetSpec(
            self.dims, channels, classes, self.size, self.base, self.critic_base, self.z_size, attention
        )
