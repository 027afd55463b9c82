"""Records of what was drawn: written line by line, and patches made again from them bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from medaug.core.errors import ConfigError, DataError
from medaug.core.volume import Unit
from medaug.engine.augment import PatchBatch
from medaug.transforms import Journal, read_drawn, replay
from medaug.transforms.base import parse_transforms


def batch_of(size=4, step=0):
    rng = np.random.default_rng(step)
    images = torch.from_numpy(rng.normal(size=(size, 1, 24, 20)).astype(np.float32))
    return PatchBatch(
        images, (images[:, 0] > 1).to(torch.uint8), ((1.0, 1.5),) * size, Unit.ARBITRARY, step=step
    )


def rngs(step, size=4):
    return [np.random.default_rng((step, n)) for n in range(size)]


def one(batch, place):
    return PatchBatch(
        batch.images[place : place + 1],
        batch.labels[place : place + 1],
        batch.spacing_mm[place : place + 1],
        batch.unit,
    )


def test_one_patch_is_made_again_from_its_line(tmp_path):
    path = tmp_path / "augmentations.jsonl"
    journal = Journal(parse_transforms({"kind": "randaugment", "n": 5}).build(Unit.ARBITRARY, "MR"), path)
    batches = [batch_of(step=step) for step in (3, 4)]
    changed = [journal(batch, rngs(batch.step)) for batch in batches]
    lines = read_drawn(path)
    assert set(lines) == {(step, place) for step in (3, 4) for place in range(4)}
    again = replay(one(batches[1], 2), [lines[4, 2]])
    assert not torch.equal(again.images[0], batches[1].images[2])
    # alone and in its batch an image agrees to the last bits; in the batch it is the very same
    assert torch.allclose(again.images[0], changed[1].images[2], atol=1e-5)
    assert torch.equal(again.labels[0], changed[1].labels[2])
    whole = replay(batches[1], [lines[4, place] for place in range(4)])
    assert torch.equal(whole.images, changed[1].images)


def test_mixed_patches_need_their_partners(tmp_path):
    path = tmp_path / "augmentations.jsonl"
    raw = {"kind": "cutmix", "probability": 1.0, "share": 0.3}
    journal = Journal(parse_transforms(raw).build(Unit.ARBITRARY), path)
    changed = journal(batch_of(), rngs(0))
    lines = [read_drawn(path)[0, place] for place in range(4)]
    assert all(line.mixing is not None for line in lines)
    assert torch.equal(replay(batch_of(), lines).images, changed.images)
    with pytest.raises(ConfigError, match="mixed with one that is not here"):
        replay(one(batch_of(), 0), lines[:1])


def test_a_line_cut_off_by_a_crash_is_dropped_and_a_step_done_again_counts_once(tmp_path):
    path = tmp_path / "augmentations.jsonl"
    augment = parse_transforms({"kind": "classical"}).build(Unit.ARBITRARY)
    Journal(augment, path)(batch_of(), rngs(0))
    whole = read_drawn(path)
    with path.open("a") as handle:
        handle.write('{"step": 1, "pla')
    Journal(augment, path)(batch_of(), rngs(0))
    assert read_drawn(path) == whole


def test_lines_hold_no_case(tmp_path):
    path = tmp_path / "augmentations.jsonl"
    Journal(parse_transforms({"kind": "carvemix"}).build(Unit.ARBITRARY), path)(batch_of(), rngs(0))
    assert {key for line in read_drawn(path).values() for key in line.model_dump()} == {
        "step", "place", "how", "record", "mix", "mixing",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{", "line 1 is not valid JSON"),
        ('{"step": 0, "place": 0, "record": []}', "line 1: how: is missing"),
        (None, "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, text, line):
    path = tmp_path / "augmentations.jsonl"
    if text is not None:
        path.write_text(text + "\n")
    with pytest.raises(DataError, match=line):
        read_drawn(path)


def test_lines_and_patches_must_fit(tmp_path):
    path = tmp_path / "augmentations.jsonl"
    Journal(parse_transforms({"kind": "none"}).build(Unit.ARBITRARY), path)(batch_of(), rngs(0))
    lines = [read_drawn(path)[0, place] for place in range(4)]
    with pytest.raises(ConfigError, match="3 lines for 4 patches"):
        replay(batch_of(), lines[:3])
    other = lines[0].model_copy(update={"how": replace(lines[0].how, padding="zeros")})
    with pytest.raises(ConfigError, match="lines of different augmentations"):
        replay(batch_of(), [other, *lines[1:]])


def test_an_augmentation_of_others_keeps_no_records(tmp_path):
    with pytest.raises(ConfigError, match="keeps no records"):
        Journal(lambda batch, rngs: batch, tmp_path / "augmentations.jsonl")
