"""How cases are cut, moved and described."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from medaug.copying.imprint import Imprint
from medaug.copying.planting import CHANGES, Change, plant
from medaug.copying.registration import (
    BOXES,
    SHAPE,
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
from medaug.copying.tiles import layout_of, query_tiles, training_tiles
from medaug.copying.words import in_words
from tests.unit.copying.textures import imprint, texture


def case(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Imprint:
    return Imprint("c", "p", texture(1, shape), np.zeros(shape, bool), spacing)


@pytest.mark.parametrize(
    ("shape", "spacing", "dims", "side"),
    [
        ((128, 128, 10), (0.8, 0.8, 2.5), 2, 64),
        ((128, 128, 40), (0.8, 0.8, 2.5), 2, 64),
        ((128, 160, 120), (1.0, 1.0, 1.0), 3, 32),
        ((50, 128, 1), (1.0, 1.0, 1.0), 2, 48),
        ((20, 20, 20), (1.0, 1.0, 1.0), 3, 16),
    ],
)
def test_slices_or_volumes_by_the_number_of_slices_and_their_distance(shape, spacing, dims, side):
    layout = layout_of(case(shape, spacing))
    assert (layout.dims, layout.side) == (dims, side)


def test_training_tiles_cover_the_case_and_its_lesions() -> None:
    one = imprint(1, "t", texture(1, (128, 128, 3)))
    tiles = training_tiles(one, layout_of(one))
    assert [tile.shape for tile in tiles] == [(1, 64, 64)] * (4 * 3 + 1)
    assert len(training_tiles(replace(one, lesion=np.zeros_like(one.lesion)), layout_of(one))) == 12


def test_an_empty_image_gives_no_tiles() -> None:
    flat = replace(imprint(1, "t"), image=np.zeros((1, 48, 48, 1), np.float32))
    assert training_tiles(flat, layout_of(flat)) == []
    assert query_tiles(flat, layout_of(flat)) == []


def test_background_hides_the_lesion_and_the_other_way_round() -> None:
    one = imprint(1, "q")
    parts = {tile.part: tile for tile in query_tiles(one, layout_of(one))}
    assert parts["background"].seen[23, 23] == 0.0
    assert parts["background"].seen[2, 2] == 1.0
    assert float(parts["lesion"].seen.mean()) < 0.5
    bright = replace(one, image=np.where(one.lesion, 50.0, one.image).astype(np.float32))
    hidden = {tile.part: tile for tile in query_tiles(bright, layout_of(one))}["background"]
    assert float(hidden.image.max()) < 10.0


def test_what_is_not_seen_does_not_matter() -> None:
    first, second = (torch.as_tensor(texture(n)[..., 0])[None] for n in (1, 2))
    seen = torch.zeros(1, 48, 48)
    seen[:, 10:30, 12:40] = 1.0
    mixed = torch.where(seen[:, None] > 0, first, 5.0 + 9.0 * second)
    one, other = filled(first, seen), filled(mixed, seen)
    torch.testing.assert_close(one, other)
    assert torch.equal(one[seen[:, None] > 0], first[seen[:, None] > 0])
    assert float(one[seen[:, None] == 0].abs().max()) < float(first.abs().max())


def test_only_lesions_in_the_edit_mask_count() -> None:
    one = imprint(1, "q")
    edit = np.zeros_like(one.lesion)
    edit[18:30, 18:30] = True
    (lesion,) = [t for t in query_tiles(replace(one, edit_mask=edit), layout_of(one)) if t.part == "lesion"]
    assert float(lesion.seen.sum()) == 144.0
    speck = replace(one, lesion=np.zeros_like(one.lesion))
    speck.lesion[20:22, 20:22] = True
    assert {t.part for t in query_tiles(speck, layout_of(one))} == {"background"}


def test_changes_change_and_keep_the_shape() -> None:
    tile, other = texture(1)[..., 0], texture(2)[..., 0]
    for change in CHANGES:
        found = plant(tile, other, change, np.random.default_rng(0))
        assert found.shape == tile.shape
        assert np.array_equal(found, tile) == (change == "exact")


@pytest.mark.parametrize(("change", "share"), [("splice", 0.5), ("patch", 0.25)])
def test_mixed_copies_hold_their_share(change: Change, share: float) -> None:
    for dims in (2, 3):
        tile, other = np.ones((1, *[32] * dims), np.float32), np.zeros((1, *[32] * dims), np.float32)
        assert float(plant(tile, other, change, np.random.default_rng(3)).mean()) == pytest.approx(
            share, abs=0.02
        )


@pytest.mark.parametrize("dims", [2, 3])
def test_a_turned_and_moved_source_is_brought_back(dims: int) -> None:
    side = 32
    source = torch.as_tensor(texture(4, (side, side, side if dims == 3 else 1))).float()
    source = source if dims == 3 else source[..., 0]
    angle = math.radians(6.0)
    matrix = torch.eye(dims)[None].clone()
    matrix[0, 0, 0] = matrix[0, 1, 1] = math.cos(angle)
    matrix[0, 0, 1], matrix[0, 1, 0] = -math.sin(angle), math.sin(angle)
    truth = Moves(matrix, torch.tensor([[3.0, -2.0, 1.0][:dims]]))
    query = read_moved(source[None], truth)[0]
    start = find_shift(query, source[None], torch.eye(dims)[None], torch.full((1, dims), torch.nan))
    found = refined(query, source[None], start, 6)
    assert float((found.matrix - truth.matrix).abs().max()) < 0.03
    assert float((found.shift - truth.shift).abs().max()) < 0.3
    seen, read = torch.ones(query.shape[1:]), [read_moved(source[None], move) for move in (start, found)]
    first, second = (agreement(query, seen, one, 1.0).amax() for one in read)
    assert second > first


def test_leads_are_over_the_third_of_other_patients() -> None:
    strength = torch.tensor([[9.0], [-8.0], [5.0], [4.0], [1.0]])
    patients = torch.tensor([0, 0, 1, 2, 3])
    assert leads(strength, patients, 3)[:, 0].tolist() == [8.0, 7.0, 4.0, 3.0, -3.0]
    assert box_sizes(2, 64).bincount().tolist() == [1, 36, 81, 121]


def test_flattened_tiles_know_no_shades_and_no_contrast() -> None:
    tile, seen = torch.as_tensor(texture(5)[..., 0])[None], torch.ones(1, 48, 48)
    ramp = torch.linspace(0.0, 20.0, 48).expand(1, 1, 48, 48)
    plain, shaded, scaled = (flattened(one, seen, 0.75) for one in (tile, tile + ramp, 7.0 * tile))
    assert float(torch.corrcoef(torch.stack([plain.flatten(), shaded.flatten()]))[0, 1]) > 0.95
    torch.testing.assert_close(plain, scaled, rtol=1e-2, atol=1e-2)


def test_a_source_that_shows_too_little_of_a_box_says_nothing_there() -> None:
    query, seen = flattened(torch.as_tensor(texture(5)[..., 0])[None], None, 0.75)[0], torch.ones(48, 48)
    read = query[None].clone()
    read[..., 27:] = 0.0
    found, sizes = agreement(query, seen, read, 0.75)[0], box_sizes(2, 48)
    assert float(found[sizes == 0].abs().max()) == 0.0
    assert float(found[sizes == 2].max()) > 10.0
    assert float(agreement(query, torch.where(read[0, 0] != 0, 1.0, 0.0), read, 0.75)[0, 0]) > 10.0


def test_traces_of_what_lies_beside_a_box_of_air_agree_with_nothing() -> None:
    side = 64
    first, second = (torch.as_tensor(texture(n, (side, side, 1))[..., 0]) for n in (1, 2))
    traces = 1e-3 * torch.as_tensor(texture(3, (side, side, 1))[..., 0])
    first[..., 26:], second[..., 26:] = traces[..., 26:], traces[..., 26:]
    found = agreement(first, torch.ones(side, side), second[None], 1.0)
    alike = agreement(first, torch.ones(side, side), first[None], 1.0)
    small = box_sizes(2, side) == BOXES.index(0.35)
    last = found[0, small].reshape(11, 11)[:, -1]
    assert float(last.abs().max()) < 1.0
    assert float(alike[0, small].reshape(11, 11)[:, 0].min()) > 10.0


def test_noise_hides_a_plain_tile_less_where_contrast_stays_as_it_is() -> None:
    rng = np.random.default_rng(6)
    shaded = texture(6)[..., 0] * np.where(np.arange(48) < 24, 1.0, 0.05).astype(np.float32)
    noisy = shaded + 0.4 * rng.standard_normal(shaded.shape).astype(np.float32)
    seen, found = torch.ones(48, 48), []
    for band in (STRUCTURE, SHAPE):
        source, query = (
            flattened(torch.as_tensor(one)[None], None, 0.75, band)[0] for one in (shaded, noisy)
        )
        found.append(float(torch.corrcoef(torch.stack([source.flatten(), query.flatten()]))[0, 1]))
        assert float(agreement(query, seen, source[None], 0.75, band).amax()) > 3.0
    assert found[1] > found[0] + 0.1


@pytest.mark.parametrize(
    ("matrix", "shift", "inverted", "box", "words"),
    [
        ([[1, 0], [0, 1]], [0, 0], False, 1.0, "as it is"),
        ([[0, -1], [1, 0]], [0, 0], True, 1.0, "inverted, turned by 90 degrees"),
        ([[-1, 0], [0, 1]], [0, 0], False, 1.0, "mirrored"),
        ([[0.8, 0], [0, 0.8]], [0, 0], False, 1.0, "zoomed by 1.25"),
        ([[1, 0], [0, 1]], [6, 8], False, 0.35, "moved by 10 voxels, a piece of it"),
        (np.eye(3).tolist(), [0, 0, 0], False, 0.7, "in part"),
    ],
)
def test_moves_in_words(matrix, shift, inverted, box, words):
    move = Moves(torch.tensor([matrix], dtype=torch.float32), torch.tensor([shift], dtype=torch.float32))
    assert in_words(move, box, inverted=inverted) == words
