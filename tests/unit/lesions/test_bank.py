"""The bank holds every lesion of the fold's training patients, and of nobody else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medaug.core.case import Case, CaseRecord, Manifest, Origin
from medaug.core.errors import DataError, SplitLeakageError, UnreadableError
from medaug.core.geometry import Box
from medaug.core.intensity import IntensityScheme
from medaug.core.runs import NoProgress
from medaug.core.volume import LabelMap
from medaug.io.dataset import CaseFacts, write_case
from medaug.lesions.bank import INDEX, Bank, bank_of_cases, build_bank
from medaug.lesions.cut import cut_lesions
from tests.small_cases import CLASSES, chest, fold_of, head


def stored(folder: Path, cases: Sequence[Case]) -> Manifest:
    records: list[CaseRecord] = [write_case(folder, case, CaseFacts(modality="CT")) for case in cases]
    return Manifest(name="small", classes=CLASSES, cases=tuple(records))


def test_each_component_becomes_an_entry():
    bank = bank_of_cases([chest(1, ("solid", "ground_glass", "solid"))], fold_of([chest(1)]))
    assert [e.class_name for e in bank.entries()] == ["solid", "solid", "ground_glass"]
    assert len(bank.entries("solid")) == 2
    with pytest.raises(DataError, match="no class is called 'cyst'"):
        bank.entries("cyst")


def test_entry_describes_lesion_and_ring():
    bank = bank_of_cases([chest(1, ("ground_glass",))], fold_of([chest(1)]))
    entry = bank.entries()[0]
    assert entry.mean[0] == pytest.approx((-520 + 400) / 500, abs=0.03)
    assert entry.ring_median[0] == pytest.approx((-820 + 400) / 500, abs=0.03)
    assert entry.ring_low[0] < entry.ring_median[0] < entry.ring_high[0]
    assert entry.volume_mm3 == pytest.approx(entry.voxels * 2.0)
    assert entry.diameter_mm == pytest.approx((6 * entry.volume_mm3 / np.pi) ** (1 / 3))
    assert entry.boundary_distance_mm is not None
    assert 10 < entry.boundary_distance_mm < 30
    assert 0.0 < entry.slices_relative[0] < entry.slices_relative[1] < 1.0


def test_entry_describes_place_texture_and_fold():
    cases = [chest(1, ("ground_glass",))]
    entry = bank_of_cases(cases, fold_of(cases).model_copy(update={"index": 3})).entries()[0]
    assert entry.fold == 3
    assert entry.centre_in_body is not None
    # the body is 66 x 56 voxels around (36, 32)
    expected = (np.array(entry.centre_index[:2]) + 0.5 - (3, 4)) / (67, 57)
    np.testing.assert_allclose(entry.centre_in_body[:2], expected, atol=0.03)
    native, normalised = entry.texture_native[0], entry.texture[0]
    assert native.mean == pytest.approx(-520, abs=15)
    assert native.std == pytest.approx(15, rel=0.3)
    assert native.std == pytest.approx(500 * normalised.std, rel=1e-3)
    assert native.gradient_per_mm == pytest.approx(500 * normalised.gradient_per_mm, rel=1e-2)
    assert native.glcm_contrast == pytest.approx(500**2 * normalised.glcm_contrast, rel=0.05)
    assert normalised.mean == pytest.approx(entry.mean[0], abs=1e-4)


def test_entries_are_found_by_class_size_and_patient():
    cases = [chest(1, ("solid", "ground_glass")), chest(2, ("solid", "solid"))]
    bank = bank_of_cases(cases, fold_of(cases))
    sizes = sorted(entry.diameter_mm for entry in bank.entries())
    assert len(bank.entries(diameter_mm=(sizes[1], sizes[2]))) == 2
    assert [e.patient_id for e in bank.entries("solid", patient="patient_001")] == ["patient_001"]
    assert bank.entries("ground_glass", patient="patient_002") == ()
    assert bank.entries(class_name="solid", diameter_mm=(50.0, 90.0)) == ()
    with pytest.raises(DataError, match="no such patient"):
        bank.entries(patient="patient_077")


def test_crop_holds_context_and_other_lesions():
    case = chest(2, ("solid", "ground_glass"))
    scheme = IntensityScheme.for_volume(case.volume)
    crops = list(cut_lesions(case, scheme))
    first = crops[0]
    box, extent = Box.around(first.mask), Box.around(first.mask).shape
    before = np.array(box.start)
    after = np.array(first.mask.shape) - np.array(box.stop)
    assert (before[:2] >= np.array(extent[:2]) // 2).all()  # context on all sides, and
    assert (after[:2] >= np.array(extent[:2]) // 2).all()
    assert np.array_equal(
        np.minimum(np.array(first.mask.shape[:2]), 50), (50, 50)
    )  # 64 voxels less the border
    assert first.others.any()
    assert not (first.others & first.mask).any()
    assert first.scale == scheme.case_scale(case.volume)


def test_specks_are_left_out():
    case = chest(3)
    assert case.label_map is not None
    labels = case.label_map.labels.copy()
    labels[0, 0, 0] = labels[0, 1, 0] = 2
    crops = cut_lesions(
        replace(case, label_map=LabelMap(labels, case.label_map.grid, CLASSES)),
        IntensityScheme.for_volume(case.volume),
    )
    assert [crop.entry.class_name for crop in crops] == ["solid"]


@pytest.mark.parametrize("cases", [(chest(1), chest(2, ("ground_glass",))), (head(1), head(54))])
def test_folder_gives_back_what_was_cut(tmp_path, cases):
    manifest = stored(tmp_path / "set", cases)
    index = build_bank(tmp_path / "set", manifest, fold_of(cases), tmp_path / "bank", NoProgress())
    bank = Bank.open(tmp_path / "bank")
    memory = bank_of_cases(cases, fold_of(cases))
    assert bank.index == index
    assert len(index.entries) == 2
    assert index.dataset_sha256 == manifest.content_sha256
    for entry in bank.entries():
        ours, theirs = bank.crop(entry.lesion_id), memory.crop(entry.lesion_id)
        assert ours.entry == theirs.entry
        assert ours.scale == theirs.scale
        assert ours.image.dtype == np.float32
        np.testing.assert_array_equal(ours.image, theirs.image)
        np.testing.assert_array_equal(ours.mask, theirs.mask)
    assert bank.crop(entry.lesion_id) is ours


def test_held_out_patient_never_enters(tmp_path):
    train, held = [chest(1)], [chest(2)]
    manifest = stored(tmp_path / "set", [*train, *held])
    fold = fold_of(train, held)
    index = build_bank(tmp_path / "set", manifest, fold, tmp_path / "bank", NoProgress())
    assert {entry.patient_id for entry in index.entries} == {"patient_001"}
    with pytest.raises(SplitLeakageError, match="patient_002"):
        build_bank(tmp_path / "set", manifest, fold, tmp_path / "other", NoProgress(), ("case_002",))
    assert not (tmp_path / "other" / INDEX).exists()
    with pytest.raises(SplitLeakageError):
        bank_of_cases(held, fold)
    with pytest.raises(SplitLeakageError):
        bank_of_cases([replace(train[0], origin=Origin.SYNTHETIC)], fold)


def test_bank_of_another_fold_is_refused():
    cases = [chest(1), chest(2)]
    bank = bank_of_cases(cases, fold_of(cases))
    bank.fold_check(fold_of(cases))
    with pytest.raises(SplitLeakageError, match="patient_002"):
        bank.fold_check(fold_of(cases[:1], cases[1:]))


@pytest.mark.parametrize("change", [{"fold": 2}, {"patient_id": "patient_077"}])
def test_lesions_of_two_folds_make_no_bank(change):
    cases = [chest(1), chest(2)]
    index = bank_of_cases(cases, fold_of(cases)).index
    entries = (index.entries[0], index.entries[1].model_copy(update=change))
    with pytest.raises(
        SplitLeakageError, match="mixes folds: 1 lesions are not of the training part of fold 0"
    ):
        Bank(index.model_copy(update={"entries": entries}), None)


def test_named_cases_alone_are_used(tmp_path):
    cases = [chest(1), chest(2)]
    manifest = stored(tmp_path / "set", cases)
    index = build_bank(
        tmp_path / "set", manifest, fold_of(cases), tmp_path / "bank", NoProgress(), ("case_002",)
    )
    assert {entry.case_id for entry in index.entries} == {"case_002"}


def test_no_lesion_and_mixed_units_are_refused():
    healthy = chest(1, ())
    with pytest.raises(DataError, match="no labelled lesion among the 1 training patients"):
        bank_of_cases([healthy], fold_of([healthy]))
    with pytest.raises(DataError, match="holds FLAIR, T1"):
        bank_of_cases([chest(1), head(2)], fold_of([chest(1), head(2)]))


def test_unfinished_and_damaged_banks_are_refused(tmp_path):
    with pytest.raises(DataError, match="no finished bank"):
        Bank.open(tmp_path)
    manifest = stored(tmp_path / "set", [chest(1)])
    index = build_bank(tmp_path / "set", manifest, fold_of([chest(1)]), tmp_path / "bank", NoProgress())
    (tmp_path / "bank" / index.entries[0].crop_path).write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(UnreadableError, match="missing or damaged"):
        Bank.open(tmp_path / "bank").crop(index.entries[0].lesion_id)
    with pytest.raises(DataError, match="no such lesion"):
        Bank.open(tmp_path / "bank").crop("nothing")


def test_a_lesion_of_a_flat_image_is_measured_as_a_disc_and_has_a_share_in_the_organ():
    case = chest(1, ("ground_glass",))
    slab = replace(case, volume=case.volume.crop(Box((0, 0, 4), (72, 64, 5))), label_map=None)
    assert case.label_map is not None
    slab = replace(slab, label_map=case.label_map.crop(Box((0, 0, 4), (72, 64, 5))))
    (entry,) = bank_of_cases([slab], fold_of([slab])).entries()
    assert entry.diameter_mm == pytest.approx(np.sqrt(4 / np.pi * entry.voxels))
    assert entry.organ_share == 1.0


def test_an_image_that_cuts_the_body_off_tells_no_place_in_it():
    case = chest(1)
    assert case.label_map is not None
    box = Box((12, 12, 0), (60, 52, 8))
    part = replace(case, volume=case.volume.crop(box), label_map=case.label_map.crop(box))
    (entry,) = bank_of_cases([part], fold_of([part])).entries()
    assert entry.centre_in_body is None
