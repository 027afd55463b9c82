"""The configuration of the label-map-conditioned generator."""

from __future__ import annotations

from typing import Literal, Self, final

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from medaug.core.config import Frozen
from medaug.translators._whole_image.networks import NetSpec


@final
class LossWeights(Frozen):
    """How much each term counts beside the adversarial one, whose weight is 1; 0 leaves a term out."""

    features: float = Field(default=20.0, ge=0, description="L1 between the discriminator's features")
    blurred_l1: float = Field(default=4.0, ge=0, description="L1 of means over 4 voxels")
    lesion: float = Field(default=2.0, ge=0, description="mean and deviation inside each lesion")
    grain: float = Field(default=1.0, ge=0, description="strength of fine texture in each tissue")


@final
class LayoutSettings(Frozen):
    """How far a made label map is from the one of the training patient that it began as."""

    rotation_deg: float = Field(default=20.0, ge=0, le=180)
    scale: float = Field(default=0.15, ge=0, lt=1, description="largest change of size, as a share")
    shift: float = Field(default=0.1, ge=0, lt=1, description="largest shift, as a share of the image")
    elastic_voxels: float = Field(default=5.0, ge=0, description="deviation of the elastic displacement")
    elastic_reach: float = Field(default=12.0, gt=0, description="voxels over which it changes")
    flip: bool = Field(default=True, description="mirror left and right; off where sides must stay sides")
    elasticity: float = Field(
        default=0.2, ge=0, le=0.6, description="deviation of a lesion's outline, of its radius"
    )
    tries: PositiveInt = Field(default=80, description="places looked at for a lesion")


@final
class Config(Frozen):
    """``kind: whole_image``: label map to image, whole slices or volumes; the defaults are the 2D toy preset."""

    kind: Literal["whole_image"] = "whole_image"
    dims: Literal[2, 3] = 2
    size: tuple[int, ...] = Field(
        default=(128, 128), description="network's image in voxels, one number an axis; larger scans shrink"
    )
    tissues: int = Field(default=6, ge=1, le=24, description="tissue clusters inside the body")
    tissue_smoothing: PositiveFloat = Field(
        default=1.0, description="voxels; smaller ones keep more of a patient's detail in the label maps"
    )
    smallest_part: PositiveInt = Field(
        default=12, description="voxels; smaller parts join their surroundings"
    )
    anatomy: tuple[str, ...] = Field(
        default=(), description="classes of the label map that are organs, not lesions"
    )
    base: int = Field(default=16, ge=4, le=128, description="channels of the generator's finest level")
    critic_base: int = Field(default=24, ge=4, le=256)
    z_size: int = Field(default=16, ge=1, le=256)
    steps: PositiveInt = 1500
    batch_size: PositiveInt = 4
    learning_rate: PositiveFloat = 4e-4
    critic_learning_rate: PositiveFloat = 6e-4
    ema: float = Field(default=0.995, ge=0, lt=1, description="decay of the averaged weights that are kept")
    weights: LossWeights = LossWeights()
    layout: LayoutSettings = LayoutSettings()
    slices_per_case: PositiveInt = Field(default=8, description="2D: at most so many slices of one case")
    device: str = Field(default="auto", description="auto, cpu, cuda or cuda:N")

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        if len(self.size) != self.dims:
            raise ValueError(f"size has {len(self.size)} numbers for {self.dims} dims")
        if any(n % 16 or not 32 <= n <= 512 for n in self.size[:2]):
            raise ValueError("size must be 32 to 512 in plane, and a multiple of 16")
        if self.size[2:] and not 4 <= self.size[-1] <= 256:
            raise ValueError("size must be 4 to 256 along the slices")
        return self

    def net_spec(self, channels: int, planes: int) -> NetSpec:
        """What the networks are built from, for images of so many channels and maps of so many labels."""
        return NetSpec(self.dims, channels, planes, self.size, self.base, self.critic_base, self.z_size)
