"""The configuration of the diffusion generator."""

from __future__ import annotations

from typing import Literal, Self, final

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from medaug.core.config import Frozen
from medaug.generators._diffusion.networks import DiffusionSpec
from medaug.generators._patches.layers import Dims
from medaug.generators._patches.window import check_size


@final
class Config(Frozen):
    """``kind: diffusion``: a denoising diffusion inpainter of lesions; the defaults are the 2D toy preset."""

    kind: Literal["diffusion"] = "diffusion"
    dims: Dims = 2
    size: tuple[int, ...] = Field(default=(48, 48), description="network patch in voxels, one number an axis")
    base: int = Field(default=16, ge=4, le=128, description="channels of the first level; a multiple of 4")
    steps: PositiveInt = 3000
    batch_size: int = Field(default=16, ge=2)
    learning_rate: PositiveFloat = 1e-3
    sampling_steps: int = Field(
        default=50, ge=2, le=1000, description="passes of the network for one lesion; time grows with it"
    )
    alike: float = Field(
        default=0.8, ge=0, le=1, description="2D: share of the noise that all slices of a lesion begin with"
    )
    ema: float = Field(default=0.995, ge=0, lt=1, description="decay of the averaged weights that are kept")
    samples_every: PositiveInt = Field(default=1000, description="steps between pictures of samples")
    slices_per_lesion: PositiveInt = Field(default=12, description="2D: at most so many slices of one lesion")
    device: str = Field(default="auto", description="auto, cpu, cuda or cuda:N")

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        check_size(self.size, self.dims)
        if self.base % 4:
            raise ValueError("base must be a multiple of 4")
        return self

    def net_spec(self, channels: int, classes: int) -> DiffusionSpec:
        """What the network is built from, for images of so many channels and a table of so many classes."""
        return DiffusionSpec(self.dims, channels, classes, self.size, self.base)
