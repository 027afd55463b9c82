"""medaug assess from dataset folders to verdicts and a page; the copy search and the segmenter are stand-ins."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medaug.copying.audit import CopyAudit
from medaug.copying.imprint import Imprint
from medaug.copying.search import Match
from medaug.core.assessment import (
    AuditReport,
    CopyFlag,
    CopyShare,
    PartVerdict,
    QualityReport,
    Rejection,
    RejectionsFile,
)
from medaug.core.case import RECIPES, Case, Origin, read_manifest
from medaug.core.errors import ConfigError, DataError, UnreadableError
from medaug.core.plan import Recipe, read_lines, write_lines
from medaug.core.runs import NoProgress
from medaug.core.volume import LabelMap, Volume
from medaug.workflows._assess import copies, labels, measure
from medaug.workflows.assess import AssessOptions, AssessSummary, assess
from tests.small_cases import labels_of
from tests.unit.quality.textured import CLASSES, textured
from tests.unit.workflows.assessable import (
    in_context,
    make_in_context,
    make_real,
    recipe_for,
    scope_of,
    write_set,
)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_real(tmp_path_factory.mktemp("real") / "real", range(6), range(100, 106))


@dataclass
class Seen:
    """What went by the stand-ins."""

    training: list[Imprint] = field(default_factory=list)
    held_out: list[Imprint] = field(default_factory=list)
    synthetic: list[Imprint] = field(default_factory=list)
    searches: int = 0
    segmented: int = 0


@pytest.fixture(autouse=True)
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Stand-ins: every lesion is a copy of the first training case, every background passes."""
    told = Seen()

    class Search:
        def __init__(self, training: Iterable[Imprint], held_out: Iterable[Imprint], *_: Any) -> None:
            told.searches += 1
            told.training, told.held_out = list(training), list(held_out)

        def calibration(self, _part: str) -> None:
            """Nothing to calibrate on."""

        def n_held_out(self, _part: str) -> int:
            return len(told.held_out)

    def audit(synthetic: Iterable[Imprint], *_: Any) -> CopyAudit:
        told.synthetic = list(synthetic)
        lesions = [one for one in told.synthetic if one.lesion.any()]
        picture = np.zeros((8, 8), dtype=np.float32)
        found = [
            Match(
                "lesion", one.case_id, "case_0000", "patient_0000", 2.0, 1.5, "turned by 30", picture, picture
            )
            for one in lesions
        ]
        flags = tuple(
            CopyFlag(
                case_id=m.case_id,
                source_case_id=m.source_case_id,
                part="lesion",
                score=m.score,
                transform=m.transform,
            )
            for m in found
        )
        counts = {"lesion": len(lesions), "background": len(told.synthetic)}
        shares = tuple(
            CopyShare.model_validate(
                {"part": part, "judged": n, "flagged": n if part == "lesion" else 0, "share": 0.0, "low": 0.0,
                 "high": 1.0, "detection_limit": 0.3, "recall": 0.9}
            )
            for part, n in counts.items()
        )  # fmt: skip
        verdict = PartVerdict(lesion="fail" if lesions else "inconclusive", background="pass")
        return CopyAudit(verdict, ("because",), flags, tuple(found), shares, {}, 1.0)

    class Model:
        def probabilities(self, volume: Volume) -> np.ndarray:
            told.segmented += 1
            dark = (volume.image[0] < -400).astype(np.float32)
            return np.stack([dark, 1 - dark, 0 * dark])

    monkeypatch.setattr(copies, "CopySearch", Search)
    monkeypatch.setattr(copies, "audit", audit)
    monkeypatch.setattr(labels, "segmenter_for", lambda *_: Model())
    return told


def run(synthetic: Path, real: Path, out: Path, **how: Any) -> AssessSummary:
    return assess(AssessOptions(synthetic=synthetic, against=real, out=out, **how), NoProgress())


def read(out: Path) -> tuple[QualityReport, AuditReport, str]:
    page = re.sub(r"\s+", " ", (out / "assessment.html").read_text())
    return QualityReport.read(out / "quality.json"), AuditReport.read(out / "audit.json"), page


def test_everything_is_written_and_the_same_call_is_skipped(real, tmp_path, seen):
    made = make_in_context(real, tmp_path / "syn", copies=True, count=6)
    summary = run(made, real, tmp_path / "out")
    quality, audit, page = read(tmp_path / "out")
    assert audit.synthetic_sha256 == quality.synthetic_sha256 == read_manifest(made).content_sha256
    assert (audit.n_synthetic, audit.n_training, audit.n_held_out) == (6, 6, 6)
    assert (audit.detection_limit, audit.recall, len(audit.flagged)) == (0.3, 0.9, 6)
    assert [(c.n_synthetic, c.n_training, c.n_held_out) for c in quality.classes] == [(6, 6, 6), (0, 0, 0)]
    assert [s.copy_score for s in quality.samples] == [1.5] * 6
    assert [s.label_dice for s in quality.samples] == [pytest.approx(1.0, abs=0.1)] * 6
    assert seen.segmented == 12
    for name in ("worst_lesions.png", "closest_lesions.png", "closest_backgrounds.png"):
        assert (tmp_path / "out" / name).stat().st_size > 1_000, name
    assert page.count("data:image/png;base64,") == 3
    assert "Lesion copies: fail" in page
    assert audit.membership is not None
    assert (audit.membership.verdict, summary.membership) == ("inconclusive", "inconclusive")
    assert audit.membership.reasons[-1].startswith("6 held-out patients with lesions of these classes")
    assert "Membership: inconclusive" in page
    assert not (tmp_path / "out/pieces").exists()
    before = (tmp_path / "out/audit.json").stat().st_mtime_ns
    assert run(made, real, tmp_path / "out") == summary
    assert (tmp_path / "out/audit.json").stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match="another seed"):
        run(made, real, tmp_path / "out", seed=4)
    with pytest.raises(ConfigError, match="another parts"):
        run(made, real, tmp_path / "out", parts=("quality",))


def test_the_terminal_says_the_verdicts_first(real, tmp_path):
    lines = run(make_in_context(real, tmp_path / "syn", copies=True, count=6), real, tmp_path / "out").lines()
    assert lines[0].startswith("Lesion copies: fail. 6 of 6 synthetic lesions look like a training one")
    assert lines[1].startswith("Background copies: pass.")
    assert "  because" in lines
    assert any(line.startswith("solid: 6 synthetic; ") for line in lines)
    assert lines[-1].endswith("out/assessment.html; it shows patients and stays there")


def test_the_search_sees_every_case_once_in_normalised_units(real, tmp_path, seen):
    run(
        make_in_context(real, tmp_path / "syn", copies=False, count=3),
        real,
        tmp_path / "out",
        parts=("copying",),
    )
    assert [one.case_id for one in seen.training] == [f"case_{n:04d}" for n in range(6)]
    assert [one.case_id for one in seen.held_out] == [f"case_{n:04d}" for n in range(100, 106)]
    assert [(one.host.case_id if one.host else None) for one in seen.synthetic] == [
        "case_0000",
        "case_0001",
        "case_0002",
    ]
    # outside its edit mask a case is its host, bit by bit
    assert [one.host.same_share if one.host else 0.0 for one in seen.synthetic] == [1.0] * 3
    assert all(
        one.edit_mask is not None and not (one.lesion & ~one.edit_mask).any() for one in seen.synthetic
    )
    assert all(np.abs(one.image).max() < 10 for one in seen.training)


def test_an_interrupted_assessment_goes_on(real, tmp_path, seen, monkeypatch):
    made = make_in_context(real, tmp_path / "syn", copies=False, count=6)

    def broken(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(measure, "score_samples", broken)
        with pytest.raises(KeyboardInterrupt):
            run(made, real, tmp_path / "out")
    assert not (tmp_path / "out/audit.json").exists()
    with monkeypatch.context() as patch:
        patch.setattr(measure, "describe_classes", broken)
        run(made, real, tmp_path / "out")
    assert (seen.searches, seen.segmented) == (1, 12)
    whole = run(made, real, tmp_path / "whole")
    quality, audit, _ = read(tmp_path / "out")
    assert quality.classes == whole.classes
    assert audit == AuditReport.read(tmp_path / "whole/audit.json")


def test_what_is_left_out_is_said_and_not_passed(real, tmp_path, seen):
    made = make_in_context(real, tmp_path / "syn", copies=False, count=6)
    summary = run(made, real, tmp_path / "out", parts=("quality",))
    quality, audit, page = read(tmp_path / "out")
    assert (summary.lesion, summary.background, seen.searches, seen.segmented) == ("inconclusive",) * 2 + (
        0,
        0,
    )
    assert (audit.n_synthetic, audit.detection_limit) == (0, 1.0)
    assert (quality.samples, audit.membership) == ((), None)
    for piece in ("fidelity", "copying", "membership"):
        assert f"{piece} was not measured: --parts leaves it out" in quality.notes
    assert quality.classes[0].spaces
    assert "Nothing was searched for copies." in page
    assert "--parts quality" in page
    run(made, real, tmp_path / "other", parts=("copying",))
    assert [c.n_synthetic for c in read(tmp_path / "other")[0].classes] == [6, 0]


def test_a_set_without_labels_is_searched_for_backgrounds(real, tmp_path, seen):
    write_set(tmp_path / "syn", [replace(synthetic(900 + n), label_map=None) for n in range(3)])
    summary = run(tmp_path / "syn", real, tmp_path / "out")
    quality, audit, page = read(tmp_path / "out")
    assert (summary.lesion, summary.background) == ("inconclusive", "pass")
    assert [one.lesion.any() for one in seen.synthetic] == [False] * 3
    assert [one.host for one in seen.synthetic] == [None] * 3
    assert (audit.n_synthetic, quality.samples) == (0, ())
    assert any(note.startswith("no lesion is labelled in the set") for note in quality.notes)
    assert "No labelled synthetic lesion was measured." in page


def test_null_pastes_are_no_lesions(real, tmp_path, seen):
    made = make_in_context(real, tmp_path / "syn", copies=False, count=6)
    rows = read_lines(made / RECIPES, Recipe)
    write_lines(made / RECIPES, (*rows[:4], *(row.model_copy(update={"use": "null"}) for row in rows[4:])))
    run(made, real, tmp_path / "out")
    quality, _, _ = read(tmp_path / "out")
    assert quality.classes[0].n_synthetic == len(quality.samples) == 4
    assert [one.lesion.any() for one in seen.synthetic] == [True] * 4 + [False] * 2


def test_what_was_rejected_before_is_told(real, tmp_path):
    made = make_in_context(real, tmp_path / "syn", copies=False, count=3)
    gone = Rejection(case_id="SYN_900", reason="a seam is seen")
    RejectionsFile(rejections=(gone,)).write(made / "rejected.json")
    summary = run(made, real, tmp_path / "out", parts=("quality",))
    quality, _, page = read(tmp_path / "out")
    assert quality.rejected == (gone,)
    assert "1 case had been rejected before" in summary.lines()
    assert "a seam is seen" in page


def synthetic(number: int) -> Case:
    return replace(textured(number), origin=Origin.SYNTHETIC)


@pytest.mark.parametrize("where", ["made", "held-out"])
def test_voxels_that_are_not_finite_are_refused(tmp_path, where):
    case = synthetic(900)
    real = make_real(tmp_path / "real", range(2), range(100, 102))
    if where == "made":
        case.volume.image[0, 3, 3, 3] = np.inf
        write_set(tmp_path / "syn", [case])
    else:
        bad = textured(100)
        bad.volume.image[0, 3, 3, 3] = np.nan
        write_set(tmp_path / "syn", [case])
        write_set(tmp_path / "other", [bad])
        source, goal = (f / "imagesTr/case_0100_0000.nii.gz" for f in (tmp_path / "other", real))
        goal.write_bytes(source.read_bytes())
        text = (real / "manifest.json").read_text()
        hashes = [read_manifest(f).case("case_0100").images[0].sha256 for f in (real, tmp_path / "other")]
        before = read_manifest(real).content_sha256
        (real / "manifest.json").write_text(text.replace(hashes[0], hashes[1]))
        splits = (real / "splits.json").read_text().replace(before, read_manifest(real).content_sha256)
        (real / "splits.json").write_text(splits)
    name = "case_0900" if where == "made" else "case_0100"
    with pytest.raises(DataError, match=f"{name}: 1 voxels are not finite; ingest the set again"):
        run(tmp_path / "syn", real, tmp_path / "out")


def test_changed_file_is_refused(real, tmp_path):
    made = make_in_context(real, tmp_path / "syn", copies=False, count=2)
    image = made / "imagesTr/SYN_000_0000.nii.gz"
    image.write_bytes((made / "imagesTr/SYN_001_0000.nii.gz").read_bytes())
    with pytest.raises(UnreadableError, match="not the file the manifest describes"):
        run(made, real, tmp_path / "out")


def test_edit_mask_without_a_lesion_is_refused(real, tmp_path):
    made, host, edit = in_context(0, 0, textured(500).volume.image)
    elsewhere = np.zeros_like(edit)
    elsewhere[:2, :2] = True
    recipe = recipe_for(made, host, "edits/SYN_000.nii.gz", scope_of(real))
    write_set(tmp_path / "syn", [made], [recipe], {"SYN_000": elsewhere})
    with pytest.raises(DataError, match="SYN_000: no labelled lesion lies in the edit mask"):
        run(tmp_path / "syn", real, tmp_path / "out")


def test_training_patients_without_a_lesion_are_refused(tmp_path):
    real = make_real(tmp_path / "real", range(2), range(100, 102))
    empty = [_without_lesion(textured(n)) for n in range(2)]
    write_set(tmp_path / "real", [*empty, textured(100), textured(101)])
    splits = (real / "splits.json").read_text()
    before = re.search(r'"dataset_sha256": "(\w+)"', splits)
    assert before is not None
    (real / "splits.json").write_text(splits.replace(before[1], read_manifest(real).content_sha256))
    write_set(tmp_path / "syn", [synthetic(900)])
    with pytest.raises(DataError, match="training patients of fold 0 have no lesion"):
        run(tmp_path / "syn", real, tmp_path / "out")


def _without_lesion(case: Case) -> Case:
    return replace(case, label_map=LabelMap(np.zeros_like(labels_of(case)), case.volume.grid, CLASSES))
