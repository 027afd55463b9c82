"""The lesion bank: the lesions of a fold's training patients, each cut out with its context."""

from __future__ import annotations

import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Integer
from scipy import ndimage

from medaug.core.case import Case, CaseRecord, Manifest, Origin
from medaug.core.errors import DataError, SplitLeakageError, UnreadableError
from medaug.core.geometry import Box
from medaug.core.intensity import CaseScale, IntensityScheme
from medaug.core.lesion import BankIndex, LesionCrop, LesionEntry
from medaug.core.runs import Progress
from medaug.core.splits import Fold, guard_training
from medaug.core.storage import atomic_path, sha256_text
from medaug.core.volume import Mask
from medaug.io.dataset import load_case
from medaug.lesions.place import Body
from medaug.lesions.shape import ball_diameter_mm
from medaug.lesions.texture import describe_texture

INDEX = "bank.json"
_CROPS = "crops"
_CONNECTED = np.ones((3, 3, 3), dtype=bool)
_SMALLEST_VOXELS = 3
_CONTEXT = 2
_IN_PLANE_VOXELS = 64
_RING_VOXELS = (2.0, 6.0)
_CACHE_BYTES = 384 << 20


@final
class Bank:
    """Lesions by id and class, read from a bank folder as they are asked for, or held in memory.

    Args:
        index: What the bank holds.
        folder: Where the crops are; None if all of them are given.
        crops: Lesions in memory.
    """

    def __init__(self, index: BankIndex, folder: Path | None, crops: Sequence[LesionCrop] = ()) -> None:
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
                f"{path.name} holds no finished bank", hint="run `medaug bank DATASET --out BANK` (again)"
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
    return tuple(r for r in chosen if r.label is not None and r.origin is Origin.REAL)


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


def cut_lesions(case: Case, scheme: IntensityScheme, fold: int = 0) -> Iterator[LesionCrop]:
    """Every lesion of a case: 26-connected components of one class, of at least three voxels.

    Args:
        case: A labelled case.
        scheme: How it is normalised.
        fold: Index of the fold in whose training part the patient is.

    Raises:
        DataError: If the case has another unit or other channels than the scheme.
    """
    if (case.volume.unit, case.volume.channels) != (scheme.unit, scheme.channels):
        raise DataError(
            f"holds {', '.join(case.volume.channels)} in {case.volume.unit}",
            where=case.case_id,
            expected=f"{', '.join(scheme.channels)} in {scheme.unit}",
            hint="put each modality in a dataset of its own",
        )
    if case.label_map is None or not case.label_map.labels.any():
        return
    scale = scheme.case_scale(case.volume)
    cutter = _Cutter(case, scale, Body.of(case.volume), fold)
    present = set(np.unique(case.label_map.labels).tolist())
    for number, class_name in enumerate(case.label_map.class_names, start=1):
        if number not in present:
            continue
        components, _ = ndimage.label(case.label_map.labels == number, _CONNECTED)
        sizes = np.bincount(components.ravel())
        for part, found in enumerate(ndimage.find_objects(components), start=1):
            if sizes[part] >= _SMALLEST_VOXELS:
                name = f"{case.case_id}_{number}_{part:03d}"
                yield cutter.cut(components, part, found, class_name, name)


@final
class _Cutter:
    """Cuts lesions out of one case."""

    def __init__(self, case: Case, scale: CaseScale, body: Body, fold: int) -> None:
        self._case, self._scale, self._body, self._fold = case, scale, body, fold
        self._frame = Box.around(body.edge > 0) if body.edge.any() else None

    def cut(
        self,
        components: Integer[np.ndarray, "I J K"],
        part: int,
        found: tuple[slice, slice, slice],
        class_name: str,
        lesion_id: str,
    ) -> LesionCrop:
        """The lesion of component number ``part``, which lies in the box ``found``."""
        box = self._context(found)
        labels = self._labels()[box.slices]
        mask = components[box.slices] == part
        image = np.ascontiguousarray(self._case.volume.image[(slice(None), *box.slices)])
        others = (labels > 0) & ~mask
        entry = self._describe(box, image, mask, others, (lesion_id, class_name))
        return LesionCrop(entry, image, mask, others, self._scale)

    def _labels(self) -> Integer[np.ndarray, "I J K"]:
        if self._case.label_map is None:
            raise DataError("has no labels", where=self._case.case_id)
        return self._case.label_map.labels

    def _context(self, found: tuple[slice, slice, slice]) -> Box:
        """Twice the lesion's extent around it, and at least 64 voxels in plane, inside the image."""
        extent = [s.stop - s.start for s in found]
        in_plane = max(_IN_PLANE_VOXELS, _CONTEXT * max(extent[:2]))
        centre = (
            (found[0].start + found[0].stop) // 2,
            (found[1].start + found[1].stop) // 2,
            (found[2].start + found[2].stop) // 2,
        )
        return Box.centred(centre, (in_plane, in_plane, _CONTEXT * extent[2])).clipped(
            self._case.volume.grid.shape
        )

    def _describe(
        self, box: Box, image: np.ndarray, mask: Mask, others: Mask, names: tuple[str, str]
    ) -> LesionEntry:
        grid = self._case.volume.grid
        inside = self._scale.normalise(image[:, mask])
        ring = self._scale.normalise(image[:, self._ring(box, mask, others)])
        low, median, high = np.percentile(ring, (25.0, 50.0, 75.0), axis=1)
        centre = np.argwhere(mask).mean(axis=0) + np.array(box.start)
        volume = int(mask.sum()) * grid.voxel_mm3
        return LesionEntry(
            lesion_id=names[0],
            case_id=self._case.case_id,
            patient_id=self._case.patient_id,
            fold=self._fold,
            class_name=names[1],
            crop_path=f"{_CROPS}/{names[0]}.npz",
            spacing_mm=grid.spacing_mm,
            spacing="known" if self._case.volume.spacing_known else "nominal",
            voxels=int(mask.sum()),
            volume_mm3=volume,
            diameter_mm=ball_diameter_mm(volume),
            centre_index=_triple(centre),
            centre_relative=_triple((centre + 0.5) / np.array(grid.shape)),
            centre_in_body=self._in_body(centre),
            slices_relative=self._slices(box, mask),
            boundary_distance_mm=self._depth_mm(centre),
            edge_margin_mm=self._margin_mm(box, mask),
            mean=_figures(inside.mean(axis=1)),
            std=_figures(inside.std(axis=1)),
            ring_mean=_figures(ring.mean(axis=1)),
            ring_std=_figures(ring.std(axis=1)),
            ring_low=_figures(low),
            ring_median=_figures(median),
            ring_high=_figures(high),
            texture=tuple(
                describe_texture(channel, mask, grid.spacing_mm) for channel in self._scale.normalise(image)
            ),
            texture_native=tuple(
                describe_texture(channel, mask, grid.spacing_mm, unit)
                for channel, unit in zip(image, self._scale.factor, strict=True)
            ),
        )

    def _ring(self, box: Box, mask: Mask, others: Mask) -> Mask:
        """Tissue 2 to 6 in-plane voxels off the lesion, inside the body and off other lesions."""
        spacing = np.array(self._case.volume.grid.spacing_mm)
        distance = ndimage.distance_transform_edt(~mask, sampling=spacing / spacing[:2].min())
        near = (distance >= _RING_VOXELS[0]) & (distance <= _RING_VOXELS[1])
        for ring in (near & ~others & (self._body.edge[box.slices] > 0), near, ~mask, mask):
            if ring.any():
                return np.asarray(ring)
        return mask

    def _in_body(self, centre: np.ndarray) -> tuple[float, float, float] | None:
        """Where the lesion's centre is in the box around the body."""
        if self._frame is None:
            return None
        return _triple((centre + 0.5 - np.array(self._frame.start)) / np.array(self._frame.shape))

    def _slices(self, box: Box, mask: Mask) -> tuple[float, float]:
        """Where the lesion begins and ends along K, as shares of the image."""
        hits = np.flatnonzero(mask.any(axis=(0, 1))) + box.start[2]
        slices = self._case.volume.grid.shape[2]
        return (round(float(hits[0]) / slices, 4), round(float(hits[-1] + 1) / slices, 4))

    def _margin_mm(self, box: Box, mask: Mask) -> float | None:
        """In-plane distance from the edge of the body to the nearest lesion voxel; None where there is no edge."""
        voxels = int(self._body.edge[box.slices][mask].min())
        return None if voxels == 255 else voxels * min(self._case.volume.grid.spacing_mm[:2])

    def _depth_mm(self, centre: np.ndarray) -> float | None:
        """In-plane distance from the lesion's centre to the edge of the body; None where the slice shows none."""
        i, j, k = (round(float(v)) for v in centre)
        voxels = int(self._body.edge[i, j, k])
        return None if voxels == 255 else voxels * min(self._case.volume.grid.spacing_mm[:2])


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    return (round(float(values[0]), 4), round(float(values[1]), 4), round(float(values[2]), 4))


def _figures(values: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value), 5) for value in values)


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
