"""Patches by patient, and outlines that are nobody's."""

import numpy as np
import pytest
import torch

from medaug.core.errors import ConfigError
from medaug.core.intensity import IntensityScheme
from medaug.core.runs import NoProgress
from medaug.core.seeding import SeedTree
from medaug.core.volume import Unit
from medaug.generators._patches.records import check_scheme, gather_records, public_distances
from medaug.generators.cgan import Config
from tests import made_lesions

CHOICE = Config(size=(16, 16), slices_per_lesion=3)


@pytest.fixture(scope="module")
def records():
    return gather_records(made_lesions.bank(5, 6), CHOICE, NoProgress())


def test_every_patch_is_in_one_record_and_a_patient_of_two_classes_is_one_record(records):
    assert records.patient_ids == tuple(f"patient_{n:03d}" for n in range(6))
    numbers = np.concatenate([own for record in records.owned for own in record])
    assert sorted(numbers) == list(range(len(records.patches.image)))
    mixed = records.owned[2]  # its fifth lesion is faint, its sixth bright
    assert [int(records.patches.class_index[own[0]]) for own in mixed] == [0, 1]


def test_what_a_patient_gives_does_not_depend_on_who_else_is_drawn(records):
    alone = records.draw(np.array([3]), 2, SeedTree(1))
    beside = records.draw(np.array([0, 3, 5]), 2, SeedTree(1))
    torch.testing.assert_close(beside.patches.image[2:4], alone.patches.image)
    torch.testing.assert_close(beside.normal(4)[2:4], alone.normal(4))
    assert beside.owners.tolist() == [0, 0, 1, 1, 2, 2]


def test_a_patient_gives_its_own_patches_alone(records):
    drawn = records.draw(np.array([2]), 6, SeedTree(2))
    own = torch.as_tensor(np.concatenate(records.owned[2]))
    mine = records.patches.image[own].flatten(1).sort(dim=1).values
    for image in drawn.patches.image.flatten(1).sort(dim=1).values:
        assert (mine - image).abs().amax(dim=1).min() < 1e-6
    assert set(drawn.patches.class_index.tolist()) == {0, 1}


def test_intensities_that_were_fitted_to_the_data_set_are_refused():
    fixed = IntensityScheme.fixed(Unit.HU, ("CT",))
    check_scheme(fixed)
    with pytest.raises(ConfigError, match="figures of the data set"):
        check_scheme(fixed.model_copy(update={"factor": (431.0,)}))


@pytest.mark.parametrize("size", [(32, 32), (24, 24, 8)])
def test_outlines_that_are_nobodys_are_of_all_sizes_and_in_the_middle(size):
    distances = public_distances(size, 40, np.random.default_rng(0))
    assert distances.shape == (40, 1, *size)
    voxels = (distances > 0).flatten(1).sum(1)
    assert voxels.min() >= 4
    assert voxels.max() > 8 * voxels.min()
    shown = (distances > 0).float().mean(dim=0)[0]
    assert shown[tuple(n // 2 for n in size)] > 0.8
    assert shown[0].max() == 0
    again = public_distances(size, 40, np.random.default_rng(0))
    torch.testing.assert_close(distances, again)
