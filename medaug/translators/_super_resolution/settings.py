"""The configuration of super resolution."""

from __future__ import annotations

from typing import Literal, final

from pydantic import Field, PositiveFloat, PositiveInt

from medaug.core.config import Frozen
from medaug.translators._super_resolution.slices import Profile


@final
class Config(Frozen):
    """``kind: super_resolution``: thin slices from thick ones.

    Without ``factor`` and ``target_spacing_mm`` the slices of the thick training cases become as thin as their pixels
    are wide.
    """

    kind: Literal["super_resolution"] = "super_resolution"
    factor: int | None = Field(default=None, ge=2, le=8, description="thin slices for one thick slice")
    target_spacing_mm: PositiveFloat | None = Field(
        default=None, description="distance of the thin slices; null: that of the thick ones by the factor"
    )
    profile: Profile = Field(
        default="gaussian", description="sensitivity of a thick slice along its thickness"
    )
    learn_from: Literal["auto", "through_plane", "in_plane"] = Field(
        default="auto",
        description="thin slices made thick; or, where there are none, the rows of slices made coarse",
    )
    labels: Literal["signed_distance", "nearest"] = Field(
        default="signed_distance", description="how label maps reach the new slices"
    )
    base: int = Field(default=32, ge=4, le=256, description="channels of the network")
    blocks: int = Field(default=3, ge=1, le=16, description="residual blocks")
    patch: int = Field(default=24, ge=8, le=128, description="training patch in plane, voxels")
    depth: int = Field(default=8, ge=2, le=64, description="training patch in thick slices")
    patches: PositiveInt = Field(default=1024, description="training patches kept in memory")
    batch_size: PositiveInt = 4
    steps: PositiveInt = 1000
    learning_rate: PositiveFloat = 1e-3
    device: str = Field(default="auto", description="auto, cpu, cuda or cuda:N")
