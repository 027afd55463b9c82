"""Drawing lesions into hosts: donor, shape and place per lesion, one generator call for many, then the blend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from medaug.core.case import Case, Origin
from medaug.core.errors import DataError, LabelError, SplitLeakageError
from medaug.core.intensity import CaseScale
from medaug.core.lesion import Generator, Lesion
from medaug.core.volume import LabelMap
from medaug.engine.lanes import side_by_side
from medaug.lesions.bank import Bank
from medaug.lesions.body import Body
from medaug.lesions.place import HostTissue, map_tissue
from medaug.lesions.shape_source import ShapeSource
from medaug.synthesis.donors import Donors
from medaug.synthesis.insert import insert
from medaug.synthesis.order import Finish, HostView, Order, Prepared, Rendered
from medaug.synthesis.prepare import Frame, Preparer


@final
class Renderer:
    """Draws lesions of a bank into hosts with one generator.

    Args:
        bank: Donors, and what is known of their surroundings.
        generator: Draws the lesions.
        frame: What the patch of a lesion is like.
        finish: How lesions are put into their hosts.
    """

    def __init__(
        self,
        bank: Bank,
        generator: Generator,
        *,
        frame: Frame | None = None,
        finish: Finish | None = None,
    ) -> None:
        self._bank, self._generator, self._finish = bank, generator, finish or Finish()
        self._training = frozenset(bank.index.training_patients)
        self._donors = Donors(bank)
        self._shapes = ShapeSource(bank, self._finish.shapes)
        self._preparer = Preparer(bank, self._donors, frame or Frame(), self._shapes)

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes that can be drawn: those with a lesion in the bank."""
        return self._donors.classes

    @property
    def bank(self) -> Bank:
        """The bank it draws from."""
        return self._bank

    @property
    def donors(self) -> Donors:
        """The bank's lesions by class."""
        return self._donors

    @property
    def shapes(self) -> ShapeSource:
        """Where its outlines come from."""
        return self._shapes

    @property
    def finish(self) -> Finish:
        """How lesions are put into their hosts."""
        return self._finish

    @property
    def generator(self) -> Generator:
        """The generator it draws with."""
        return self._generator

    def require_class(self, class_name: str) -> None:
        """Raise DataError if the bank has no lesion of the class, ConfigError if the class is unknown."""
        self._donors.require_class(class_name)

    def scale(self, case: Case) -> CaseScale:
        """The host's map to normalised units; on the whole case, never on a slab.

        Raises:
            DataError: If the host has another unit or other channels than the bank.
        """
        scheme = self._bank.index.scheme
        if (case.volume.unit, case.volume.channels) != (scheme.unit, scheme.channels):
            raise DataError(
                f"host holds {', '.join(case.volume.channels)} in {case.volume.unit}",
                where=case.case_id,
                expected=f"{', '.join(scheme.channels)} in {scheme.unit}, as the bank",
            )
        return scheme.case_scale(case.volume)

    def view(self, case: Case) -> HostView:
        """A whole host with its map and its body.

        Raises:
            DataError: If the host has another unit or other channels than the bank.
        """
        return HostView(case, self.scale(case), Body.of(case.volume))

    def tissue(self, host: HostView, class_name: str) -> HostTissue:
        """Where lesions of a class may sit in a host; worth keeping for the next lesion."""
        prior = self._donors.prior(class_name)
        return map_tissue(host.case, host.scale, host.body, prior, self._finish.tissue)

    def prepare(
        self, host: HostView, order: Order, rng: np.random.Generator, tissue: HostTissue | None = None
    ) -> Prepared:
        """Choose donor, shape and place of one lesion.

        Args:
            host: Where it goes.
            order: What is wanted.
            rng: Randomness.
            tissue: Of the host and class, where it is at hand.

        Raises:
            SplitLeakageError: If the host is no real case of a training patient of the bank.
            LabelError: If the host has no label map; a lesion might hide in it.
            UnreadableError: If the bank is damaged.
            DataError: If no place was found; the line names the constraint.
        """
        self.require_class(order.class_name)
        labels = self._checked(host.case)
        if order.use == "swap":
            return self._preparer.swap(host, labels, order, rng)
        return self._preparer.place(host, order, tissue or self.tissue(host, order.class_name), rng)

    def complete(self, prepared: Sequence[Prepared], rngs: Sequence[np.random.Generator]) -> list[Rendered]:
        """Draw the prepared lesions in one generator call and blend them into their hosts."""
        drawn = list(zip(prepared, self.draw(prepared, rngs), strict=True))
        return side_by_side(lambda pair: self.insert(*pair), drawn)

    def insert(self, prepared: Prepared, lesion: Lesion) -> Rendered:
        """Put one drawn lesion into its host."""
        return insert(prepared, lesion, self._finish)

    def draw(self, prepared: Sequence[Prepared], rngs: Sequence[np.random.Generator]) -> list[Lesion]:
        """The generator's answers, in one call; of a null paste, the healthy tissue."""
        asked = [(p.request, rng) for p, rng in zip(prepared, rngs, strict=True) if p.order.use != "null"]
        lesions = iter(self._generator.generate([request for request, _ in asked], [rng for _, rng in asked]))
        return [_healthy(p) if p.order.use == "null" else next(lesions) for p in prepared]

    def render(
        self, hosts: Sequence[Case], orders: Sequence[Order], rngs: Sequence[np.random.Generator]
    ) -> list[Rendered]:
        """Draw one lesion into each of these whole hosts; each result depends on host, order and ``rng`` alone.

        Raises:
            DataError: If a lesion cannot be placed.
        """

        def prepare(asked: tuple[Case, Order, np.random.Generator]) -> Prepared:
            case, order, rng = asked
            return self.prepare(self.view(case), order, rng)

        prepared = side_by_side(prepare, list(zip(hosts, orders, rngs, strict=True)))
        return self.complete(prepared, rngs)

    def _checked(self, case: Case) -> LabelMap:
        if case.patient_id not in self._training or case.origin is not Origin.REAL:
            raise SplitLeakageError(
                "host is no real case of a training patient of the bank",
                where=case.case_id,
                hint="draw into training patients of the bank's fold",
            )
        if case.label_map is None:
            raise LabelError(
                "host has no label map", where=case.case_id, hint="mark it lesion_free if it holds none"
            )
        if case.label_map.class_names != self._bank.classes:
            raise LabelError("host has another class table than the bank", where=case.case_id)
        return case.label_map


def _healthy(prepared: Prepared) -> Lesion:
    """A null paste: the tissue that the request brings."""
    request = prepared.request
    return Lesion(request.texture, request.mask, request.class_name)
