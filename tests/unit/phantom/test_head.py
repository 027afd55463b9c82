"""The made-up head holds what its specification says."""

import numpy as np

from medaug.phantom.head import HeadSpec, draw_head

COARSE = (5.0, 5.0, 5.0)


def test_same_seed_same_head_and_brain_behind_the_nose() -> None:
    spec = HeadSpec(spacing_mm=COARSE)
    one, two = (draw_head(spec, np.random.default_rng(1)) for _ in range(2))
    assert np.array_equal(one.volume.image, two.volume.image)
    assert np.argwhere(one.nose)[:, 1].min() > np.percentile(np.argwhere(one.brain)[:, 1], 95)
    assert one.label_map.labels[one.brain].sum() == one.label_map.labels.sum() > 0


def test_fluid_is_bright_in_t2_and_dark_in_flair() -> None:
    t2, flair = (
        draw_head(HeadSpec(weighting=w, spacing_mm=COARSE, bias=0.0, noise=0.0), np.random.default_rng(1))
        for w in ("T2", "FLAIR")
    )
    middle = tuple(
        round(float(x)) for x in t2.volume.grid.to_index((12.0, 0.0, 22.0))
    )  # of a lateral ventricle
    assert t2.volume.image[0][middle] > 2 * np.median(t2.volume.image[0][t2.brain])
    assert flair.volume.image[0][middle] < 0.5 * np.median(flair.volume.image[0][flair.brain])


def test_chin_goes_up_and_a_child_is_small() -> None:
    straight, up, child = (
        draw_head(spec, np.random.default_rng(1))
        for spec in (
            HeadSpec(spacing_mm=COARSE),
            HeadSpec(spacing_mm=COARSE, turn_deg=(20.0, 0.0, 0.0)),
            HeadSpec(spacing_mm=COARSE, size=0.8, is_child=True),
        )
    )
    heights = [
        float(scan.volume.grid.to_mm(np.argwhere(scan.nose).mean(axis=0))[2]) for scan in (straight, up)
    ]
    assert heights[1] > heights[0] + 20
    assert child.brain.sum() < 0.6 * straight.brain.sum()


def test_without_skin_there_is_brain_and_nothing() -> None:
    scan = draw_head(HeadSpec(spacing_mm=COARSE, has_skin=False), np.random.default_rng(1))
    assert (scan.volume.image[0] == 0).mean() > 0.6
    assert not scan.volume.image[0][scan.nose].any()
