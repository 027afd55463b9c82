"""BIDS derivatives: subjects, sessions, label maps as ``dseg``, and a JSON sidecar with what BIDS has no word for."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, final

from pydantic import ConfigDict, Field

from medaug import __version__
from medaug.core.case import CaseRecord, Manifest, Origin
from medaug.core.config import Frozen
from medaug.core.runs import Progress
from medaug.core.storage import write_text_atomic
from medaug.io.nifti import read_nifti
from medaug.layouts.base import Export, Layout, LayoutConfig, check_cases, store_images, store_masks

BIDS_VERSION = "1.9.0"
DESCRIPTION, PARTICIPANTS, LOOKUP = "dataset_description.json", "participants.tsv", "desc-lesion_dseg.tsv"
# What the specification does not know: medaug's own files, edit masks, and images that are no MR of the brain
_IGNORED = (
    "manifest.json",
    "findings.json",
    "recipes.jsonl",
    "translations.jsonl",
    "rejected.json",
    "run.json",
    "log.jsonl",
    "splits.json",
    "certificate.*",
    "DATASHEET.md",
    "edits",
    "ct",
    "img",
)
# Suffixes of the anat folder, by what channels are called: letters and digits, lower case
_ANAT = {
    "t1": "T1w",
    "t1w": "T1w",
    "t1c": "T1w",
    "t1ce": "T1w",
    "t1gd": "T1w",
    "t1post": "T1w",
    "t1wce": "T1w",
    "t1wpost": "T1w",
    "t2": "T2w",
    "t2w": "T2w",
    "flair": "FLAIR",
    "t2flair": "FLAIR",
    "pd": "PDw",
    "pdw": "PDw",
    "t2star": "T2starw",
    "t2starw": "T2starw",
    "angio": "angio",
    "mra": "angio",
}
_CONTRAST = frozenset({"t1c", "t1ce", "t1gd", "t1post", "t1wce", "t1wpost"})
_README = """# A dataset written by medaug

`desc-synthetic` marks images that hold a synthetic lesion; the voxels that were changed stand in `edits`. `dseg` files
hold lesion classes, named in `desc-lesion_dseg.tsv`. `manifest.json` lists every case with the hashes of its files:
`medaug ingest` reads it. Research use, not a medical device.
"""
_COLUMNS = """{
 "patient_id": {
  "Description": "Pseudonym of the patient in manifest.json"
 }
}
"""


@final
class Config(LayoutConfig):
    """Nothing to set."""

    kind: Literal["bids"] = "bids"

    def build(self) -> Layout:
        """The layout."""
        return BidsLayout()


@final
class _Generator(Frozen):
    """Who made the set."""

    name: str = Field(default="medaug", serialization_alias="Name")
    version: str = Field(default=__version__, serialization_alias="Version")


@final
class _Source(Frozen):
    """The dataset it was made from."""

    version: str = Field(serialization_alias="Version", description="hash of its manifest")


@final
class _Description(Frozen):
    """``dataset_description.json``."""

    name: str = Field(serialization_alias="Name")
    bids_version: str = Field(default=BIDS_VERSION, serialization_alias="BIDSVersion")
    dataset_type: Literal["derivative"] = Field(default="derivative", serialization_alias="DatasetType")
    licence: str | None = Field(serialization_alias="License")
    generated_by: tuple[_Generator, ...] = Field(default=(_Generator(),), serialization_alias="GeneratedBy")
    source_datasets: tuple[_Source, ...] = Field(serialization_alias="SourceDatasets")


@final
class _Sidecar(Frozen):
    """The JSON file beside an image: medaug's facts of its case."""

    model_config = ConfigDict(populate_by_name=True)

    case_id: str = Field(serialization_alias="CaseId")
    patient_id: str = Field(serialization_alias="PatientPseudonym")
    channel: str = Field(serialization_alias="Channel")
    modality: str = Field(serialization_alias="ModalityCode")
    unit: str = Field(serialization_alias="Units")
    spacing: str = Field(serialization_alias="Spacing")
    origin: str = Field(serialization_alias="Origin")
    lesion_free: bool = Field(serialization_alias="LesionFree")
    split: str | None = Field(serialization_alias="Split")
    licence: str | None = Field(serialization_alias="License")
    terms: str | None = Field(serialization_alias="Terms")
    skull_stripped: bool | None = Field(serialization_alias="SkullStripped", description="of anat images")


@final
class BidsLayout:
    """``sub-X[/ses-Y]/anat/sub-X[_ses-Y][_desc-synthetic]_T1w.nii.gz`` with ``_desc-lesion_dseg.nii.gz``; ``edits/CASE.nii.gz``.

    A patient is a subject. Where a patient has several cases, each case is a session. Labels keep the letters and digits of
    the ids; the ids themselves stand in ``participants.tsv`` and in the sidecars. CT lies in ``ct``, what BIDS has no name
    for in ``img``: both in ``.bidsignore``.
    """

    def write(self, export: Export, progress: Progress) -> Manifest:
        """Write every case, and describe the set."""
        manifest = export.manifest
        subjects = make_labels(manifest.patient_ids)
        sessions = _sessions(manifest)
        progress.start("write cases", len(manifest.cases))
        records = []
        for record in manifest.cases:
            session = [f"ses-{sessions[record.case_id]}"] if sessions else []
            records.append(_store(export, record, (f"sub-{subjects[record.patient_id]}", *session)))
            progress.advance()
        written = manifest.model_copy(update={"cases": tuple(records)})
        _describe(export, written, subjects)
        return written

    def check(self, export: Export, written: Manifest, progress: Progress) -> None:
        """Read every file again."""
        check_cases(export, written, progress)


def make_labels(ids: Iterable[str]) -> dict[str, str]:
    """Letters and digits of every id, numbered where two would be one (in any case of letters)."""
    labels: dict[str, str] = {}
    taken: set[str] = set()
    for one in ids:
        plain = re.sub(r"[^A-Za-z0-9]", "", one)
        label, number = plain, 1
        while label.lower() in taken:
            number += 1
            label = f"{plain}x{number}"
        taken.add(label.lower())
        labels[one] = label
    return labels


def _sessions(manifest: Manifest) -> dict[str, str]:
    """Case id to session label, for all cases where any patient has several."""
    counts = Counter(record.patient_id for record in manifest.cases)
    if max(counts.values(), default=0) < 2:
        return {}
    return make_labels(record.case_id for record in manifest.cases)


def _place(record: CaseRecord, parts: Sequence[str]) -> tuple[list[str], str]:
    """One path a channel, and that of the label map; ``acq`` numbers the channels that would share a name."""
    kind = "" if record.origin is Origin.REAL else f"_desc-{record.origin}"
    names = [_name(record.modality, channel) for channel in record.channels]
    folders, start = "/".join(parts), "_".join(parts)
    twice = len(set(names)) < len(names)
    paths = [
        f"{folders}/{folder}/{start}{f'_acq-c{number}' if twice else ''}{entity}{kind}_{suffix}.nii.gz"
        for number, (folder, entity, suffix) in enumerate(names)
    ]
    return paths, f"{folders}/{names[0][0]}/{start}_desc-lesion_dseg.nii.gz"


def _name(modality: str, channel: str) -> tuple[str, str, str]:
    """Folder, entity and suffix of a channel."""
    plain = re.sub(r"[^a-z0-9]", "", channel.lower())
    if modality == "CT":
        return "ct", "", "ct"
    if plain in _ANAT:
        return "anat", "_ce-contrast" if plain in _CONTRAST else "", _ANAT[plain]
    return "img", "", plain or "image"


def _store(export: Export, record: CaseRecord, parts: Sequence[str]) -> CaseRecord:
    paths, label = _place(record, parts)
    images = store_images(export, record, paths)
    masks = store_masks(export, record, label)
    for stored, channel in zip(images, record.channels, strict=True):
        text = _sidecar(record, channel, export.out / stored.path)
        write_text_atomic(export.out / stored.path.replace(".nii.gz", ".json"), text + "\n")
    return record.model_copy(update={"images": images, **masks})


def _sidecar(record: CaseRecord, channel: str, image: Path) -> str:
    facts = _Sidecar(
        case_id=record.case_id,
        patient_id=record.patient_id,
        channel=channel,
        modality=record.modality,
        unit=record.unit,
        spacing=record.spacing,
        origin=record.origin,
        lesion_free=record.lesion_free,
        split=record.split,
        licence=record.licence,
        terms=record.terms,
        skull_stripped=_is_stripped(image, record.case_id) if image.parent.name == "anat" else None,
    )
    return facts.model_dump_json(indent=1, by_alias=True, exclude_none=True)


def _is_stripped(image: Path, case_id: str) -> bool:
    """Whether the volume is 0 on its left, right, front and back; BIDS requires the key, and no header holds the answer."""
    voxels = read_nifti(image, as_stored=True, where=case_id).array
    return not any(voxels.take(end, axis=axis).any() for axis in range(2) for end in (0, -1))


def _describe(export: Export, manifest: Manifest, subjects: Mapping[str, str]) -> None:
    """The files at the top."""
    licences = sorted({record.licence for record in manifest.cases if record.licence})
    description = _Description(
        name=manifest.name,
        licence=" AND ".join(licences) or None,
        source_datasets=(_Source(version=f"sha256 {export.manifest.content_sha256}"),),
    )
    text = description.model_dump_json(indent=1, by_alias=True, exclude_none=True)
    write_text_atomic(export.out / DESCRIPTION, text + "\n")
    write_text_atomic(export.out / ".bidsignore", "\n".join(_IGNORED) + "\n")
    write_text_atomic(export.out / "README.md", _README)
    write_text_atomic(export.out / "participants.json", _COLUMNS)
    people = [(f"sub-{subjects[one]}", one) for one in manifest.patient_ids]
    write_text_atomic(export.out / PARTICIPANTS, _table(("participant_id", "patient_id"), people))
    classes = [(str(n), name) for n, name in enumerate(("background", *manifest.classes))]
    write_text_atomic(export.out / LOOKUP, _table(("index", "name"), classes))


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()
