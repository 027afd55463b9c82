"""Training patches: cut around the lesions of a bank, drawn in batches balanced by class and patient."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from medaug.core.errors import DataError
from medaug.core.lesion import LesionCrop
from medaug.core.runs import Progress
from medaug.core.seeding import SeedTree
from medaug.core.storage import sha256_text
from medaug.generators._patches.coarse import fill, lesion_figures, soft_cumulative, zone_of
from medaug.generators._patches.window import Window
from medaug.generators.base import FEW_LESIONS, LesionLibrary

Part = tuple[int, str, Tensor, Tensor]  # class, patient, images and distances of a lesion

_CENTRAL = 0.7
_SMALLEST_VOXELS = 4  # of the network's patch; a lesion or slice below shows nothing to learn
_MANY_PATIENTS, _HELD_BACK = 36, 12


class PatchChoice(Protocol):
    """The part of a generator's configuration that says what its patches are."""

    @property
    def size(self) -> tuple[int, ...]:
        """Voxels along each axis; two axes cut slices, three a volume."""
        ...

    @property
    def slices_per_lesion(self) -> int:
        """2D: at most so many slices of one lesion."""
        ...


@final
@dataclass(frozen=True, slots=True)
class Batch:
    """Patches with a real lesion in the middle.

    Attributes:
        image: (B, C, *S) normalised.
        filled: (B, C, *S) the same without the lesion.
        distance: (B, 1, *S) signed distance to the lesion's edge.
        class_index: (B,) index into the class table.
        figures: (B, C, 7) see :func:`~medaug.generators._patches.coarse.lesion_figures`.
        cumulative: (B, C, E) soft histogram of the lesion's voxels.
    """

    image: Float[Tensor, "B C *S"]
    filled: Float[Tensor, "B C *S"]
    distance: Float[Tensor, "B 1 *S"]
    class_index: Int[Tensor, " B"]
    figures: Float[Tensor, "B C 7"]
    cumulative: Float[Tensor, "B C E"]

    def to(self, device: torch.device, layout: torch.memory_format) -> Batch:
        """The batch on a device, in a memory layout."""
        image, filled, distance = (
            t.to(device).contiguous(memory_format=layout) for t in (self.image, self.filled, self.distance)
        )
        index, figures, cumulative = (t.to(device) for t in (self.class_index, self.figures, self.cumulative))
        return Batch(image, filled, distance, index, figures, cumulative)

    def at(self, numbers: Int[Tensor, " N"]) -> Batch:
        """The samples of these numbers."""
        return Batch(
            self.image[numbers],
            self.filled[numbers],
            self.distance[numbers],
            self.class_index[numbers],
            self.figures[numbers],
            self.cumulative[numbers],
        )

    @staticmethod
    def joined(parts: Sequence[Batch]) -> Batch:
        """Several batches as one."""
        return Batch(
            torch.cat([p.image for p in parts]),
            torch.cat([p.filled for p in parts]),
            torch.cat([p.distance for p in parts]),
            torch.cat([p.class_index for p in parts]),
            torch.cat([p.figures for p in parts]),
            torch.cat([p.cumulative for p in parts]),
        )


@final
@dataclass(frozen=True, slots=True)
class TrainingSet:
    """All patches of a bank, and who owns them.

    Attributes:
        patches: Every patch, one batch.
        owners: For each class of the table, for each of its patients, the numbers of the patches.
        edges: (C, E) places at which histograms of lesion voxels are compared, normalised units.
        central: (N,) whether a slice is about as large as its lesion's largest, and not a faint end.
        lesions: How many lesions of each class the patches show.
        unseen: Patches of the patients that were held back, never drawn; None where nobody was.
    """

    patches: Batch
    owners: tuple[tuple[Int[np.ndarray, " _"], ...], ...]
    edges: Float[Tensor, "C E"]
    central: Bool[Tensor, " N"]
    lesions: tuple[int, ...] = ()
    unseen: Batch | None = None

    @property
    def shares(self) -> Float[Tensor, " N"]:
        """Weight of each patch within its class, such that every patient weighs the same; 0 off the middle."""
        shares = self.central.to(torch.float32)
        for patients in self.owners:
            for numbers in patients:
                rows = torch.as_tensor(numbers)
                shares[rows] /= len(patients) * shares[rows].sum()
        return shares

    def draw(self, count: int, rng: np.random.Generator) -> Batch:
        """A batch in which classes, and patients within a class, take turns; flipped and turned at random."""
        first = int(rng.integers(len(self.owners)))
        numbers = []
        for n in range(count):
            patients = self.owners[(first + n) % len(self.owners)]
            numbers.append(int(rng.choice(patients[int(rng.integers(len(patients)))])))
        return self._turned(np.asarray(numbers)[rng.permutation(count)], rng)

    def pick(self, class_index: int, count: int, rng: np.random.Generator) -> Batch:
        """Patches of one class, as they are, as many different patients as there are."""
        patients = self.owners[class_index]
        order = [patients[int(n)] for n in rng.permutation(len(patients))]
        numbers = [int(rng.choice(order[n % len(order)])) for n in range(count)]
        return self.patches.at(torch.as_tensor(numbers))

    def to_show(self, seed: SeedTree, per_class: int = 2) -> Iterator[tuple[Batch, int, np.random.Generator]]:
        """For pictures of samples: patches of each class, the number of one of them, and the class's randomness."""
        for number in range(len(self.owners)):
            rng = seed.child(number).rng()
            picked = self.pick(number, per_class, rng)
            yield from ((picked, n, rng) for n in range(per_class))

    def alike(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """For each sample of a batch a patch of its class, as it is."""
        return Batch.joined([self.pick(int(number), 1, rng) for number in batch.class_index])

    def _turned(self, numbers: Int[np.ndarray, " B"], rng: np.random.Generator) -> Batch:
        """The patches of these numbers, each flipped along every axis or not, and turned where it is square."""
        taken = self.patches.at(torch.as_tensor(numbers))
        image, filled, distance = turned((taken.image, taken.filled, taken.distance), rng)
        return replace(taken, image=image, filled=filled, distance=distance)


def held_back(bank: LesionLibrary) -> frozenset[str]:
    """Training patients whose lesions a discriminator never sees, so that its memorising can be measured.

    One patient in 12, chosen by the hash of the pseudonym, where the bank has at least 36 and every class keeps three
    quarters of its lesions, and 8 at least; else nobody.
    """
    owned: dict[str, Counter[str]] = {}
    for entry in bank.entries():
        owned.setdefault(entry.patient_id, Counter())[entry.class_name] += 1
    if len(owned) < _MANY_PATIENTS:
        return frozenset()
    left = Counter(entry.class_name for entry in bank.entries())
    least = {name: max(FEW_LESIONS, 0.75 * count) for name, count in left.items()}
    chosen: list[str] = []
    for patient_id in sorted(owned, key=sha256_text):
        after = left - owned[patient_id]
        if all(after[name] >= least[name] for name in owned[patient_id]):
            chosen.append(patient_id)
            left = after
        if len(chosen) == len(owned) // _HELD_BACK:
            break
    return frozenset(chosen)


def gather(
    bank: LesionLibrary,
    choice: PatchChoice,
    progress: Progress,
    without: frozenset[str] = frozenset(),
) -> TrainingSet:
    """Cut the patches of all lesions of a bank.

    Args:
        bank: The lesions.
        choice: Size of the patches.
        progress: Told what is scarce.
        without: Patients to hold back; see :func:`held_back`.

    Raises:
        DataError: If a class of the table has no lesion, or none that is large enough.
    """
    parts: list[Part] = []
    for number, class_name in enumerate(bank.index.classes):
        entries = bank.entries(class_name)
        if 0 < len(entries) < FEW_LESIONS:
            progress.say(f"class {class_name} has only {len(entries)} lesions: expect little variety")
        found = [
            (number, entry.patient_id, *patches_of(bank.crop(entry.lesion_id), choice)) for entry in entries
        ]
        found = [part for part in found if len(part[2])]
        if not any(part[1] not in without for part in found):
            raise DataError(
                f"the bank has no lesion of class {class_name} to learn from",
                expected=f"some, better {FEW_LESIONS} or more",
                hint="leave the class out of the labels, or choose another fold",
            )
        parts += found
    training = _joined([part for part in parts if part[1] not in without], len(bank.index.classes))
    aside = [part for part in parts if part[1] in without]
    if not aside:
        return training
    progress.say(f"{len(without)} patients are held back, to tell when the discriminator only memorises")
    return replace(training, unseen=_joined(aside, len(bank.index.classes)).patches)


def patches_of(crop: LesionCrop, choice: PatchChoice) -> tuple[Tensor, Tensor]:
    """Images and distances of one lesion: its slices with enough lesion in 2D, one patch in 3D."""
    window = Window.around(crop.mask, choice.size, crop.entry.spacing_mm)
    images, distances = window.frames(crop.scale.normalise(crop.image)), window.distances(crop.mask)
    areas = (distances > 0).flatten(1).sum(1).numpy()
    keep = np.flatnonzero(areas >= max(_SMALLEST_VOXELS, 0.2 * areas.max()))
    if len(keep) > choice.slices_per_lesion:
        keep = keep[np.linspace(0, len(keep) - 1, choice.slices_per_lesion).round().astype(int)]
    return images[keep], distances[keep]


def _joined(parts: list[Part], classes: int) -> TrainingSet:
    image = torch.cat([part[2] for part in parts])
    distance = torch.cat([part[3] for part in parts])
    edges = _histogram_edges(image, distance)
    filled, figures, cumulative = (
        torch.cat(chunks) for chunks in zip(*_measured(image, distance, edges), strict=True)
    )
    counts = [len(part[2]) for part in parts]
    class_index = torch.as_tensor([part[0] for part in parts]).repeat_interleave(torch.as_tensor(counts))
    owners: list[dict[str, list[int]]] = [{} for _ in range(classes)]
    start = 0
    for (number, patient_id, _, _), count in zip(parts, counts, strict=True):
        owners[number].setdefault(patient_id, []).extend(range(start, start + count))
        start += count
    table = tuple(tuple(np.asarray(numbers) for numbers in of_class.values()) for of_class in owners)
    areas = [(part[3] > 0).flatten(1).sum(1) for part in parts]
    central = torch.cat([area >= _CENTRAL * area.max() for area in areas])
    lesions = tuple(sum(part[0] == number for part in parts) for number in range(classes))
    patches = Batch(image, filled, distance, class_index, figures, cumulative)
    return TrainingSet(patches, table, edges, central, lesions)


def _measured(image: Tensor, distance: Tensor, edges: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Fill, figures and soft histogram of the patches, some at a time."""
    for some, near in zip(image.split(64), distance.split(64), strict=True):
        filled = fill(some, zone_of(near))
        mask = (near > 0).to(some.dtype)
        yield filled, lesion_figures(some, filled, near), soft_cumulative(some, mask, edges)


def _histogram_edges(image: Tensor, distance: Tensor) -> Float[Tensor, "C E"]:
    """16 places from the 1st to the 99th percentile of lesion voxels, a channel each."""
    inside = distance[:, 0] > 0
    rows = []
    for channel in image.unbind(1):
        low, high = (float(v) for v in np.percentile(channel[inside].numpy(), (1, 99)))
        rows.append(torch.linspace(low, max(high, low + 1e-3), 16))
    return torch.stack(rows)


def turned(stacks: Sequence[Tensor], rng: np.random.Generator) -> tuple[Tensor, ...]:
    """Stacks (B, C, *S) that show the same patches, each flipped along every axis or not, and turned where it is square."""
    first = stacks[0]
    square = first.shape[2] == first.shape[3]
    turns = []
    for _ in first:
        flips = [axis + 1 for axis in range(first.ndim - 2) if rng.random() < 0.5]
        turns.append((flips, bool(square and rng.random() < 0.5)))
    return tuple(
        torch.stack([_turn(sample, *turn) for sample, turn in zip(stack, turns, strict=True)])
        for stack in stacks
    )


def _turn(sample: Float[Tensor, "C *S"], flips: list[int], transposed: bool) -> Float[Tensor, "C *S"]:  # noqa: FBT001
    turned = torch.flip(sample, flips) if flips else sample
    return turned.transpose(1, 2) if transposed else turned
