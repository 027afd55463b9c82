"""``medaug filter``: a whole set less some cases, with the reasons, and nothing else changed."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import matplotlib.image as plt
import numpy as np
import pytest

from medaug.core.assessment import QUALITY, QualityReport, Rejection, SampleScore, read_rejections
from medaug.core.case import FINDINGS, MANIFEST, RECIPES, TRANSLATIONS, FindingsFile, Origin, read_manifest
from medaug.core.config import Frozen
from medaug.core.errors import ConfigError, DataError, StorageError, UnreadableError
from medaug.core.findings import Finding
from medaug.core.plan import PLAN, PlannedLesion, Recipe, Translation, read_lines, write_lines
from medaug.core.runs import RUN_FILE, NoProgress, RunRecord, open_run
from medaug.io.dataset import load_case, load_edit_mask
from medaug.layouts.base import Export
from medaug.layouts.msd import MsdLayout
from medaug.workflows.filter import FilterOptions, FilterSummary, filter_set
from tests.unit.privacy.synthetic_set import CLASSES, Material, change_manifest, make_set

RULE = "score>0.4"


@pytest.fixture
def material(tmp_path: Path) -> Material:
    """Four cases, solid and ground glass in turn; the scores of the last two are too low and missing."""
    made = make_set(tmp_path, count=4)
    score(made, {"syn_0": 0.9, "syn_1": 0.5, "syn_2": 0.3})
    return made


def score(material: Material, scores: dict[str, float]) -> None:
    """Let the assessment score one lesion of each of these cases."""
    classes = {record.case_id: record.classes[0] for record in material.manifest.cases}
    samples = tuple(
        SampleScore.model_validate(
            {"case_id": case_id, "lesion": 0, "class": classes[case_id], "score": value, "typical": value}
        )
        for case_id, value in scores.items()
    )
    path = material.assessment / QUALITY
    rejected = read_rejections(material.dataset)
    update = {"samples": samples, "synthetic_sha256": material.manifest.content_sha256, "rejected": rejected}
    QualityReport.read(path).model_copy(update=update).write(path)


def rejecting(folder: Path, text: str) -> Path:
    path = folder / "list.txt"
    path.write_text(text)
    return path


def run(material: Material, **asked: Any) -> FilterSummary:
    rule = {"assessment": material.assessment} if "keep" in asked else {}
    options = {"synthetic": material.dataset, "out": material.dataset.parent / "out", **rule, **asked}
    return filter_set(FilterOptions.model_validate(options), NoProgress())


def test_a_rule_leaves_out_what_is_bad_or_was_not_measured(material: Material, tmp_path: Path) -> None:
    summary = run(material, keep=RULE)
    assert (summary.kept, [one.case_id for one in summary.rejected]) == (2, ["syn_2", "syn_3"])
    out = tmp_path / "out"
    manifest = read_manifest(out)
    assert manifest == material.manifest.model_copy(update={"cases": material.manifest.cases[:2]})
    assert [recipe.case_id for recipe in read_lines(out / RECIPES, Recipe)] == ["syn_0", "syn_1"]
    assert json.loads((out / "dataset.json").read_text())["numTraining"] == 2
    assert read_rejections(out) == (
        Rejection(case_id="syn_2", reason="score is 0.3", rule=RULE),
        Rejection(case_id="syn_3", reason="no lesion of it was measured", rule=RULE),
    )
    for record in manifest.cases:
        old, new = (load_case(folder, record, CLASSES) for folder in (material.dataset, out))
        assert np.array_equal(old.volume.image, new.volume.image)
        assert np.array_equal(load_edit_mask(material.dataset, record), load_edit_mask(out, record))
    assert len(list(out.glob("*/*.nii.gz"))) == 6


def test_a_person_and_a_rule_together(material: Material, tmp_path: Path) -> None:
    by_hand = rejecting(tmp_path, "syn_0 the rim is a step\nsyn_2\n")
    summary = run(material, keep=RULE, reject=by_hand)
    assert summary.rejected == (
        Rejection(case_id="syn_0", reason="the rim is a step"),
        Rejection(case_id="syn_2", reason=""),
        Rejection(case_id="syn_3", reason="no lesion of it was measured", rule=RULE),
    )
    assert summary.lines()[:5] == (
        f"1 of 4 cases kept, in {tmp_path / 'out'}",
        "solid: 0 of 2",
        "ground_glass: 1 of 2",
        "left out: 1 by the rule, 2 by a person",
        "syn_0: the rim is a step",
    )


def test_reasons_add_up_over_several_filterings(material: Material, tmp_path: Path) -> None:
    run(material, keep=RULE)
    again = Material(tmp_path / "out", material.assessment)
    by_hand = rejecting(tmp_path, "syn_3 was gone already\nsyn_1 blurred\n")
    summary = run(again, reject=by_hand, out=tmp_path / "second")
    assert ([one.case_id for one in summary.rejected], summary.before) == (["syn_1"], 2)
    assert "; 2 before" in summary.lines()[3]
    assert [one.case_id for one in read_rejections(tmp_path / "second")] == ["syn_2", "syn_3", "syn_1"]
    record = RunRecord.read(tmp_path / "second" / RUN_FILE)
    assert record.inputs["synthetic"] == again.manifest.content_sha256


def test_a_picture_shows_what_was_left_out(material: Material, tmp_path: Path) -> None:
    image = material.dataset / "imagesTr" / "syn_3_0000.nii.gz"
    image.write_bytes(image.read_bytes()[:100])  # left out because it is damaged
    run(material, keep="score>0.4 or class=='ground_glass'", reject=rejecting(tmp_path, "syn_3 damaged"))
    shown = plt.imread(tmp_path / "out" / "rejected.png")
    assert shown[..., :3].std() > 0.1
    run(material, reject=rejecting(tmp_path, "syn_3"), out=tmp_path / "second")
    assert not (tmp_path / "second" / "rejected.png").exists()


def test_what_else_lies_in_the_folder_comes_along(material: Material, tmp_path: Path) -> None:
    planned = [
        PlannedLesion(case_id=f"syn_{n}", host_case_id="h", class_name="solid", seed=n) for n in range(5)
    ]
    write_lines(material.dataset / PLAN, tuple(planned))
    rows = tuple(
        Translation(
            case_id=f"syn_{n}", source_case_id=None, source_sha256=(), donor_patient_ids=("p7",), translator="whole_image",
            translator_sha256="e" * 64, fold=0, training_scope_sha256="c" * 64, class_name="solid", seed=0,
        )
        for n in range(4)
    )  # fmt: skip
    write_lines(material.dataset / TRANSLATIONS, rows)
    notes = tuple(
        Finding(code="no-place", severity="flagged", case_id=name, message="moved")
        for name in ("syn_1", "syn_2", "syn_4", None)
    )
    FindingsFile(findings=notes).write(material.dataset / FINDINGS)
    (material.dataset / "sources.private.json").write_text("{}")
    run(material, reject=rejecting(tmp_path, "syn_2"))
    out = tmp_path / "out"
    assert [one.case_id for one in read_lines(out / PLAN, PlannedLesion)] == [
        "syn_0",
        "syn_1",
        "syn_3",
        "syn_4",
    ]
    assert read_lines(out / TRANSLATIONS, Translation) == (*rows[:2], rows[3])
    assert FindingsFile.read(out / FINDINGS).findings == (notes[0], *notes[2:])
    assert not (out / "sources.private.json").exists()


def test_lineage_goes_on(material: Material, tmp_path: Path) -> None:
    inputs = {"dataset": "d" * 64, "generator": "a" * 64, "sources": "secret"}
    with open_run(material.dataset, "synthesize", _Nothing(), inputs):
        pass
    run(material, keep=RULE)
    record = RunRecord.read(tmp_path / "out" / RUN_FILE)
    assert (record.step, record.status, record.config) == ("filter", "done", {"keep": RULE})
    assert record.inputs.keys() == {"dataset", "generator", "synthetic", "rejected", "quality"}
    assert record.inputs["dataset"] == "d" * 64


class _Nothing(Frozen):
    """Settings of a run that has none."""


def test_a_dry_run_writes_nothing(material: Material, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    summary = run(material, keep=RULE, out=None, dry_run=True)
    assert summary.lines()[:3] == ("2 of 4 cases would be kept", "solid: 1 of 2", "ground_glass: 1 of 2")
    run(material, keep=RULE, dry_run=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_null_pastes_have_no_lesion_to_judge(material: Material) -> None:
    path = material.dataset / RECIPES
    recipes = read_lines(path, Recipe)
    write_lines(path, (*recipes[:3], recipes[3].model_copy(update={"use": "null"})))
    summary = run(material, keep=RULE)
    assert [one.case_id for one in summary.rejected] == ["syn_2"]
    assert "null pastes: 1 of 1" in summary.lines()


def test_a_set_of_another_tool(material: Material, tmp_path: Path) -> None:
    (material.dataset / RECIPES).unlink()
    bare = [record.model_copy(update={"edit_mask": None}) for record in material.manifest.cases]
    change_manifest(material, *bare)
    score(material, {record.case_id: 0.3 + 0.1 * n for n, record in enumerate(bare)})
    assert run(material, keep=RULE).kept == 2
    assert not (tmp_path / "out" / RECIPES).exists()
    assert not (tmp_path / "out" / "edits").exists()


def test_the_same_call_is_skipped_and_another_one_refused(material: Material, tmp_path: Path) -> None:
    first = run(material, keep=RULE)
    stamp = (tmp_path / "out" / MANIFEST).stat().st_mtime_ns
    assert run(material, keep=f" {RULE} ") == first
    assert (tmp_path / "out" / MANIFEST).stat().st_mtime_ns == stamp
    with pytest.raises(ConfigError, match="out holds a filter run with another keep"):
        run(material, keep="score>0.2")
    with pytest.raises(ConfigError, match=r"other inputs \(rejected\)"):
        run(material, keep=RULE, reject=rejecting(tmp_path, "syn_0"))


def test_an_interrupted_call_goes_on(material: Material, tmp_path: Path) -> None:
    class Impatient:
        """Stops after the first case."""

        def start(self, label: str, total: int | None) -> None:
            pass

        def advance(self, units: int = 1, note: str = "") -> None:
            raise KeyboardInterrupt

        def say(self, line: str) -> None:
            pass

    options = FilterOptions(
        synthetic=material.dataset, out=tmp_path / "out", keep=RULE, assessment=material.assessment
    )
    with pytest.raises(KeyboardInterrupt):
        filter_set(options, Impatient())
    assert not (tmp_path / "out" / MANIFEST).exists()
    linked = tmp_path / "out" / "imagesTr" / "syn_0_0000.nii.gz"
    linked.unlink()
    linked.write_bytes(b"half")
    filter_set(options, NoProgress())
    run(material, keep=RULE, out=tmp_path / "whole")
    for path in (tmp_path / "whole").rglob("*.nii.gz"):
        assert path.read_bytes() == (tmp_path / "out" / path.relative_to(tmp_path / "whole")).read_bytes()
    assert not list((tmp_path / "out").rglob("*.partial.*"))


def test_files_are_linked_or_else_copied(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(material, keep=RULE)
    one = "imagesTr/syn_0_0000.nii.gz"
    assert (tmp_path / "out" / one).samefile(material.dataset / one)

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    run(material, keep=RULE, out=tmp_path / "copied")
    assert not (tmp_path / "copied" / one).samefile(material.dataset / one)
    assert (tmp_path / "copied" / one).read_bytes() == (material.dataset / one).read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(StorageError, match="disk is full"):
        run(material, keep=RULE, out=tmp_path / "third")


def test_a_changed_or_missing_file_is_refused(material: Material, tmp_path: Path) -> None:
    path = material.dataset / "labelsTr" / "syn_1.nii.gz"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"x")
    with pytest.raises(UnreadableError, match=r"syn_1: labelsTr/syn_1.nii.gz is not the file"):
        run(material, keep=RULE)
    path.unlink()
    with pytest.raises(UnreadableError, match="is missing"):
        run(material, keep=RULE)
    path.write_bytes(content)
    assert run(material, keep=RULE).kept == 2


def test_nothing_left_is_an_error(material: Material, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none of 4 cases of .*syn is kept"):
        run(material, keep="score>0.95")
    with pytest.raises(DataError, match="none of 4 cases"):
        run(material, reject=rejecting(tmp_path, "syn_0\nsyn_1\nsyn_2\nsyn_3"))
    assert not (tmp_path / "out").exists()


def test_the_assessment_must_be_of_this_very_set(material: Material) -> None:
    first, *others = material.manifest.cases
    change_manifest(material, first.model_copy(update={"terms": "other"}), *others, reassess=False)
    with pytest.raises(DataError, match=r"--assessment: .*assessment is of another set than .*syn"):
        run(material, keep=RULE)
    score(material, {})
    with pytest.raises(DataError, match=r"--assessment: .*assessment scores no lesion"):
        run(material, keep=RULE)


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({}, "not said what to leave out; expected --keep, --reject or both"),
        ({"keep": RULE, "assessment": None}, "--keep: rests on the scores of an assessment"),
        ({"reject": "list.txt", "assessment": "a"}, "--assessment: goes with --keep alone"),
        ({"keep": RULE, "out": None}, "--out: is missing"),
        ({"keep": "scor>1"}, "did you mean score"),
        ({"keep": "class=='solit'"}, "did you mean solid"),
    ],
)
def test_options_that_make_no_sense(material: Material, asked: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        run(material, **asked)
    with pytest.raises(ConfigError, match="--out: lies in the set"):
        run(material, keep=RULE, out=material.dataset / "good")


def test_only_a_synthetic_dataset_folder_is_filtered(material: Material, tmp_path: Path) -> None:
    MsdLayout().write(Export(material.dataset, material.manifest, tmp_path / "msd", b""), NoProgress())
    material.manifest.write(tmp_path / "msd" / MANIFEST)
    names = {"imagesTr/syn_0_0000.nii.gz": "imagesTr/syn_0.nii.gz"}
    text = (tmp_path / "msd" / MANIFEST).read_text()
    for old, new in names.items():
        text = text.replace(old, new)
    (tmp_path / "msd" / MANIFEST).write_text(text)
    with pytest.raises(DataError, match=r"syn_0: .*msd has the form of another tool; ingest it"):
        run(material, synthetic=tmp_path / "msd", reject=rejecting(tmp_path, "syn_0"))
    first, *others = material.manifest.cases
    outside = first.model_copy(
        update={"label": first.label and first.label.model_copy(update={"path": "../x"})}
    )
    change_manifest(material, outside, *others)
    with pytest.raises(DataError, match="another tool"):
        run(material, reject=rejecting(tmp_path, "syn_1"))
    change_manifest(material, first.model_copy(update={"origin": Origin.REAL}), *others)
    with pytest.raises(DataError, match=r"SYN: .*syn holds real cases"):
        run(material, reject=rejecting(tmp_path, "syn_1"))
    change_manifest(material)
    with pytest.raises(DataError, match=r"SYN: .*syn holds no case"):
        run(material, reject=rejecting(tmp_path, "syn_1"))
