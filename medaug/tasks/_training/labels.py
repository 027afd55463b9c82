"""Checks of the label maps of training cases."""

from __future__ import annotations

from collections.abc import Sequence

from medaug.core.case import Case
from medaug.core.errors import LabelError
from medaug.core.volume import LabelMap


def checked_labels(case: Case, classes: tuple[str, ...]) -> LabelMap:
    """The label map of a case.

    Raises:
        LabelError: If it has none, or one with another class table.
    """
    if case.label_map is None:
        raise LabelError(
            "case has no label map", where=case.case_id, hint="leave it out of the training cases"
        )
    if case.label_map.class_names != classes:
        found = ", ".join(case.label_map.class_names)
        raise LabelError(f"label map names {found}", where=case.case_id, expected=", ".join(classes))
    return case.label_map


def require_every_class(classes: tuple[str, ...], held: Sequence[int]) -> None:
    """Refuse training cases that lack a class.

    Args:
        classes: The class table.
        held: Cases that hold each class.

    Raises:
        LabelError: If there is no lesion, or a class has none.
    """
    missing = [name for name, count in zip(classes, held, strict=True) if not count]
    if len(missing) == len(classes):
        raise LabelError("no lesion in the training cases", hint="choose another fold or add annotations")
    if missing:
        hint = "choose another fold, annotate more patients, or ingest without that class"
        raise LabelError(f"no training case holds {', '.join(missing)}", hint=hint)
