"""BIDS datasets, raw and derivative: subjects are patients, sessions are repeat studies, suffixes are channels."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from medaug.core.case import Origin
from medaug.core.config import read_json
from medaug.core.errors import DataError, UnreadableError
from medaug.core.findings import Code
from medaug.core.geometry import Grid
from medaug.core.wording import counted
from medaug.ingest.characteristics import of_columns
from medaug.ingest.checks import same_grid
from medaug.ingest.sources import (
    Attribute,
    ClassId,
    Discovery,
    ImageSource,
    LabelSource,
    SourceCase,
    Stated,
    Stray,
)
from medaug.io.nifti import is_nifti, read_grid, stem

DESCRIPTION, PARTICIPANTS = "dataset_description.json", "participants.tsv"
_MODALITIES = {"anat": None, "ct": "CT", "pet": "PT", "img": None}
_MASKS = frozenset({"dseg", "mask", "roi"})
_NO_IMAGES = frozenset({"probseg", "defacemask"})
_NOT_READ_FOLDERS = frozenset({"sourcedata", "code", "stimuli", "edits"})
_NO_LESION = frozenset({"brain", "head", "skull", "gm", "wm", "csf", "edit"})
_LESION = "lesion"


@final
@dataclass(frozen=True, slots=True)
class _File:
    """A file by its name: ``sub-X[_KEY-VALUE]..._SUFFIX``."""

    path: Path
    folder: str
    entities: Mapping[str, str]
    suffix: str
    is_derived: bool

    @property
    def study(self) -> tuple[str, str]:
        """Subject and session."""
        return self.entities["sub"], self.entities.get("ses", "")

    @property
    def words(self) -> tuple[str, ...]:
        """What the mask is of, as ``label`` and ``desc`` say."""
        return tuple(self.entities[key] for key in ("label", "desc") if key in self.entities)


@final
@dataclass(frozen=True, slots=True)
class _Set:
    """What the files at the top say."""

    folder: Path
    licence: str | None
    participants: Mapping[str, tuple[Attribute, ...]]
    lookups: tuple[Path, ...]
    keep_ids: bool
    source: int


def is_bids(folder: Path) -> bool:
    """Whether the folder says that it is a BIDS dataset."""
    return (folder / DESCRIPTION).is_file()


def read_bids(folder: Path, files: Sequence[Path], source: int, *, keep_ids: bool = False) -> Discovery:
    """Read a BIDS dataset (specification 1.10).

    Images are those of ``anat``, ``ct`` and ``pet`` outside ``derivatives``; the suffixes of one session that lie on one
    grid are the channels of one case, those on other grids, and further runs, are cases of their own. A ``dseg``, ``mask``
    or ``roi`` of the session, wherever it lies, is the label map; masks of brain or tissue are none. Labels get their names
    from the ``dseg.tsv`` that applies. Participants of ``participants.tsv`` keep their labels as pseudonyms.

    Args:
        folder: The dataset.
        files: All files below it.
        source: Index of the SRC.
        keep_ids: Show labels of subjects that no ``participants.tsv`` lists, too.

    Raises:
        DataError: If ``dataset_description.json`` or ``participants.tsv`` is damaged.
    """
    top = _describe(folder, files, source, keep_ids=keep_ids)
    named = [_parse(folder, path) for path in files if is_nifti(path)]
    used = [one for one in named if one is not None and (_is_mask(one) or _is_image(one))]
    known = {one.path for one in used}
    rest = tuple(
        path for path in files if is_nifti(path) and path not in known and not _is_apart(folder, path)
    )
    studies: dict[tuple[str, str], list[_File]] = {}
    for one in used:
        studies.setdefault(one.study, []).append(one)
    cases: list[SourceCase] = []
    strays: list[Stray] = []
    for study in sorted(studies):
        found = _study(studies[study], top)
        cases += found.cases
        strays += found.strays
    return Discovery(tuple(cases), (*strays, *_odd(rest, cases, top)))


def _describe(folder: Path, files: Sequence[Path], source: int, *, keep_ids: bool) -> _Set:
    raw = read_json(folder / DESCRIPTION)
    if not isinstance(raw, dict):
        raise DataError(f"{DESCRIPTION} describes nothing", expected="a mapping with Name and BIDSVersion")
    licence = raw.get("License")
    people = _participants(folder / PARTICIPANTS) if (folder / PARTICIPANTS).is_file() else {}
    lookups = tuple(path for path in files if path.name.endswith("dseg.tsv"))
    return _Set(
        folder, licence if isinstance(licence, str) and licence else None, people, lookups, keep_ids, source
    )


def _participants(path: Path) -> dict[str, tuple[Attribute, ...]]:
    """The other columns of each participant, by the label without ``sub-``."""
    rows = _rows(path, "participant_id")
    return {
        row["participant_id"].removeprefix("sub-"): tuple(
            Attribute(name, value)
            for name, value in row.items()
            if name != "participant_id" and value not in ("", "n/a")
        )
        for row in rows
    }


def _rows(path: Path, *columns: str) -> list[dict[str, str]]:
    """The rows of a tab-separated table that must have these columns."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t", restval="", strict=True)
        rows = [{str(key): value for key, value in row.items() if isinstance(value, str)} for row in reader]
    except OSError as error:
        raise UnreadableError(f"{path.name} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UnreadableError(f"{path.name} is no table", expected="tab-separated UTF-8") from error
    lost = [column for column in columns if column not in (reader.fieldnames or ())]
    if lost:
        raise DataError(f"{path.name} has no column {lost[0]}", expected="as the BIDS specification says")
    return rows


def _parse(folder: Path, path: Path) -> _File | None:
    """The parts of a file's name, or None where it is not called as BIDS calls files."""
    inner = path.relative_to(folder).parts
    if _is_apart(folder, path):
        return None
    *pairs, suffix = stem(path).split("_")
    entities = dict(part.split("-", 1) for part in pairs if "-" in part)
    if len(entities) < len(pairs) or not entities.get("sub") or "-" in suffix:
        return None
    return _File(path, inner[-2] if len(inner) > 1 else "", entities, suffix, "derivatives" in inner)


def _is_apart(folder: Path, path: Path) -> bool:
    """Whether the file stands where BIDS rules nothing."""
    return path.relative_to(folder).parts[0] in _NOT_READ_FOLDERS


def _is_mask(one: _File) -> bool:
    """Lesions only: tissue and brain are no classes to be learnt from here."""
    return one.suffix in _MASKS and not any(word.lower() in _NO_LESION for word in one.words)


def _is_image(one: _File) -> bool:
    return one.folder in _MODALITIES and not one.is_derived and one.suffix not in _MASKS | _NO_IMAGES


def _study(files: Sequence[_File], top: _Set) -> Discovery:
    """The cases of one session of one subject."""
    images = [one for one in files if not _is_mask(one)]
    masks = [one for one in files if _is_mask(one)]
    if not images:
        message = "label file has no image of its subject and session"
        return Discovery((), (Stray(Code.IMAGE_MISSING, "refused", message, tuple(m.path for m in masks)),))
    groups = _groups(images)
    cases = [_case(group, number, groups, top) for number, group in enumerate(groups)]
    for mask, number in _owners(masks, groups):
        cases[number] = _with_label(cases[number], mask, top)
    return Discovery(tuple(cases))


def _groups(images: Sequence[_File]) -> list[list[_File]]:
    """Images that are the channels of one case: of one run, on one grid."""
    first_run = min((one.entities["run"] for one in images if "run" in one.entities), default="")
    groups: list[tuple[str, Grid | None, list[_File]]] = []
    for one in sorted(images, key=lambda one: (one.suffix, one.path.name)):
        run, grid = one.entities.get("run", first_run), _grid(one)
        for other_run, other, group in groups:
            if run == other_run and _agree(grid, other):
                group.append(one)
                break
        else:
            groups.append((run, grid, [one]))
    return [group for _, _, group in groups]


def _grid(one: _File) -> Grid | None:
    """Where the image lies; None where its header cannot be read, which the case itself will say."""
    try:
        return read_grid(one.path)
    except DataError:
        return None


def _agree(first: Grid | None, second: Grid | None) -> bool:
    return first is not None and second is not None and same_grid(first, second)


def _case(group: Sequence[_File], number: int, groups: Sequence[object], top: _Set) -> SourceCase:
    subject, session = group[0].study
    is_listed = subject in top.participants
    channels = _channels(group)
    parts = [f"sub-{subject}", *([f"ses-{session}"] if session else [])]
    parts += [f"part-{number + 1}"] if len(groups) > 1 else []
    made = [origin for origin in (Origin.SYNTHETIC, Origin.AUGMENTED) if _is_described(group, origin)]
    return SourceCase(
        source=top.source,
        case_key="_".join(parts),
        patient_key=f"sub-{subject}",
        ids_are_pseudonyms=is_listed or top.keep_ids,
        images=tuple(
            ImageSource("nifti", (one.path,), channel) for one, channel in zip(group, channels, strict=True)
        ),
        label=None,
        stated=Stated(
            modality=_MODALITIES[group[0].folder],
            licence=top.licence,
            origin=made[0] if made else None,
        ),
        attributes=top.participants.get(subject, ()),
        characteristics=of_columns({one.name: one.value for one in top.participants.get(subject, ())}),
    )


def _is_described(group: Sequence[_File], origin: Origin) -> bool:
    """Whether a file says of itself that it is no scan."""
    return any(one.entities.get("desc") == origin for one in group)


def _channels(group: Sequence[_File]) -> list[str]:
    """The suffix of each image, with the entities that tell equal ones apart."""
    counts = Counter(one.suffix for one in group)
    names = []
    for one in group:
        apart = [f"{key}-{value}" for key, value in one.entities.items() if key not in ("sub", "ses")]
        name = "_".join([*apart, one.suffix]) if counts[one.suffix] > 1 else one.suffix
        names.append("CT" if name == "ct" else name)
    return names


def _owners(masks: Sequence[_File], groups: Sequence[Sequence[_File]]) -> Iterable[tuple[list[_File], int]]:
    """The masks of each case: by run and grid, or the first case, which then refuses a mask that does not fit."""
    owned: dict[int, list[_File]] = {}
    for mask in masks:
        grid = _grid(mask) if len(groups) > 1 else None
        fits = [
            n for n, group in enumerate(groups) if _same_run(mask, group[0]) and _agree(grid, _grid(group[0]))
        ]
        owned.setdefault(fits[0] if fits else 0, []).append(mask)
    return [(found, number) for number, found in owned.items()]


def _same_run(mask: _File, image: _File) -> bool:
    return "run" not in mask.entities or mask.entities["run"] == image.entities.get("run")


def _with_label(case: SourceCase, masks: Sequence[_File], top: _Set) -> SourceCase:
    lesions = [one for one in masks if one.suffix == "roi" or _LESION in " ".join(one.words).lower()]
    chosen = lesions or list(masks)
    if len(chosen) > 1:
        problem = "several label files claim one image; keep one, or write a cases.csv"
        return replace(case, problem=case.problem or problem)
    (mask,) = chosen
    try:
        classes = _classes(mask, top)
    except DataError as error:
        return replace(case, problem=error.line())
    return replace(case, label=LabelSource("nifti", (mask.path,)), classes=classes)


def _classes(mask: _File, top: _Set) -> tuple[ClassId, ...]:
    """Names of the label ids: of the lookup table that applies, or of the mask's own name."""
    table = _lookup(mask, top)
    if table is None:
        if mask.suffix == "dseg":
            return ()
        words = [word for word in mask.words if _LESION not in word.lower()]
        return (ClassId(1, words[0] if words and len(words) == len(mask.words) else _LESION),)
    pairs = []
    for row in _rows(table, "index", "name"):
        if not row["index"].isdecimal() or not row["name"]:
            raise DataError("dseg.tsv names a label by no whole number", expected="columns index and name")
        if int(row["index"]) > 0:
            pairs.append(ClassId(int(row["index"]), row["name"]))
    return tuple(pairs)


def _lookup(mask: _File, top: _Set) -> Path | None:
    """The nearest ``dseg.tsv`` of the mask's folder or one above, whose entities are all the mask's (inheritance)."""
    if mask.suffix != "dseg":
        return None
    fits = [path for path in top.lookups if path.parent in mask.path.parents and _applies(path, mask)]
    return max(fits, key=lambda path: (len(path.parts), len(path.name)), default=None)


def _applies(table: Path, mask: _File) -> bool:
    parts = table.name.removesuffix("dseg.tsv").strip("_").split("_")
    pairs = [part.split("-", 1) for part in parts if part]
    return all(len(pair) == 2 and mask.entities.get(pair[0]) == pair[1] for pair in pairs)


def _odd(rest: tuple[Path, ...], cases: Sequence[SourceCase], top: _Set) -> list[Stray]:
    strays = []
    if rest:
        kinds = "functional, diffusion, tissue maps or files that are not named as BIDS names them"
        message = f"{counted(len(rest), 'file')} of kinds that are not read left out: {kinds}"
        strays.append(Stray(Code.NOT_AN_IMAGE, "flagged", message, rest))
    found = {case.patient_key.removeprefix("sub-") for case in cases}
    lost, new = len(set(top.participants) - found), len(found - set(top.participants))
    if top.participants and (lost or new):
        message = f"{PARTICIPANTS} lists {counted(lost, 'participant')} without an image, and lacks {new}"
        strays.append(Stray(Code.DESCRIPTION_DIFFERS, "flagged", message, (top.folder / PARTICIPANTS,)))
    return strays
