"""The error tree: one line each, the documented exit codes, and safe to send between processes."""

import pickle

import pytest

from medaug.core import errors


def every_error() -> list[type[errors.MedaugError]]:
    """All concrete and abstract errors of the tree."""
    found, queue = [], [errors.MedaugError]
    while queue:
        kind = queue.pop()
        found.append(kind)
        queue.extend(kind.__subclasses__())
    return found


def test_line_holds_where_what_expected_and_hint_on_one_line() -> None:
    error = errors.GeometryError(
        "label has\n3 slices", where="case_0001", expected="4 slices", hint="export it again."
    )
    assert str(error) == "case_0001: label has 3 slices; expected 4 slices; export it again"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.ConfigError, 2),
        (errors.UnreadableError, 3),
        (errors.GeometryError, 3),
        (errors.LabelError, 3),
        (errors.SplitLeakageError, 3),
        (errors.DependencyError, 4),
        (errors.DivergedError, 5),
        (errors.CollapsedError, 5),
        (errors.OverfittedError, 5),
        (errors.CheckpointError, 5),
        (errors.GateRefusedError, 6),
        (errors.BudgetExceededError, 6),
        (errors.IdentifierError, 6),
        (errors.StorageError, 7),
        (errors.InterruptedRunError, 130),
    ],
)
def test_exit_codes(kind: type[errors.MedaugError], code: int) -> None:
    assert kind("x").exit_code == code


@pytest.mark.parametrize("kind", every_error())
def test_errors_survive_pickling(kind: type[errors.MedaugError]) -> None:
    error = kind("what", where="w", expected="e", hint="h")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error)
    assert again.hint == "h"
