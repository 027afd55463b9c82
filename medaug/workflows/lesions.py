"""``medaug predict`` where the answer is a list of lesions: those a detector finds, or the classes of given ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal, Protocol, final

from pydantic import Field

from medaug.core.candidates import LESIONS, LesionList
from medaug.core.case import MANIFEST, Case, CaseRecord, Manifest, read_manifest
from medaug.core.config import Frozen
from medaug.core.errors import ConfigError, DataError, GeometryError, LabelError
from medaug.core.runs import Progress, finished, open_run
from medaug.core.storage import require_free_space, sha256_file, sha256_text
from medaug.core.summary import Summary
from medaug.core.volume import LabelMap
from medaug.core.wording import counted
from medaug.io.dataset import load_case
from medaug.io.nifti import read_label
from medaug.tasks.base import PLAN, TASK, WEIGHTS, LesionModel, answer_of, load_lesion_model
from medaug.workflows._predict.cases import (
    ChosenCases,
    ForeignScans,
    Which,
    answer_each,
    check_strict,
    chosen_cases,
    named,
)
from medaug.workflows.predict import STEP, PredictOptions, PredictSummary, predict

__all__ = ["LesionSummary", "PredictOptions", "answer", "list_lesions"]

_NEEDED_BYTES = 16 << 20


@final
class LesionSummary(Summary):
    """What was found or judged."""

    out: Path
    kind: Literal["classification", "detection"]
    n_cases: int
    n_lesions: int
    n_refused: int
    notes: tuple[str, ...]
    skipped: bool = Field(description="the folder held this answer already")

    def lines(self) -> tuple[str, ...]:
        """The result in short lines."""
        what = "lesion candidate" if self.kind == "detection" else "judged lesion"
        done = " (done before)" if self.skipped else ""
        refused = (f"{self.n_refused} refused, see {LESIONS}",) if self.n_refused else ()
        return (
            f"{counted(self.n_lesions, what)} in {counted(self.n_cases, 'case')}, {self.out / LESIONS}{done}",
            *refused,
            *self.notes,
        )


@final
class _Settings(Frozen):
    """What makes an answer the same answer."""

    cases: Which


def answer(options: PredictOptions, progress: Progress) -> PredictSummary | LesionSummary:
    """Answer with what the run was trained for: a label map a case, or one list of lesions.

    Raises:
        ConfigError: If options do not fit each other or ``out`` holds another run.
        DataError: If no case could be answered, or, with ``strict``, one could not.
        CheckpointError: If the run holds no finished model.
    """
    if answer_of(options.run) == "label maps":
        return predict(options, progress)
    return list_lesions(options, progress)


def list_lesions(options: PredictOptions, progress: Progress) -> LesionSummary:
    """Find or judge lesions and write ``lesions.json``; see :func:`answer`."""
    asked = {
        "--format": options.format != "nifti",
        "--confidence": options.confidence,
        "--with": bool(options.further),
    }
    for name, is_asked in asked.items():
        if is_asked:
            raise ConfigError("the run answers with a list of lesions", where=name, hint="leave it out")
    model = load_lesion_model(options.run, options.device)
    if options.lesions is not None and not model.judges_given_lesions:
        raise ConfigError(
            "the run finds its lesions itself", where="--lesions", expected="a classifier's run"
        )
    cases = _open_source(options, model)
    model_sha256 = sha256_file(options.run / WEIGHTS)
    how = options.run / (TASK if (options.run / TASK).is_file() else PLAN)
    inputs = {"model": model_sha256, "task": sha256_file(how), "source": cases.sha256}
    settings = _Settings(cases=options.cases)
    skipped = finished(options.out, STEP, settings, inputs)
    if not skipped:
        require_free_space(options.out, _NEEDED_BYTES)
        with open_run(options.out, STEP, settings, inputs):
            found = _judge_all(cases, model, progress)
            found.model_copy(update={"model_sha256": model_sha256}).write(options.out / LESIONS)
    answered = LesionList.read(options.out / LESIONS)
    if options.strict:
        check_strict(answered.refused)
    return LesionSummary(
        out=options.out,
        kind=answered.kind,
        n_cases=len(answered.case_ids),
        n_lesions=len(answered.lesions),
        n_refused=len(answered.refused),
        notes=cases.notes,
        skipped=skipped,
    )


class _Cases(Protocol):
    """The cases of a source, read one by one."""

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

    def load(self, case_id: str) -> Case:
        """Read one case, with the label map of its given lesions."""
        ...


def _judge_all(cases: _Cases, model: LesionModel, progress: Progress) -> LesionList:
    progress.start("look for lesions", len(cases.case_ids))
    answers, refused = answer_each(cases.case_ids, lambda case_id: model.judge(cases.load(case_id)), progress)
    if not answers:
        raise DataError(f"no case could be answered, the first: {named(refused[0])}")
    gone = {finding.case_id for finding in refused}
    lesions = [lesion for found in answers for lesion in found]
    if cases.dataset_sha256 is None:
        lesions = [lesion.model_copy(update={"patient_id": None}) for lesion in lesions]
    return LesionList(
        kind="classification" if model.judges_given_lesions else "detection",
        model_sha256="",
        dataset_sha256=cases.dataset_sha256,
        fold=cases.fold,
        classes=model.classes,
        case_ids=tuple(case_id for case_id in cases.case_ids if case_id not in gone),
        lesions=tuple(lesions),
        refused=refused,
    )


def _open_source(options: PredictOptions, model: LesionModel) -> _Cases:
    if (options.source / MANIFEST).is_file() or model.judges_given_lesions:
        manifest = read_manifest(options.source)
        given = (options.lesions or manifest) if model.judges_given_lesions else None
        chosen = chosen_cases(options.runs, options.source, manifest, options.cases)
        return _DatasetCases(options.source, manifest, chosen, given)
    return _ForeignCases(ForeignScans.find(options.source, model.scheme, options.cases))


@final
class _DatasetCases:
    """Cases of a dataset folder.

    Args:
        dataset: The folder.
        manifest: Its manifest.
        chosen: The cases.
        given: Where given lesions come from; None: there are none.
    """

    def __init__(
        self, dataset: Path, manifest: Manifest, chosen: ChosenCases, given: Path | Manifest | None
    ) -> None:
        self._dataset, self._manifest, self._given = dataset, manifest, given
        self._records = {r.case_id: r for r in chosen.records if _has_lesions(r, given)}
        if not self._records:
            raise LabelError(f"{dataset} has no labelled case to judge", hint="name label maps by --lesions")
        self.dataset_sha256: str | None = manifest.content_sha256
        self.fold, self.notes = chosen.fold, chosen.notes

    @property
    def case_ids(self) -> tuple[str, ...]:
        return tuple(self._records)

    @property
    def sha256(self) -> str:
        files = (
            [sha256_file(self._file(self._given, case_id)) for case_id in self._records]
            if isinstance(self._given, Path)
            else []
        )
        return sha256_text("\n".join((self._manifest.content_sha256, *self._records, *files)))

    def load(self, case_id: str) -> Case:
        case = load_case(self._dataset, self._records[case_id], self._manifest.classes)
        if isinstance(self._given, Manifest):
            return case
        label_map = None if self._given is None else self._read(self._given, case)
        return replace(case, label_map=label_map)

    def _read(self, folder: Path, case: Case) -> LabelMap:
        image = read_label(self._file(folder, case.case_id), where=case.case_id)
        if not image.grid.agrees_with(case.volume.grid):
            raise GeometryError("given lesions lie on another grid than the image", where=case.case_id)
        return LabelMap(image.array, image.grid, self._manifest.classes)

    @staticmethod
    def _file(folder: Path, case_id: str) -> Path:
        path = folder / f"{case_id}.nii.gz"
        if not path.is_file():
            raise LabelError(
                f"{folder} holds no {path.name}", where="--lesions", hint="predict that case, too"
            )
        return path


def _has_lesions(record: CaseRecord, given: Path | Manifest | None) -> bool:
    return not isinstance(given, Manifest) or record.label is not None


@final
class _ForeignCases:
    """NIfTI files or DICOM series that belong to no dataset."""

    dataset_sha256: str | None = None
    fold: int | None = None

    def __init__(self, scans: ForeignScans) -> None:
        self._scans = scans
        self.case_ids, self.sha256, self.notes = scans.case_ids, scans.sha256, scans.notes

    def load(self, case_id: str) -> Case:
        return Case(case_id, case_id, self._scans.read(case_id).volume, None)
