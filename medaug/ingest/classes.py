"""The class table of a dataset: names with consecutive ids, and how the ids of each file map onto them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from medaug.core.errors import DataError, LabelError
from medaug.core.findings import Code
from medaug.ingest.masks import WHITE, label_files
from medaug.ingest.naming import BACKGROUND, ClassMap, name_segments
from medaug.ingest.sources import ClassId, SourceCase
from medaug.io.images import read_label_file


def with_class_names(cases: Sequence[SourceCase], class_map: ClassMap) -> tuple[tuple[SourceCase, ...], bool]:
    """Give every labelled case a table of names.

    A case that names only some of its source's classes may hold the others too. Where a source names none, the class map
    does; without one, the ids in its files become ``class_1``, ``class_2``, ... Segments and regions are named one by one
    (:func:`medaug.ingest.naming.name_segments`).

    Returns:
        The cases, and whether names had to be made up.
    """
    made_up = False
    named: list[SourceCase] = []
    tables: dict[int, tuple[ClassId, ...]] = {}
    for number in sorted({case.source for case in cases}):
        of_source = [case for case in cases if case.source == number]
        # segments of SEG objects carry names of their own, which say nothing about label maps beside them
        of_source = [case for case in of_source if case.label is None or not case.label.drawings]
        tables[number] = _consistent(pair for case in of_source for pair in case.classes) or class_map.ids
        if not tables[number] and any(case.label is not None and not case.classes for case in of_source):
            tables[number] = tuple(ClassId(n, f"class_{n}") for n in _ids_in(of_source))
            made_up = made_up or bool(tables[number])
    for case in cases:
        if case.label is not None and case.label.drawings:
            named.append(name_segments(case, case.label, class_map))
            continue
        own = {pair.label_id for pair in case.classes}
        others = tuple(pair for pair in tables[case.source] if pair.label_id not in own)
        named.append(replace(case, classes=case.classes + others) if case.label is not None else case)
    return tuple(named), made_up


def _consistent(pairs: Iterable[ClassId]) -> tuple[ClassId, ...]:
    """The pairs once each, or nothing where an id has two names."""
    distinct = sorted(set(pairs), key=lambda pair: (pair.label_id, pair.name))
    return tuple(distinct) if len({pair.label_id for pair in distinct}) == len(distinct) else ()


def _ids_in(cases: Iterable[SourceCase]) -> list[int]:
    """The ids that label files hold; where pictures hold white alone, it is the first class."""
    ids: set[int] = set()
    kinds: set[str] = set()
    for case in cases:
        if case.label is None:
            continue
        kinds.add(case.label.kind)
        for path in label_files(case.label):
            try:
                ids.update(present_ids(read_label_file(path).labels))
            except DataError:
                # the case itself will be refused with the reason when it is read
                continue
    return [1] if ids == {WHITE} and kinds == {"picture"} else sorted(ids)


def present_ids(labels: np.ndarray) -> list[int]:
    """The label ids above 0 in an array, sorted."""
    return [int(n) for n in np.unique(labels[labels > 0])]


def class_table(cases: Sequence[SourceCase]) -> tuple[str, ...]:
    """The names of ids 1, 2, ... of the dataset.

    The sources' own ids are kept where each name has one id and the ids are consecutive; else names are ordered by their
    smallest id, then by name. What is called background is no class.

    Raises:
        LabelError: If a name is empty or holds control characters.
    """
    pairs = {pair for case in cases for pair in case.classes}
    smallest: dict[str, int] = {}
    for pair in sorted(pairs, key=lambda pair: pair.label_id):
        if pair.name.lower() != BACKGROUND:
            smallest.setdefault(pair.name, pair.label_id)
    for name in smallest:
        if not name.isprintable() or not name:
            raise LabelError(f"a class is called {name!r}", expected="a printable name")
    return tuple(sorted(smallest, key=lambda name: (smallest[name], name)))


def to_class_ids(labels: np.ndarray, table: Sequence[ClassId], class_names: Sequence[str]) -> np.ndarray:
    """Source label ids turned into ids of the dataset's class table, (I, J, K) uint8, or uint16 above 255 classes.

    Ids that the table calls background are left out.

    Raises:
        LabelError: If a voxel holds an id that the table does not name.
    """
    names = {pair.label_id: pair.name for pair in reversed(table)}
    present = present_ids(labels)
    if any(number not in names for number in present):
        raise LabelError(
            "label map holds an id that the class table does not name", code=Code.LABEL_ID_UNKNOWN
        )
    mapped = np.zeros(labels.shape, dtype=np.uint8 if len(class_names) < 256 else np.uint16)
    for number in present:
        if names[number].lower() != BACKGROUND:
            mapped[labels == number] = list(class_names).index(names[number]) + 1
    return mapped
