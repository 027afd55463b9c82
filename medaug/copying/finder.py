"""The training tile that one query tile resembles most: candidates by votes, each moved onto the query and compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from medaug.copying.balls import turns_of
from medaug.copying.channels import ZOOMS, Channel, Layout, top
from medaug.copying.marks import Marks
from medaug.copying.registration import (
    BANDS,
    BOXES,
    COARSE,
    STRUCTURE,
    Moves,
    agreement,
    box_sizes,
    filled,
    find_shift,
    flattened,
    leads,
    read_moved,
    refined,
)

_PAIRS_TRIED = 12
_A_PATIENT = 3
_LEARN_FROM, _LEAST_DEVIATION = 30, 0.3
_RUNNER_UP = 3
_MEASURES = len(BANDS) + 1
_INSIDE = 0.99


@final
@dataclass(frozen=True, slots=True)
class Effort:
    """How many tiles and moves are tried for a query: fewer in space, where each costs as much as eight in the plane.

    Attributes:
        turned: Candidates by windows, by all of them and by few, each.
        marked: Candidates by points.
        moves: Tried of each.
        refined: Made exact.
        steps: Of each of the two passes that make them so.
    """

    turned: int
    marked: int
    moves: int
    refined: int
    steps: int


_EFFORT = {2: Effort(15, 40, 2, 12, 4), 3: Effort(6, 14, 1, 6, 2)}


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
        self._turns = turns_of(layout.dims)
        self._turn_rows = self._turned.balls.turn_rows(self._turns)
        sizes = box_sizes(layout.dims, layout.side)
        self._sizes = torch.cat([sizes + measure * len(BOXES) for measure in range(_MEASURES)])
        self._usual = (torch.zeros(_MEASURES * len(BOXES)), torch.ones(_MEASURES * len(BOXES)))
        self._usual = self._learnt(rng)

    def _learnt(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Mean and deviation, by size of box, of what training tiles reach with those of other patients."""
        rows = []
        for number in rng.permutation(len(self.tiles))[:_LEARN_FROM].tolist():
            image = self.tiles.images[number].float()
            found = self.find(
                image, torch.ones(image.shape[1:]), without_patient=int(self.tiles.patients[number])
            )
            rows.append(found.leads)
        table = torch.stack(rows)
        return table.mean(dim=0), table.std(dim=0).clamp_min(_LEAST_DEVIATION)

    def find(self, image: Tensor, seen: Tensor, *, without_patient: int | None = None) -> Found:
        """Search for one query tile.

        Args:
            image: (C, *S) float32.
            seen: (*S) 0 to 1: the part that counts.
            without_patient: Index of a patient whose tiles must not be found.
        """
        left_out = None if without_patient is None else self.tiles.patients == without_patient
        query = [flattened(image[None], seen[None], self._share, band)[0] for band in BANDS]
        numbers, moves = self._hypotheses(image, query[0], seen, left_out)
        unique, which = torch.unique(numbers, return_inverse=True)
        candidates = self.tiles.images[unique].float()
        plain = self._agreement(query, seen, candidates[which], moves)
        patients = self.tiles.patients[numbers]
        kept = self._best_of_each(numbers, self._surprise(leads(plain, patients, _RUNNER_UP)).amax(dim=1))
        few, chosen = candidates[which[kept]], moves.at(kept)
        better = self._refined(image, seen, few, chosen)
        finer = self._agreement(query, seen, few, better)
        ahead = leads(torch.cat([plain, finer]), torch.cat([patients, patients[kept]]), _RUNNER_UP)
        ahead = ahead[torch.cat([kept, len(plain) + torch.arange(len(kept))])]
        both = Moves(torch.cat([chosen.matrix, better.matrix]), torch.cat([chosen.shift, better.shift]))
        return self._chosen(numbers[kept].repeat(2), both, torch.cat([plain[kept], finer]), ahead)

    def _refined(self, image: Tensor, seen: Tensor, sources: Tensor, moves: Moves) -> Moves:
        """Moves made exact, from coarse to fine: a turn between two that were tried is far off at a tile's edge."""
        for band in (COARSE, STRUCTURE):
            query = flattened(image[None], seen[None], self._share, band)[0]
            moves = refined(query, flattened(sources, None, self._share, band), moves, self._effort.steps)
        return moves

    def _agreement(self, query: Sequence[Tensor], seen: Tensor, sources: Tensor, moves: Moves) -> Tensor:
        """(H, measures * P) agreement of the sources, (H, C, *S), with the query, a flattened tile a band.

        A moved source is shown through the query's window, and filled in around it, so that a copy is one to its edge.
        The last measure is all bands together: noise leaves each a little, and others do not agree in all of them.
        """
        whole = torch.cat([sources, torch.ones_like(sources[:, :1])], dim=1)
        read = read_moved(whole, moves)
        shown = (read[:, -1] > _INSIDE).float() * (seen > 0)
        through = filled(read[:, :-1], shown)
        columns = [
            agreement(one, seen, flattened(through, shown, self._share, band), self._share, band)
            for one, band in zip(query, BANDS, strict=True)
        ]
        together = torch.stack(columns).sum(dim=0) / math.sqrt(len(columns))
        return torch.cat([*columns, together], dim=1)

    def _surprise(self, ahead: Tensor) -> Tensor:
        """Leads in deviations of what tiles of other patients reach in boxes of their size."""
        return (ahead - self._usual[0][self._sizes]) / self._usual[1][self._sizes]

    def _chosen(self, numbers: Tensor, moves: Moves, strength: Tensor, ahead: Tensor) -> Found:
        """The tile with the most surprising box."""
        surprise = self._surprise(ahead)
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

    def _best_of_each(self, numbers: Tensor, strength: Tensor) -> Tensor:
        """The strongest hypotheses, few of each patient."""
        kept: list[int] = []
        count: dict[int, int] = {}
        for place in torch.argsort(strength, descending=True).tolist():
            patient = int(self.tiles.patients[numbers[place]])
            if count.get(patient, 0) < _A_PATIENT:
                kept.append(place)
                count[patient] = count.get(patient, 0) + 1
            if len(kept) == self._effort.refined:
                break
        return torch.as_tensor(kept)

    def _hypotheses(
        self, image: Tensor, flat: Tensor, seen: Tensor, left_out: Tensor | None
    ) -> tuple[Tensor, Moves]:
        """(H,) tile numbers and a move to try for each."""
        effort, dims = self._effort, self._layout.dims
        votes = self._turned.votes(image, seen)
        candidates = top((votes.wide, votes.few), (effort.turned, effort.turned), left_out)
        turned, matrices, near = self._turned_moves(image, candidates)
        moves = find_shift(
            flat, flattened(self.tiles.images[turned].float(), None, self._share), matrices, near
        )
        marked = self._marks.votes(image, seen)
        upright = torch.as_tensor(top((marked.votes,), (effort.marked,), left_out))
        shifts = self._marks.shifts(marked, upright, effort.moves).flatten(0, 1)
        return (
            torch.cat([turned, upright.repeat_interleave(effort.moves)]),
            Moves(
                torch.cat([moves.matrix, torch.eye(dims).expand(len(shifts), -1, -1)]),
                torch.cat([moves.shift, shifts]),
            ),
        )

    def _turned_moves(self, image: Tensor, candidates: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """For each candidate the turns and zooms that its best pairs of windows speak for."""
        channel, effort = self._turned, self._effort
        grid = self._layout.grid
        there = channel.balls.coefficients(
            self.tiles.images[torch.as_tensor(candidates)].float(), grid.inset, grid.stride
        )
        here = torch.stack(
            [b.coefficients(image[None], grid.inset, grid.query_stride)[0] for b in channel.zoomed], dim=1
        )
        alike = channel.describe(here.flatten(0, 1)[None])[0] @ channel.describe(there).transpose(1, 2)
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
        chosen = fit.topk(effort.moves, dim=1).indices
        turn = turns.reshape(fit.shape).gather(1, chosen).flatten()
        zoom = torch.as_tensor(ZOOMS)[first.gather(1, chosen).flatten() % len(ZOOMS)]
        matrix = torch.as_tensor(self._turns, dtype=torch.float32)[turn] / zoom[:, None, None]
        # what lies at p in the query lies at A p + b in the source, and A u = b is what the search for shifts finds
        at_query = channel.places(grid.query_stride)[first.gather(1, chosen).flatten() // len(ZOOMS)]
        at_source = channel.places(grid.stride)[second.gather(1, chosen).flatten()]
        near = torch.linalg.solve(matrix, at_source[..., None])[..., 0] - at_query
        numbers = torch.as_tensor(candidates).repeat_interleave(effort.moves)
        return numbers, matrix, near
