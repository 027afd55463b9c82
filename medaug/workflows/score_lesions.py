"""``medaug evaluate`` where lists of lesions are scored: candidates by FROC, classes by AUC and their like."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

import numpy as np

from medaug.core.candidates import (
    LESIONS,
    ClassificationResult,
    DetectionResult,
    Estimate,
    JudgedLesion,
    LesionList,
    ScoredLesion,
    SoughtLesion,
)
from medaug.core.case import MANIFEST, Case, Manifest, read_manifest
from medaug.core.config import read_json
from medaug.core.errors import ConfigError, DataError, GeometryError, LabelError
from medaug.core.geometry import Grid
from medaug.core.runs import Progress
from medaug.core.seeding import SeedTree
from medaug.core.storage import clear_leftovers, require_free_space
from medaug.core.summary import Summary
from medaug.core.volume import LabelMap, Prediction
from medaug.core.wording import counted
from medaug.io.candidates import read_candidates
from medaug.io.dataset import load_case
from medaug.io.nifti import read_label
from medaug.lesions.candidates import find_candidates
from medaug.lesions.parts import LesionPart, lesion_parts
from medaug.metrics.class_skill import class_skills, confusion, of_lesions, of_patients
from medaug.metrics.froc import LEAST_IOU, Scan, box_iou, froc, match
from medaug.metrics.scoring import reference_of
from medaug.workflows.evaluate import (
    EvaluateOptions,
    EvaluateSummary,
    evaluate,
    missing_cases,
    read_confidence,
    scored_records,
)

__all__ = ["EvaluateOptions", "LesionScoreSummary", "score"]

_NEEDED_BYTES = 4 << 20
_THRESHOLD, _FEWEST = 0.1, 3  # the defaults of the detection task
_HITS = {
    "centre": "its centre lies within the lesion's radius of the lesion's centre, or on a voxel of the lesion",
    "iou": f"intersection over union of the boxes is at least {LEAST_IOU:g}",
}


@final
class LesionScoreSummary(Summary):
    """What was scored."""

    out: Path
    kind: Literal["classification", "detection"]
    said: tuple[str, ...]

    def lines(self) -> tuple[str, ...]:
        """The figures in short lines."""
        return self.said


def score(options: EvaluateOptions, progress: Progress) -> EvaluateSummary | LesionScoreSummary:
    """Score what PREDICTIONS hold: label maps, or a list of lesions (``lesions.json``, JSON or CSV).

    Raises:
        ConfigError: If options do not fit each other.
        DataError: If predictions are missing or do not fit the references.
        SplitLeakageError: If a reference is a synthetic case.
    """
    path = options.predictions
    listed = not path.is_dir() or (path / LESIONS).is_file()
    if not listed and not options.froc:
        return evaluate(options, progress)
    if not (options.labels / MANIFEST).is_file():
        hint = "ingest the label maps with their images"
        raise ConfigError("lists of lesions are scored on a dataset folder", where="LABELS", hint=hint)
    if options.classes:
        raise ConfigError("the dataset has its own class table", where="--classes")
    require_free_space(options.out.parent, _NEEDED_BYTES)
    manifest = read_manifest(options.labels)
    if listed:
        found = _read_list(path / LESIONS if path.is_dir() else path, manifest)
    else:
        found = _candidates(path, options.labels, manifest)
    references = _References(options, manifest, found)
    clear_leftovers(options.out)
    if found.kind == "classification":
        return _score_classes(options.out, references, found, progress)
    return _score_candidates(options, references, found, progress)


def _read_list(path: Path, manifest: Manifest) -> LesionList:
    """A list of medaug, or the candidates of any tool: a CSV file, or a JSON list of objects, with the same names."""
    if not path.exists():
        raise DataError(f"{path} does not exist", where="PREDICTIONS")
    if path.suffix.lower() == ".json" and not isinstance(read_json(path), list):
        found = LesionList.read(path)
        if found.classes != manifest.classes:
            expected = ", ".join(manifest.classes)
            raise LabelError(f"{path} knows the classes {', '.join(found.classes)}", expected=expected)
        return found
    return LesionList(
        kind="detection",
        model_sha256="",
        dataset_sha256=None,
        fold=None,
        classes=manifest.classes,
        case_ids=tuple(record.case_id for record in manifest.cases),
        lesions=read_candidates(path),
    )


def _candidates(folder: Path, dataset: Path, manifest: Manifest) -> LesionList:
    """Candidates of CASE.nii.gz and, where there is one, CASE_confidence.nii.gz."""
    records = [record for record in manifest.cases if (folder / f"{record.case_id}.nii.gz").is_file()]
    if not records:
        raise DataError(f"{folder} holds no label map of {manifest.name}", where="PREDICTIONS")
    lesions: list[ScoredLesion] = []
    for record in records:
        case = load_case(dataset, record, manifest.classes)
        prediction = _read_prediction(folder / f"{record.case_id}.nii.gz", case, manifest.classes)
        found = find_candidates(prediction, threshold=_THRESHOLD, scoring="max", fewest_voxels=_FEWEST)
        lesions += [one.scored(case) for one in found]
    return LesionList(
        kind="detection",
        model_sha256="",
        dataset_sha256=manifest.content_sha256,
        fold=None,
        classes=manifest.classes,
        case_ids=tuple(record.case_id for record in records),
        lesions=tuple(lesions),
    )


def _read_prediction(path: Path, case: Case, classes: tuple[str, ...]) -> Prediction:
    image = read_label(path, where=case.case_id)
    if not image.grid.agrees_with(case.volume.grid):
        raise GeometryError("prediction lies on another grid than the image", where=case.case_id)
    if image.array.max() > len(classes):
        highest = f"prediction holds label id {image.array.max()}"
        raise LabelError(highest, where=case.case_id, expected=f"0 to {len(classes)}")
    return Prediction(LabelMap(image.array, image.grid, classes), read_confidence(path))


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Reference:
    """One case with the lesions that experts outlined."""

    case: Case
    lesions: tuple[LesionPart, ...]


@final
class _References:
    """The cases that are scored: those that were looked at, or the held-out ones of a fold."""

    def __init__(self, options: EvaluateOptions, manifest: Manifest, found: LesionList) -> None:
        self._dataset, self._manifest = options.labels, manifest
        asked = {*found.case_ids, *(finding.case_id for finding in found.refused)}
        self._records = scored_records(options, manifest, asked)
        wanted = [record.case_id for record in self._records]
        self.missing = missing_cases(options, wanted, found.case_ids, "were not looked at")

    @property
    def name(self) -> str:
        """Of the dataset."""
        return self._manifest.name

    @property
    def classes(self) -> tuple[str, ...]:
        """The class table."""
        return self._manifest.classes

    def read(self, progress: Progress) -> Iterator[_Reference]:
        """One after the other."""
        progress.start("scoring", len(self._records))
        for record in self._records:
            case = load_case(self._dataset, record, self.classes)
            yield _Reference(case, tuple(lesion_parts(reference_of(case))))
            progress.advance()


def _by_case(lesions: Iterable[ScoredLesion]) -> dict[str, list[ScoredLesion]]:
    found: dict[str, list[ScoredLesion]] = defaultdict(list)
    for lesion in lesions:
        found[lesion.case_id].append(lesion)
    return found


def _score_candidates(
    options: EvaluateOptions, references: _References, found: LesionList, progress: Progress
) -> LesionScoreSummary:
    if options.hit == "iou" and any(lesion.box is None for lesion in found.lesions):
        raise ConfigError("a candidate has no box", where="--hit", hint="use --hit centre")
    candidates, scans, lesions = _by_case(found.lesions), [], []
    for one in references.read(progress):
        case = one.case
        mine = candidates.pop(case.case_id, [])
        scan = match(case.patient_id, one.lesions, mine, case.volume.grid, options.hit)
        scans.append(scan)
        lesions += _sought(case, one.lesions, scan)
    if not lesions:
        raise LabelError(f"{references.name}: no reference holds a lesion to find")
    unmatched = sum(map(len, candidates.values()))
    result = DetectionResult(
        labels=references.name,
        classes=references.classes,
        hit=_HITS[options.hit],
        n_scans=len(scans),
        n_patients=len({scan.patient_id for scan in scans}),
        n_candidates=len(found.lesions) - unmatched,
        curves=froc(scans, references.classes, SeedTree(0).child("evaluate")),
        lesions=tuple(lesions),
        missing=references.missing,
        unmatched=unmatched,
    )
    result.write(options.out)
    return LesionScoreSummary(
        out=options.out, kind="detection", said=_said_of_candidates(options.out, result)
    )


def _sought(case: Case, lesions: Sequence[LesionPart], scan: Scan) -> list[SoughtLesion]:
    return [
        SoughtLesion(
            case_id=case.case_id,
            patient_id=case.patient_id,
            class_name=lesion.class_name,
            diameter_mm=round(lesion.diameter_mm(case.volume.grid), 3) if case.volume.spacing_known else None,
            score=float(best) if np.isfinite(best) else None,
        )
        for lesion, best in zip(lesions, scan.found, strict=True)
    ]


def _said_of_candidates(out: Path, result: DetectionResult) -> tuple[str, ...]:
    rows = []
    for curve in result.curves:
        at = {point.false_positives: point.sensitivity.value or 0.0 for point in curve.points}
        some = ", ".join(f"{at[rate]:.2f} at {rate:g}" for rate in (0.125, 1.0, 8.0))
        rows.append(
            f"{curve.class_name or 'all'}: mean sensitivity {_interval(curve.mean_sensitivity)}, "
            f"{counted(curve.n_lesions, 'lesion')}; {some} false positives a scan"
        )
    missing = (
        (f"{len(result.missing)} cases that were not looked at count as empty",) if result.missing else ()
    )
    unmatched = (f"{result.unmatched} candidates in other cases were not scored",) if result.unmatched else ()
    head = f"{counted(result.n_candidates, 'candidate')} in {counted(result.n_scans, 'scan')} scored, {out}"
    return (head, *rows, *missing, *unmatched)


def _score_classes(
    out: Path, references: _References, found: LesionList, progress: Progress
) -> LesionScoreSummary:
    judged, lesions, seen, total = _by_case(found.lesions), [], 0, 0
    for one in references.read(progress):
        mine = judged.pop(one.case.case_id, [])
        seen, total = seen + len(mine), total + len(one.lesions)
        lesions += _judged(one, mine)
    if not lesions:
        raise LabelError(f"{references.name}: no judged lesion lies on a reference lesion")
    rows, seed = of_lesions(lesions, references.classes), SeedTree(0).child("evaluate")
    patients = of_patients(rows)
    result = ClassificationResult(
        labels=references.name,
        classes=references.classes,
        per_lesion=class_skills(rows, references.classes, seed.child("lesions")),
        per_patient=class_skills(patients, references.classes, seed.child("patients")),
        confusion=confusion(rows),
        n_patients=len(patients.patient_ids),
        lesions=tuple(lesions),
        not_lesions=seen - len(lesions),
        not_judged=total - len(lesions),
    )
    result.write(out)
    return LesionScoreSummary(out=out, kind="classification", said=_said_of_classes(out, result))


def _judged(one: _Reference, mine: Sequence[ScoredLesion]) -> list[JudgedLesion]:
    """The reference lesions that were judged, each by the judged lesion whose box fits its own best."""
    grid, best = one.case.volume.grid, dict[str, tuple[float, ScoredLesion, str]]()
    for lesion in mine:
        fits = [box_iou(part, [lesion])[0] if lesion.box else _on(part, lesion, grid) for part in one.lesions]
        if not fits or max(fits) < LEAST_IOU:
            continue
        part = one.lesions[int(np.argmax(fits))]
        if max(fits) > best.get(part.name, (0.0,))[0]:
            best[part.name] = max(fits), lesion, part.class_name
    return [
        JudgedLesion(
            lesion_id=lesion.lesion_id,
            case_id=one.case.case_id,
            patient_id=one.case.patient_id,
            class_name=class_name,
            probabilities=lesion.probabilities,
        )
        for _, lesion, class_name in best.values()
    ]


def _on(part: LesionPart, lesion: ScoredLesion, grid: Grid) -> float:
    """1 where the centre lies on a voxel of the reference lesion, else 0."""
    return float(part.covers(grid.nearest_voxel((lesion.x_mm, lesion.y_mm, lesion.z_mm))))


def _interval(estimate: Estimate) -> str:
    if estimate.value is None:
        return "unknown"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def _said_of_classes(out: Path, result: ClassificationResult) -> tuple[str, ...]:
    rows = tuple(
        f"{skill.class_name}: AUC {_interval(skill.auc)}, sensitivity {_interval(skill.sensitivity)}, "
        f"specificity {_interval(skill.specificity)}, {counted(skill.n, 'lesion')}"
        for skill in result.per_lesion
    )
    left = []
    if result.not_lesions:
        left.append(f"{result.not_lesions} judged lesions lie on no reference lesion")
    if result.not_judged:
        left.append(f"{result.not_judged} reference lesions were not judged")
    head = (
        f"{counted(len(result.lesions), 'lesion')} of {counted(result.n_patients, 'patient')} scored, {out}"
    )
    return (head, *rows, *left)
