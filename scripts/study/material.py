"""What a study of synthesis looks at: real lesions of both halves of the patients, and lesions drawn for the study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Literal, final

import numpy as np

from medaug.core.case import Case, read_manifest
from medaug.core.errors import DataError
from medaug.core.geometry import Box
from medaug.core.lesion import Generator, LesionCrop
from medaug.core.seeding import SeedTree
from medaug.core.splits import Fold, read_splits
from medaug.core.volume import Image, Mask
from medaug.generators.base import load_generator
from medaug.generators.cgan import CGAN
from medaug.io.dataset import load_case
from medaug.lesions.bank import Bank, bank_of_cases
from medaug.quality.looks import Looks, look_at
from medaug.quality.samples import LesionSample
from medaug.quality.similarity import pairwise_ssim
from medaug.synthesis.order import Finish, HostView, Order, Prepared, Rendered
from medaug.synthesis.render import Renderer
from medaug.synthesis.source import slab_of

LOOK: Final = {2: (32, 32), 3: (32, 32, 8)}
TRIES: Final = 60
AT_ONCE: Final = 32
COARSE: Final = "_coarse"


@final
@dataclass(frozen=True, slots=True, eq=False)
class Half:
    """Half of the patients: their cases, and their lesions."""

    cases: tuple[Case, ...]
    bank: Bank


@final
class Material:
    """Everything the parts of the study share; each thing is made when it is first needed.

    Args:
        dataset: Dataset folder with splits.
        fold: Its training patients are those of bank and generators; all else is held out.
        bank: Bank folder of that fold.
        dims: 2 draws into slices, 3 into volumes.
        per_class: Lesions of each class to draw.
    """

    def __init__(self, dataset: Path, fold: int, bank: Path, dims: Literal[2, 3], per_class: int) -> None:
        self.dims, self.per_class = dims, per_class
        self._dataset, self._manifest = dataset, read_manifest(dataset)
        self.fold = read_splits(dataset, self._manifest).fold(fold)
        self._bank = Bank.open(bank)
        self._bank.fold_check(self.fold)
        self.seed = SeedTree(0).child("study", dims)

    @property
    def classes(self) -> tuple[str, ...]:
        """The class table."""
        return self._bank.classes

    @property
    def modality(self) -> str:
        """Of the dataset's cases."""
        return self._manifest.modality

    @cached_property
    def training(self) -> Half:
        """Patients that bank and generators have seen."""
        return Half(self._load(self.fold), self._bank)

    @cached_property
    def held_out(self) -> Half:
        """All other patients, with a bank of their own in memory."""
        turned = Fold(index=self.fold.index, train=self.fold.held_out, held_out=self.fold.train)
        cases = self._load(turned)
        return Half(cases, bank_of_cases(cases, turned))

    def _load(self, fold: Fold) -> tuple[Case, ...]:
        records = self._manifest.of_patients(frozenset(fold.train))
        return tuple(
            load_case(self._dataset, r, self._manifest.classes) for r in records if r.label is not None
        )

    def real(self, half: Half) -> list[LesionSample]:
        """The real lesions of a half."""
        return [self._seen(half.bank.crop(entry.lesion_id)) for entry in half.bank.entries()]

    def _seen(self, crop: LesionCrop) -> LesionSample:
        entry = crop.entry
        image = crop.scale.normalise(crop.image)
        return LesionSample(
            entry.case_id, entry.patient_id, entry.class_name, image, crop.mask, entry.spacing_mm
        )

    def looks(self, samples: Sequence[LesionSample]) -> Looks:
        """Lesions cut to the size that the study's networks see."""
        return look_at(samples, LOOK[self.dims], self.classes)

    @cached_property
    def real_training(self) -> Looks:
        """Real lesions of patients that the generators have seen."""
        return self.looks(self.real(self.training))

    @cached_property
    def real_held_out(self) -> Looks:
        """Real lesions of other patients."""
        return self.looks(self.real(self.held_out))

    @cached_property
    def data_range(self) -> float:
        """From the 1st to the 99th percentile of real lesion voxels, normalised units."""
        looks = self.real_training
        low, high = np.percentile(looks.images[:, 0][looks.masks], (1, 99))
        return float(high - low)

    @cached_property
    def places(self) -> list[Prepared]:
        """Outline, place and coarse texture of the lesions to draw; all generators get the same."""
        renderer = Renderer(self._bank, plain())
        orders = [Order(name) for name in self.classes for _ in range(self.per_class)]
        return self.prepare(renderer, self.training, orders, self.seed.child("places"))

    def prepare(
        self, renderer: Renderer, half: Half, orders: Sequence[Order], seed: SeedTree
    ) -> list[Prepared]:
        """Places for orders in the hosts of a half; an order that no host takes is left out."""
        views: dict[int, HostView] = {}
        found = []
        for number, order in enumerate(orders):
            rng = seed.child(number).rng()
            for _ in range(TRIES):
                chosen = int(rng.integers(len(half.cases)))
                view = views.setdefault(chosen, renderer.view(half.cases[chosen]))
                if self.dims == 2:
                    k = int(rng.integers(view.case.volume.grid.shape[2]))
                    view = HostView(slab_of(view.case, k), view.scale, view.body.slice_at(k))
                try:
                    found.append(renderer.prepare(view, order, rng))
                    break
                except DataError:
                    continue
        return found

    def draw(
        self, generator: Generator, places: Sequence[Prepared], seed: SeedTree, finish: Finish | None = None
    ) -> list[Rendered]:
        """The finished cases of some places; the same seed draws the same."""
        renderer = Renderer(self._bank, generator, finish=finish)
        done: list[Rendered] = []
        for start in range(0, len(places), AT_ONCE):
            some = places[start : start + AT_ONCE]
            rngs = [seed.child("draw", start + n).rng() for n in range(len(some))]
            done += renderer.complete(some, rngs)
        return done

    def made(self, generator: Generator) -> Looks:
        """A generator's lesions at the places of the study."""
        drawn = self.draw(generator, self.places, self.seed.child("made"))
        return self.looks([self.seen(r) for r in drawn])

    def same_place(
        self, generator: Generator, *, places_a_class: int, draws_a_place: int
    ) -> tuple[list[float], list[str]]:
        """Mean SSIM of several draws at one place, the lesion's box alone compared; and the host's patient, by place."""
        values, owners = [], []
        for class_name in self.classes:
            here = [p for p in self.places if p.order.class_name == class_name][:places_a_class]
            for number, place in enumerate(here):
                seed = self.seed.child("z", class_name, number)
                drawn = self.draw(generator, [place] * draws_a_place, seed)
                box = Box.around(drawn_mask(drawn[0]))
                values.append(pairwise_ssim([normalised(r) for r in drawn], box, self.data_range))
                owners.append(place.host.patient_id)
        return values, owners

    def seen(self, rendered: Rendered) -> LesionSample:
        """A drawn lesion, owned by the donor of its outline."""
        image, mask = normalised(rendered), drawn_mask(rendered)
        case, donor = rendered.case, rendered.donor_patient_ids[0]
        return LesionSample(
            case.case_id, donor, rendered.class_name, image, mask, case.volume.grid.spacing_mm
        )


def normalised(rendered: Rendered) -> Image:
    """The drawn case in normalised units, around the edit only."""
    scale = rendered.case.scale
    if scale is None:
        raise DataError("a drawn case has no map to normalised units", where=rendered.case.case_id)
    return scale.normalise(rendered.case.volume.image)


def drawn_mask(rendered: Rendered) -> Mask:
    """The voxels that are labelled as the new lesion."""
    labels = rendered.case.label_map
    if labels is None:
        raise DataError("a drawn case has no labels", where=rendered.case.case_id)
    number = labels.class_names.index(rendered.class_name) + 1
    return np.asarray((labels.labels == number) & rendered.edit_mask)


def outline_in_host(place: Prepared) -> Mask:
    """The outline of a place on its host's grid."""
    part, inner = in_host(place)
    mask = np.zeros(place.host.volume.grid.shape, dtype=bool)
    mask[part.slices] = place.request.mask[inner]
    return mask


def in_host(place: Prepared) -> tuple[Box, tuple[slice, ...]]:
    """The part of a place's box that lies inside its host, and where that part is in the box."""
    box = place.request.box
    part = box.clipped(place.host.volume.grid.shape)
    inner = tuple(slice(p - s, q - s) for s, p, q in zip(box.start, part.start, part.stop, strict=True))
    return part, inner


def plain() -> Generator:
    """Any generator, where only places are wanted."""
    return load_generator("copy_paste")


def open_generators(named: Sequence[str], fold: Fold) -> dict[str, Generator]:
    """``NAME=RUN_OR_KIND`` texts as generators; every cgan also without its network."""
    found: dict[str, Generator] = {}
    for text in named:
        name, _, where = text.partition("=")
        generator = load_generator(where or name, fold)
        found[name] = generator
        if isinstance(generator, CGAN):
            found[name + COARSE] = generator.coarse_only()
    return found
