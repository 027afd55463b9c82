"""``--report`` of a release: what became of every file of the dataset folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from medaug.core.case import CaseRecord, Manifest, StoredFile
from medaug.core.certificate import ReportLine
from medaug.core.plan import write_lines
from medaug.io.dataset import DATASET_JSON
from medaug.layouts.dicom import series_folder
from medaug.privacy.gate import Objection
from medaug.workflows._release.texts import TEXTS

_HOME = "stays at home: no release holds it"
_TOGETHER = "the release was refused as a whole"


def report_written(path: Path, dataset: Path, before: Manifest, after: Manifest, release: Path) -> None:
    """Write the report of a release that lies in ``release``; texts are written anew under their old names."""
    texts = {name: name for name in (*TEXTS, DATASET_JSON) if (release / name).is_file()}
    places = dict(_places(before, after)) | texts
    write_lines(
        path,
        (
            ReportLine(input=name, output=places[name], outcome="written", reasons=())
            if name in places
            else ReportLine(input=name, output=None, outcome="quarantined", reasons=(_HOME,))
            for name in _names(dataset)
        ),
        mode=0o600,
    )


def report_refused(path: Path, dataset: Path, objections: Iterable[Objection]) -> None:
    """Write the report of a release that was refused, file by file; what is about the whole set stands with each."""
    held = tuple(objections)
    general = tuple(one.reason for one in held if not one.path) or (_TOGETHER,)
    own: dict[str, tuple[str, ...]] = {}
    for one in held:
        own[one.path] = (*own.get(one.path, ()), one.reason)
    write_lines(
        path,
        (
            ReportLine(input=name, output=None, outcome="refused", reasons=own.get(name) or general)
            for name in sorted({*_names(dataset), *(one.path for one in held if one.path)})
        ),
        mode=0o600,
    )


def _names(dataset: Path) -> Iterator[str]:
    """Every file of the dataset folder, links as they stand."""
    paths = (path for path in dataset.rglob("*") if path.is_symlink() or not path.is_dir())
    yield from sorted(path.relative_to(dataset).as_posix() for path in paths)


def _places(before: Manifest, after: Manifest) -> Iterator[tuple[str, str]]:
    """Where each file of a case went; a DICOM series is a folder of files."""
    for old, new in zip(before.cases, after.cases, strict=True):
        for number, stored in enumerate(old.images):
            yield stored.path, _image(new, number)
        for was, now in ((old.label, new.label), (old.edit_mask, new.edit_mask)):
            if was is not None:
                yield was.path, _mask(now, new)


def _image(record: CaseRecord, number: int) -> str:
    if record.images:
        return record.images[min(number, len(record.images) - 1)].path
    return f"dicom/{record.case_id}/{series_folder(record, min(number + 1, len(record.channels)))}"


def _mask(stored: StoredFile | None, record: CaseRecord) -> str:
    """A label map without a label has no file of its own in DICOM: its series says nothing of a lesion."""
    return f"dicom/{record.case_id}" if stored is None else stored.path
