from __future__ import annotations

import numpy as np
import pytest
import torch

from medaug.core.runs import NoProgress
from medaug.generators._cgan.build import build_net
from medaug.generators._cgan.noise import Noise
from medaug.generators._cgan.scene import Scene, coarse_of, donors, own, partners
from medaug.generators._cgan.settings import Config
from medaug.generators._patches.batches import Batch, gather
from medaug.generators._patches.coarse import zone_of
from tests import made_lesions

CONFIG = Config(size=(16, 16), base=4, critic_base=4, batch_size=4, steps=8, device="cpu")


@pytest.fixture(scope="module")
def batch() -> Batch:
    return gather(made_lesions.bank(4, 4), CONFIG, NoProgress()).draw(8, np.random.default_rng(0))


def noise(count: int, seed: int = 0) -> Noise:
    return Noise.draw(build_net(CONFIG, 1, 2), count, np.random.default_rng(seed))


def test_healthy_ground_is_the_patch_without_the_lesion(batch: Batch) -> None:
    fresh = torch.arange(8) % 2 == 0
    scene = Scene(batch, own(batch), 1.0, fresh=fresh)
    ground = scene.ground(noise(8))
    assert torch.equal(ground[~fresh], batch.image[~fresh])
    zone = zone_of(batch.distance) > 0
    assert torch.equal(ground[~zone], batch.image[~zone])
    rest = (ground - batch.filled)[fresh][zone[fresh]]
    assert 0 < float(rest.std()) < 0.5 * float((batch.image - batch.filled)[fresh][zone[fresh]].std())


def test_a_lesion_is_whole_inside_and_absent_outside(batch: Batch) -> None:
    scene = Scene(batch, own(batch), 1.0)
    mixed = scene.blended(torch.full_like(batch.image, 9.0), batch.image)
    assert float(mixed[batch.distance > 1].min()) == 9
    assert torch.equal(mixed[batch.distance < -2], batch.image[batch.distance < -2])


def test_partners_are_of_other_classes_and_donors_of_the_partners_class(batch: Batch) -> None:
    rng, classes = np.random.default_rng(0), batch.class_index.numpy()
    partner = partners(classes, 0.5, rng)
    donor = donors(classes, partner, rng)
    swapped = (batch.class_index[partner] != batch.class_index).sum()
    assert swapped == 4
    assert torch.equal(batch.class_index[donor], batch.class_index[partner])
    assert not bool((donor == torch.arange(8)).any())


def test_one_lesion_alone_is_its_own_donor() -> None:
    alone = np.array([0, 1])
    assert donors(alone, torch.tensor([1, 1]), np.random.default_rng(0)).tolist() == [1, 1]


def test_a_texture_gives_other_voxels_than_those_in_place(batch: Batch) -> None:
    scene = Scene(batch, own(batch), 1.0)
    plain, textured = (coarse_of(scene, noise(8), "level", textured=on) for on in (False, True))
    assert not torch.equal(plain, textured)
    inside = batch.distance > 1
    for coarse in (plain, textured):
        assert float(coarse[inside].mean()) == pytest.approx(float(batch.image[inside].mean()), abs=0.2)
