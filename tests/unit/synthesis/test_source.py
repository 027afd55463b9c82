"""The source yields training cases, each from its own rng, without files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medaug.core.case import Origin
from medaug.core.errors import ConfigError, DataError
from medaug.generators.copy_paste import Config
from medaug.lesions.bank import bank_of_cases
from medaug.synthesis.render import Renderer
from medaug.synthesis.source import StreamingSource, StreamOptions
from tests.small_cases import CLASSES, chest, fold_of, labels_of

CASES = [chest(n, (CLASSES[n % 2],)) for n in range(4)]
FLAT = StreamOptions(dims=2)


def source(options=FLAT):
    return StreamingSource(CASES, Renderer(bank_of_cases(CASES, fold_of(CASES)), Config().build()), options)


def draw(drawer, *seeds, name=CLASSES[0]):
    """One case a seed, each with a new lesion of that class."""
    rngs = tuple(np.random.default_rng(seed) for seed in seeds)
    return drawer.draw((name,) * len(seeds), rngs)


def added(case):
    """Where a drawn slab is labelled other than its host, and the slice it was cut from."""
    host = next(c for c in CASES if c.case_id == case.case_id)
    k = round(float(host.volume.grid.to_index(case.volume.grid.affine[:3, 3])[2]))
    assert host.label_map is not None
    return case.label_map.labels[..., 0] != host.label_map.labels[..., k], k


def test_slabs_have_one_slice_with_a_new_lesion():
    for case in draw(source(), *range(8)):
        assert case.volume.grid.shape == (72, 64, 1)
        assert case.origin is Origin.SYNTHETIC
        changed, _ = added(case)
        assert changed.sum() >= 2


def test_whole_hosts_in_3d():
    case = draw(source(StreamOptions(dims=3)), 0)[0]
    assert case.volume.grid.shape == CASES[0].volume.grid.shape


def test_each_draw_depends_on_its_rng_alone():
    several = draw(source(), 3, 4, 5)
    again = draw(source(), 5)[0]
    np.testing.assert_array_equal(several[2].volume.image, again.volume.image)
    assert several[2].case_id == again.case_id


def test_each_case_has_the_class_that_was_asked_for():
    names = tuple(CLASSES[n % 2] for n in range(10))
    drawn = source().draw(names, tuple(np.random.default_rng(n) for n in range(10)))
    for case, name in zip(drawn, names, strict=True):
        changed, _ = added(case)
        assert (case.label_map.labels[..., 0][changed] == CLASSES.index(name) + 1).all()


def test_a_source_offers_the_classes_it_was_given():
    assert source().classes == CLASSES
    assert source(StreamOptions(dims=2, classes=CLASSES[1:])).classes == CLASSES[1:]


def test_swaps_keep_the_outline():
    drawn = draw(source(StreamOptions(dims=2, swap_share=1.0)), *range(6), name=CLASSES[1])
    for case in drawn:
        changed, k = added(case)
        host = next(c for c in CASES if c.case_id == case.case_id)
        np.testing.assert_array_equal(changed, labels_of(host)[..., k] == 1)


def test_contrast_is_drawn_from_its_range():
    def level(contrast):
        drawn = draw(source(StreamOptions(dims=2, contrast=contrast)), *range(12))
        return np.array([case.volume.image[0, ..., 0][added(case)[0]].mean() for case in drawn])

    plain, faint, spread = level(None), level((0.5, 0.5)), level((0.5, 1.0))
    lung = -820.0
    np.testing.assert_allclose((faint - lung) / (plain - lung), 0.5, atol=0.1)
    factors = (spread - lung) / (plain - lung)
    assert 0.4 < factors.min() < 0.7 < factors.max() < 1.1


def test_null_pastes_change_the_image_and_no_label():
    drawn = draw(source(), *range(4), name=None)
    for case in drawn:
        changed, k = added(case)
        host = next(c for c in CASES if c.case_id == case.case_id)
        assert not changed.any()
        different = case.volume.image[0, ..., 0] != host.volume.image[0, ..., k]
        assert 4 < different.sum() < 600
        assert case.volume.image[0, ..., 0][different].mean() == pytest.approx(-820, abs=60)


def test_donors_are_bank_and_hosts():
    assert source().donor_patient_ids == {f"patient_{n:03d}" for n in range(4)}


def test_bad_options_and_hosts_are_refused():
    with pytest.raises(ConfigError, match="cystic"):
        source(StreamOptions(dims=2, classes=("cystic",)))
    with pytest.raises(ConfigError, match="swap_share"):
        source(StreamOptions(dims=2, swap_share=1.5))
    machine = Renderer(bank_of_cases(CASES, fold_of(CASES)), Config().build())
    with pytest.raises(DataError, match="no labelled host"):
        StreamingSource([replace(CASES[0], label_map=None)], machine, StreamOptions(dims=2))


def test_hosts_without_room_end_in_an_error():
    full = []
    for case in CASES:
        assert case.label_map is not None
        labels = np.where(case.label_map.labels > 0, case.label_map.labels, 1).astype(np.uint8)
        full.append(replace(case, label_map=replace(case.label_map, labels=labels)))
    machine = Renderer(bank_of_cases(CASES, fold_of(CASES)), Config().build())
    with pytest.raises(DataError, match=r"no place off other lesions|no tissue of the kind"):
        draw(StreamingSource(full, machine, StreamOptions(dims=2)), 0)
