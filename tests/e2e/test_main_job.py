"""The main job, verb by verb through the command line, on a tiny cohort of made-up patients."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from medaug.cli.main import main
from medaug.core.assessment import AuditReport
from medaug.core.case import read_manifest
from medaug.core.plan import Recipe, read_lines
from medaug.core.results import ExperimentResult
from medaug.core.runs import NoProgress
from medaug.core.splits import read_splits
from medaug.io.dataset import load_case, load_edit_mask
from medaug.phantom.cohort import PhantomSpec, make_cohort

Run = Callable[..., dict[str, object]]
ARMS = ("real", "classical", "copy_paste", "cgan", "classical_cgan")
CGAN = "{kind: cgan, dims: 2, size: [24, 24], base: 4, critic_base: 4, z_size: 4, steps: 3, batch_size: 4}"
TASK = "{kind: segmentation, dims: 2, patch_size: [32, 32], batch_size: 4, steps: 4, base_channels: 4, levels: 2}"
EXPERIMENT = f"""
name: tiny
task: {TASK}
baseline: classical
limit_class: ground_glass
n_annotated: [2]
folds: [0]
arms:
  - {{name: real}}
  - {{name: classical, transforms: {{kind: classical}}}}
  - {{name: copy_paste, generator: {{kind: copy_paste}}, synthetic_share: 0.5}}
  - {{name: cgan, generator: {CGAN}, synthetic_share: 0.5}}
  - {{name: classical_cgan, transforms: {{kind: classical}}, generator: {CGAN}, synthetic_share: 0.5}}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the cohort, the configurations, and after each test what that station wrote.

    Few lesions are enough for a network here.
    """
    folder = tmp_path_factory.mktemp("job")
    make_cohort(
        folder / "cohort",
        PhantomSpec(solid=7, ground_glass=6, both=2, lesion_free=1, lesions=1, shape=(64, 64, 8)),
        NoProgress(),
    )
    (folder / "cgan.yaml").write_text(CGAN)
    (folder / "experiment.yaml").write_text(EXPERIMENT)
    (folder / "train.yaml").write_text(f"task: {TASK}\ntransforms: {{kind: classical}}\n")
    (folder / "passphrase").write_text("correct horse battery\n")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("medaug.synthesis.fit.FEW_LESIONS", 1)
        yield folder


@pytest.fixture
def medaug(place: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a verb with ``--json``; arguments that name something in the folder are given as its path."""

    def run(*arguments: str, code: int = 0) -> dict[str, object]:
        named = [str(place / a[1:]) if a.startswith("@") else a for a in arguments]
        found = main([*named, "--json"])
        out, err = capsys.readouterr()
        assert found == code, err
        return dict(json.loads(out)) if code == 0 else {"error": err}

    return run


def test_scans_become_a_dataset(medaug: Run, place: Path) -> None:
    stated = ("--licence", "CC0-1.0", "--terms", "Made-up patients: free for any use.")
    medaug("ingest", "@cohort/dicom", "@cohort/nifti", "--out", "@dataset", *stated)
    manifest = read_manifest(place / "dataset")
    assert len(manifest.cases) == 12
    assert set(manifest.classes) == {"solid", "ground_glass"}
    assert {record.modality for record in manifest.cases} == {"CT"}
    table = json.loads((place / "dataset" / "dataset.json").read_text())
    assert table["labels"] == {"background": 0, manifest.classes[0]: 1, manifest.classes[1]: 2}
    assert (place / "dataset" / "sources.private.json").stat().st_mode & 0o777 == 0o600
    medaug("inspect", "@dataset")
    assert (place / "dataset" / "inspection" / "contact_sheet_01.png").stat().st_size > 10_000
    found = json.loads((place / "dataset" / "inspection.json").read_text())["findings"]
    assert [one for one in found if one["severity"] == "refused"] == []


def test_patients_are_split(medaug: Run, place: Path) -> None:
    medaug("split", "@dataset", "--folds", "2", "--seed", "0")
    splits = read_splits(place / "dataset", read_manifest(place / "dataset"))
    assert len(splits.folds) == 2
    assert set(splits.folds[0].held_out) == set(splits.folds[1].train)


def test_lesions_are_drawn_into_training_patients_only(medaug: Run, place: Path) -> None:
    medaug("bank", "@dataset", "--fold", "0", "--out", "@bank")
    medaug("fit", "@dataset", "--bank", "@bank", "--config", "@cgan.yaml", "--fold", "0", "--out", "@cgan")
    drawn = ("--bank", "@bank", "--per-class", "ground_glass=6", "--fold", "0", "--seed", "1")
    medaug("synthesize", "@dataset", *drawn, "--generator", "@cgan", "--out", "@synthetic")
    manifest, recipes = (
        read_manifest(place / "synthetic"),
        read_lines(place / "synthetic" / "recipes.jsonl", Recipe),
    )
    assert len(manifest.cases) == len(recipes) == 6
    train = set(read_splits(place / "dataset", read_manifest(place / "dataset")).fold(0).train)
    assert {r.host_patient_id for r in recipes} | {p for r in recipes for p in r.donor_patient_ids} <= train


def test_voxels_outside_the_edit_mask_are_the_hosts(place: Path) -> None:
    real, made = read_manifest(place / "dataset"), read_manifest(place / "synthetic")
    for recipe in read_lines(place / "synthetic" / "recipes.jsonl", Recipe):
        record = made.case(recipe.case_id)
        case = load_case(place / "synthetic", record, made.classes)
        host = load_case(place / "dataset", real.case(recipe.host_case_id), real.classes)
        edited = load_edit_mask(place / "synthetic", record)
        assert np.array_equal(case.volume.image[:, ~edited], host.volume.image[:, ~edited])
        assert not np.array_equal(case.volume.image, host.volume.image)
        assert case.label_map is not None
        assert host.label_map is not None
        new = (case.label_map.labels != host.label_map.labels) & (case.label_map.mask(recipe.class_name))
        assert new.any()
        assert edited[new].all()


def test_the_same_call_again_is_skipped_and_another_is_refused(medaug: Run, place: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (place / "bank").rglob("*")}
    medaug("bank", "@dataset", "--fold", "0", "--out", "@bank")
    assert {path: path.stat().st_mtime_ns for path in (place / "bank").rglob("*")} == before
    assert "another fold" in str(medaug("bank", "@dataset", "--fold", "1", "--out", "@bank", code=2)["error"])


def test_a_bank_of_another_fold_is_a_leak(medaug: Run) -> None:
    drawn = ("--generator", "copy_paste", "--per-class", "ground_glass=2", "--fold", "1", "--out", "@leak")
    assert "fold 1" in str(medaug("synthesize", "@dataset", "--bank", "@bank", *drawn, code=3)["error"])


def test_a_segmenter_is_trained_and_scored(medaug: Run, place: Path) -> None:
    medaug("train", "@dataset", "--config", "@train.yaml", "--fold", "0", "--out", "@unet")
    medaug("predict", "@unet", "@dataset", "--out", "@predictions")
    medaug("evaluate", "@predictions", "@dataset", "--out", "@scores.json")
    scores = json.loads((place / "scores.json").read_text())
    held_out = set(read_splits(place / "dataset", read_manifest(place / "dataset")).fold(0).held_out)
    assert {row["patient_id"] for row in scores["rows"]} <= held_out
    assert all(row["dice"] is None or 0 <= row["dice"] <= 1 for row in scores["rows"])


def test_arms_are_compared_and_reported(medaug: Run, place: Path) -> None:
    medaug("experiment", "@dataset", "--config", "@experiment.yaml", "--out", "@experiment")
    result = ExperimentResult.read(place / "experiment" / "results.json")
    assert result.complete
    assert result.arms == ARMS
    assert {cost.optimiser_steps for cost in result.costs} == {4}
    assert {c.arm for c in result.comparisons} == set(ARMS) - {"classical"}
    medaug(
        "assess",
        "@synthetic",
        "--against",
        "@dataset",
        "--fold",
        "0",
        "--segmenter",
        "@unet",
        "--out",
        "@assessment",
    )
    assert "Research use" in (place / "assessment/assessment.html").read_text()
    medaug("report", "@experiment", "--assessment", "@assessment", "--out", "@report.html")
    page = (place / "report.html").read_text()
    assert "not a medical device" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_what_a_person_or_a_rule_rejects_is_left_out(medaug: Run, place: Path) -> None:
    made = [record.case_id for record in read_manifest(place / "synthetic").cases]
    (place / "list.txt").write_text(f"{made[0]}, too smooth\n")
    rule = ("--keep", "score>=0", "--assessment", "@assessment", "--reject", "@list.txt")
    done = medaug("filter", "@synthetic", *rule, "--out", "@kept")
    kept = [record.case_id for record in read_manifest(place / "kept").cases]
    assert kept == made[1:]
    assert done["rejected"] == [{"case_id": made[0], "reason": "too smooth", "rule": None}]
    refusal = str(medaug("filter", "@kept", *rule[:4], "--out", "@again", code=3)["error"])
    assert "assessment is of another set than" in refusal


def test_a_release_is_gated_signed_and_verified(medaug: Run, place: Path) -> None:
    secret = ("--passphrase-file", "@passphrase")
    keys = medaug("keygen", "--out", "@keys", *secret)
    signing, public = str(keys["private_key"]), str(keys["public_key"])
    common = ("release", "@synthetic", "--key", signing, *secret, "--tier", "hosted", "--out", "@release")
    assert "nothing does not exist" in str(medaug(*common, "--assessment", "@nothing", code=2)["error"])
    (place / "nothing").mkdir()
    refusal = str(medaug(*common, "--assessment", "@nothing", code=6)["error"])
    assert "there is no copying audit" in refusal
    assert "medaug assess" in refusal
    assert not (place / "release").exists()
    audit = AuditReport.read(place / "assessment" / "audit.json")
    assert audit.verdict.lesion != "fail"
    medaug(*common, "--assessment", "@assessment", "--accept-inconclusive")
    medaug("verify", "@release", "--public-key", public)
    victim = next((place / "release").rglob("*.nii.gz"))
    content = bytearray(victim.read_bytes())
    content[-1] ^= 1
    victim.write_bytes(bytes(content))
    assert victim.name in str(medaug("verify", "@release", "--public-key", public, code=6)["error"])
