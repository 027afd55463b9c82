"""``medaug augment`` writes changed copies that can be made again, and never passes them for scans."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from medaug.core.case import (
    AUGMENTATIONS,
    FINDINGS,
    CaseRecord,
    FindingsFile,
    Manifest,
    Origin,
    read_manifest,
)
from medaug.core.errors import ConfigError, DataError, InterruptedRunError, SplitLeakageError
from medaug.core.plan import AugmentedCopy, read_lines
from medaug.core.runs import NoProgress
from medaug.core.splits import Fold, guard_evaluation
from medaug.core.volume import Unit
from medaug.io.dataset import CaseFacts, finish_dataset, load_case, write_case
from medaug.workflows.augment import AugmentOptions, augment, copy_id, replay
from tests.small_cases import CLASSES, chest, head

QUIET = NoProgress()


def make_set(folder, cases=None, **facts):
    cases = cases or [chest(0), chest(1, ("ground_glass",)), replace(chest(2), label_map=None), chest(3, ())]
    known = {"modality": "CT", "licence": "CC-BY-4.0", "terms": "cite us"} | facts
    records = [
        write_case(folder, case, CaseFacts(lesion_free=case.case_id == "case_003", **known)) for case in cases
    ]
    manifest = Manifest(name="small", classes=CLASSES, cases=tuple(records))
    finish_dataset(folder, manifest, ())
    return manifest


@pytest.fixture
def options(tmp_path):
    make_set(tmp_path / "set")
    (tmp_path / "augment.yaml").write_text("kind: randaugment\nn: 2\n")
    return AugmentOptions(
        dataset=tmp_path / "set", config=tmp_path / "augment.yaml", out=tmp_path / "out", n=2, seed=3
    )


def changed(options, **how):
    return options.model_copy(update=how)


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("run.json", "log.jsonl")
    }


class StopsAfter:
    """Progress that interrupts the run, as Ctrl-C does."""

    def __init__(self, units):
        self._left = units

    def start(self, label, total):
        pass

    def advance(self, units=1, note=""):
        self._left -= units
        if self._left < 0:
            raise InterruptedRunError("stopped")

    def say(self, line):
        pass


def test_copies_keep_grid_patient_and_facts(options):
    summary = augment(options, QUIET)
    assert (summary.cases, summary.patients, summary.copies, summary.findings) == (4, 4, 8, ())
    scans, copies = read_manifest(options.dataset), read_manifest(options.out)
    assert [one.case_id for one in copies.cases][:3] == [
        "case_000_aug_01",
        "case_000_aug_02",
        "case_001_aug_01",
    ]
    assert (copies.name, copies.classes, copies.unit) == ("small_augmented", CLASSES, Unit.HU)
    for copy in copies.cases:
        scan = scans.case(copy.case_id[:8])
        kept = (
            "patient_id",
            "modality",
            "unit",
            "channels",
            "shape",
            "spacing_mm",
            "licence",
            "terms",
            "lesion_free",
        )
        assert [getattr(copy, name) for name in kept] == [getattr(scan, name) for name in kept]
        assert (copy.label is None) == (scan.label is None)
        assert copy.origin is Origin.AUGMENTED
        loaded = load_case(options.out, copy, CLASSES)
        assert loaded.volume.grid.agrees_with(load_case(options.dataset, scan, CLASSES).volume.grid)
        assert loaded.volume.image.min() < -900
        assert 0 < loaded.volume.image.max() < 700
    assert "8 changed copies of 4 cases" in summary.lines()[0]
    json.loads((options.out / "dataset.json").read_text())
    assert not (options.out / "written").exists()


def test_a_copy_is_made_again_bit_for_bit_from_its_line(options):
    augment(options, QUIET)
    scans, copies = read_manifest(options.dataset), read_manifest(options.out)
    lines = read_lines(options.out / AUGMENTATIONS, AugmentedCopy)
    assert [line.case_id for line in lines] == [one.case_id for one in copies.cases]
    assert any(line.steps[0] for line in lines)
    for line in lines:
        again, stored = (
            replay(options.dataset, scans, line),
            load_case(options.out, copies.case(line.case_id), CLASSES),
        )
        assert np.array_equal(again.volume.image, stored.volume.image)
        assert again.origin is stored.origin is Origin.AUGMENTED
        if again.label_map is None or stored.label_map is None:
            assert again.label_map is stored.label_map
            continue
        assert np.array_equal(again.label_map.labels, stored.label_map.labels)


def test_a_line_is_not_carried_out_on_another_scan(options):
    augment(options, QUIET)
    line = read_lines(options.out / AUGMENTATIONS, AugmentedCopy)[0]
    scans = read_manifest(options.dataset)
    with pytest.raises(DataError, match="files are not those that were augmented"):
        replay(options.dataset, scans, line.model_copy(update={"source_case_id": "case_001"}))
    broken = line.model_copy(update={"steps": (({"kind": "gama"},),)})
    with pytest.raises(ConfigError, match="did you mean gamma"):
        replay(options.dataset, scans, broken)


def test_one_seed_one_set_whatever_was_copied_before(options, tmp_path):
    augment(options, QUIET)
    augment(changed(options, out=tmp_path / "same"), QUIET)
    assert files(options.out) == files(tmp_path / "same")
    augment(changed(options, out=tmp_path / "more", n=3), QUIET)
    first = read_lines(options.out / AUGMENTATIONS, AugmentedCopy)
    more = read_lines(tmp_path / "more" / AUGMENTATIONS, AugmentedCopy)
    assert [line for line in more if not line.case_id.endswith("03")] == list(first)
    augment(changed(options, out=tmp_path / "other", seed=4), QUIET)
    assert read_lines(tmp_path / "other" / AUGMENTATIONS, AugmentedCopy) != first
    assert len({str(line.steps) for line in first}) > len(first) // 2


@pytest.mark.parametrize("units", [0, 3, 7])
def test_an_interrupted_run_goes_on(options, tmp_path, units):
    augment(changed(options, out=tmp_path / "whole"), QUIET)
    with pytest.raises(InterruptedRunError):
        augment(options, StopsAfter(units))
    assert not (options.out / "manifest.json").exists()
    augment(options, QUIET)
    assert files(options.out) == files(tmp_path / "whole")


def test_the_same_call_again_writes_nothing_and_another_is_refused(options):
    augment(options, QUIET)
    before = {path: path.stat().st_mtime_ns for path in options.out.rglob("*")}
    assert augment(options, QUIET).copies == 8
    assert {path: path.stat().st_mtime_ns for path in options.out.rglob("*")} == before
    for how in ({"n": 3}, {"seed": 9}, {"config": None}):
        with pytest.raises(ConfigError, match="holds an augment run with another"):
            augment(changed(options, **how), QUIET)


def test_slices_are_changed_on_their_own_where_asked(options):
    options.config.write_text("kind: trivialaugment\ndims: 2\n")
    augment(options, QUIET)
    lines = read_lines(options.out / AUGMENTATIONS, AugmentedCopy)
    assert {(line.dims, len(line.steps)) for line in lines} == {(2, 8)}
    assert len({str(steps) for line in lines for steps in line.steps}) > 8


def test_a_picture_is_changed_in_2d(tmp_path):
    case = chest(0)
    grid = replace(case.volume.grid, shape=(72, 64, 1))
    picture = replace(
        case, volume=replace(case.volume, image=case.volume.image[..., 4:5], grid=grid), label_map=None
    )
    make_set(tmp_path / "set", [picture])
    augment(AugmentOptions(dataset=tmp_path / "set", out=tmp_path / "out", n=1), QUIET)
    (line,) = read_lines(tmp_path / "out" / AUGMENTATIONS, AugmentedCopy)
    assert line.dims == 2


def test_channels_in_other_units_are_restored(tmp_path):
    make_set(tmp_path / "set", [head(1)], modality="MR")
    (tmp_path / "flip.yaml").write_text("kind: classical\nsteps: [{step: brightness, magnitude: [1, 1]}]\n")
    config = tmp_path / "flip.yaml"
    augment(AugmentOptions(dataset=tmp_path / "set", config=config, out=tmp_path / "out", n=1), QUIET)
    (copy,) = read_manifest(tmp_path / "out").cases
    image, before = load_case(tmp_path / "out", copy, CLASSES).volume.image, head(1).volume.image
    assert copy.channels == ("FLAIR", "T1")
    change = (image - before).reshape(2, -1).mean(axis=1)
    assert change[0] == pytest.approx(change[1] / 0.3, rel=0.05)


def test_copies_are_never_scored(options):
    augment(options, QUIET)
    copies = read_manifest(options.out).cases
    fold = Fold(index=0, train=("somebody",), held_out=tuple({one.patient_id for one in copies}))
    with pytest.raises(SplitLeakageError, match="augmented case is about to be scored"):
        guard_evaluation(copies, fold)


def test_a_damaged_case_is_left_out_and_named(options):
    (options.dataset / "imagesTr" / "case_001_0000.nii.gz").write_bytes(b"no scan")
    summary = augment(options, QUIET)
    assert (summary.cases, summary.copies) == (3, 6)
    (finding,) = FindingsFile.read(options.out / FINDINGS).findings
    assert (finding.case_id, finding.severity, finding.code) == ("case_001", "refused", "unreadable")
    assert summary.findings == (finding,)
    assert any(line.startswith("refused: case_001: ") for line in summary.lines())


def test_no_set_where_no_case_can_be_read(options):
    for path in (options.dataset / "imagesTr").iterdir():
        path.write_bytes(b"no scan")
    (options.dataset / "imagesTs" / "case_002_0000.nii.gz").write_bytes(b"no scan")
    with pytest.raises(DataError, match="no case can be read, the first: case_000"):
        augment(options, QUIET)
    assert not (options.out / "manifest.json").exists()


@pytest.mark.parametrize("origin", [Origin.SYNTHETIC, Origin.AUGMENTED])
def test_only_scans_are_copied(options, tmp_path, origin):
    make_set(tmp_path / "made", [replace(chest(0), origin=origin)])
    with pytest.raises(DataError, match=f"case_000: case is {origin}; expected scans only"):
        augment(changed(options, dataset=tmp_path / "made"), QUIET)
    assert not options.out.exists()


@pytest.mark.parametrize("kind", ["cutmix", "carvemix", "mixup", "copy_paste"])
def test_mixing_is_refused(options, kind):
    options.config.write_text(f"kind: {kind}\n")
    with pytest.raises(ConfigError, match=f"--config: {kind} mixes patients"):
        augment(options, QUIET)


def test_long_ids_stay_apart():
    first, second = "a" * 64, "a" * 63 + "b"
    ids = {copy_id(one, number) for one in (first, second) for number in (1, 2, 999)}
    assert len(ids) == 6
    for case_id in ids:
        CaseRecord.model_validate_json(_record(case_id))
    assert copy_id("case_1", 7) == "case_1_aug_07"


def _record(case_id):
    fields = {"case_id": case_id, "patient_id": "p", "modality": "CT", "unit": "HU", "channels": ["CT"]}
    return json.dumps(fields | {"shape": [1, 1, 1], "spacing_mm": [1, 1, 1], "images": [], "label": None})


def test_a_sheet_alone_writes_nothing_else(options, tmp_path):
    before = set(tmp_path.iterdir())
    sheet = tmp_path / "sheet.png"
    summary = augment(changed(options, out=None, preview=sheet, case="case_001"), QUIET)
    assert set(tmp_path.iterdir()) - before == {sheet}
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert (summary.copies, summary.out) == (0, None)
    assert summary.steps[:2] == ("flip", "rotate")
    assert summary.lines() == (f"{len(summary.steps)} steps on {sheet}",)
    again = sheet.read_bytes()
    augment(changed(options, out=None, preview=sheet, case="case_001"), QUIET)
    assert sheet.read_bytes() == again


def test_the_sheet_shows_a_case_with_a_lesion(tmp_path):
    make_set(tmp_path / "set", [chest(3, ()), chest(4)])
    (tmp_path / "one.yaml").write_text("kind: trivialaugment\nonly: [flip]\n")
    seen = []

    class Listens(StopsAfter):
        def start(self, label, total):
            seen.append((label, total))

    options = AugmentOptions(
        dataset=tmp_path / "set", config=tmp_path / "one.yaml", preview=tmp_path / "a.png"
    )
    assert augment(options, Listens(9)).steps == ("flip",)
    assert seen == [("preview", 1)]
