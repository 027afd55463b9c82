"""``medaug predict``: label scans with a trained run, each on its own grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, final

import numpy as np
from pydantic import Field

from medaug.core.case import MANIFEST, PREDICTIONS, CaseRecord, Manifest, Origin, read_manifest
from medaug.core.config import Frozen
from medaug.core.errors import ConfigError, DataError
from medaug.core.results import Finding, PredictedCase, PredictionIndex, Summary
from medaug.core.runs import RUN_FILE, Progress, RunRecord, finished, open_run
from medaug.core.splits import Fold, read_splits
from medaug.core.storage import require_free_space, sha256_file, sha256_text
from medaug.core.volume import Labels, Unit
from medaug.core.wording import counted
from medaug.io.dataset import load_case
from medaug.io.nifti import read_label, write_label
from medaug.io.scans import ScanFiles, find_scans, read_scan
from medaug.layouts.dicom import write_prediction
from medaug.tasks.base import WEIGHTS, Model, load_model
from medaug.workflows.train import STEP as TRAIN_STEP

STEP = "predict"
_CASE_BYTES = 4 << 20


@final
class PredictOptions(Frozen):
    """Options of `medaug predict`."""

    run: Path = Field(description="run folder of `medaug train`")
    source: Path = Field(description="dataset folder, NIfTI file or folder, or DICOM folder")
    out: Path
    format: Literal["nifti", "dicom-seg"] = "nifti"
    cases: Literal["auto", "held-out", "all"] = "auto"
    device: str = "auto"
    strict: bool = Field(default=False, description="a single refused case is an error")
    lesions: Path | None = Field(
        default=None,
        description="folder of CASE.nii.gz whose lesions a classifier judges; default: SRC's labels",
    )


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


class _Cases(Protocol):
    """The cases of a source, read and answered one by one."""

    kind: Literal["dataset", "nifti", "dicom"]
    dataset_sha256: str | None
    fold: int | None
    notes: tuple[str, ...]

    @property
    def case_ids(self) -> tuple[str, ...]:
        """All of them."""
        ...

    @property
    def sha256(self) -> str:
        """Of everything that is read."""
        ...

    def label(self, case_id: str, model: Model, out: Path) -> PredictedCase:
        """Label one case and write the answer."""
        ...


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
    model = load_model(options.run, options.device)
    model_sha256 = sha256_file(options.run / WEIGHTS)
    cases = _open_source(options, model)
    settings = _Settings(format=options.format, cases=options.cases)
    inputs = {"model": model_sha256, "source": cases.sha256}
    skipped = finished(options.out, STEP, settings, inputs)
    if not skipped:
        require_free_space(options.out, len(cases.case_ids) * _CASE_BYTES)
        with open_run(options.out, STEP, settings, inputs):
            done, refused = _label_all(cases, model, options.out, progress)
            index = PredictionIndex(
                model_sha256=model_sha256,
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
        held_out=index.fold is not None,
        notes=cases.notes,
        skipped=skipped,
    )


def _label_all(
    cases: _Cases, model: Model, out: Path, progress: Progress
) -> tuple[tuple[PredictedCase, ...], tuple[Finding, ...]]:
    done, refused = [], []
    progress.start("label", len(cases.case_ids))
    for case_id in cases.case_ids:
        try:
            done.append(cases.label(case_id, model, out))
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

    def __init__(
        self,
        dataset: Path,
        manifest: Manifest,
        records: Sequence[CaseRecord],
        fold: int | None,
        notes: tuple[str, ...],
    ) -> None:
        self._dataset, self._manifest = dataset, manifest
        self._records = {record.case_id: record for record in records}
        self.dataset_sha256: str | None = manifest.content_sha256
        self.fold, self.notes = fold, notes

    @property
    def case_ids(self) -> tuple[str, ...]:
        return tuple(self._records)

    @property
    def sha256(self) -> str:
        return sha256_text("\n".join((self._manifest.content_sha256, *self._records)))

    def label(self, case_id: str, model: Model, out: Path) -> PredictedCase:
        record, file = self._records[case_id], f"{case_id}.nii.gz"
        if (out / file).is_file():  # written whole before an interruption
            return _predicted(case_id, record.patient_id, file, read_label(out / file).array, model.classes)
        case = load_case(self._dataset, record, self._manifest.classes)
        label_map = model.predict(case.volume)
        write_label(out / file, label_map.labels, label_map.grid)
        return _predicted(case_id, record.patient_id, file, label_map.labels, model.classes)


@final
@dataclass(frozen=True, slots=True)
class ChosenCases:
    """Which cases of a dataset are answered.

    Attributes:
        records: Of the cases.
        fold: Of the run; None where they are not its held-out patients.
        notes: What a reader must know.
    """

    records: tuple[CaseRecord, ...]
    fold: int | None
    notes: tuple[str, ...]


def chosen_cases(options: PredictOptions, manifest: Manifest) -> ChosenCases:
    """The held-out cases where the dataset is the run's own, else all real ones.

    Raises:
        ConfigError: If held-out cases are asked for and nobody can tell them.
        DataError: If there is no real case, or the dataset was split anew.
    """
    fold = _own_fold(options, manifest)
    if options.cases == "held-out" and fold is None:
        hint = "name the dataset it was trained on, or use --cases all"
        raise ConfigError("the run was not trained on this dataset", where="--cases", hint=hint)
    held_out = fold is not None and options.cases != "all"
    records = tuple(
        record
        for record in manifest.cases
        if record.origin is Origin.REAL
        and (fold is None or not held_out or record.patient_id in fold.held_out)
    )
    if not records:
        raise DataError(f"{options.source.name} holds no real case to label")
    seen = sum(record.patient_id in fold.train for record in records) if fold is not None else 0
    notes = (f"{seen} of these cases belong to training patients: do not score them",) if seen else ()
    return ChosenCases(records, fold.index if fold and held_out else None, notes)


def _dataset_cases(options: PredictOptions) -> _DatasetCases:
    manifest = read_manifest(options.source)
    chosen = chosen_cases(options, manifest)
    return _DatasetCases(options.source, manifest, chosen.records, chosen.fold, chosen.notes)


def _own_fold(options: PredictOptions, manifest: Manifest) -> Fold | None:
    """The fold the run was trained on, if it was trained on this very dataset.

    Raises:
        DataError: If the dataset was split anew since.
    """
    if not (options.run / RUN_FILE).is_file():
        return None
    record = RunRecord.read(options.run / RUN_FILE)
    index = record.config.get("fold")
    if record.inputs.get("dataset") != manifest.content_sha256 or not isinstance(index, int):
        return None
    fold = read_splits(options.source, manifest).fold(index)
    if record.step == TRAIN_STEP and record.inputs.get("fold") != fold.scope_sha256:
        hint = "train again; nobody can tell which patients were held out"
        raise DataError("the dataset was split anew since this training", hint=hint)
    return fold


@final
class _ForeignCases:
    """NIfTI files or DICOM series that belong to no dataset."""

    dataset_sha256: str | None = None
    fold: int | None = None

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

    def label(self, case_id: str, model: Model, out: Path) -> PredictedCase:
        files, file = self._scans[case_id], f"{case_id}.nii.gz"
        if (out / file).is_file():  # written whole before an interruption
            return _predicted(case_id, None, file, read_label(out / file).array, model.classes)
        scan = read_scan(files, model.scheme.channels, model.scheme.unit)
        label_map = model.predict(scan.volume)
        written: str | None = file
        if self._output == "nifti" or scan.series is None:
            write_label(out / file, scan.stored_labels(label_map), scan.stored_grid)
        else:
            seg = f"{case_id}.dcm"
            written = seg if write_prediction(label_map, scan.series, files.files, out / seg) else None
        return _predicted(case_id, None, written, label_map.labels, model.classes)


def _predicted(
    case_id: str, patient_id: str | None, file: str | None, labels: Labels, classes: tuple[str, ...]
) -> PredictedCase:
    counts = np.bincount(labels.ravel(), minlength=len(classes) + 1)[1:]
    voxels = {name: int(count) for name, count in zip(classes, counts, strict=True)}
    return PredictedCase(case_id=case_id, patient_id=patient_id, file=file, voxels=voxels)
