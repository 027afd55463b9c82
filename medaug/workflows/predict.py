"""``medaug predict``: label scans with a trained run or an ensemble of runs, each on its own grid."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, final

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
from medaug.core.errors import ConfigError, DataError
from medaug.core.geometry import Grid
from medaug.core.results import Finding, PredictedCase, PredictionIndex, Summary
from medaug.core.runs import RUN_FILE, Progress, RunRecord, finished, open_run
from medaug.core.splits import Fold, read_splits
from medaug.core.storage import require_free_space, sha256_file, sha256_text
from medaug.core.volume import Labels, Unit
from medaug.core.wording import counted
from medaug.io.dataset import load_case
from medaug.io.nifti import read_label, write_label, write_volume
from medaug.io.scans import ScanFiles, find_scans, read_scan
from medaug.layouts.dicom import write_prediction
from medaug.tasks.base import WEIGHTS, Ensemble, Model, load_model
from medaug.workflows.train import STEP as TRAIN_STEP

STEP = "predict"
_CASE_BYTES, _CONFIDENCE_BYTES = 4 << 20, 64 << 20


@final
class PredictOptions(Frozen):
    """Options of `medaug predict`."""

    run: Path = Field(description="run folder of `medaug train`")
    further: tuple[Path, ...] = Field(
        default=(), description="further runs: the mean of the probabilities of all of them decides"
    )
    source: Path = Field(description="dataset folder, NIfTI file or folder, or DICOM folder")
    out: Path
    format: Literal["nifti", "dicom-seg"] = "nifti"
    cases: Literal["auto", "held-out", "all"] = "auto"
    confidence: bool = Field(
        default=False, description="write CASE_confidence.nii.gz, too: the probability of each given label"
    )
    device: str = "auto"
    strict: bool = Field(default=False, description="a single refused case is an error")
    lesions: Path | None = Field(
        default=None,
        description="folder of CASE.nii.gz whose lesions a classifier judges; default: SRC's labels",
    )

    @property
    def runs(self) -> tuple[Path, ...]:
        """All run folders."""
        return (self.run, *self.further)


@final
class PredictSummary(Summary):
    """What was labelled."""

    out: Path
    n_cases: int
    n_refused: int
    held_out: bool
    notes: tuple[str, ...]
    skipped: bool

    def lines(self) -> tuple[str, ...]:
        """The result in short lines."""
        which = counted(self.n_cases, "held-out case" if self.held_out else "case")
        refused = (f"{self.n_refused} refused, see {PREDICTIONS}",) if self.n_refused else ()
        done = " (done before)" if self.skipped else ""
        return (f"{which} labelled in {self.out}{done}", *refused, *self.notes)


@final
class _Settings(Frozen):
    """What makes a prediction the same prediction."""

    format: Literal["nifti", "dicom-seg"]
    cases: Literal["auto", "held-out", "all"]
    confidence: bool


class _Cases(Protocol):
    """The cases of a source, read and answered one by one."""

    kind: Literal["dataset", "nifti", "dicom"]
    dataset_sha256: str | None
    fold: int | None
    held_out: bool
    notes: tuple[str, ...]

    @property
    def case_ids(self) -> tuple[str, ...]:
        """All of them."""
        ...

    @property
    def sha256(self) -> str:
        """Of everything that is read."""
        ...

    def label(self, case_id: str, model: Model, answers: _Answers) -> PredictedCase:
        """Label one case and write the answer."""
        ...


@final
@dataclass(frozen=True, slots=True)
class _Answers:
    """The folder of answers, and whether confidences go with them."""

    folder: Path
    confidence: bool

    def written(self, case_id: str) -> Labels | None:
        """Labels that were written whole before an interruption; they are written last."""
        path = self.folder / f"{case_id}.nii.gz"
        return read_label(path).array if path.is_file() else None

    def write_confidence(self, case_id: str, confidence: np.ndarray | None, grid: Grid) -> None:
        """Write the probability of each label, where that is wanted and known."""
        if self.confidence and confidence is not None:
            write_volume(self.folder / f"{case_id}{CONFIDENCE_END}", confidence, grid)


def predict(options: PredictOptions, progress: Progress) -> PredictSummary:
    """Label the held-out patients of the run's own dataset, or all scans of any other source.

    A case that cannot be read is refused by name and the rest go on.

    Raises:
        ConfigError: If options do not fit each other or ``out`` holds another run.
        DataError: If no case could be labelled, or, with ``strict``, one could not.
        CheckpointError: If the run holds no finished model.
    """
    if options.lesions is not None:
        raise ConfigError(
            "the run finds its lesions itself", where="--lesions", expected="a classifier's run"
        )
    model, members = _load_models(options)
    model_sha256 = members[0] if len(members) == 1 else sha256_text("\n".join(members))
    cases = _open_source(options, model)
    settings = _Settings(format=options.format, cases=options.cases, confidence=options.confidence)
    inputs = {"model": model_sha256, "source": cases.sha256}
    skipped = finished(options.out, STEP, settings, inputs)
    if not skipped:
        bytes_each = _CASE_BYTES + (_CONFIDENCE_BYTES if options.confidence else 0)
        require_free_space(options.out, len(cases.case_ids) * bytes_each)
        with open_run(options.out, STEP, settings, inputs):
            answers = _Answers(options.out, options.confidence)
            done, refused = _label_all(cases, model, answers, progress)
            index = PredictionIndex(
                model_sha256=model_sha256,
                members_sha256=members if len(members) > 1 else (),
                source=cases.kind,
                dataset_sha256=cases.dataset_sha256,
                fold=cases.fold,
                classes=model.classes,
                cases=done,
                refused=refused,
            )
            index.write(options.out / PREDICTIONS)
    index = PredictionIndex.read(options.out / PREDICTIONS)
    if options.strict and index.refused:
        refusals = counted(len(index.refused), "refusal")
        raise DataError(f"{refusals} under --strict, the first: {_named(index.refused[0])}")
    return PredictSummary(
        out=options.out,
        n_cases=len(index.cases),
        n_refused=len(index.refused),
        held_out=cases.held_out,
        notes=cases.notes,
        skipped=skipped,
    )


def _load_models(options: PredictOptions) -> tuple[Model, tuple[str, ...]]:
    """The model or ensemble, and the hashes of all weights; their order on the command line changes nothing."""
    by_hash: dict[str, Path] = {}
    for run in options.runs:
        model_path = run / WEIGHTS
        if not model_path.is_file():
            load_model(run, options.device)  # says what is missing
        if by_hash.setdefault(sha256_file(model_path), run) is not run:
            raise ConfigError(f"{run} holds the same model as another run", where="--with")
    members = tuple(sorted(by_hash))
    models = [load_model(by_hash[sha256], options.device) for sha256 in members]
    return (models[0] if len(models) == 1 else Ensemble(models)), members


def _label_all(
    cases: _Cases, model: Model, answers: _Answers, progress: Progress
) -> tuple[tuple[PredictedCase, ...], tuple[Finding, ...]]:
    done, refused = [], []
    progress.start("label", len(cases.case_ids))
    for case_id in cases.case_ids:
        try:
            done.append(cases.label(case_id, model, answers))
        except DataError as error:
            bare = DataError(error.what, expected=error.expected, hint=error.hint).line()
            refused.append(Finding(code="not-labelled", severity="refused", case_id=case_id, message=bare))
            progress.say(f"refused: {case_id}: {bare}")
        progress.advance()
    if not done:
        raise DataError(f"no case could be labelled, the first: {_named(refused[0])}")
    return tuple(done), tuple(refused)


def _named(finding: Finding) -> str:
    return f"{finding.case_id}: {finding.message}"


def _open_source(options: PredictOptions, model: Model) -> _Cases:
    if (options.source / MANIFEST).is_file():
        if options.format == "dicom-seg":
            hint = "name the DICOM folder itself, or use --format nifti"
            raise ConfigError("a dataset folder holds no DICOM series", where="--format", hint=hint)
        return _dataset_cases(options)
    if options.cases == "held-out":
        raise ConfigError(
            "only the run's own dataset has held-out patients", where="--cases", expected="auto or all"
        )
    scans = find_scans(options.source, len(model.scheme.channels))
    if options.format == "dicom-seg" and not scans[0].is_dicom:
        raise ConfigError("DICOM SEG refers to a DICOM series", where="--format", hint="use --format nifti")
    return _ForeignCases(scans, options.format, model.scheme.unit)


@final
class _DatasetCases:
    """Cases of a dataset folder."""

    kind: Literal["dataset", "nifti", "dicom"] = "dataset"

    def __init__(self, dataset: Path, manifest: Manifest, chosen: ChosenCases) -> None:
        self._dataset, self._manifest = dataset, manifest
        self._records = {record.case_id: record for record in chosen.records}
        self.dataset_sha256: str | None = manifest.content_sha256
        self.fold, self.held_out, self.notes = chosen.fold, chosen.held_out, chosen.notes

    @property
    def case_ids(self) -> tuple[str, ...]:
        return tuple(self._records)

    @property
    def sha256(self) -> str:
        return sha256_text("\n".join((self._manifest.content_sha256, *self._records)))

    def label(self, case_id: str, model: Model, answers: _Answers) -> PredictedCase:
        record, file = self._records[case_id], f"{case_id}.nii.gz"
        labels = answers.written(case_id)
        if labels is None:
            case = load_case(self._dataset, record, self._manifest.classes)
            found = model.predict_with_confidence(case.volume)
            labels = found.label_map.labels
            answers.write_confidence(case_id, found.confidence, case.volume.grid)
            write_label(answers.folder / file, labels, case.volume.grid)
        return _predicted(case_id, record.patient_id, file, labels, model.classes)


@final
@dataclass(frozen=True, slots=True)
class ChosenCases:
    """Which cases of a dataset are answered.

    Attributes:
        records: Of the cases.
        fold: Of the run; None where they are not the held-out patients of one fold.
        held_out: Whether no run was trained on any of their patients, in this dataset.
        notes: What a reader must know.
    """

    records: tuple[CaseRecord, ...]
    fold: int | None
    held_out: bool
    notes: tuple[str, ...]


def chosen_cases(options: PredictOptions, manifest: Manifest) -> ChosenCases:
    """The held-out cases where the dataset is the runs' own, else all real ones.

    Raises:
        ConfigError: If held-out cases are asked for and nobody can tell them, or there are none.
        DataError: If there is no real case, or the dataset was split anew.
    """
    folds = [fold for run in options.runs if (fold := _own_fold(run, options.source, manifest)) is not None]
    if options.cases == "held-out" and not folds:
        hint = "name the dataset it was trained on, or use --cases all"
        raise ConfigError("the run was not trained on this dataset", where="--cases", hint=hint)
    held_out = bool(folds) and options.cases != "all"
    allowed = _unseen(folds, manifest) if held_out else set(manifest.patient_ids)
    records = tuple(
        record for record in manifest.cases if record.origin is Origin.REAL and record.patient_id in allowed
    )
    if not records:
        raise DataError(f"{options.source.name} holds no real case to label")
    trained = {patient for fold in folds for patient in fold.train}
    seen = sum(record.patient_id in trained for record in records)
    notes = (f"{seen} of these cases belong to training patients: do not score them",) if seen else ()
    one_fold = held_out and len({fold.index for fold in folds}) == 1
    return ChosenCases(records, folds[0].index if one_fold else None, held_out, notes)


def _unseen(folds: Sequence[Fold], manifest: Manifest) -> Set[str]:
    """The patients that all runs held out; for runs of several folds the test patients, whom none of them saw.

    Raises:
        ConfigError: If every patient was trained on by one of them.
    """
    held_out = frozenset.intersection(*(frozenset(fold.held_out) for fold in folds))
    unseen = held_out or frozenset(manifest.patient_ids).difference(*(fold.train for fold in folds))
    if not unseen:
        hint = "take runs of one fold, or use --cases all and do not score the answers"
        raise ConfigError("every patient was trained on by one of the runs", where="--with", hint=hint)
    return unseen


def _dataset_cases(options: PredictOptions) -> _DatasetCases:
    manifest = read_manifest(options.source)
    return _DatasetCases(options.source, manifest, chosen_cases(options, manifest))


def _own_fold(run: Path, dataset: Path, manifest: Manifest) -> Fold | None:
    """The fold that a run was trained on, if it was trained on this very dataset.

    Raises:
        DataError: If the dataset was split anew since.
    """
    if not (run / RUN_FILE).is_file():
        return None
    record = RunRecord.read(run / RUN_FILE)
    index = record.config.get("fold")
    if record.inputs.get("dataset") != manifest.content_sha256 or not isinstance(index, int):
        return None
    fold = read_splits(dataset, manifest).fold(index)
    if record.step == TRAIN_STEP and record.inputs.get("fold") != fold.scope_sha256:
        hint = "train again; nobody can tell which patients were held out"
        raise DataError("the dataset was split anew since this training", hint=hint)
    return fold


@final
class _ForeignCases:
    """NIfTI files or DICOM series that belong to no dataset."""

    dataset_sha256: str | None = None
    fold: int | None = None
    held_out = False

    def __init__(self, scans: Sequence[ScanFiles], output: Literal["nifti", "dicom-seg"], unit: Unit) -> None:
        self._scans = {files.case_id: files for files in scans}
        self._output = output
        self.kind: Literal["dataset", "nifti", "dicom"] = "dicom" if scans[0].is_dicom else "nifti"
        taken = f"NIfTI does not name its unit: values were taken as {unit}"
        self.notes: tuple[str, ...] = () if scans[0].is_dicom else (taken,)

    @property
    def case_ids(self) -> tuple[str, ...]:
        return tuple(self._scans)

    @property
    def sha256(self) -> str:
        return sha256_text("\n".join(f"{files.case_id} {files.sha256}" for files in self._scans.values()))

    def label(self, case_id: str, model: Model, answers: _Answers) -> PredictedCase:
        files, file = self._scans[case_id], f"{case_id}.nii.gz"
        labels = answers.written(case_id)
        if labels is not None:
            return _predicted(case_id, None, file, labels, model.classes)
        scan = read_scan(files, model.scheme.channels, model.scheme.unit)
        found = model.predict_with_confidence(scan.volume)
        label_map = found.label_map
        written: str | None = file
        if found.confidence is not None:
            answers.write_confidence(case_id, scan.stored(found.confidence), scan.stored_grid)
        if self._output == "nifti" or scan.series is None:
            write_label(answers.folder / file, scan.stored(label_map.labels), scan.stored_grid)
        else:
            seg = answers.folder / f"{case_id}.dcm"
            written = seg.name if write_prediction(label_map, scan.series, files.files, seg) else None
        return _predicted(case_id, None, written, label_map.labels, model.classes)


def _predicted(
    case_id: str, patient_id: str | None, file: str | None, labels: Labels, classes: tuple[str, ...]
) -> PredictedCase:
    counts = np.bincount(labels.ravel(), minlength=len(classes) + 1)[1:]
    voxels = {name: int(count) for name, count in zip(classes, counts, strict=True)}
    return PredictedCase(case_id=case_id, patient_id=patient_id, file=file, voxels=voxels)
