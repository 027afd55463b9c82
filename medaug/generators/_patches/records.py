"""Training patches for differential privacy: those of a bank by patient, and outlines that are of no patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from medaug.core.errors import ConfigError, DataError
from medaug.core.intensity import IntensityScheme
from medaug.core.runs import Progress
from medaug.core.seeding import SeedTree
from medaug.core.volume import Mask
from medaug.generators._patches.batches import Part, PatchChoice, patches_of, turned
from medaug.generators._patches.coarse import fill, zone_of
from medaug.generators._patches.layers import normal
from medaug.generators._patches.pictures import shown_range
from medaug.generators._patches.scene import Scene
from medaug.generators._patches.window import signed_distance
from medaug.generators.base import LesionLibrary
from medaug.lesions.ellipsoid import elastic_ellipsoid

_RADII: Final = (2.0, 0.3)  # of outlines that are nobody's: voxels at least, share of the patch at most
_ELASTICITY = 0.2
_FLATTEST = 0.5


@final
@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """What the patients of a step give; at least one patient.

    Attributes:
        patches: As many of each.
        owners: (B,) whose they are, as places among the patients.
        rngs: The randomness of each patient, for whatever else is drawn for it.
    """

    patches: Scene
    owners: Int[Tensor, " B"]
    rngs: tuple[np.random.Generator, ...]

    @property
    def each(self) -> int:
        """Patches of a patient."""
        return len(self.owners) // len(self.rngs)

    def normal(self, *shape: int) -> Float[Tensor, "B ..."]:
        """Standard normal numbers for each patch, of its patient's randomness."""
        return torch.cat([normal((self.each, *shape), rng) for rng in self.rngs])


@final
@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """The patches of a bank, one record a patient.

    Attributes:
        patches: Every patch.
        patient_ids: Whose they are.
        owned: For each patient, for each class that it has, the numbers of its patches.
        classes: Length of the class table.
    """

    patches: Scene
    patient_ids: tuple[str, ...]
    owned: tuple[tuple[Int[np.ndarray, " _"], ...], ...]
    classes: int

    def draw(self, patients: Int[np.ndarray, " P"], each: int, seed: SeedTree) -> Draw:
        """So many patches of each of these patients, flipped and turned at random; a patient's own classes take turns.

        Each patient has randomness of its own: were it one stream for all, one patient more would change what the
        others give, and the gradient by more than one patient's.
        """
        rngs = [seed.child(self.patient_ids[int(patient)]).rng() for patient in patients]
        parts = []
        for patient, rng in zip(patients, rngs, strict=True):
            own, first = self.owned[int(patient)], int(rng.integers(len(self.owned[int(patient)])))
            numbers = [int(rng.choice(own[(first + n) % len(own)])) for n in range(each)]
            parts.append(_turned(self.patches.at(torch.as_tensor(numbers)), rng))
        owners = torch.arange(len(patients)).repeat_interleave(each)
        return Draw(Scene.joined(parts), owners, tuple(rngs))

    def pick(self, class_index: int, count: int, rng: np.random.Generator) -> Scene:
        """Patches of one class, as they are, to look at."""
        rows = torch.nonzero(self.patches.class_index == class_index).flatten()
        return self.patches.at(rows[torch.as_tensor(rng.integers(len(rows), size=count))])

    @property
    def shown(self) -> tuple[float, float]:
        """Normalised values to show black and white."""
        return shown_range(self.patches.image)


def gather_records(bank: LesionLibrary, choice: PatchChoice, progress: Progress) -> Records:
    """Cut the patches of all lesions of a bank, by patient.

    Args:
        bank: The lesions.
        choice: Size of the patches.
        progress: Told how many patients there are.

    Raises:
        ConfigError: If intensities are scaled by figures of the data set, which would tell of its patients.
        DataError: If no lesion is large enough.
    """
    check_scheme(bank.index.scheme)
    lesions = [
        (number, entry.patient_id, *patches_of(bank.crop(entry.lesion_id), choice))
        for number, class_name in enumerate(bank.index.classes)
        for entry in bank.entries(class_name)
    ]
    owned = _owned(lesions)
    if not owned:
        raise DataError("the bank has no lesion to learn from", hint="choose another fold")
    progress.say(f"differential privacy: {len(owned)} patients, one record each")
    image = torch.cat([lesion[2] for lesion in lesions])
    distance = torch.cat([lesion[3] for lesion in lesions])
    filled = torch.cat(
        [fill(a, zone_of(b)) for a, b in zip(image.split(64), distance.split(64), strict=True)]
    )
    class_index = torch.cat([torch.full((len(lesion[2]),), lesion[0]) for lesion in lesions])
    patches = Scene(image, filled, distance, class_index)
    return Records(patches, tuple(owned), tuple(owned.values()), len(bank.index.classes))


def _owned(lesions: Sequence[Part]) -> dict[str, tuple[Int[np.ndarray, " _"], ...]]:
    """For each patient, for each class that it has, the numbers of its patches; without who has none."""
    owned: dict[str, dict[int, list[int]]] = {}
    count = 0
    for number, patient_id, image, _ in lesions:
        own = owned.setdefault(patient_id, {}).setdefault(number, [])
        own += range(count, count + len(image))
        count += len(image)
    records = {
        patient_id: tuple(np.asarray(numbers) for numbers in of_class.values() if numbers)
        for patient_id, of_class in owned.items()
    }
    return {patient_id: record for patient_id, record in records.items() if record}


def check_scheme(scheme: IntensityScheme) -> None:
    """Refuse intensities that were scaled by anything but fixed numbers, or each case by its own.

    Raises:
        ConfigError: If they were.
    """
    if scheme != IntensityScheme.fixed(scheme.unit, scheme.channels):
        found = "intensities are scaled by figures of the data set"
        raise ConfigError(found, where="dp", expected="a fixed window, or each case by its own figures")


def public_distances(size: tuple[int, ...], count: int, rng: np.random.Generator) -> Float[Tensor, "N 1 *S"]:
    """Signed distances of lesions that are nobody's: bent ellipsoids of all sizes, somewhere about the middle.

    Radii are log-uniform from 2 voxels to 0.3 of the patch, axes differ by a factor of two at most.
    """
    rows = [_public_distance(size, rng) for _ in range(count)]
    return torch.from_numpy(np.stack(rows)[:, None])


def _public_distance(size: tuple[int, ...], rng: np.random.Generator) -> Float[np.ndarray, "*S"]:
    radius = np.exp(rng.uniform(np.log(_RADII[0]), np.log(_RADII[1] * min(size[:2]))))
    thin = float(np.exp(rng.uniform(0, np.log(4)))) if len(size) == 3 else 1.0
    angle, flat = rng.uniform(0, np.pi), rng.uniform(_FLATTEST, 1) ** 0.5
    axes = np.array([radius / flat, radius * flat, radius * rng.uniform(_FLATTEST, 1) / thin])
    middle = [n / 2 + rng.uniform(-1, 1) for n in (*size, 1)[:3]]
    i, j, k = np.meshgrid(
        *(np.arange(n) + 0.5 - m for n, m in zip((*size, 1)[:3], middle, strict=True)), indexing="ij"
    )
    along, across = i * np.cos(angle) + j * np.sin(angle), j * np.cos(angle) - i * np.sin(angle)
    depth = k / max(axes[2], 0.6) if len(size) == 3 else np.zeros_like(k)
    mask: Mask = (along / axes[0]) ** 2 + (across / axes[1]) ** 2 + depth**2 <= 1
    mask = elastic_ellipsoid(mask, (1.0, 1.0, thin), _ELASTICITY, rng)
    return signed_distance(mask if len(size) == 3 else mask[..., 0], thin)


def _turned(patches: Scene, rng: np.random.Generator) -> Scene:
    """The patches, each flipped along every axis or not, and turned where it is square."""
    image, filled, distance = turned((patches.image, patches.filled, patches.distance), rng)
    return Scene(image, filled, distance, patches.class_index)
