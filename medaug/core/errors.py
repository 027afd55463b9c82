"""The error tree: every failure a user can meet, with its exit code."""

from __future__ import annotations

from typing import Any, ClassVar, Self, final


class MedaugError(Exception):
    """Base of all errors that medaug raises on purpose.

    Args:
        what: What is wrong, in one clause; a path that the user named is said as it was given, one of scans is not said.
        where: Pseudonymous case id or configuration key it concerns.
        expected: What was expected against what was found.
        hint: What the user can do next.
        code: Code of the finding it becomes where one case is refused and the others go on (:mod:`medaug.core.findings`).
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self, what: str, *, where: str = "", expected: str = "", hint: str = "", code: str = ""
    ) -> None:
        self.what, self.where, self.expected, self.hint, self.code = what, where, expected, hint, code
        super().__init__(self.line())

    def line(self) -> str:
        """The whole error as one line: where, what, expected, what to do."""
        parts = [f"{self.where}: {self.what}" if self.where else self.what]
        parts += [f"expected {self.expected}"] if self.expected else []
        parts += [self.hint] if self.hint else []
        return "; ".join(part.strip().rstrip(".") for part in parts).replace("\n", " ")

    def located(self, where: str, *, part: str = "", hint: str = "") -> Self:
        """The same error with another ``where``: ``part`` goes before what is wrong, ``hint`` replaces the old one."""
        what = f"{part}: {self.what}" if part else self.what
        return type(self)(what, where=where, expected=self.expected, hint=hint or self.hint, code=self.code)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with the keyword arguments, so that worker processes can raise it."""
        return (_rebuild, (type(self), self.what, self.where, self.expected, self.hint, self.code))


def _rebuild(*parts: Any) -> MedaugError:  # noqa: ANN401
    kind, what, where, expected, hint, code = parts
    error: MedaugError = kind(what, where=where, expected=expected, hint=hint, code=code)
    return error


@final
class ConfigError(MedaugError):
    """A configuration file, option or combination of options is wrong."""

    exit_code = 2


class DataError(MedaugError):
    """The data cannot be used as they are."""

    exit_code = 3


@final
class UnreadableError(DataError):
    """A file cannot be decoded."""


@final
class GeometryError(DataError):
    """Grids, affines or spacings do not agree or make no sense."""


@final
class LabelError(DataError):
    """A label map is missing, empty, or holds ids that its table does not name."""


@final
class SplitLeakageError(DataError):
    """Training and evaluation share a patient, or a synthetic case is being evaluated."""


@final
class DependencyError(MedaugError):
    """An optional package is needed and not installed."""

    exit_code = 4


class TrainingError(MedaugError):
    """A training run cannot go on."""

    exit_code = 5


@final
class DivergedError(TrainingError):
    """A loss is not finite, or grows out of all bounds."""


@final
class CollapsedError(TrainingError):
    """A generator makes the same lesion again and again."""


@final
class OverfittedError(TrainingError):
    """A discriminator has memorised its training lesions and teaches nothing more."""


@final
class CheckpointError(TrainingError):
    """A checkpoint is corrupt or belongs to another configuration."""


class PrivacyError(MedaugError):
    """Something that must not be released would be."""

    exit_code = 6


@final
class GateRefusedError(PrivacyError):
    """A release, or its verification, failed; the line lists the reasons."""


@final
class BudgetExceededError(PrivacyError):
    """A training would tell more of its patients than it promised."""


@final
class IdentifierError(PrivacyError):
    """A patient identifier stands where none may stand."""


@final
class StorageError(MedaugError):
    """The disk is full, or a path may not be read or written."""

    exit_code = 7


class NetworkError(MedaugError):
    """An archive does not let us in, or what it answers makes no sense."""

    exit_code = 8


@final
class UnreachableError(NetworkError):
    """An archive does not answer in time or broke off; the same command again goes on."""


@final
class InterruptedRunError(MedaugError):
    """The user stopped the run; it can be resumed."""

    exit_code = 130
