"""The training case that a query resembles most, part by part, whatever was done to it on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
import torch
from jaxtyping import Float

from medaug.copying.calibration import Calibration
from medaug.copying.channels import Layout
from medaug.copying.finder import Found, TileFinder, TileSet
from medaug.copying.imprint import Imprint
from medaug.copying.planting import CHANGES, MIXES, MOVES, Change, plant
from medaug.copying.registration import read_moved
from medaug.copying.tiles import QueryTile, layout_of, query_tiles, training_tiles
from medaug.copying.words import in_words
from medaug.core.assessment import Part
from medaug.core.errors import DataError
from medaug.core.runs import Progress
from medaug.engine.lanes import one_by_one

PARTS: tuple[Part, ...] = ("lesion", "background")
_PLANTED = 4  # of each change and part
_KEPT_TO_PLANT = 200


@final
@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """The training case whose tile one part of a query resembles most.

    Attributes:
        part: Of the query.
        case_id: The query.
        source_case_id: The training case.
        source_patient_id: Its patient.
        evidence: How far the agreement is ahead of other patients', in deviations of what is usual.
        score: The evidence in units of the threshold: 1 and more is flagged; 0 without a threshold.
        transform: What was done to the source, in words.
        query_picture: (P, P) the query's tile, for a sheet; its middle slice.
        source_picture: (P, P) the source, moved onto the query.
    """

    part: Part
    case_id: str
    source_case_id: str
    source_patient_id: str
    evidence: float
    score: float
    transform: str
    query_picture: Float[np.ndarray, "P P"]
    source_picture: Float[np.ndarray, "P P"]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Planted:
    """Planted copies of training tiles, and how many of them were found.

    Attributes:
        planted: Number of each change.
        flagged: Share that would be flagged, by change.
        named: Share of the flagged whose source case was named, over all changes.
    """

    planted: int
    flagged: dict[Change, float]
    named: float

    @property
    def recall(self) -> float:
        """Share flagged over all changes."""
        return float(np.mean(list(self.flagged.values())))


@final
class _Copy(NamedTuple):
    """A planted copy.

    Attributes:
        image: (C, *S).
        seen: (*S) 0 to 1: the part that counts.
        sources: Indices of the cases it is made of.
    """

    image: torch.Tensor
    seen: torch.Tensor
    sources: set[int]


@final
class CopySearch:
    """Training cases to search, and held-out ones that say what chance gives.

    Args:
        training: Real cases of the fold's training patients; of at least two. Read once, case by case.
        held_out: Real cases of its held-out patients.
        seed: For what is drawn (windows that the projections rest on, planted copies).
        progress: Told of every case.

    Raises:
        DataError: If there are fewer than two training tiles or patients, channels differ, or an image is not finite.
    """

    def __init__(
        self, training: Iterable[Imprint], held_out: Iterable[Imprint], seed: int, progress: Progress
    ) -> None:
        self._rng = np.random.default_rng(seed)
        self._cases: list[str] = []
        self._owners: list[str] = []
        self._patients: dict[str, int] = {}
        self._to_plant: dict[Part, list[tuple[QueryTile, int]]] = {part: [] for part in PARTS}
        self._offered: dict[Part, int] = dict.fromkeys(PARTS, 0)
        self.layout, tiles = self._tiles(training, progress)
        progress.start("learning what windows to trust", None)
        self._finder = TileFinder(self.layout, tiles, self._rng)
        self._calibrations = self._calibrated(held_out, progress)

    @property
    def n_training(self) -> int:
        """Training cases searched."""
        return len(self._cases)

    def calibration(self, part: Part) -> Calibration | None:
        """What chance gives for a part; None for fewer than 20 held-out patients."""
        return self._calibrations[part][0]

    def n_held_out(self, part: Part) -> int:
        """Held-out patients who show a part."""
        return self._calibrations[part][1]

    def _tiles(self, training: Iterable[Imprint], progress: Progress) -> tuple[Layout, TileSet]:
        progress.start("training cases", None)
        layout: Layout | None = None
        images: list[np.ndarray] = []
        cases: list[int] = []
        for case in training:
            require_finite(case)
            layout = layout or layout_of(case)
            if images and case.image.shape[0] != images[0].shape[0]:
                raise DataError("case has other channels than the first", where=case.case_id)
            found = training_tiles(case, layout)
            images += [tile.astype(np.float16) for tile in found]
            cases += [len(self._cases)] * len(found)
            self._cases.append(case.case_id)
            self._owners.append(case.patient_id)
            self._patients.setdefault(case.patient_id, len(self._patients))
            for tile in query_tiles(case, layout):
                self._offer(tile, len(self._cases) - 1)
            progress.advance()
        if layout is None or len(images) < 2:
            raise DataError("no training image to search", hint="split the dataset again")
        if len(self._patients) < 2:
            raise DataError(
                "one training patient cannot be searched: a copy is told by its lead over other patients",
                hint="split the dataset with two or more patients for training",
            )
        owners = torch.as_tensor([self._patients[self._owners[case]] for case in cases])
        stack = torch.as_tensor(np.stack(images))
        return layout, TileSet(stack, torch.as_tensor(cases), owners)

    def _offer(self, tile: QueryTile, case: int) -> None:
        """Keep an even sample of what copies can be planted from."""
        kept = self._to_plant[tile.part]
        self._offered[tile.part] += 1
        if len(kept) < _KEPT_TO_PLANT:
            kept.append((tile, case))
        else:
            place = int(self._rng.integers(self._offered[tile.part]))
            if place < _KEPT_TO_PLANT:
                kept[place] = (tile, case)

    def _calibrated(
        self, held_out: Iterable[Imprint], progress: Progress
    ) -> dict[Part, tuple[Calibration | None, int]]:
        progress.start("held-out cases", None)
        leads: dict[Part, dict[str, float]] = {part: {} for part in PARTS}
        for case, best in one_by_one(self._best_of, held_out):
            for part, (_, found) in best.items():
                leads[part][case.patient_id] = max(found.surprise, leads[part].get(case.patient_id, 0.0))
            progress.advance()
        return {part: (Calibration.fitted_on(rows), len(rows)) for part, rows in leads.items()}

    def _best_of(self, case: Imprint) -> tuple[Imprint, dict[Part, tuple[QueryTile, Found]]]:
        """The tile of each part that is furthest ahead."""
        require_finite(case)
        if case.image.shape[0] != self._finder.tiles.images.shape[1]:
            raise DataError("case has other channels than the training cases", where=case.case_id)
        best: dict[Part, tuple[QueryTile, Found]] = {}
        for tile in query_tiles(case, self.layout):
            found = self._finder.find(tile.image, tile.seen)
            if tile.part not in best or found.surprise > best[tile.part][1].surprise:
                best[tile.part] = (tile, found)
        return case, best

    def nearest(self, query: Imprint) -> tuple[Match, ...]:
        """The most alike training case of each part that is large enough to be judged: none, one or two.

        Raises:
            DataError: If the query has other channels than the training cases, or voxels that are not finite.
        """
        return self._matches(query)[1]

    def nearest_to_all(self, queries: Iterable[Imprint]) -> Iterator[tuple[Imprint, tuple[Match, ...]]]:
        """Each query, read as it is needed, with what `nearest` finds; several at a time, each on one core.

        Raises:
            DataError: Like `nearest`.
        """
        return one_by_one(self._matches, queries)

    def _matches(self, query: Imprint) -> tuple[Imprint, tuple[Match, ...]]:
        case, best = self._best_of(query)
        return case, tuple(self._match(case.case_id, *best[part]) for part in PARTS if part in best)

    def _match(self, case_id: str, tile: QueryTile, found: Found) -> Match:
        number = int(self._finder.tiles.cases[found.number])
        source = self._finder.tiles.images[found.number][None].float()
        return Match(
            part=tile.part,
            case_id=case_id,
            source_case_id=self._cases[number],
            source_patient_id=self._owners[number],
            evidence=found.surprise,
            score=self._score(tile.part, found),
            transform=in_words(found.move, found.box, inverted=found.inverted),
            query_picture=_picture(tile.image),
            source_picture=_picture(read_moved(source, found.move)[0]),
        )

    def _score(self, part: Part, found: Found) -> float:
        calibration = self.calibration(part)
        return calibration.score(found.surprise) if calibration is not None else 0.0

    def plant(self, part: Part, progress: Progress) -> Planted | None:
        """Plant copies of training tiles and search for them; None without a threshold or anything to copy."""
        kept = self._to_plant[part]
        if self.calibration(part) is None or not kept:
            return None
        progress.start("planted copies", _PLANTED * len(CHANGES))
        flagged: dict[Change, float] = {}
        named = []
        for change in CHANGES:
            hits = []
            for copy, found in one_by_one(self._found, (self._copied(kept, change) for _ in range(_PLANTED))):
                hits.append(self._score(part, found) >= 1.0)
                if hits[-1]:
                    named.append(int(self._finder.tiles.cases[found.number]) in copy.sources)
                progress.advance()
            flagged[change] = float(np.mean(hits))
        return Planted(_PLANTED, flagged, float(np.mean(named)) if named else 0.0)

    def _found(self, copy: _Copy) -> tuple[_Copy, Found]:
        return copy, self._finder.find(copy.image, copy.seen)

    def _copied(self, kept: Sequence[tuple[QueryTile, int]], change: Change) -> _Copy:
        """A copy of one tile, drawn at random."""
        tile, case = kept[int(self._rng.integers(len(kept)))]
        other, theirs = kept[int(self._rng.integers(len(kept)))]
        # what a splice or blend is filled up with is a training case too
        sources = {case, theirs} if change in MIXES else {case}
        return _Copy(*_changed(tile, other, change, self._rng), sources)


def _changed(
    tile: QueryTile, other: QueryTile, change: Change, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """A planted copy: what counts moves along with the image."""
    image, seen = tile.image.numpy(), tile.seen.numpy()
    if change not in MOVES:
        return torch.as_tensor(plant(image, other.image.numpy(), change, rng)), tile.seen
    stack = np.concatenate([image, seen[None]])
    both = plant(stack, stack, change, rng)
    return torch.as_tensor(both[:-1]), torch.as_tensor(both[-1])


def require_finite(case: Imprint) -> None:
    """Raise unless every voxel is a number."""
    count = int((~np.isfinite(case.image)).sum())
    if count:
        raise DataError(f"{count} voxels are not finite", where=case.case_id, hint="ingest the set again")


def _picture(tile: torch.Tensor) -> Float[np.ndarray, "P P"]:
    """The first channel, on the middle slice."""
    channel = tile[0] if tile.ndim == 3 else tile[0, ..., tile.shape[-1] // 2]
    return np.asarray(channel.numpy(), dtype=np.float32)
