"""``medaug evaluate``: predictions of any tool against reference label maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from pydantic import Field

from medaug.core.case import MANIFEST, PREDICTIONS, Manifest, Origin, read_manifest
from medaug.core.config import Frozen
from medaug.core.errors import ConfigError, DataError, LabelError, SplitLeakageError, UnreadableError
from medaug.core.results import ArmScore, DiceRow, EvaluationResult, PredictionIndex, Summary
from medaug.core.runs import Progress
from medaug.core.seeding import SeedTree
from medaug.core.splits import read_splits
from medaug.core.storage import clear_leftovers, require_free_space
from medaug.core.volume import LabelMap
from medaug.core.wording import counted
from medaug.experiments.metrics import score_case
from medaug.experiments.scores import summarise
from medaug.io.nifti import is_nifti, read_label, stem

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
    allow_missing: bool = Field(default=False, description="score a missing prediction as an empty one")


@final
class EvaluateSummary(Summary):
    """What was scored."""

    out: Path
    n_cases: int
    missing: tuple[str, ...]
    unmatched: int
    scores: tuple[ArmScore, ...]

    def lines(self) -> tuple[str, ...]:
        """Mean Dice a class."""
        rows = tuple(
            f"{s.class_name}: Dice {s.mean_dice:.3f} ({s.ci_low:.3f} to {s.ci_high:.3f}), {counted(s.n_patients, 'patient')}"
            for s in self.scores
        )
        missing = (f"{len(self.missing)} missing predictions scored as empty",) if self.missing else ()
        unmatched = (
            (f"{self.unmatched} predictions without a reference were not scored",) if self.unmatched else ()
        )
        none = "no reference holds a lesion, so there is no Dice: false positives stand in the file"
        head = f"{counted(self.n_cases, 'case')} scored, {self.out}"
        return (head, *(rows or (none,)), *missing, *unmatched)


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
    found = _label_files(options.predictions, "PREDICTIONS")
    predictions = {stem(path): path for path in found}
    wanted = {item.case_id for item in references.items}
    missing = tuple(sorted(wanted - predictions.keys()))
    if missing and not options.allow_missing:
        named = ", ".join(missing[:5]) + (" ..." if len(missing) > 5 else "")
        raise DataError(
            f"{len(missing)} of {len(wanted)} cases have no prediction: {named}",
            hint="predict them too, choose a --fold, or use --allow-missing to score them as empty",
        )
    progress.start("scoring", len(references.items))
    rows: list[DiceRow] = []
    for item in references.items:
        rows += _score(item, predictions.get(item.case_id), references.classes)
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
    )


def _score(item: _Reference, prediction: Path | None, classes: tuple[str, ...]) -> list[DiceRow]:
    reference = _read(item.path, item.case_id, classes, item.sha256)
    empty = LabelMap(np.zeros(reference.grid.shape, dtype=np.uint8), reference.grid, classes)
    answer = empty if prediction is None else _read(prediction, item.case_id, classes)
    try:
        scored = score_case(answer, reference, spacing_known=item.spacing_known)
    except DataError as error:
        raise error.located(item.case_id) from error
    return [
        DiceRow(
            arm=ARM,
            n_annotated=None,
            fold=0,
            seed=0,
            case_id=item.case_id,
            patient_id=item.patient_id,
            class_name=score.class_name,
            dice=score.dice,
            false_positive_voxels=score.false_positive_voxels,
            false_positive_lesions=score.false_positive_lesions,
            false_positive_mm3=score.false_positive_mm3,
        )
        for score in scored
    ]


def _read(path: Path, case_id: str, classes: tuple[str, ...], sha256: str | None = None) -> LabelMap:
    image = read_label(path, where=case_id)
    if sha256 is not None and image.sha256 != sha256:
        hint = "restore it, or make the dataset again in a new folder"
        raise UnreadableError("label is not the file the manifest describes", where=case_id, hint=hint)
    return LabelMap(image.array, image.grid, classes)


def _label_files(folder: Path, what: str) -> list[Path]:
    files = sorted(path for path in folder.iterdir() if is_nifti(path)) if folder.is_dir() else []
    if not files:
        raise DataError(f"{folder.name} holds no .nii.gz label map", where=what, expected="CASE.nii.gz files")
    return files


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
    records = [r for r in manifest.cases if r.label is not None]
    index = _prediction_index(options.predictions, manifest)
    if options.fold is None and index is not None:
        chosen = {case.case_id for case in index.cases} | {f.case_id for f in index.refused}
        records = [r for r in records if r.case_id in chosen]
    if options.fold is not None:
        held_out = set(read_splits(options.labels, manifest).fold(options.fold).held_out)
        records = [r for r in records if r.patient_id in held_out]
    for record in records:
        if record.origin is not Origin.REAL:
            what = f"{record.origin} case is about to be scored"
            raise SplitLeakageError(what, where=record.case_id, expected="real cases only")
    items = tuple(
        _Reference(
            r.case_id, r.patient_id, options.labels / r.label.path, r.spacing == "known", r.label.sha256
        )
        for r in records
        if r.label is not None
    )
    if not items:
        raise LabelError(f"{manifest.name} holds no labelled case to score")
    return _References(manifest.name, manifest.classes, items, patients_known=True)


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
