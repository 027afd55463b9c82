"""A rendered case is its host but for one labelled lesion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from medaug.core.case import Case, Origin
from medaug.core.errors import ConfigError, DataError, LabelError, SplitLeakageError
from medaug.generators.carvemix import Config as CarveMixConfig
from medaug.generators.copy_paste import Config
from medaug.lesions.bank import bank_of_cases
from medaug.synthesis.order import Finish, Order
from medaug.synthesis.render import Renderer
from medaug.synthesis.source import slab_of
from tests.small_cases import CLASSES, chest, fold_of, head, labels_of


def renderer(cases: Sequence[Case]) -> Renderer:
    return Renderer(bank_of_cases(cases, fold_of(cases)), Config().build())


def chests() -> list[Case]:
    return [chest(n, (CLASSES[n % 2],)) for n in range(6)]


def rngs(*seeds):
    return [np.random.default_rng(seed) for seed in seeds]


def test_host_is_untouched_outside_the_edit_mask():
    cases = chests()
    for host in cases:
        before = host.volume.image.copy()
        drawn = renderer(cases).render([host], [Order("solid")], rngs(1))[0]
        new, old = drawn.case.volume.image, host.volume.image
        assert new[:, ~drawn.edit_mask].tobytes() == old[:, ~drawn.edit_mask].tobytes()
        assert (new != old).any()
        np.testing.assert_array_equal(old, before)
        assert drawn.case.origin is Origin.SYNTHETIC
        assert drawn.case.volume.grid is host.volume.grid


def test_new_lesion_is_labelled_beside_the_old_ones():
    cases = chests()
    host = cases[0]
    drawn = renderer(cases).render([host], [Order("ground_glass")], rngs(2))[0]
    assert host.label_map is not None
    assert drawn.case.label_map is not None
    old, new = host.label_map.labels, drawn.case.label_map.labels
    added = new != old
    assert (new[added] == 2).all()
    assert (old[added] == 0).all()
    assert drawn.edit_mask[added].all()
    assert drawn.case.volume.image[0, added].mean() == pytest.approx(-540, abs=60)
    centre = host.volume.grid.to_index(drawn.site_mm)
    np.testing.assert_allclose(centre, np.argwhere(added).mean(axis=0), atol=1e-6)
    assert drawn.diameter_mm == pytest.approx((6 * added.sum() * 2.0 / np.pi) ** (1 / 3))
    assert set(drawn.donor_patient_ids) <= {"patient_001", "patient_003", "patient_005"}


def test_asked_diameter_is_met():
    cases = chests()
    for low, high in ((5.0, 5.5), (9.0, 9.5)):
        drawn = renderer(cases).render([cases[1]], [Order("solid", (low, high))], rngs(3))[0]
        assert 0.9 * low <= drawn.diameter_mm <= 1.1 * high


def test_result_depends_on_its_own_rng_alone():
    cases = chests()
    machine = renderer(cases)
    orders = [Order("solid"), Order("ground_glass"), Order("solid")]
    many = machine.render(cases[:3], orders, rngs(7, 8, 9))
    alone = machine.render(cases[1:2], orders[1:2], rngs(8))[0]
    np.testing.assert_array_equal(many[1].case.volume.image, alone.case.volume.image)
    np.testing.assert_array_equal(many[1].edit_mask, alone.edit_mask)


def test_whole_numbers_stay_whole():
    cases = chests()
    drawn = renderer(cases).render([cases[0]], [Order("solid")], rngs(1))[0]
    np.testing.assert_array_equal(drawn.case.volume.image, np.rint(drawn.case.volume.image))


def test_channels_and_gain_of_the_host_are_kept():
    cases = [head(n) for n in range(1, 6)]
    dim, bright = cases[4], cases[3]  # gains 1 and 5
    for host, gain in ((dim, 1.0), (bright, 5.0)):
        drawn = renderer(cases).render([host], [Order("solid")], rngs(4))[0]
        assert host.label_map is not None
        assert drawn.case.label_map is not None
        added = drawn.case.label_map.labels != host.label_map.labels
        assert drawn.case.volume.image[0, added].mean() == pytest.approx(1000 * gain, rel=0.25)
        assert drawn.case.volume.image[1, added].mean() == pytest.approx(300 * gain + 7, rel=0.25)


def test_swap_relabels_an_old_lesion_in_place():
    cases = chests()
    host = slab_of(cases[0], 4)
    machine = renderer(cases)
    view = replace(machine.view(cases[0]), case=host)
    prepared = machine.prepare(view, Order("ground_glass", use="swap"), np.random.default_rng(0))
    drawn = machine.complete([prepared], rngs(0))[0]
    assert host.label_map is not None
    assert drawn.case.label_map is not None
    old, new = host.label_map.labels, drawn.case.label_map.labels
    np.testing.assert_array_equal(new == 2, old == 1)
    assert drawn.case.volume.image[0, ..., 0][new[..., 0] == 2].mean() == pytest.approx(-530, abs=60)


def test_swap_needs_a_lesion_of_another_class():
    cases = chests()
    with pytest.raises(DataError, match="no lesion of another class"):
        renderer(cases).render([cases[0]], [Order("solid", use="swap")], rngs(0))


def test_hosts_outside_the_fold_are_refused():
    cases = chests()
    machine = renderer(cases[:4])
    for host in (cases[4], replace(cases[0], origin=Origin.SYNTHETIC)):
        with pytest.raises(SplitLeakageError, match="training patient"):
            machine.render([host], [Order("solid")], rngs(0))


def test_unlabelled_and_foreign_hosts_are_refused():
    cases = chests()
    machine = renderer(cases)
    with pytest.raises(LabelError, match="no label map"):
        machine.render([replace(cases[0], label_map=None)], [Order("solid")], rngs(0))
    with pytest.raises(DataError, match="host holds FLAIR, T1"):
        machine.render([head(0)], [Order("solid")], rngs(0))


def test_classes_without_a_lesion_are_refused():
    cases = [chest(1), chest(2)]
    machine = renderer(cases)
    assert machine.classes == ("solid",)
    with pytest.raises(DataError, match="no lesion of class ground_glass"):
        machine.render([cases[0]], [Order("ground_glass")], rngs(0))
    with pytest.raises(ConfigError, match="no class is called 'cyst'"):
        machine.render([cases[0]], [Order("cyst")], rngs(0))


def test_a_lesion_too_large_for_the_tissue_is_refused():
    cases = chests()
    with pytest.raises(DataError, match=r"no healthy tissue has room|larger than the (image|tissue)"):
        renderer(cases).render([cases[0]], [Order("solid", (45.0, 50.0))], rngs(0))


@pytest.mark.parametrize("how", ["generator", "renderer"])
def test_poisson_by_option_leaves_the_rest_alone(how):
    cases = chests()
    bank = bank_of_cases(cases, fold_of(cases))
    machine = (
        Renderer(bank, Config(blending="poisson").build())
        if how == "generator"
        else Renderer(bank, Config().build(), finish=Finish(blending="poisson", match_noise=True))
    )
    feathered = renderer(cases).render([cases[0]], [Order("solid")], rngs(1))[0]
    drawn = machine.render([cases[0]], [Order("solid")], rngs(1))[0]
    new, old = drawn.case.volume.image, cases[0].volume.image
    assert new[:, ~drawn.edit_mask].tobytes() == old[:, ~drawn.edit_mask].tobytes()
    assert (new != feathered.case.volume.image).any()
    assert new[0][labels_of(drawn.case) != labels_of(cases[0])].mean() == pytest.approx(20, abs=120)


def test_carved_surroundings_come_along_and_spare_other_lesions():
    cases = chests()
    machine = Renderer(bank_of_cases(cases, fold_of(cases)), CarveMixConfig().build())
    for seed in range(6):
        drawn = machine.render([cases[0]], [Order("solid")], rngs(seed))[0]
        old, new = labels_of(cases[0]), labels_of(drawn.case)
        np.testing.assert_array_equal(new[old > 0], old[old > 0])
        own = (new != old) & drawn.edit_mask
        assert own.any()
        image, before = drawn.case.volume.image, cases[0].volume.image
        assert image[:, ~drawn.edit_mask].tobytes() == before[:, ~drawn.edit_mask].tobytes()


def test_carvemix_swaps_the_whole_lesion():
    cases = chests()
    machine = Renderer(bank_of_cases(cases, fold_of(cases)), CarveMixConfig().build())
    drawn = machine.render([cases[0]], [Order("ground_glass", use="swap")], rngs(0))[0]
    np.testing.assert_array_equal(labels_of(drawn.case) == 2, labels_of(cases[0]) == 1)


def test_null_paste_is_healthy_tissue_without_a_label():
    cases = chests()
    drawn = renderer(cases).render([cases[0]], [Order("solid", use="null")], rngs(4))[0]
    np.testing.assert_array_equal(labels_of(drawn.case), labels_of(cases[0]))
    new, old = drawn.case.volume.image[0], cases[0].volume.image[0]
    assert (new[drawn.edit_mask] != old[drawn.edit_mask]).mean() > 0.8
    assert new[drawn.edit_mask].mean() == pytest.approx(-820, abs=20)
    assert drawn.donor_patient_ids == (cases[0].patient_id,)
