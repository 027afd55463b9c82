"""``cases.csv``: the hand-written list of cases, one row a case."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, final

from medaug.core.errors import DataError, LabelError, UnreadableError
from medaug.core.findings import Code
from medaug.ingest.characteristics import of_columns
from medaug.ingest.sources import Attribute, ClassId, Discovery, ImageSource, LabelSource, SourceCase, Stated
from medaug.ingest.walk import walk
from medaug.io.drawings import read_drawing
from medaug.io.formats import kind_of, unsupported_format
from medaug.io.headers import looks_like_dicom
from medaug.io.images import companion, slicer_drawing

TABLE = "cases.csv"
_CHANNEL = "image_"
# between the masks of one picture
_SEVERAL = ";"
_KNOWN = frozenset(
    {
        "case_id",
        "image",
        "label",
        "label_ids",
        "lesion_classes",
        "lesion_free",
        "licence",
        "modality",
        "patient_id",
        "spacing",
        "split",
        "terms",
    }
)
_YES, _NO = frozenset({"yes", "true", "1"}), frozenset({"", "no", "false", "0"})


@final
@dataclass(frozen=True, slots=True)
class _Row:
    """One row: cells by column name, missing cells empty."""

    number: int
    columns: tuple[str, ...]
    cells: tuple[str, ...]

    def __getitem__(self, name: str) -> str:
        return self.cells[self.columns.index(name)] if name in self.columns else ""


@final
@dataclass(frozen=True, slots=True)
class _Places:
    """Where the paths of a table are looked for, one folder after the other.

    ``inside`` is the folder that none may leave: that of an unpacked archive, which nobody chose by hand.
    """

    roots: tuple[Path, ...]
    inside: Path | None


def read_table(
    path: Path, source: int, folders: Sequence[Path] = (), *, inside: Path | None = None
) -> Discovery:
    """Read a table; a row that makes no sense becomes a refused case, and the others go on.

    Args:
        path: The table.
        source: Index of the SRC it stands for.
        folders: Where paths are also looked for, after the folder of the table.
        inside: A folder that no path may leave, for a table out of an archive.

    Raises:
        UnreadableError: If the file is missing or no CSV in UTF-8.
        DataError: If it has no column for images, or no row.
    """
    rows = _rows(path)
    columns = rows[0].columns
    if "image" not in columns and not any(_is_channel(c) for c in columns):
        raise DataError(
            f"{path.name} has no column image or image_<CHANNEL>", expected=", ".join(sorted(_KNOWN))
        )
    # a table may be seen through a link (ingest.unpack): its paths mean the folder it really lies in, too
    places = _Places(tuple(dict.fromkeys((path.parent, path.resolve().parent, *folders))), inside)
    return Discovery(tuple(_case(row, source, places) for row in rows))


def _rows(path: Path) -> list[_Row]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except OSError as error:
        raise UnreadableError(f"table {path.name} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UnreadableError(f"{path.name} is no table", expected="comma-separated UTF-8") from error
    lines = [line for line in lines if any(cell.strip() for cell in line)]
    if len(lines) < 2:
        raise DataError(f"{path.name} has no row", expected="a line of column names and one line a case")
    columns = tuple(cell.strip() for cell in lines[0])
    if len(set(columns)) < len(columns):
        raise DataError(f"{path.name} has two columns of one name")
    width = len(columns)
    return [
        _Row(number, columns, tuple(cell.strip() for cell in (line + [""] * width)[:width]))
        for number, line in enumerate(lines[1:], start=1)
    ]


def _is_channel(column: str) -> bool:
    return column.startswith(_CHANNEL) and len(column) > len(_CHANNEL)


def _case(row: _Row, source: int, places: _Places) -> SourceCase:
    case = SourceCase(
        source=source,
        case_key=row["case_id"] or f"row {row.number}",
        patient_key=row["patient_id"] or row["case_id"] or f"row {row.number}",
        ids_are_pseudonyms=bool(row["case_id"]),
        images=(),
        label=None,
        attributes=tuple(
            Attribute(name, value)
            for name, value in zip(row.columns, row.cells, strict=True)
            if name not in _KNOWN and not _is_channel(name) and value
        ),
        characteristics=of_columns(dict(zip(row.columns, row.cells, strict=True))),
    )
    try:
        images, label = _images(row, places), _label(row, places)
        # segments and regions carry names of their own, which label_ids overrule
        drawn = label is not None and bool(label.drawings)
        classes = () if drawn and not row["label_ids"] else _classes(row)
        stated = replace(_stated(row), classes=_names(row) if drawn else tuple(c.name for c in classes))
        return replace(case, images=images, label=label, classes=classes, stated=stated)
    except DataError as error:
        return replace(case, problem=error.line(), problem_code=error.code)


def _images(row: _Row, places: _Places) -> tuple[ImageSource, ...]:
    named = [c for c in row.columns if _is_channel(c) and row[c]]
    if named:
        return tuple(_image(row[c], c, places, c.removeprefix(_CHANNEL)) for c in named)
    if not row["image"]:
        raise DataError("row names no image")
    return (_image(row["image"], "image", places, ""),)


def _image(text: str, column: str, places: _Places, channel: str) -> ImageSource:
    path = _find(text, column, places)
    if path.is_dir():
        files = tuple(file for file in walk(path).files if looks_like_dicom(file))
        return ImageSource("dicom", files, channel)
    kind = kind_of(path)
    if kind is not None:
        return ImageSource(kind, _with_second(path), channel)
    _require_dicom(path, column)
    return ImageSource("dicom", (path,), channel)


def _require_dicom(path: Path, column: str) -> None:
    if looks_like_dicom(path):
        return
    name = unsupported_format(path)
    if name:
        what, hint = f"the file of column {column} is {name}, which is not read", "convert it to NIfTI"
        raise UnreadableError(what, hint=hint, code=Code.UNSUPPORTED_FORMAT)
    raise UnreadableError(
        f"the file of column {column} is neither DICOM nor of another format that is read, or may not be read",
        code=Code.UNSUPPORTED_FORMAT,
    )


def _label(row: _Row, places: _Places) -> LabelSource | None:
    if not row["label"]:
        return None
    paths = [_find(text.strip(), "label", places) for text in row["label"].split(_SEVERAL) if text.strip()]
    path, kind = paths[0], kind_of(paths[0])
    if len(paths) > 1 and any(kind_of(other) != "picture" for other in paths):
        raise DataError("several labels of one row are not all pictures", hint="name one label file")
    if kind is not None:
        files = tuple(file for one in paths for file in _with_second(one))
        drawing = slicer_drawing(path) if kind == "nrrd" else None
        return LabelSource(kind, files, drawings=(drawing,) if drawing is not None else ())
    files = tuple(file for file in walk(path).files if looks_like_dicom(file)) if path.is_dir() else (path,)
    if not files:
        raise UnreadableError("the folder of column label holds no DICOM file")
    _require_dicom(files[0], "label")
    return LabelSource("dicom", files, drawings=tuple(read_drawing(file) for file in files))


def _with_second(path: Path) -> tuple[Path, ...]:
    """The file, and the one that holds its voxels where that is another."""
    other = companion(path)
    return (path,) if other is None else (path, other)


def _find(text: str, column: str, places: _Places) -> Path:
    for root in places.roots:
        try:
            found = root / text
            if found.is_file() or found.is_dir():
                break
        except (OSError, ValueError):
            # a name that no file can have
            continue
    else:
        what = f"the file of column {column} does not exist"
        raise UnreadableError(what, hint="paths are relative to the table")
    if places.inside is not None and not found.resolve().is_relative_to(places.inside.resolve()):
        what = f"the file of column {column} lies outside the archive"
        raise UnreadableError(what, hint="paths are relative to the table")
    return found


def _names(row: _Row) -> tuple[str, ...]:
    return tuple(part.strip() for part in row["lesion_classes"].split(";") if part.strip())


def _classes(row: _Row) -> tuple[ClassId, ...]:
    names = _names(row)
    ids = [part.strip() for part in row["label_ids"].split(";") if part.strip()]
    if not names or (not ids and not row["label"]):
        return ()
    if len(names) != len(ids):
        raise LabelError(
            f"row names {len(names)} classes and {len(ids)} label ids", expected="as many of both"
        )
    if not all(text.isdecimal() and int(text) > 0 for text in ids) or len(set(ids)) < len(ids):
        raise LabelError("label ids are not different whole numbers above 0", expected="such as 1;2")
    return tuple(ClassId(int(text), name) for text, name in zip(ids, names, strict=True))


def _stated(row: _Row) -> Stated:
    free = row["lesion_free"].lower()
    if free not in _YES | _NO:
        raise DataError("lesion_free is neither yes nor no")
    return Stated(
        modality=row["modality"].upper() or None,
        spacing=_spacing(row["spacing"].lower()),
        split=_split(row["split"].lower()),
        lesion_free=free in _YES,
        licence=row["licence"] or None,
        terms=row["terms"] or None,
    )


def _split(text: str) -> Literal["train", "test"] | None:
    if text == "train":
        return "train"
    if text == "test":
        return "test"
    if text:
        raise DataError("split is neither train nor test")
    return None


def _spacing(text: str) -> Literal["known", "nominal"] | None:
    if text == "known":
        return "known"
    if text == "nominal":
        return "nominal"
    if text:
        raise DataError("spacing is neither known nor nominal")
    return None
