"""The configuration of the variational autoencoder."""

from __future__ import annotations

from typing import Literal, Self, final

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from medaug.core.config import Frozen
from medaug.generators._patches.layers import Dims
from medaug.generators._patches.variant import Privacy, PrivateVariant, asks_privacy
from medaug.generators._patches.window import check_size
from medaug.generators._vae.networks import VaeSpec

_PRIVATE = PrivateVariant(
    needed={"free_bits": (0.0, "what a dimension may hold is averaged over the patients of a step")},
    suited={"base": 4, "z_size": 8, "beta": 0.02, "warm_up": 0.0, "steps": 1000, "learning_rate": 2e-3},
)


@final
class Config(Frozen):
    """``kind: vae``: a variational autoencoder of lesions, given class, mask and host; defaults: the 2D toy preset."""

    kind: Literal["vae"] = "vae"
    dims: Dims = 2
    size: tuple[int, ...] = Field(default=(48, 48), description="network patch in voxels, one number an axis")
    base: int = Field(default=16, ge=4, le=128, description="channels of the first level")
    z_size: int = Field(default=16, ge=1, le=128, description="length of a latent code")
    steps: PositiveInt = 1200
    batch_size: int = Field(default=16, ge=2)
    learning_rate: PositiveFloat = 1e-3
    beta: float = Field(
        default=0.001,
        ge=0,
        description="price of a nat of KL divergence in mean absolute error, normalised units, after the warm-up",
    )
    warm_up: float = Field(
        default=0.3, ge=0, le=1, description="share of the steps over which beta rises from 0, linearly"
    )
    free_bits: float = Field(
        default=0.05, ge=0, description="nats a latent dimension may hold at no price, averaged over a batch"
    )
    gradient: float = Field(
        default=1.0, ge=0, description="weight of the error of differences between neighbours; edges"
    )
    grain: float = Field(
        default=1.0,
        ge=0,
        description="fine noise added to a drawn lesion, 1 = as in real ones at the host's noise; 0 = smooth",
    )
    noisy: float = Field(
        default=0.25, ge=0, le=1, description="share of the lesions that the encoder sees with noise added"
    )
    most_noise: float = Field(
        default=0.5, ge=0, description="deviation of the strongest noise added, normalised units"
    )
    ema: float = Field(default=0.995, ge=0, lt=1, description="decay of the averaged weights that are kept")
    samples_every: PositiveInt = Field(default=500, description="steps between pictures of samples")
    slices_per_lesion: PositiveInt = Field(default=12, description="2D: at most so many slices of one lesion")
    device: str = Field(default="auto", description="auto, cpu, cuda or cuda:N")
    dp: Privacy = None

    @model_validator(mode="before")
    @classmethod
    def _private_variant(cls, raw: object) -> object:
        return _PRIVATE.chosen(raw) if asks_privacy(raw) else raw

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        check_size(self.size, self.dims)
        return self

    def beta_at(self, step: int) -> float:
        """The price of KL divergence at a step: 0 at first, ``beta`` from the end of the warm-up on."""
        rising = self.warm_up * self.steps
        return self.beta if step >= rising else self.beta * step / rising

    def net_spec(self, channels: int, classes: int) -> VaeSpec:
        """What the network is built from, for images of so many channels and a table of so many classes."""
        return VaeSpec(self.dims, channels, classes, self.size, self.base, self.z_size)
