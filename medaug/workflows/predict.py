"""``medaug predict``: label scans with a trained run or an ensemble of runs, each on its own grid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, final

import numpy as np
from pydantic import Field

from medaug.core.case import CONFIDENCE_END, MANIFEST, PREDICTIONS, Manifest, read_manifest
from medaug.core.config import Frozen
from medaug.core.errors import ConfigError, DataError
from medaug.core.findings import Finding
from medaug.core.geometry import Grid
from medaug.core.results import PredictedCase, PredictionIndex
from medaug.core.runs import Progress, finished, open_run
from medaug.core.storage import require_free_space, sha256_file, sha256_text
from medaug.core.summary import Summary
from medaug.core.volume import Labels
from medaug.core.wording import counted
from medaug.io.dataset import load_case
from medaug.io.nifti import read_label, write_label, write_volume
from medaug.layouts.dicom import write_prediction
from medaug.tasks.base import WEIGHTS, Ensemble, Model, load_model
from medaug.workflows._predict.cases import (
    ChosenCases,
    ForeignScans,
    Which,
    answer_each,
    check_strict,
    chosen_cases,
    named,
)

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
    cases: Which = "auto"
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
    cases: Which
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
    if options.strict:
        check_strict(index.refused)
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
    progress.start("label", len(cases.case_ids))
    done, refused = answer_each(
        cases.case_ids, lambda case_id: cases.label(case_id, model, answers), progress
    )
    if not done:
        raise DataError(f"no case could be labelled, the first: {named(refused[0])}")
    return done, refused


def _open_source(options: PredictOptions, model: Model) -> _Cases:
    if (options.source / MANIFEST).is_file():
        if options.format == "dicom-seg":
            hint = "name the DICOM folder itself, or use --format nifti"
            raise ConfigError("a dataset folder holds no DICOM series", where="--format", hint=hint)
        manifest = read_manifest(options.source)
        chosen = chosen_cases(options.runs, options.source, manifest, options.cases)
        return _DatasetCases(options.source, manifest, chosen)
    scans = ForeignScans.find(options.source, model.scheme, options.cases)
    if options.format == "dicom-seg" and not scans.is_dicom:
        raise ConfigError("DICOM SEG refers to a DICOM series", where="--format", hint="use --format nifti")
    return _ForeignCases(scans, options.format)


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
class _ForeignCases:
    """NIfTI files or DICOM series that belong to no dataset."""

    dataset_sha256: str | None = None
    fold: int | None = None
    held_out = False

    def __init__(self, scans: ForeignScans, output: Literal["nifti", "dicom-seg"]) -> None:
        self._scans, self._output = scans, output
        self.kind: Literal["dataset", "nifti", "dicom"] = "dicom" if scans.is_dicom else "nifti"
        self.case_ids, self.sha256, self.notes = scans.case_ids, scans.sha256, scans.notes

    def label(self, case_id: str, model: Model, answers: _Answers) -> PredictedCase:
        file = f"{case_id}.nii.gz"
        labels = answers.written(case_id)
        if labels is not None:
            return _predicted(case_id, None, file, labels, model.classes)
        scan = self._scans.read(case_id)
        found = model.predict_with_confidence(scan.volume)
        label_map = found.label_map
        written: str | None = file
        if found.confidence is not None:
            answers.write_confidence(case_id, scan.stored(found.confidence), scan.stored_grid)
        if self._output == "nifti" or scan.series is None:
            write_label(answers.folder / file, scan.stored(label_map.labels), scan.stored_grid)
        else:
            seg = answers.folder / f"{case_id}.dcm"
            written = (
                seg.name
                if write_prediction(label_map, scan.series, self._scans.files[case_id].files, seg)
                else None
            )
        return _predicted(case_id, None, written, label_map.labels, model.classes)


def _predicted(
    case_id: str, patient_id: str | None, file: str | None, labels: Labels, classes: tuple[str, ...]
) -> PredictedCase:
    counts = np.bincount(labels.ravel(), minlength=len(classes) + 1)[1:]
    voxels = {name: int(count) for name, count in zip(classes, counts, strict=True)}
    return PredictedCase(case_id=case_id, patient_id=patient_id, file=file, voxels=voxels)
