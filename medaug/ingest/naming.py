"""``--class-map``, and the class of every segment and region that an annotation declares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, final

from medaug.core.errors import ConfigError, LabelError
from medaug.core.findings import Code
from medaug.ingest.sources import ClassId, LabelSource, SourceCase
from medaug.io.drawings import Declared

# What a name is mapped to that is to be left out
BACKGROUND: Final = "background"


@final
@dataclass(frozen=True, slots=True)
class Term:
    """A name, or a coded term such as ``SCT:4147007``, and the class that it stands for."""

    key: str
    name: str


@final
@dataclass(frozen=True, slots=True)
class ClassMap:
    """What ``--class-map`` says: of the ids of label maps, and of the names and codes of segments and regions."""

    ids: tuple[ClassId, ...] = ()
    terms: tuple[Term, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that names and codes stand for, in the order of the map."""
        return tuple(dict.fromkeys(term.name for term in self.terms if term.name != BACKGROUND))

    def class_of(self, item: Declared) -> str | None:
        """The class of a segment: by its name, else by its code, else where it is called as a class is; None if unknown."""
        meant = {term.key: term.name for term in self.terms}
        for key in (item.name, *item.codes):
            if key in meant:
                return meant[key]
        return item.name if item.name in self.classes else None


def parse_class_map(text: str) -> ClassMap:
    """``"1=solid,2=ground_glass"`` for label maps, ``"GTV=mass,SCT:4147007=mass,Body=background"`` for segments.

    Raises:
        ConfigError: If it is not of that form, an id or a name stands twice, or two ids mean one class.
    """
    ids, terms = [], []
    for part in text.split(","):
        key, sign, name = (piece.strip() for piece in part.partition("="))
        if not sign or not name or not key or (key.isdecimal() and int(key) < 1):
            raise ConfigError(
                f"{part.strip()!r} maps no label",
                where="--class-map",
                expected="such as 1=solid,2=other, or GTV=mass",
            )
        name = BACKGROUND if name.lower() == BACKGROUND else name
        if key.isdecimal():
            ids.append(ClassId(int(key), name))
        else:
            terms.append(Term(key, name))
    kept = [pair.name for pair in ids if pair.name != BACKGROUND]
    twice = len({pair.label_id for pair in ids}) < len(ids) or len({term.key for term in terms}) < len(terms)
    if twice or len(set(kept)) < len(kept):
        raise ConfigError("an id or a name stands twice", where="--class-map")
    return ClassMap(tuple(sorted(ids, key=lambda pair: pair.label_id)), tuple(terms))


def name_segments(case: SourceCase, label: LabelSource, class_map: ClassMap) -> SourceCase:
    """Give every segment and region of a case its class: of ``cases.csv``, else of the class map, else its own name.

    A case with a name that cannot be told is refused; a segment that is mapped to ``background`` is left out.

    Args:
        case: With the classes of its row, if any; ``label_ids`` are then the numbers of segments.
        label: Its label, whose drawings are read.
        class_map: Of the command line.
    """
    stated = {pair.label_id: pair.name for pair in case.classes}
    tables: list[tuple[ClassId, ...]] = []
    try:
        for drawing in label.drawings:
            named = [(item.number, _class_of(item, stated, class_map)) for item in drawing.declared]
            tables.append(tuple(ClassId(number, name) for number, name in named if name != BACKGROUND))
    except LabelError as error:
        return replace(case, classes=(), problem=error.line(), problem_code=error.code)
    classes = tuple(pair for pair in case.classes if pair.name.lower() != BACKGROUND)
    classes = classes if case.classes else _classes(tables, class_map)
    return replace(case, label=replace(label, tables=tuple(tables)), classes=classes)


def _class_of(item: Declared, stated: dict[int, str], class_map: ClassMap) -> str:
    which = f"segment {item.number}"
    if stated or class_map.terms:
        name = stated.get(item.number) if stated else class_map.class_of(item)
        where = "lesion_classes and label_ids" if stated else "--class-map"
        if name is None:
            raise LabelError(
                f"{which} has a name or number that {where} does not hold",
                hint=f"name it there, or leave it out as {BACKGROUND}",
                code=Code.LABEL_NAME_UNKNOWN,
            )
        return BACKGROUND if name.lower() == BACKGROUND else name
    if not item.name or not item.name.isprintable() or item.name.lower() == BACKGROUND:
        raise LabelError(
            f"{which} has no name that a class can have",
            hint=f"name it with --class-map, or leave it out as {BACKGROUND}",
            code=Code.LABEL_NAME_UNKNOWN,
        )
    return item.name


def _classes(tables: Sequence[Sequence[ClassId]], class_map: ClassMap) -> tuple[ClassId, ...]:
    """Each class once, with the number that puts it in its place of the class table."""
    order = {name: number for number, name in enumerate(class_map.classes, start=1)}
    first: dict[str, int] = {}
    for pair in (pair for table in tables for pair in table):
        number = order.get(pair.name, pair.label_id)
        first[pair.name] = min(first.get(pair.name, number), number)
    return tuple(ClassId(number, name) for name, number in first.items())
