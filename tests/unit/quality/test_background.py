"""A background is recognised with and without a recipe, and a stranger's is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medaug.core.assessment import CopyFlag
from medaug.core.volume import Volume
from medaug.quality.background import (
    BackdropSearch,
    backdrop,
    copied_background,
    judge_backgrounds,
    same_share,
    untouched,
)
from tests.small_cases import chest, labels_of


def with_image(case, image):
    return replace(case, volume=Volume(image.astype(np.float32), case.volume.grid, case.volume.unit, ("CT",)))


def blobs(number):
    """A case with structures of its own."""
    rng = np.random.default_rng(number)
    image = np.kron(rng.normal(0, 300, (9, 8, 2)), np.ones((8, 8, 4)))[None]
    return replace(with_image(chest(number), image), case_id=f"case_{number:03d}")


def test_identical_voxels_are_counted_outside_the_edit():
    host = chest(1)
    made = with_image(host, host.volume.image.copy())
    edit = np.zeros(host.volume.grid.shape, bool)
    edit[10:20, 10:20, 2:5] = True
    made.volume.image[:, edit] += 100
    assert same_share(made, host, untouched(made, edit)) == 1.0
    assert same_share(made, host, np.ones_like(edit)) < 1.0
    assert same_share(made, with_image(host, host.volume.image + 1), untouched(made, edit)) == 0.0


def test_without_an_edit_mask_the_lesions_rim_is_left_out():
    case = chest(2)
    background = untouched(case, None)
    lesion = labels_of(case) > 0
    assert not (background & lesion).any()
    assert 0 < (~background).sum() - lesion.sum() < 2000
    assert untouched(replace(case, label_map=None), None).all()


def test_copied_backgrounds_are_found_and_strangers_are_not():
    training, held_out = [blobs(n) for n in range(8)], [blobs(n) for n in range(50, 62)]
    search = BackdropSearch([backdrop(c) for c in training], [backdrop(c) for c in held_out])
    noisy = (
        training[4].volume.image * 1.5
        + 30
        + np.random.default_rng(0).normal(0, 30, training[4].volume.image.shape)
    )
    source, correlation, transform = search.nearest(backdrop(with_image(training[4], noisy)))
    assert (source.case_id, transform) == ("case_004", "as it is")
    assert copied_background(0.0, correlation, search.threshold) == correlation
    mirrored = with_image(training[5], training[5].volume.image[:, ::-1])
    source, correlation, transform = search.nearest(backdrop(mirrored))
    assert (source.case_id, transform) == ("case_005", "mirrored left to right")
    assert correlation > search.threshold
    for number in range(70, 80):
        assert search.nearest(backdrop(blobs(number)))[1] < search.threshold


def test_one_slice_is_enough():
    case = blobs(3)
    flat = Volume(
        case.volume.image[..., :1], type(case.volume.grid)((72, 64, 1), np.eye(4)), case.volume.unit, ("CT",)
    )
    picture = backdrop(replace(case, volume=flat, label_map=None)).picture
    assert np.isfinite(picture).all()
    one = backdrop(replace(case, volume=flat, label_map=None))
    assert BackdropSearch([one], []).nearest(one)[1] == pytest.approx(1.0)


def test_verdicts():
    flag = CopyFlag(case_id="a", source_case_id="b", part="background", score=1.0, transform="as it is")
    verdict, reasons = judge_backgrounds(4, [flag, flag], 90)
    assert verdict == "fail"
    assert "1 of 4" in reasons[0]
    assert judge_backgrounds(4, [], 90)[0] == "pass"
    assert judge_backgrounds(4, [], 6) == (
        "inconclusive",
        ("background: 6 held-out cases to calibrate on, 20 are needed",),
    )
