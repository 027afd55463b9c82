"""The cases that ``medaug predict`` answers: those of a dataset folder that were held out, or scans that belong to none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar, final

from medaug.core.case import CaseRecord, Manifest, Origin
from medaug.core.errors import ConfigError, DataError
from medaug.core.findings import Finding
from medaug.core.intensity import IntensityScheme
from medaug.core.runs import RUN_FILE, Progress, RunRecord
from medaug.core.splits import Fold, read_splits
from medaug.core.storage import sha256_text
from medaug.core.wording import counted
from medaug.io.scans import ForeignScan, ScanFiles, find_scans, read_scan
from medaug.workflows.train import STEP as TRAIN_STEP

Which = Literal["auto", "held-out", "all"]
Answer = TypeVar("Answer")


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


def chosen_cases(runs: Sequence[Path], dataset: Path, manifest: Manifest, which: Which) -> ChosenCases:
    """The held-out cases where the dataset is the runs' own, else all real ones.

    Raises:
        ConfigError: If held-out cases are asked for and nobody can tell them, or there are none.
        DataError: If there is no real case, or the dataset was split anew.
    """
    folds = [fold for run in runs if (fold := _own_fold(run, dataset, manifest)) is not None]
    if which == "held-out" and not folds:
        hint = "name the dataset it was trained on, or use --cases all"
        raise ConfigError("the run was not trained on this dataset", where="--cases", hint=hint)
    held_out = bool(folds) and which != "all"
    allowed = _unseen(folds, manifest) if held_out else set(manifest.patient_ids)
    records = tuple(
        record for record in manifest.cases if record.origin is Origin.REAL and record.patient_id in allowed
    )
    if not records:
        raise DataError(f"{dataset.name} holds no real case to label")
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
@dataclass(frozen=True, slots=True)
class ForeignScans:
    """NIfTI files or DICOM series that belong to no dataset.

    Attributes:
        files: Of each scan, by the id of its case.
        scheme: Channels and unit of the model, which NIfTI files do not name.
    """

    files: Mapping[str, ScanFiles]
    scheme: IntensityScheme

    @staticmethod
    def find(source: Path, scheme: IntensityScheme, which: Which) -> ForeignScans:
        """The scans of a file or folder.

        Raises:
            ConfigError: If held-out cases are asked for.
            DataError: If there is no scan, or one lacks a channel.
        """
        if which == "held-out":
            raise ConfigError(
                "only the run's own dataset has held-out patients", where="--cases", expected="auto or all"
            )
        found = find_scans(source, len(scheme.channels))
        return ForeignScans({files.case_id: files for files in found}, scheme)

    @property
    def case_ids(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(self.files)

    @property
    def is_dicom(self) -> bool:
        """Whether they are DICOM series, which name their unit."""
        return any(files.is_dicom for files in self.files.values())

    @property
    def sha256(self) -> str:
        """Of all files."""
        return sha256_text("\n".join(f"{files.case_id} {files.sha256}" for files in self.files.values()))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know."""
        taken = f"NIfTI does not name its unit: values were taken as {self.scheme.unit}"
        return () if self.is_dicom else (taken,)

    def read(self, case_id: str) -> ForeignScan:
        """One scan; see :func:`medaug.io.scans.read_scan`."""
        return read_scan(self.files[case_id], self.scheme.channels, self.scheme.unit)


def answer_each(
    case_ids: Sequence[str], answer: Callable[[str], Answer], progress: Progress
) -> tuple[tuple[Answer, ...], tuple[Finding, ...]]:
    """The answers for all cases that can be read; the others are refused by name.

    Args:
        case_ids: The cases.
        answer: Answers one.
        progress: Told about each case.
    """
    answers: list[Answer] = []
    refused: list[Finding] = []
    for case_id in case_ids:
        try:
            answers.append(answer(case_id))
        except DataError as error:
            said = error.located("").line()
            refused.append(Finding(code="not-labelled", severity="refused", case_id=case_id, message=said))
            progress.say(f"refused: {case_id}: {said}")
        progress.advance()
    return tuple(answers), tuple(refused)


def check_strict(refused: Sequence[Finding]) -> None:
    """Under ``--strict``, raise DataError where a case was refused."""
    if refused:
        refusals = counted(len(refused), "refusal")
        raise DataError(f"{refusals} under --strict, the first: {named(refused[0])}")


def named(finding: Finding) -> str:
    """A refusal with its case."""
    return f"{finding.case_id}: {finding.message}"
