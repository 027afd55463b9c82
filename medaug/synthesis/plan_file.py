"""Reading a plan that a person may have edited: every line is held against the dataset, the fold and the bank."""

from __future__ import annotations

from pathlib import Path
from typing import final

from medaug.core.case import Manifest
from medaug.core.errors import DataError, MedaugError, SplitLeakageError
from medaug.core.plan import PlannedLesion, numbered_lines
from medaug.core.splits import Fold
from medaug.synthesis.donors import Donors


def read_plan(path: Path, manifest: Manifest, fold: Fold, donors: Donors) -> tuple[PlannedLesion, ...]:
    """The lesions of a plan.

    Args:
        path: ``plan.jsonl``.
        manifest: Of the dataset.
        fold: Hosts are cases of its training patients.
        donors: What the bank can draw.

    Raises:
        UnreadableError: If the file cannot be read.
        SplitLeakageError: If a host is of a patient outside the fold's training part.
        DataError: If the plan is empty or a line is broken; the message names line and key.
        ConfigError: If a class is not in the class table.
    """
    checks = _Checks(manifest, fold, donors)
    lines: dict[str, int] = {}
    planned: list[PlannedLesion] = []
    for number, lesion in numbered_lines(path, PlannedLesion):
        where = f"{path.name} line {number}"
        if lesion.case_id in lines:
            raise DataError(
                f"case_id: line {lines[lesion.case_id]} has {lesion.case_id} already", where=where
            )
        try:
            checks.check(lesion)
        except MedaugError as error:
            raise error.located(where) from None
        lines[lesion.case_id] = number
        planned.append(lesion)
    if not planned:
        raise DataError(f"{path.name} holds no lesion", hint="make a plan with --dry-run")
    return tuple(planned)


@final
class _Checks:
    """What a line must agree with."""

    def __init__(self, manifest: Manifest, fold: Fold, donors: Donors) -> None:
        self._hosts = {record.case_id: record for record in manifest.cases}
        self._fold, self._donors = fold, donors

    def check(self, lesion: PlannedLesion) -> None:
        """Raise an error that begins with the key that is wrong."""
        try:
            self._donors.require_class(lesion.class_name)
        except MedaugError as error:
            raise error.located("", part="class_name") from None
        host = self._hosts.get(lesion.host_case_id)
        if host is None:
            raise DataError(f"host_case_id: the dataset has no case {lesion.host_case_id}")
        if host.patient_id not in self._fold.train:
            raise SplitLeakageError(
                f"host_case_id: {host.patient_id} is no training patient of fold {self._fold.index}"
            )
        if not host.is_labelled_scan:
            raise DataError(f"host_case_id: {host.case_id} is no labelled real case")
        if lesion.use == "swap" and all(name == lesion.class_name for name in host.classes):
            raise DataError(
                f"use: {host.case_id} has no lesion of another class to turn into {lesion.class_name}"
            )
