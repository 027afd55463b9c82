"""Points that stand out, and the shift they speak for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medaug.copying.channels import Layout
from medaug.copying.marks import Marks
from tests.unit.copying.textures import texture


def tiles(layout: Layout, first: int, count: int) -> torch.Tensor:
    shape = (layout.side, layout.side, layout.side if layout.dims == 3 else 1)
    made = [texture(first + n, shape) for n in range(count)]
    return torch.as_tensor(np.stack(made if layout.dims == 3 else [one[..., 0] for one in made]))


@pytest.fixture(scope="module", params=[Layout(2, 48), Layout(3, 24)], ids=["plane", "space"])
def known(request: pytest.FixtureRequest) -> tuple[Layout, torch.Tensor, Marks]:
    layout: Layout = request.param
    images = tiles(layout, 0, 12)
    share = layout.side / (64 if layout.dims == 2 else 48)
    return layout, images, Marks(layout, images.half(), share, np.random.default_rng(0))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_piece_pasted_elsewhere_is_found_and_its_shift_is_exact(known, sign):
    layout, images, marks = known
    length, dims = layout.side * 5 // 8, layout.dims
    query = tiles(layout, 50, 1)[0]
    to, from_ = np.full(query.shape, False), np.full(query.shape, False)
    to[(slice(None), *[slice(3, 3 + length)] * dims)] = True
    from_[(slice(None), *[slice(6, 6 + length)] * dims)] = True
    query[torch.as_tensor(to)] = sign * images[7][torch.as_tensor(from_)]
    found = marks.votes(query, torch.ones(query.shape[1:]))
    assert int(found.votes.argmax()) == 7
    shifts = marks.shifts(found, torch.tensor([7, 2]), 2)
    assert shifts.shape == (2, 2, dims)
    assert shifts[0, 0].tolist() == [3.0] * dims
    assert float((shifts[0, 0] - shifts[0, 1]).abs().max()) > 1.0


def test_only_points_that_are_seen_speak(known):
    layout, images, marks = known
    seen = torch.zeros(images.shape[2:])
    seen[: layout.side // 2] = 1.0
    found = marks.votes(images[4], seen)
    assert int(found.votes.argmax()) == 4
    assert 0 < len(found.places) < len(marks.votes(images[4], torch.ones_like(seen)).places)
    assert int(found.places[:, 0].max()) < layout.side // 2


def test_what_shows_nothing_speaks_for_no_tile_and_no_shift(known):
    _, images, marks = known
    found = marks.votes(images[0], torch.zeros(images.shape[2:]))
    assert float(found.votes.abs().max()) == 0.0
    assert float(marks.shifts(found, torch.tensor([0, 1, 2]), 2).abs().max()) == 0.0
