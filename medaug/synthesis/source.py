"""Synthetic cases on the fly: hosts in memory, a new lesion a draw, no file in between."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from medaug.core.case import Case
from medaug.core.errors import ConfigError, DataError
from medaug.core.geometry import Box
from medaug.core.plan import Use
from medaug.core.volume import LabelMap, Volume
from medaug.lesions.place import HostTissue
from medaug.synthesis.order import HostView, Order, Prepared
from medaug.synthesis.render import Renderer

_TRIES = 40  # hosts or slices looked at for one lesion
_CACHE_BYTES = 512 << 20


@final
@dataclass(frozen=True, slots=True)
class StreamOptions:
    """What a source draws.

    Attributes:
        dims: 2 draws one-slice slabs of the whole in-plane extent, 3 whole hosts.
        classes: Those that it draws; None = all of the renderer's.
        swap_share: Share of the lesions that are drawn over one of another class instead of into healthy tissue.
        contrast: Range of the factor of a lesion's contrast, log-uniform; None = as drawn.
    """

    dims: Literal[2, 3]
    classes: tuple[str, ...] | None = None
    swap_share: float = 0.0
    contrast: tuple[float, float] | None = None


@final
class StreamingSource:
    """Yields training cases with one synthetic lesion each (``core.case.CaseSource``).

    Args:
        hosts: Labelled real cases of training patients of the bank's fold.
        renderer: Draws the lesions.
        options: What to draw.

    Raises:
        ConfigError: If the renderer cannot draw a class, or the share is not within 0..1.
        DataError: If there is no host.
    """

    def __init__(self, hosts: Sequence[Case], renderer: Renderer, options: StreamOptions) -> None:
        self._hosts = tuple(case for case in hosts if case.label_map is not None)
        if not self._hosts:
            raise DataError(
                "no labelled host to draw lesions into", hint="check the fold's training patients"
            )
        if not 0.0 <= options.swap_share <= 1.0:
            raise ConfigError(f"is {options.swap_share}", where="swap_share", expected="0 to 1")
        self._renderer, self._options = renderer, options
        self.classes = renderer.classes if options.classes is None else options.classes
        for name in self.classes:
            renderer.require_class(name)
        self._views: dict[int, HostView] = {}
        self._tissues: OrderedDict[tuple[int, int, str], HostTissue] = OrderedDict()
        self._tissue_bytes = 0
        self._swappable = {name: self._places_of_others(name) for name in self.classes}

    @property
    def donor_patient_ids(self) -> frozenset[str]:
        """Patients of the bank and of the hosts."""
        return frozenset(
            {case.patient_id for case in self._hosts} | set(self._renderer.bank.index.training_patients)
        )

    def draw(
        self, class_names: tuple[str | None, ...], rngs: tuple[np.random.Generator, ...]
    ) -> tuple[Case, ...]:
        """One case a name, all drawn in one generator call; None pastes healthy tissue in an outline of any class.

        Raises:
            DataError: If no place was found in many hosts; the line names the last constraint.
        """
        prepared = [self._prepare(name, rng) for name, rng in zip(class_names, rngs, strict=True)]
        return tuple(rendered.case for rendered in self._renderer.complete(prepared, rngs))

    def _prepare(self, asked: str | None, rng: np.random.Generator) -> Prepared:
        class_name = self.classes[int(rng.integers(len(self.classes)))] if asked is None else asked
        swap = asked is not None and bool(rng.random() < self._options.swap_share)
        swap = swap and bool(self._swappable[class_name])
        use: Use = "null" if asked is None else "swap" if swap else "new"
        order = Order(class_name, use=use, contrast=self._contrast(rng) if use != "null" else None)
        failure: DataError | None = None
        for _ in range(_TRIES):
            number, k = self._place(class_name, rng, swap=swap)
            view = self._view(number, k)
            tissue = None if swap else self._tissue(number, k, view, class_name)
            try:
                return self._renderer.prepare(view, order, rng, tissue)
            except DataError as error:
                failure = error
        raise failure or DataError(f"no host takes a lesion of class {class_name}")

    def _contrast(self, rng: np.random.Generator) -> float | None:
        if self._options.contrast is None:
            return None
        return float(np.exp(rng.uniform(*np.log(self._options.contrast))))

    def _place(self, class_name: str, rng: np.random.Generator, *, swap: bool) -> tuple[int, int]:
        """A host and one of its slices."""
        if swap:
            places = self._swappable[class_name]
            return places[int(rng.integers(len(places)))]
        number = int(rng.integers(len(self._hosts)))
        return number, int(rng.integers(self._hosts[number].volume.grid.shape[2]))

    def _view(self, number: int, k: int) -> HostView:
        """A host, in 2D the slab of one of its slices; scale and body are those of the whole host."""
        view = self._views.get(number)
        if view is None:
            view = self._views[number] = self._renderer.view(self._hosts[number])
        if self._options.dims == 3:
            return view
        return HostView(slab_of(view.case, k), view.scale, view.body.slice_at(k))

    def _tissue(self, number: int, k: int, view: HostView, class_name: str) -> HostTissue:
        key = (number, k if self._options.dims == 2 else 0, class_name)
        found = self._tissues.get(key)
        if found is not None:
            self._tissues.move_to_end(key)
            return found
        found = self._tissues[key] = self._renderer.tissue(view, class_name)
        self._tissue_bytes += found.nbytes
        while self._tissue_bytes > _CACHE_BYTES and len(self._tissues) > 1:
            self._tissue_bytes -= self._tissues.popitem(last=False)[1].nbytes
        return found

    def _places_of_others(self, class_name: str) -> tuple[tuple[int, int], ...]:
        """Hosts, and in 2D their slices, that show a lesion of another class."""
        if self._options.swap_share == 0.0:
            return ()
        places: list[tuple[int, int]] = []
        for number, host in enumerate(self._hosts):
            if host.label_map is None:
                continue
            wanted = host.label_map.class_names.index(class_name) + 1
            labels = host.label_map.labels
            slices = np.flatnonzero(((labels > 0) & (labels != wanted)).any(axis=(0, 1)))
            places += [(number, int(k)) for k in slices]
        return tuple(places)


def slab_of(case: Case, k: int) -> Case:
    """One slice of a case, as a case; shares its memory."""
    shape = case.volume.grid.shape
    grid = case.volume.grid.crop(Box((0, 0, k), (shape[0], shape[1], k + 1)))
    volume = case.volume
    part = Volume(volume.image[..., k : k + 1], grid, volume.unit, volume.channels, volume.spacing_known)
    labels = case.label_map
    label_map = None if labels is None else LabelMap(labels.labels[..., k : k + 1], grid, labels.class_names)
    return Case(case.case_id, case.patient_id, part, label_map, case.origin)
