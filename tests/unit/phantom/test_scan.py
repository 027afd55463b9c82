"""A phantom scan has the densities and sizes that it is meant to have."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from medaug.core.seeding import SeedTree
from medaug.core.volume import Unit
from medaug.phantom.growth import LesionClass
from medaug.phantom.scan import Scan, draw_scan

SHAPE = (96, 96, 16)


@pytest.fixture(scope="module")
def scans() -> list[Scan]:
    wanted: list[tuple[LesionClass, ...]] = [("solid",), ("ground_glass",), ("solid", "ground_glass"), ()]
    return [draw_scan(SHAPE, lesions, SeedTree(5).child(n)) for n, lesions in enumerate(wanted)]


def test_only_the_asked_lesions_are_there(scans: list[Scan]) -> None:
    assert [np.unique(scan.label_map.labels).tolist() for scan in scans] == [[0, 1], [0, 2], [0, 1, 2], [0]]
    for scan in scans:
        for number in np.unique(scan.label_map.labels)[1:]:
            assert ndimage.label(scan.label_map.labels == number, np.ones((3, 3, 3)))[1] == 1


def test_lesions_have_the_size_of_their_class() -> None:
    for n in range(4):
        for name, low, high in (("solid", 4.0, 15.0), ("ground_glass", 5.0, 15.0)):
            scan = draw_scan((72, 72, 12), (name,), SeedTree(9).child(n))  # type: ignore[arg-type]
            mm3 = np.count_nonzero(scan.label_map.labels) * scan.volume.grid.voxel_mm3
            assert low < (6 * mm3 / np.pi) ** (1 / 3) < high


def test_solid_is_dense_and_ground_glass_is_faint(scans: list[Scan]) -> None:
    image, labels = scans[2].volume.image[0], scans[2].label_map.labels
    lung = np.median(image[(image < -700) & (image > -930)])
    solid, veil = np.median(image[labels == 1]), np.median(image[labels == 2])
    assert -250 < solid < 120
    assert -750 < veil < -420
    assert -900 < lung < -800


def test_looks_like_a_chest_in_hounsfield_units(scans: list[Scan]) -> None:
    """Air around, soft tissue, bone, and two lungs that do not touch the edge of the image."""
    for scan in scans:
        image = scan.volume.image[0]
        assert scan.volume.unit is Unit.HU
        assert np.array_equal(image, np.rint(image))
        assert image[:2].max() < -850
        middle = ndimage.median_filter(image[:, :, 8], 3)
        air, found = ndimage.label(middle < -700)
        sizes = sorted(ndimage.sum_labels(np.ones_like(air), air, range(1, found + 1)))
        assert found >= 3
        assert 300 < sizes[-2] < 2500
        assert np.count_nonzero((image > -30) & (image < 250)) > 0.1 * image.size
        assert np.count_nonzero(image > 250) > 0.003 * image.size


def test_patients_differ(scans: list[Scan]) -> None:
    images = [scan.volume.image for scan in scans]
    for one in range(4):
        for other in range(one):
            assert np.abs(images[one] - images[other]).mean() > 30


def test_a_lesion_is_seen_against_the_same_chest_without_it() -> None:
    seed = SeedTree(11)
    with_lesion, without = draw_scan(SHAPE, ("solid",), seed), draw_scan(SHAPE, (), seed)
    changed = np.abs(with_lesion.volume.image[0] - without.volume.image[0]) > 150
    inside = with_lesion.label_map.labels > 0
    assert changed[inside].mean() > 0.8
    grown = ndimage.binary_dilation(inside, np.ones((3, 3, 3)), iterations=2)
    assert not changed[~grown].any()
