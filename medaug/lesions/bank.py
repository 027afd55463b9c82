"""The lesion bank: the lesions of a fold's training patients, each cut out with its context."""

from __future__ import annotations

import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import final

import numpy as np

from medaug.core.case import Case, CaseRecord, Manifest, Origin
from medaug.core.errors import DataError, SplitLeakageError, UnreadableError
from medaug.core.intensity import CaseScale, IntensityScheme
from medaug.core.lesion import BankIndex, LesionCrop, LesionEntry
from medaug.core.runs import Progress
from medaug.core.splits import Fold, guard_training
from medaug.core.storage import atomic_path, sha256_text
from medaug.io.dataset import load_case
from medaug.lesions.cut import cut_lesions

INDEX = "bank.json"
_CACHE_BYTES = 384 << 20


@final
class Bank:
    """Lesions by id and class, read from a bank folder as they are asked for, or held in memory.

    Args:
        index: What the bank holds.
        folder: Where the crops are; None if all of them are given.
        crops: Lesions in memory.

    Raises:
        SplitLeakageError: If a lesion is of another fold, or of a patient outside the training part.
    """

    def __init__(self, index: BankIndex, folder: Path | None, crops: Sequence[LesionCrop] = ()) -> None:
        _refuse_mixed(index)
        self._index, self._folder = index, folder
        self._by_id = {entry.lesion_id: entry for entry in index.entries}
        self._sha256 = sha256_text(index.model_dump_json())
        self._held: OrderedDict[str, LesionCrop] = OrderedDict((crop.entry.lesion_id, crop) for crop in crops)
        self._held_bytes = 0

    @staticmethod
    def open(path: Path) -> Bank:
        """The bank of a folder that ``medaug bank`` wrote.

        Raises:
            DataError: If the folder holds no finished bank, or one of another version.
        """
        if not (path / INDEX).is_file():
            raise DataError(
                f"{path} holds no finished bank", hint="run `medaug bank DATASET --out BANK` (again)"
            )
        return Bank(BankIndex.read(path / INDEX), path)

    @property
    def index(self) -> BankIndex:
        """Classes, intensity scheme, training patients and entries."""
        return self._index

    @property
    def sha256(self) -> str:
        """Hash of the index, which names the dataset's content and every lesion's figures."""
        return self._sha256

    @property
    def folder(self) -> Path | None:
        """Where it lies; None for a bank in memory."""
        return self._folder

    @property
    def classes(self) -> tuple[str, ...]:
        """The class table of the dataset; a class may have no lesion here."""
        return self._index.classes

    def entries(
        self,
        class_name: str | None = None,
        *,
        diameter_mm: tuple[float, float] | None = None,
        patient: str | None = None,
    ) -> tuple[LesionEntry, ...]:
        """The lesions that meet every condition; all without any.

        Args:
            class_name: Of this class.
            diameter_mm: Of at least and at most this diameter.
            patient: Of the patient of this id.

        Raises:
            DataError: If the class table has no such class, or the bank was made without such a patient.
        """
        if class_name is not None and class_name not in self.classes:
            raise DataError(f"no class is called {class_name!r}", expected=", ".join(self.classes))
        if patient is not None and patient not in self._index.training_patients:
            raise DataError("no such patient among those of the bank", where=patient)
        low, high = diameter_mm or (0.0, np.inf)
        return tuple(
            entry
            for entry in self._index.entries
            if class_name in (None, entry.class_name)
            and patient in (None, entry.patient_id)
            and low <= entry.diameter_mm <= high
        )

    def crop(self, lesion_id: str) -> LesionCrop:
        """One lesion with its context; recently used ones are kept in memory, up to 384 MiB.

        Raises:
            DataError: If there is no such lesion.
            UnreadableError: If its file is missing or damaged.
        """
        held = self._held.get(lesion_id)
        if held is not None:
            self._held.move_to_end(lesion_id)
            return held
        entry = self._by_id.get(lesion_id)
        if entry is None or self._folder is None:
            raise DataError("no such lesion in the bank", where=lesion_id)
        crop = _read_crop(self._folder, entry)
        self._held[lesion_id] = crop
        self._held_bytes += _size(crop)
        while self._held_bytes > _CACHE_BYTES and len(self._held) > 1:
            self._held_bytes -= _size(self._held.popitem(last=False)[1])
        return crop

    def fold_check(self, fold: Fold) -> None:
        """Raise SplitLeakageError unless the bank saw only training patients of the fold."""
        outside = sorted(set(self._index.training_patients) - set(fold.train))
        if outside:
            raise SplitLeakageError(
                f"the bank holds {len(outside)} patients (first: {outside[0]}) outside the training part of fold {fold.index}",
                hint="make the bank again for this fold",
            )


def _refuse_mixed(index: BankIndex) -> None:
    patients = frozenset(index.training_patients)
    mixed = [e for e in index.entries if e.fold != index.fold or e.patient_id not in patients]
    if mixed:
        raise SplitLeakageError(
            f"the bank mixes folds: {len(mixed)} lesions are not of the training part of fold {index.fold}",
            where=mixed[0].lesion_id,
            hint="make the bank again",
        )


def build_bank(
    dataset: Path,
    manifest: Manifest,
    fold: Fold,
    out: Path,
    progress: Progress,
    cases: tuple[str, ...] | None = None,
) -> BankIndex:
    """Cut every lesion of the fold's training patients out and write the bank folder.

    Each file is written whole or not at all, the index last, so a folder without ``bank.json`` is unfinished.

    Args:
        dataset: Dataset folder.
        manifest: Its manifest.
        fold: Only its training patients are read.
        out: Folder to write.
        progress: Told about each case.
        cases: Ids of the cases to use; None = all labelled real cases of the training patients.

    Raises:
        SplitLeakageError: If a named case is of a patient outside the training part.
        DataError: If there is no lesion, or the cases differ in unit or channels.
    """
    records = bank_records(manifest, fold, cases)
    progress.start("lesion bank", len(records))
    entries: list[LesionEntry] = []
    scheme: IntensityScheme | None = None
    for record in records:
        case = load_case(dataset, record, manifest.classes)
        scheme = scheme or IntensityScheme.for_volume(case.volume)
        for crop in cut_lesions(case, scheme, fold.index):
            _write_crop(out, crop)
            entries.append(crop.entry)
        progress.advance(1, f"{len(entries)} lesions")
    index = _index(entries, scheme, fold, manifest.classes, manifest.content_sha256)
    index.write(out / INDEX)
    return index


def bank_of_cases(cases: Iterable[Case], fold: Fold, dataset_sha256: str = "") -> Bank:
    """A bank in memory, of cases in memory.

    Raises:
        SplitLeakageError: If a case is of a patient outside the fold's training part, or is synthetic.
        DataError: If there is no lesion, or the cases differ in unit or channels.
    """
    crops: list[LesionCrop] = []
    scheme: IntensityScheme | None = None
    classes: tuple[str, ...] = ()
    for case in cases:
        _guard(case, fold)
        scheme = scheme or IntensityScheme.for_volume(case.volume)
        classes = classes or (case.label_map.class_names if case.label_map is not None else ())
        crops += cut_lesions(case, scheme, fold.index)
    return Bank(_index([c.entry for c in crops], scheme, fold, classes, dataset_sha256), None, crops)


def _guard(case: Case, fold: Fold) -> None:
    if case.origin is not Origin.REAL or case.patient_id not in fold.train:
        raise SplitLeakageError(
            f"not a real case of a training patient of fold {fold.index}",
            where=case.case_id,
            hint="leave it out",
        )


def bank_records(
    manifest: Manifest, fold: Fold, cases: tuple[str, ...] | None = None
) -> tuple[CaseRecord, ...]:
    """The labelled real cases a bank may be cut from.

    Raises:
        SplitLeakageError: If a named case is of a patient outside the fold's training part.
        DataError: If a named case does not exist.
    """
    if cases is None:
        chosen = manifest.of_patients(frozenset(fold.train))
    else:
        chosen = tuple(manifest.case(case_id) for case_id in cases)
    guard_training(chosen, fold)
    return tuple(record for record in chosen if record.is_labelled_scan)


def _index(
    entries: Sequence[LesionEntry],
    scheme: IntensityScheme | None,
    fold: Fold,
    classes: tuple[str, ...],
    dataset: str,
) -> BankIndex:
    if not entries or scheme is None:
        raise DataError(
            f"no labelled lesion among the {len(fold.train)} training patients of fold {fold.index}",
            hint="check the labels with `medaug inspect DATASET`",
        )
    return BankIndex(
        dataset_sha256=dataset,
        fold=fold.index,
        training_patients=tuple(sorted(fold.train)),
        classes=classes,
        scheme=scheme,
        entries=tuple(entries),
    )


def _size(crop: LesionCrop) -> int:
    return crop.image.nbytes + crop.mask.nbytes + crop.others.nbytes


def _write_crop(out: Path, crop: LesionCrop) -> None:
    """Write a lesion as npz; scale rows are offset, factor, low, high. Whole numbers take half the space."""
    with np.errstate(invalid="ignore"):  # what does not fit is kept as it is, below
        image = crop.image.astype(np.int16)
    if not np.array_equal(image, crop.image):
        image = crop.image
    scale = np.array(
        [crop.scale.offset, crop.scale.factor, crop.scale.low, crop.scale.high], dtype=np.float64
    )
    with atomic_path(out / crop.entry.crop_path) as temporary, temporary.open("wb") as handle:
        np.savez(handle, image=image, mask=crop.mask, others=crop.others, scale=scale)


def _read_crop(folder: Path, entry: LesionEntry) -> LesionCrop:
    try:
        with (folder / entry.crop_path).open("rb") as handle, np.load(handle, allow_pickle=False) as stored:
            image, mask, others, scale = (stored[name] for name in ("image", "mask", "others", "scale"))
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UnreadableError(
            "crop is missing or damaged", where=entry.lesion_id, hint="make the bank again"
        ) from error
    rows = [tuple(float(v) for v in row) for row in scale]
    image = image.astype(np.float32)
    return LesionCrop(entry, image, mask, others, CaseScale(rows[0], rows[1], rows[2], rows[3]))
