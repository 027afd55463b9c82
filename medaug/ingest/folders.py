"""Folders of NIfTI files: images paired with labels by folder and name; nnU-Net v2 raw and Decathlon data sets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

from medaug.core.config import read_json
from medaug.core.errors import DataError, LabelError
from medaug.core.findings import Code
from medaug.core.wording import counted
from medaug.ingest.sources import ClassId, Discovery, ImageSource, LabelSource, SourceCase, Stated, Stray
from medaug.io.dataset import DATASET_JSON
from medaug.io.nifti import stem

_IMAGE_FOLDER = re.compile(r"^(images?|imgs?|scans?|volumes?)(tr|ts|val)?$", re.IGNORECASE)
_LABEL_FOLDER = re.compile(r"^(labels?|masks?|segs?|segmentations?|annotations?)(tr|ts|val)?$", re.IGNORECASE)
_LABEL_NAME = re.compile(r"^(.+?)[_\-. ](seg|segmentation|mask|label|labels|roi|gt)$", re.IGNORECASE)
_IMAGE_NAME = re.compile(r"^(.+?)[_\-. ](image|img|scan|vol|volume)$", re.IGNORECASE)
_CHANNEL = re.compile(r"^(.+)_(\d{4})$")
_MR_WORDS = ("MR", "FLAIR", "T1", "T2", "PD", "DWI", "ADC", "SWI")


@final
@dataclass(frozen=True, slots=True)
class _Place:
    """A NIfTI file with its role; files of one ``key`` belong together."""

    path: Path
    role: Literal["image", "label"]
    key: str
    channel: str
    patient: str


@final
@dataclass(frozen=True, slots=True)
class _Description:
    """What ``dataset.json`` says.

    Attributes:
        channels: Their names, in order.
        classes: Label ids and names.
        licence: None where it names none.
        has_frames: The form is the Decathlon's: several channels are the fourth axis of one file.
        n_training: How many cases have a label.
    """

    channels: tuple[str, ...]
    classes: tuple[ClassId, ...]
    licence: str | None
    has_frames: bool = False
    n_training: int | None = None

    @property
    def modality(self) -> str | None:
        """The modality the channel names speak of."""
        return modality_of(self.channels)


def modality_of(channels: Sequence[str]) -> str | None:
    """CT or MR where channel names say so (``CT``, ``FLAIR``, ``T1w``, ...), else None."""
    upper = [name.upper() for name in channels if name]
    if upper and all(name in ("CT", "CTA", "CECT") for name in upper):
        return "CT"
    if upper and all(name.startswith(_MR_WORDS) for name in upper):
        return "MR"
    return None


def pair_niftis(folder: Path, files: Sequence[Path], source: int, *, keep_ids: bool = False) -> Discovery:
    """Pair the NIfTI files of a folder by name, never by order.

    Roles come from the folder (``images`` and ``labels``, ``imagesTr`` and ``labelsTr``, ...) or the end of the name
    (``CASE_seg``, ``CASE_mask``, ``CASE_label``). ``CASE_0000``, ``CASE_0001`` are channels in ``imagesTr`` and
    ``imagesTs``, or where the label is called ``CASE``. A ``dataset.json`` of nnU-Net or the Decathlon names channels and
    classes. Each file is one patient, unless images lie in a folder a patient.

    Args:
        folder: What the files are relative to.
        files: NIfTI files below it.
        source: Index of the SRC.
        keep_ids: Show file names as case ids (they may hold identifiers, so they are numbered otherwise).

    Raises:
        DataError: If ``dataset.json`` is damaged.
        LabelError: If it declares regions or an ignore label, which a label map of classes cannot hold.
    """
    description = _describe(folder / DATASET_JSON) if (folder / DATASET_JSON).is_file() else None
    places = _split_channels([_place(path.relative_to(folder)) for path in files])
    groups: dict[str, list[_Place]] = {}
    for place in places:
        groups.setdefault(place.key, []).append(place)
    cases, strays = [], []
    for key in sorted(groups):
        images = [p for p in groups[key] if p.role == "image"]
        labels = [p for p in groups[key] if p.role == "label"]
        if images:
            cases.append(_case(folder, images, labels, source, description, keep_ids=keep_ids))
        else:
            message = "label file has no image of its name"
            strays.append(Stray("image-missing", "refused", message, tuple(folder / p.path for p in labels)))
    if description is not None:
        strays += _count_training(description, cases)
    return Discovery(tuple(cases), tuple(strays))


def _count_training(description: _Description, cases: Sequence[SourceCase]) -> list[Stray]:
    """``description-differs``: another number of labelled cases than ``dataset.json`` says."""
    found = sum(case.label is not None for case in cases)
    if description.n_training in (None, found):
        return []
    message = f"dataset.json speaks of {description.n_training} training cases; {counted(found, 'labelled case')} found"
    return [Stray(Code.DESCRIPTION_DIFFERS, "flagged", message, ())]


def _place(path: Path) -> _Place:
    """The role of a file from its folders and its name; ``path`` is relative."""
    parents = list(path.parts[:-1])
    name = stem(path)
    for depth, part in enumerate(parents):
        image, label = _IMAGE_FOLDER.match(part), _LABEL_FOLDER.match(part)
        match = image or label
        if match is None:
            continue
        inner = parents[depth + 1 :]
        base = [*parents[:depth], (match.group(2) or "").lower(), *inner]
        plain = _plain(name, _IMAGE_NAME if image else _LABEL_NAME)
        patient = inner[0] if inner else "/".join([*parents[:depth], plain])
        return _Place(path, "image" if image else "label", "/".join([*base, plain]), "", patient)
    marked = _LABEL_NAME.match(name)
    plain = marked.group(1) if marked else name
    plain = _plain(plain, _IMAGE_NAME)
    patient = parents[0] if parents else plain
    return _Place(path, "label" if marked else "image", "/".join([*parents, plain]), "", patient)


def _plain(name: str, ending: re.Pattern[str]) -> str:
    match = ending.match(name)
    return match.group(1) if match else name


def _split_channels(places: list[_Place]) -> list[_Place]:
    """Take ``_0000`` off where it numbers channels."""
    labels = {p.key for p in places if p.role == "label"}
    return [_channelled(p, labels) for p in places]


def _channelled(place: _Place, labels: set[str]) -> _Place:
    match = _CHANNEL.match(place.key)
    if place.role == "label" or match is None or place.key in labels:
        return place
    nnunet = any(part.lower() in ("imagestr", "imagests") for part in place.path.parts)
    if not nnunet and match.group(1) not in labels:
        return place
    patient = _CHANNEL.sub(r"\1", place.patient)
    return _Place(place.path, place.role, match.group(1), match.group(2), patient)


def _case(
    folder: Path,
    images: list[_Place],
    labels: list[_Place],
    source: int,
    description: _Description | None,
    *,
    keep_ids: bool,
) -> SourceCase:
    images = sorted(images, key=lambda p: p.channel)
    names = description.channels if description is not None else ()
    lone = len(images) == 1 and not images[0].channel
    frames = names if lone and len(names) > 1 and description is not None and description.has_frames else ()
    problem = _problem(images, labels, 0 if frames else len(names))
    channels = [
        names[int(p.channel)] if p.channel and int(p.channel) < len(names) else p.channel for p in images
    ]
    if lone and len(names) == 1:
        channels = [names[0]]
    return SourceCase(
        source=source,
        case_key=images[0].key.split("/")[-1] if keep_ids else images[0].key,
        patient_key=images[0].patient,
        ids_are_pseudonyms=keep_ids,
        images=tuple(
            ImageSource("nifti", (folder / p.path,), _channel_name(name, len(images)), frames)
            for p, name in zip(images, channels, strict=True)
        ),
        label=LabelSource("nifti", (folder / labels[0].path,)) if labels else None,
        classes=description.classes if description is not None else (),
        stated=Stated(
            modality=description.modality if description is not None else None,
            licence=description.licence if description is not None else None,
        ),
        problem=problem,
    )


def _channel_name(name: str, count: int) -> str:
    """The name of a channel; a lone channel that is only numbered stays unnamed."""
    if not name.isdecimal():
        return name
    return "" if count == 1 else f"channel_{int(name)}"


def _problem(images: list[_Place], labels: list[_Place], channels: int) -> str:
    """What is wrong with the files of a case; ``channels`` is how many files are stated, 0 for any number."""
    if len(labels) > 1:
        return "several label files claim one image; keep one"
    if len({p.channel for p in images}) < len(images):
        return "several image files claim one case; keep one, or name the channels in a cases.csv"
    if channels and len(images) != channels:
        return f"case has {counted(len(images), 'channel')}; expected {channels} as dataset.json says"
    return ""


def _describe(path: Path) -> _Description:
    raw = read_json(path)
    if not isinstance(raw, dict) or not isinstance(raw.get("labels"), dict):
        raise DataError(f"{path.name} names no labels", expected="dataset.json of nnU-Net or the Decathlon")
    names = _channel_names(raw.get("channel_names", raw.get("modality", {"0": "image"})))
    licence = raw.get("licence", raw.get("license"))
    training = raw.get("numTraining")
    return _Description(
        tuple(_decathlon_name(name) for name in names),
        _label_table(raw["labels"].items()),
        str(licence) if licence else None,
        has_frames="channel_names" not in raw,
        n_training=training if isinstance(training, int) else None,
    )


def _channel_names(channels: object) -> tuple[str, ...]:
    """The names in the order of their numbers; one image channel where the description has none."""
    if not isinstance(channels, dict):
        return ("image",)
    if not all(str(key).isdecimal() for key in channels):
        raise DataError("dataset.json numbers its channels by no numbers", expected='such as {"0": "CT"}')
    return tuple(str(channels[key]) for key in sorted(channels, key=int))


def _decathlon_name(name: str) -> str:
    return "MR" if name.upper() == "MRI" else name


def _label_table(labels: Iterable[tuple[str, object]]) -> tuple[ClassId, ...]:
    """Both forms: name to id (nnU-Net v2), and id to name (Decathlon)."""
    pairs = []
    for key, value in labels:
        name, number = (str(value), key) if key.isdecimal() else (key, value)
        if name == "ignore" or not str(number).isdecimal():
            raise LabelError(
                "dataset.json declares regions or an ignore label", expected="one whole number a class"
            )
        if int(str(number)) > 0:
            pairs.append(ClassId(int(str(number)), name))
    return tuple(sorted(pairs, key=lambda pair: pair.label_id))
