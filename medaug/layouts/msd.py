"""Medical Segmentation Decathlon: one file a case, channels along its fourth axis, and ``dataset.json``."""

from __future__ import annotations

import operator
from typing import Literal, final

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from medaug.core.case import CaseRecord, Manifest, StoredFile
from medaug.core.config import Frozen
from medaug.core.runs import Progress
from medaug.core.storage import write_text_atomic
from medaug.io.dataset import DATASET_JSON, load_case, origins_of
from medaug.io.nifti import write_channels
from medaug.layouts.base import Export, Layout, LayoutConfig, check_cases, copy_stored, store_masks


@final
class Config(LayoutConfig):
    """Nothing to set."""

    kind: Literal["msd"] = "msd"

    def build(self) -> Layout:
        """The layout."""
        return MsdLayout()


@final
class _Pair(Frozen):
    """An image with its label map."""

    image: str
    label: str


@final
class _Description(Frozen):
    """``dataset.json`` as the Decathlon writes it: labels from id to name, the reverse of nnU-Net."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    name: str
    description: str = ""
    reference: str = ""
    licence: str = ""
    release: str = ""
    tensor_image_size: Literal["3D", "4D"]
    modality: dict[str, str]
    labels: dict[str, str]
    num_training: int
    num_test: int
    training: tuple[_Pair, ...]
    test: tuple[str, ...] = Field(description="images without a label")
    origin: str | None = Field(default=None, exclude_if=operator.not_, description="medaug's own")


@final
class MsdLayout:
    """``imagesTr/CASE.nii.gz``, ``labelsTr/CASE.nii.gz``, ``imagesTs``, ``edits/CASE.nii.gz`` and ``dataset.json``.

    Cases of one channel are copied; several channels become the fourth axis of one file. The form holds no patient, unit,
    origin, split or spacing flag: those stand in the manifest alone.
    """

    def write(self, export: Export, progress: Progress) -> Manifest:
        """Write every case, and describe the set."""
        progress.start("write cases", len(export.manifest.cases))
        records = []
        for record in export.manifest.cases:
            records.append(_store(export, record))
            progress.advance()
        written = export.manifest.model_copy(update={"cases": tuple(records)})
        text = _describe(written).model_dump_json(indent=1, by_alias=True)
        write_text_atomic(export.out / DATASET_JSON, text + "\n")
        return written

    def check(self, export: Export, written: Manifest, progress: Progress) -> None:
        """Read every file again."""
        check_cases(export, written, progress)


def _store(export: Export, record: CaseRecord) -> CaseRecord:
    folder = "imagesTs" if record.label is None else "imagesTr"
    image = _store_image(export, record, f"{folder}/{record.case_id}.nii.gz")
    masks = store_masks(export, record, f"labelsTr/{record.case_id}.nii.gz")
    return record.model_copy(update={"images": (image,), **masks})


def _store_image(export: Export, record: CaseRecord, path: str) -> StoredFile:
    if len(record.images) == 1:
        return copy_stored(export, record.images[0], path)
    volume = load_case(export.dataset, record, export.manifest.classes).volume
    return StoredFile(path=path, sha256=write_channels(export.out / path, volume.image, volume.grid))


def _describe(manifest: Manifest) -> _Description:
    """The set as it was written; the Decathlon's paths begin with ``./``."""
    pairs = [(r.images[0].path, r.label.path) for r in manifest.cases if r.label is not None]
    test = tuple(f"./{r.images[0].path}" for r in manifest.cases if r.label is None)
    channels = manifest.cases[0].channels if manifest.cases else ()
    return _Description(
        name=manifest.name,
        licence=" AND ".join(sorted({r.licence for r in manifest.cases if r.licence})),
        tensor_image_size="3D" if len(channels) < 2 else "4D",
        modality={str(n): name for n, name in enumerate(channels)},
        labels={str(n): name for n, name in enumerate(("background", *manifest.classes))},
        num_training=len(pairs),
        num_test=len(test),
        training=tuple(_Pair(image=f"./{image}", label=f"./{label}") for image, label in pairs),
        test=test,
        origin=origins_of(manifest),
    )
