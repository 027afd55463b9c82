"""How the reading of a case ends early: a refused finding on its way up, and which file an error is about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

from medaug.core.errors import DataError, UnreadableError
from medaug.core.findings import Code, Finding


@final
class RefusedError(Exception):
    """Carries the findings that end a case; never leaves this room."""

    def __init__(self, *findings: Finding) -> None:
        super().__init__(*(finding.code for finding in findings))
        self.findings = findings


def refuse(finding: Finding | None) -> None:
    """End the case where the finding refuses it.

    Raises:
        RefusedError: If it does.
    """
    if finding is not None and finding.severity == "refused":
        raise RefusedError(finding)


@contextmanager
def told(part: str, *kinds: type[DataError]) -> Iterator[None]:
    """Say which file of the case such an error is about; its name may identify the patient."""
    try:
        yield
    except kinds as error:
        raise error.located(error.where, part=part) from error


def require_same_file(stated: str, found: str) -> None:
    """Refuse a file that changed since its manifest was written.

    Raises:
        UnreadableError: If the hashes differ.
    """
    if stated and stated != found:
        raise UnreadableError("file is not the one the manifest describes", code=Code.FILE_CHANGED)
