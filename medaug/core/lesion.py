"""Lesions: what the bank keeps, what a generator is asked for, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, final

import numpy as np
from pydantic import Field

from medaug.core.config import Document, Frozen
from medaug.core.geometry import Box
from medaug.core.intensity import CaseScale, IntensityScheme
from medaug.core.volume import Image, Mask

Blending = Literal["feather", "poisson"]


@final
class Texture(Frozen):
    """What the voxels of a lesion look like in one channel; figures in the channel's unit unless said otherwise."""

    mean: float
    std: float
    skew: float = Field(description="third standardised moment; 0 where nothing varies")
    gradient_per_mm: float = Field(
        ge=0, description="mean size of the gradient inside the lesion, unit per mm"
    )
    glcm_contrast: float = Field(
        ge=0, description="mean squared difference of neighbours in plane, binned, unit squared"
    )
    glcm_entropy: float = Field(ge=0, description="of the joint histogram of neighbours in plane, bits")


@final
class LesionEntry(Frozen):
    """The bank's index line for one lesion (a 26-connected component of one class)."""

    lesion_id: str
    case_id: str
    patient_id: str
    fold: int = Field(ge=0, description="whose training part the patient is in")
    class_name: str
    crop_path: str = Field(description="npz beside the index: image (C,I,J,K) native units, mask (I,J,K)")
    spacing_mm: tuple[float, float, float]
    spacing: Literal["known", "nominal"]
    voxels: int = Field(ge=1)
    volume_mm3: float = Field(gt=0, description="from the affine, also where that is nominal")
    diameter_mm: float = Field(
        gt=0, description="of the ball of equal volume; in an image of one slice, of the disc of equal area"
    )
    centre_index: tuple[float, float, float]
    centre_relative: tuple[float, float, float] = Field(description="centre over image shape, 0..1")
    centre_in_body: tuple[float, float, float] | None = Field(
        description="centre over the box around the body, 0..1; null where the image cuts the body off in plane"
    )
    slices_relative: tuple[float, float] = Field(
        description="first and past-the-last slice over image slices"
    )
    boundary_distance_mm: float | None = Field(
        description="in plane, from the lesion's centre to the edge of the body; null where the slice shows none"
    )
    edge_margin_mm: float | None = Field(
        default=None, description="in plane, from the lesion's outermost voxel to that edge"
    )
    organ_share: float | None = Field(
        default=None, description="of the lesion in the lung (HU) or brain; null where the image shows none"
    )
    mean: tuple[float, ...] = Field(description="inside the lesion, normalised units, a channel each")
    std: tuple[float, ...]
    ring_mean: tuple[float, ...] = Field(description="of the tissue within a few voxels around it")
    ring_std: tuple[float, ...]
    ring_low: tuple[float, ...] = Field(description="25th percentile of that tissue")
    ring_median: tuple[float, ...] = Field(description="robust where the ring touches an organ's border")
    ring_high: tuple[float, ...] = Field(description="75th percentile of that tissue")
    texture: tuple[Texture, ...] = Field(description="normalised units, a channel each")
    texture_native: tuple[Texture, ...] = Field(description="native units: HU, SUV or those of the scan")


@final
class BankIndex(Document):
    """``bank.json``: the lesions of the training patients of one fold, and of nobody else."""

    dataset_sha256: str
    fold: int
    training_patients: tuple[str, ...]
    classes: tuple[str, ...]
    scheme: IntensityScheme
    entries: tuple[LesionEntry, ...]


@final
@dataclass(frozen=True, slots=True, eq=False)
class LesionCrop:
    """A lesion cut out with its context, in memory.

    Attributes:
        entry: Its index line.
        image: (C, I, J, K) native units; at least twice the lesion's extent where the image allows.
        mask: (I, J, K) True in this lesion.
        others: (I, J, K) True in other labelled lesions of the crop.
        scale: The map of its case to normalised units.
    """

    entry: LesionEntry
    image: Image
    mask: Mask
    others: Mask
    scale: CaseScale


@final
@dataclass(frozen=True, slots=True, eq=False)
class LesionRequest:
    """One lesion to be drawn into one place of one host; all arrays share one host patch.

    Attributes:
        class_name: Class of the lesion.
        mask: (I, J, K) True where the lesion shall be.
        host: (C, I, J, K) the untouched host patch, native units.
        texture: (C, I, J, K) a real lesion of the class, warped as the mask was, in the host's native units.
        scale: The host case's map to normalised units.
        spacing_mm: Of the host.
        box: Where the patch lies in the host.
        donor_patient_ids: Whose mask and texture these are.
    """

    class_name: str
    mask: Mask
    host: Image
    texture: Image
    scale: CaseScale
    spacing_mm: tuple[float, float, float]
    box: Box
    donor_patient_ids: tuple[str, ...]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Lesion:
    """A generator's answer on the request's patch.

    Attributes:
        image: (C, I, J, K) native units; only voxels near the mask will be blended into the host.
        mask: (I, J, K) what is to be labelled.
        class_name: Class of the lesion.
        region: (I, J, K) where the image goes into the host; None = the mask.
        blending: How.
    """

    image: Image
    mask: Mask
    class_name: str
    region: Mask | None = None
    blending: Blending = "feather"


class Generator(Protocol):
    """Draws lesions; one file each in ``medaug/generators``."""

    kind: str

    def generate(
        self, requests: Sequence[LesionRequest], rngs: Sequence[np.random.Generator]
    ) -> list[Lesion]:
        """Answer every request, in order; each answer depends on its request and its ``rng`` alone."""
        ...

    @property
    def sha256(self) -> str:
        """Hash of the configuration and weights."""
        ...
