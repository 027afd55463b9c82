"""The training tile that one query tile resembles most: candidates by votes, each moved onto the query and compared."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from medaug.copying.balls import turns_of
from medaug.copying.channels import ZOOMS, Channel, Layout, Windows, top
from medaug.copying.marks import Marks
from medaug.copying.miniatures import Miniatures
from medaug.copying.registration import (
    BANDS,
    BOXES,
    COARSE,
    SHAPE,
    STRUCTURE,
    Band,
    Moves,
    agreement,
    box_sizes,
    covered,
    filled,
    find_shift,
    flattened,
    halved,
    leads,
    read_moved,
    refined,
)
from medaug.engine.lanes import side_by_side

_PAIRS_TRIED = 16
_A_PATIENT = 3
_LEARN_FROM, _LEAST_DEVIATION = 100, 0.3
_RUNNER_UP = 3
_MEASURES = len(BANDS) + 1
_AT_HALF = (STRUCTURE, SHAPE)  # texture is too fine for tiles of half the size
_TOUCHING = -0.01  # voxels


@final
@dataclass(frozen=True, slots=True)
class Effort:
    """How many tiles and moves are tried for a query: fewer in space, where each costs as much as eight in the plane.

    Attributes:
        turned: Candidates by windows, by all of them and by few, each.
        turns: Tried of each, on tiles of half the size.
        favoured: The first of these candidates.
        favoured_turns: Tried of them instead: the source is mostly among them, and few of its windows tell the turn.
        marked: Candidates by points.
        shifts: Tried of each, on tiles of half the size.
        whole: Candidates by miniatures.
        compared: Of all moves, on whole tiles.
        refined: Of these, made exact.
        steps: That make them so, on tiles of half the size and on whole ones.
    """

    turned: int
    turns: int
    favoured: int
    favoured_turns: int
    marked: int
    shifts: int
    whole: int
    compared: int
    refined: int
    steps: tuple[int, int]


_EFFORT = {
    2: Effort(
        turned=15, turns=2, favoured=4, favoured_turns=8, marked=40, shifts=2, whole=4,
        compared=40, refined=12, steps=(4, 2),
    ),
    3: Effort(
        turned=6, turns=1, favoured=2, favoured_turns=4, marked=14, shifts=1, whole=2,
        compared=10, refined=6, steps=(3, 1),
    ),
}  # fmt: skip


@final
@dataclass(frozen=True, slots=True, eq=False)
class TileSet:
    """Tiles with whose they are.

    Attributes:
        images: (N, C, *S) float16, the channels in normalised units.
        cases: (N,) index of the case of each.
        patients: (N,) index of the patient of each.
    """

    images: Tensor
    cases: Tensor
    patients: Tensor

    def __len__(self) -> int:
        return len(self.images)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a query tile resembles most.

    Attributes:
        number: The training tile; -1 if none shows anything alike.
        leads: (measures * boxes,) largest lead over other patients' tiles in a box of each size, band after band, then all.
        surprise: The largest of them, in deviations of what is usual in boxes of its size.
        move: What brings the tile onto the query; one.
        box: Side of what agrees best, as a share of the tile's.
        inverted: Whether grey values are inverted.
    """

    number: int
    leads: Tensor
    surprise: float
    move: Moves
    box: float
    inverted: bool


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    """A query tile at one size.

    Attributes:
        image: (C, *S).
        seen: (*S) 0 to 1.
        share: Scale of the filters.
    """

    image: Tensor
    seen: Tensor
    share: float

    def flat(self, band: Band) -> Tensor:
        """(C, *S) flattened."""
        return flattened(self.image[None], self.seen[None], self.share, band)[0]

    def halved(self) -> _Shown:
        """At half the size."""
        image, seen = halved(self.image[None])[0], halved(self.seen[None, None])[0, 0]
        return _Shown(image, seen, self.share / 2)


@final
class TileFinder:
    """Training tiles ready to be searched.

    Args:
        layout: Of the tiles.
        tiles: Of the training images; at least two.
        rng: For what the projections learn from.
    """

    def __init__(self, layout: Layout, tiles: TileSet, rng: np.random.Generator) -> None:
        self._layout, self.tiles, self._effort = layout, tiles, _EFFORT[layout.dims]
        self._share = layout.side / 64 if layout.dims == 2 else layout.side / 48
        self._turned = Channel(layout, tiles.images, rng)
        self._marks = Marks(layout, tiles.images, self._share, rng)
        self._miniatures = Miniatures(tiles.images, self._share)
        self._turns = turns_of(layout.dims)
        self._turn_rows = self._turned.balls.turn_rows(self._turns)
        self._sizes = _box_measures(layout.side, layout.dims, range(_MEASURES))
        at_half = (*(BANDS.index(band) for band in _AT_HALF), _MEASURES - 1)
        self._half_sizes = _box_measures(layout.side // 2, layout.dims, at_half)
        self._usual = (torch.zeros(_MEASURES * len(BOXES)), torch.ones(_MEASURES * len(BOXES)))
        self._usual = self._learnt(rng)

    def _learnt(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Mean and deviation, by size of box, of what training tiles reach with those of other patients."""

        def found(number: int) -> Tensor:
            image = self.tiles.images[number].float()
            patient = int(self.tiles.patients[number])
            return self.find(image, torch.ones(image.shape[1:]), without_patient=patient).leads

        chosen = rng.permutation(len(self.tiles))[:_LEARN_FROM].tolist()
        table = torch.stack(side_by_side(found, chosen))
        return table.mean(dim=0), table.std(dim=0).clamp_min(_LEAST_DEVIATION)

    def find(self, image: Tensor, seen: Tensor, *, without_patient: int | None = None) -> Found:
        """Search for one query tile.

        Args:
            image: (C, *S) float32.
            seen: (*S) 0 to 1: the part that counts.
            without_patient: Index of a patient whose tiles must not be found.
        """
        left_out = None if without_patient is None else self.tiles.patients == without_patient
        query = _Shown(image, seen, self._share)
        numbers, moves = self._promising(query, *self._hypotheses(query, left_out))
        sources, patients = self.tiles.images[numbers].float(), self.tiles.patients[numbers]
        flat = [query.flat(band) for band in BANDS]
        plain = self._agreement(query, flat, sources, moves)
        strength = self._surprise(leads(plain, patients, _RUNNER_UP), self._sizes).amax(dim=1)
        kept = self._best_of_each(patients, strength, self._effort.refined)
        chosen = moves.at(kept)
        better = self._refined(query, sources[kept], chosen)
        finer = self._agreement(query, flat, sources[kept], better)
        ahead = leads(torch.cat([plain, finer]), torch.cat([patients, patients[kept]]), _RUNNER_UP)
        ahead = ahead[torch.cat([kept, len(plain) + torch.arange(len(kept))])]
        both = Moves(torch.cat([chosen.matrix, better.matrix]), torch.cat([chosen.shift, better.shift]))
        return self._chosen(numbers[kept].repeat(2), both, torch.cat([plain[kept], finer]), ahead)

    def _promising(self, query: _Shown, numbers: Tensor, moves: Moves) -> tuple[Tensor, Moves]:
        """The hypotheses that are worth whole tiles, told on tiles of half the size."""
        small = query.halved()
        unique, which = torch.unique(numbers, return_inverse=True)
        sources = halved(self.tiles.images[unique].float())[which]
        found = self._agreement(
            small, [small.flat(band) for band in _AT_HALF], sources, moves.halved(), _AT_HALF
        )
        patients = self.tiles.patients[numbers]
        strength = self._surprise(leads(found, patients, _RUNNER_UP), self._half_sizes).amax(dim=1)
        kept = self._best_of_each(patients, strength, self._effort.compared)
        return numbers[kept], moves.at(kept)

    def _refined(self, query: _Shown, sources: Tensor, moves: Moves) -> Moves:
        """Moves made exact, from coarse to fine: a turn between two that were tried is far off at a tile's edge."""
        coarse, fine = self._effort.steps
        small = query.halved()
        at_half = flattened(halved(sources), None, small.share, COARSE)
        moves = refined(small.flat(COARSE), at_half, moves.halved(), coarse).doubled()
        return refined(query.flat(STRUCTURE), flattened(sources, None, query.share), moves, fine)

    def _agreement(
        self,
        query: _Shown,
        flat: Sequence[Tensor],
        sources: Tensor,
        moves: Moves,
        bands: Sequence[Band] = BANDS,
    ) -> Tensor:
        """(H, measures * P) agreement of the sources, (H, C, *S), with the query, flattened band by band.

        A moved source is shown through the query's window, and filled in around it, so that a copy is one to its edge.
        The last measure is all bands together: noise leaves each a little, and others do not agree in all of them.
        """
        shown = covered(moves, sources.shape[-1], _TOUCHING) * (query.seen > 0)
        through = filled(read_moved(sources, moves), shown)
        columns = [
            agreement(one, query.seen, flattened(through, shown, query.share, band), query.share, band)
            for one, band in zip(flat, bands, strict=True)
        ]
        together = torch.stack(columns).sum(dim=0) / math.sqrt(len(columns))
        return torch.cat([*columns, together], dim=1)

    def _surprise(self, ahead: Tensor, sizes: Tensor) -> Tensor:
        """Leads in deviations of what tiles of other patients reach in boxes of their size."""
        return (ahead - self._usual[0][sizes]) / self._usual[1][sizes]

    def _chosen(self, numbers: Tensor, moves: Moves, strength: Tensor, ahead: Tensor) -> Found:
        """The tile with the most surprising box."""
        surprise = self._surprise(ahead, self._sizes)
        best, place = divmod(int(surprise.argmax()), surprise.shape[1])
        sizes = range(_MEASURES * len(BOXES))
        largest = torch.stack([ahead[:, self._sizes == size].max() for size in sizes])
        return Found(
            number=int(numbers[best]),
            leads=largest,
            surprise=float(surprise[best, place]),
            move=moves.at(torch.tensor([best])),
            box=BOXES[int(self._sizes[place]) % len(BOXES)],
            inverted=bool(strength[best, place] < 0),
        )

    def _best_of_each(self, patients: Tensor, strength: Tensor, most: int) -> Tensor:
        """The strongest hypotheses, few of each patient."""
        kept: list[int] = []
        count: dict[int, int] = {}
        owners = patients.tolist()
        for place in torch.argsort(strength, descending=True).tolist():
            patient = owners[place]
            if count.get(patient, 0) < _A_PATIENT:
                kept.append(place)
                count[patient] = count.get(patient, 0) + 1
            if len(kept) == most:
                break
        return torch.as_tensor(kept)

    def _hypotheses(self, query: _Shown, left_out: Tensor | None) -> tuple[Tensor, Moves]:
        """(H,) tile numbers and a move to try for each."""
        kinds = [
            found(query, left_out) for found in (self._turned_ones, self._shifted_ones, self._unmoved_ones)
        ]
        numbers, matrices, shifts = zip(*[(n, moves.matrix, moves.shift) for n, moves in kinds], strict=True)
        return torch.cat(numbers), Moves(torch.cat(matrices), torch.cat(shifts))

    def _turned_ones(self, query: _Shown, left_out: Tensor | None) -> tuple[Tensor, Moves]:
        """What windows speak for."""
        windows = self._turned.described_query(query.image)
        votes = self._turned.votes(windows, query.seen)
        favoured, many = (
            top((votes.wide, votes.few), (count, count), left_out)
            for count in (self._effort.favoured, self._effort.turned)
        )
        candidates = torch.as_tensor(list(dict.fromkeys([*favoured, *many])))
        which, matrices, near = self._turned_moves(windows, candidates, len(favoured))
        small = query.halved()
        flat = flattened(halved(self.tiles.images[candidates].float()), None, small.share)
        moves = find_shift(small.flat(STRUCTURE), flat[which], matrices, near / 2).doubled()
        return candidates[which], moves

    def _shifted_ones(self, query: _Shown, left_out: Tensor | None) -> tuple[Tensor, Moves]:
        """What points speak for."""
        marked = self._marks.votes(query.image, query.seen)
        numbers = torch.as_tensor(top((marked.votes,), (self._effort.marked,), left_out))
        shifts = self._marks.shifts(marked, numbers, self._effort.shifts).flatten(0, 1)
        return numbers.repeat_interleave(self._effort.shifts), _upright(shifts)

    def _unmoved_ones(self, query: _Shown, left_out: Tensor | None) -> tuple[Tensor, Moves]:
        """What miniatures speak for."""
        votes = self._miniatures.votes(query.image, query.seen)
        numbers = torch.as_tensor(top((votes,), (self._effort.whole,), left_out))
        return numbers, _upright(torch.zeros(len(numbers), self._layout.dims))

    def _turned_moves(
        self, query: Windows, candidates: Tensor, favoured: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Places in ``candidates``, and the turns and zooms that the best pairs of windows of each speak for.

        Of the first candidates, the favoured, more are tried.
        """
        channel, effort = self._turned, self._effort
        grid = self._layout.grid
        there = channel.balls.coefficients(self.tiles.images[candidates].float(), grid.inset, grid.stride)
        here = query.coefficients
        alike = query.vectors.flatten(0, 1) @ channel.described(candidates).transpose(1, 2)
        windows = there.shape[1]
        pairs = alike.flatten(1).topk(_PAIRS_TRIED, dim=1).indices
        first, second = torch.div(pairs, windows, rounding_mode="floor"), pairs % windows
        weights = 1.0 / there.flatten(0, 2).std(dim=0).clamp_min(1e-6)
        left = here.flatten(0, 1)[first.flatten()] * weights
        right = there[torch.arange(len(candidates))[:, None], second].flatten(0, 1) * weights
        products = torch.stack(
            [channel.balls.products(left[:, c], right[:, c]) for c in range(left.shape[1])]
        ).sum(dim=0)
        norms = left.flatten(1).norm(dim=1) * right.flatten(1).norm(dim=1)
        agreements, turns = (products @ self._turn_rows.T).abs().max(dim=1)
        # invariants choose the pairs, the coefficients themselves, which no longer overlook phases, the best of them
        fit = (agreements / norms.clamp_min(1e-6)).reshape(len(candidates), -1)
        chosen = fit.topk(effort.favoured_turns, dim=1).indices
        counts = torch.full((len(candidates), 1), effort.turns)
        counts[:favoured] = effort.favoured_turns
        tried = torch.arange(effort.favoured_turns) < counts
        turn = turns.reshape(fit.shape).gather(1, chosen)[tried]
        first, second = first.gather(1, chosen)[tried], second.gather(1, chosen)[tried]
        zoom = torch.as_tensor(ZOOMS)[first % len(ZOOMS)]
        matrix = torch.as_tensor(self._turns, dtype=torch.float32)[turn] / zoom[:, None, None]
        # what lies at p in the query lies at A p + b in the source, and A u = b is what the search for shifts finds
        at_query = channel.places(grid.query_stride)[first // len(ZOOMS)]
        at_source = channel.places(grid.stride)[second]
        near = torch.linalg.solve(matrix, at_source[..., None])[..., 0] - at_query
        return tried.nonzero()[:, 0], matrix, near


def _upright(shifts: Tensor) -> Moves:
    """Shifts, (H, d), and nothing else."""
    return Moves(torch.eye(shifts.shape[1]).expand(len(shifts), -1, -1), shifts)


def _box_measures(side: int, dims: int, measures: Iterable[int]) -> Tensor:
    """For each column of all measures that are taken, which size of box of which measure it is."""
    sizes = box_sizes(dims, side)
    return torch.cat([sizes + measure * len(BOXES) for measure in measures])
