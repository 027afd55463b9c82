"""``medaug evaluate``: predictions of any tool against reference label maps."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

import numpy as np
from pydantic import Field

from medaug.core.case import (
    CONFIDENCE_END,
    MANIFEST,
    PREDICTIONS,
    CaseRecord,
    Manifest,
    Origin,
    read_manifest,
)
from medaug.core.config import Frozen
from medaug.core.errors import ConfigError, DataError, LabelError, SplitLeakageError, UnreadableError
from medaug.core.results import ArmScore, DiceRow, EvaluationResult, PredictionIndex
from medaug.core.runs import Progress
from medaug.core.seeding import SeedTree
from medaug.core.splits import read_splits
from medaug.core.storage import clear_leftovers, require_free_space
from medaug.core.summary import Summary
from medaug.core.volume import Confidence, LabelMap, Labels, Prediction
from medaug.core.wording import counted
from medaug.experiments.scores import summarise
from medaug.ingest.naming import BACKGROUND, parse_class_map
from medaug.ingest.sources import ClassId
from medaug.io.nifti import is_nifti, read_label, read_nifti, stem
from medaug.metrics.scoring import SURFACE_TOLERANCE_MM, Scored, Terms, score_case

ARM = "predictions"
_NEEDED_BYTES = 4 << 20


@final
class EvaluateOptions(Frozen):
    """Options of `medaug evaluate`."""

    predictions: Path = Field(description="folder of CASE.nii.gz label maps")
    labels: Path = Field(description="dataset folder, or folder of CASE.nii.gz")
    out: Path = Field(description="JSON file to write")
    fold: int | None = Field(
        default=None,
        description="score the held-out patients of this fold only; default: the cases that `medaug predict` chose",
    )
    classes: tuple[str, ...] = Field(default=(), description="names of label ids 1, 2, ... of a plain folder")
    class_map: str | None = Field(
        default=None, description='what the label ids of PREDICTIONS mean, such as "2=solid,3=background"'
    )
    allow_missing: bool = Field(default=False, description="score a missing prediction as an empty one")
    surface_tolerance_mm: float = Field(
        default=SURFACE_TOLERANCE_MM,
        gt=0,
        description="distance between surfaces that the surface Dice counts as right",
    )
    froc: bool = Field(
        default=False,
        description="score the lesion candidates of label maps and their confidence, not the labels",
    )
    hit: Literal["centre", "iou"] = Field(default="centre", description="when a candidate finds a lesion")


@final
class EvaluateSummary(Summary):
    """What was scored."""

    out: Path
    n_cases: int
    missing: tuple[str, ...]
    unmatched: int
    scores: tuple[ArmScore, ...]
    surface_tolerance_mm: float

    def lines(self) -> tuple[str, ...]:
        """The main figures of a class."""
        rows = tuple(self._line(score) for score in self.scores)
        missing = (f"{len(self.missing)} missing predictions scored as empty",) if self.missing else ()
        unmatched = (
            (f"{self.unmatched} predictions without a reference were not scored",) if self.unmatched else ()
        )
        none = "no reference holds a lesion, so there is no Dice: false positives stand in the file"
        head = f"{counted(self.n_cases, 'case')} scored, {self.out}"
        return (head, *(rows or (none,)), *missing, *unmatched)

    def _line(self, score: ArmScore) -> str:
        parts = [f"Dice {score.mean_dice:.3f} ({score.ci_low:.3f} to {score.ci_high:.3f})"]
        if score.surface_dice is not None:
            parts.append(f"surface Dice {score.surface_dice:.3f} at {self.surface_tolerance_mm:g} mm")
        if score.hd95_mm is not None:
            parts.append(f"HD95 {score.hd95_mm:.1f} mm")
        if score.lesion_f1 is not None:
            parts.append(f"lesion F1 {score.lesion_f1:.3f}")
        return f"{score.class_name}: {', '.join(parts)}, {counted(score.n_patients, 'patient')}"


@final
@dataclass(frozen=True, slots=True)
class _Reference:
    """One reference label map on disk."""

    case_id: str
    patient_id: str
    path: Path
    spacing_known: bool
    sha256: str | None = None


@final
@dataclass(frozen=True, slots=True)
class _References:
    """All of them, with their class table."""

    name: str
    classes: tuple[str, ...]
    items: tuple[_Reference, ...]
    patients_known: bool


def evaluate(options: EvaluateOptions, progress: Progress) -> EvaluateSummary:
    """Score every reference; write rows a case, then means a class with their intervals.

    A missing prediction is refused by name, or, where allowed, scored as an empty one: a tool that gives up
    on hard cases must not gain by it.

    Raises:
        DataError: If a folder holds no label map, a prediction is missing, or one does not fit its reference.
        SplitLeakageError: If a reference is a synthetic case.
    """
    require_free_space(options.out.parent, _NEEDED_BYTES)
    references = _references(options)
    wanted = {item.case_id for item in references.items}
    predictions = _by_case(_label_files(options.predictions, "PREDICTIONS"), wanted)
    missing = missing_cases(options, wanted, predictions.keys(), "have no prediction")
    progress.start("scoring", len(references.items))
    rows: list[DiceRow] = []
    judge = _Judge(references.classes, _own_ids(options, references.classes), options.surface_tolerance_mm)
    for item in references.items:
        rows += judge.score(item, predictions.get(item.case_id))
        progress.advance(1)
    result = EvaluationResult(
        labels=references.name,
        classes=references.classes,
        rows=tuple(rows),
        scores=summarise(rows, references.classes, SeedTree(0).child("evaluate")),
        missing=missing,
        unmatched=tuple(sorted(predictions.keys() - wanted)),
        patients_known=references.patients_known,
    )
    clear_leftovers(options.out)
    result.write(options.out)
    return EvaluateSummary(
        out=options.out,
        n_cases=len(wanted),
        missing=missing,
        unmatched=len(result.unmatched),
        scores=result.scores,
        surface_tolerance_mm=options.surface_tolerance_mm,
    )


def missing_cases(
    options: EvaluateOptions, wanted: Collection[str], found: Collection[str], what: str
) -> tuple[str, ...]:
    """Ids of cases that are to be scored and were not answered; ``what`` names them in the message.

    Raises:
        DataError: If there are any and they may not be scored as empty.
    """
    missing = tuple(sorted(set(wanted).difference(found)))
    if missing and not options.allow_missing:
        named = ", ".join(missing[:5]) + (" ..." if len(missing) > 5 else "")
        raise DataError(
            f"{len(missing)} of {len(wanted)} cases {what}: {named}",
            hint="predict them too, choose a --fold, or use --allow-missing to score them as empty",
        )
    return missing


@final
@dataclass(frozen=True, slots=True)
class _Judge:
    """Scores case by case.

    Attributes:
        classes: Names of the references' label ids 1, 2, ...
        own_ids: What other ids the predictions have; None = the references'.
        surface_tolerance_mm: Of the surface Dice.
    """

    classes: tuple[str, ...]
    own_ids: tuple[ClassId, ...] | None
    surface_tolerance_mm: float

    def score(self, item: _Reference, path: Path | None) -> tuple[DiceRow, ...]:
        """The rows of one case; without a file its prediction is empty."""
        outlined = read_label(item.path, where=item.case_id)
        if item.sha256 is not None and outlined.sha256 != item.sha256:
            hint = "restore it, or make the dataset again in a new folder"
            raise UnreadableError(
                "label is not the file the manifest describes", where=item.case_id, hint=hint
            )
        reference = LabelMap(outlined.array, outlined.grid, self.classes)
        terms = Terms(item.spacing_known and outlined.spacing_known, self.surface_tolerance_mm)
        of = Scored(ARM, None, 0, 0, item.case_id, item.patient_id)
        try:
            prediction = Prediction(self._prediction(path, reference), read_confidence(path))
            return score_case(of, prediction, reference, terms)
        except DataError as error:
            raise error.located(item.case_id) from error

    def _prediction(self, path: Path | None, reference: LabelMap) -> LabelMap:
        if path is None:
            return LabelMap(np.zeros(reference.grid.shape, np.uint8), reference.grid, self.classes)
        given = read_label(path)
        labels = given.array if self.own_ids is None else _renumbered(given.array, self.own_ids, self.classes)
        return LabelMap(labels, given.grid, self.classes)


def read_confidence(path: Path | None) -> Confidence | None:
    """What `medaug predict --confidence` wrote beside a label map."""
    beside = None if path is None else path.with_name(stem(path) + CONFIDENCE_END)
    if beside is None or not beside.is_file():
        return None
    return np.asarray(read_nifti(beside).array, dtype=np.float32)


def _own_ids(options: EvaluateOptions, classes: tuple[str, ...]) -> tuple[ClassId, ...] | None:
    if options.class_map is None:
        return None
    asked = parse_class_map(options.class_map)
    known = (*classes, BACKGROUND)
    unknown = [pair.name for pair in asked.ids if pair.name not in known]
    if asked.terms or unknown:
        what = unknown[0] if unknown else asked.terms[0].key
        raise ConfigError(
            f"{what!r} is no {'class of LABELS' if unknown else 'label id'}",
            where="--class-map",
            expected=f"ID=CLASS with {', '.join(known)}",
        )
    return asked.ids


def _renumbered(labels: Labels, ids: Sequence[ClassId], classes: Sequence[str]) -> Labels:
    strangers = labels[~np.isin(labels, [0, *(pair.label_id for pair in ids)])]
    if strangers.size:
        hint = f"name it in --class-map, as {BACKGROUND} where it is not to count"
        raise LabelError(f"prediction holds label id {strangers[0]}", hint=hint)
    ours = np.zeros(labels.shape, dtype=np.uint8)
    for pair in ids:
        if pair.name != BACKGROUND:
            ours[labels == pair.label_id] = classes.index(pair.name) + 1
    return ours


def _by_case(files: Sequence[Path], wanted: Collection[str]) -> dict[str, Path]:
    """The file of each case: named as it, or as its first channel, ``CASE_0000``, as some tools keep it."""
    found: dict[str, Path] = {}
    for path in files:
        name = stem(path)
        case_id = name if name in wanted else name.removesuffix("_0000")
        case_id = case_id if case_id in wanted else name
        if case_id in found:
            hint = "leave one of them in the folder"
            raise DataError(f"two predictions of {case_id}", where="PREDICTIONS", hint=hint)
        found[case_id] = path
    return found


def _label_files(folder: Path, what: str) -> list[Path]:
    files = sorted(path for path in folder.iterdir() if is_nifti(path)) if folder.is_dir() else []
    if not files:
        raise DataError(f"{folder} holds no .nii.gz label map", where=what, expected="CASE.nii.gz files")
    beside = {path.with_name(stem(path) + CONFIDENCE_END) for path in files}
    return [path for path in files if path not in beside]


def _references(options: EvaluateOptions) -> _References:
    if (options.labels / MANIFEST).is_file():
        return _of_dataset(options, read_manifest(options.labels))
    if options.fold is not None:
        raise ConfigError(
            "a plain folder has no folds", where="--fold", expected="LABELS to be a dataset folder"
        )
    files = _label_files(options.labels, "LABELS")
    items = tuple(_Reference(stem(path), stem(path), path, spacing_known=True) for path in files)
    return _References(options.labels.name, options.classes or _table(files), items, patients_known=False)


def _of_dataset(options: EvaluateOptions, manifest: Manifest) -> _References:
    if options.classes:
        raise ConfigError("the dataset has its own class table", where="--classes")
    index = _prediction_index(options.predictions, manifest)
    asked: set[str | None] | None = None
    if index is not None:
        asked = {case.case_id for case in index.cases} | {finding.case_id for finding in index.refused}
    items = tuple(
        _Reference(
            r.case_id, r.patient_id, options.labels / r.label.path, r.spacing == "known", r.label.sha256
        )
        for r in scored_records(options, manifest, asked)
        if r.label is not None
    )
    return _References(manifest.name, manifest.classes, items, patients_known=True)


def scored_records(
    options: EvaluateOptions, manifest: Manifest, asked: Collection[str | None] | None
) -> tuple[CaseRecord, ...]:
    """The labelled cases of the fold's held-out patients; without a fold, those that were asked for, None = all.

    Raises:
        LabelError: If there is none.
        SplitLeakageError: If one is a synthetic case.
    """
    records = [record for record in manifest.cases if record.label is not None]
    if options.fold is not None:
        held_out = set(read_splits(options.labels, manifest).fold(options.fold).held_out)
        records = [record for record in records if record.patient_id in held_out]
    elif asked is not None:
        records = [record for record in records if record.case_id in asked]
    if not records:
        raise LabelError(f"{manifest.name} holds no labelled case to score")
    for record in records:
        if record.origin is not Origin.REAL:
            what = f"{record.origin} case is about to be scored"
            raise SplitLeakageError(what, where=record.case_id, expected="real cases only")
    return tuple(records)


def _prediction_index(predictions: Path, manifest: Manifest) -> PredictionIndex | None:
    """What `medaug predict` says it labelled, where the predictions are its own and of this very dataset."""
    if not (predictions / PREDICTIONS).is_file():
        return None
    index = PredictionIndex.read(predictions / PREDICTIONS)
    return index if index.dataset_sha256 == manifest.content_sha256 else None


def _table(files: Sequence[Path]) -> tuple[str, ...]:
    """Names for the ids that the references hold."""
    highest = max(int(read_label(path, where=stem(path)).array.max()) for path in files)
    if highest < 1:
        raise LabelError("no reference holds any label", where="LABELS", hint="name the --classes")
    return tuple(f"label_{n}" for n in range(1, highest + 1))
