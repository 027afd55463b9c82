"""Folders of image files: images paired with labels by folder and name, never by order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, final

from medaug.core.errors import DataError
from medaug.core.findings import Code
from medaug.core.wording import counted
from medaug.ingest.description import Description, count_training, describe
from medaug.ingest.sources import ClassId, Discovery, ImageSource, LabelSource, SourceCase, Stated, Stray
from medaug.io.dataset import DATASET_JSON
from medaug.io.formats import FileKind, kind_of, stem
from medaug.io.images import companion, slicer_drawing

_IMAGE_FOLDER = re.compile(r"^(images?|imgs?|scans?|volumes?)(tr|ts|val)?$", re.IGNORECASE)
_LABEL = r"(labels?|masks?|segs?|segmentations?|annotations?|rois?|gts?|ground[_\-. ]?truths?)"
_LABEL_FOLDER = re.compile(rf"^{_LABEL}(tr|ts|val)?$", re.IGNORECASE)
_LABEL_NAME = re.compile(rf"^(.+?)[_\-. ]{_LABEL}(?:[_\-. ]?\d{{1,3}})?$", re.IGNORECASE)
# ``mask_CASE`` beside ``image_CASE``, and ``mask`` beside the only image of its folder
_LABEL_FIRST = re.compile(rf"^{_LABEL}[_\-. ](.+)$", re.IGNORECASE)
_IMAGE_FIRST = re.compile(r"^(images?|imgs?|scans?|vols?|volumes?)[_\-. ](.+)$", re.IGNORECASE)
_LABEL_ALONE = re.compile(rf"^{_LABEL}(?:[_\-. ]?\d{{1,3}})?$", re.IGNORECASE)
_IMAGE_NAME = re.compile(r"^(.+?)[_\-. ](image|img|scan|vol|volume)$", re.IGNORECASE)
_CHANNEL = re.compile(r"^(.+)_(\d{4})$")
# Folders that sort images and name no patient
_SORTING_FOLDER = re.compile(
    r"^(benign|malignant|normal|healthy|positive|negative|train(ing)?|test(ing)?|val(idation)?)$",
    re.IGNORECASE,
)
_COLOURS = 3


@final
@dataclass(frozen=True, slots=True)
class _Place:
    """A file with its role; files of one ``key`` belong together.

    Attributes:
        path: Relative to the source.
        role: Image or label.
        key: Folders and name, without what only tells the role.
        channel: Number of the channel, or empty.
        patient: What tells patients apart.
        marker: By which word or folder a label is one: masks of one marker are parts of one label.
        base: Of a label in a folder of labels: the folders its key begins with.
        class_name: Of a label: the class that its folder names, or empty.
    """

    path: Path
    role: Literal["image", "label"]
    key: str
    channel: str
    patient: str
    marker: str = ""
    base: tuple[str, ...] = ()
    class_name: str = ""

    @property
    def kind(self) -> FileKind:
        """Its format."""
        return kind_of(self.path) or "nifti"


@final
@dataclass(frozen=True, slots=True)
class _Pairing:
    """What holds for all files of a source."""

    folder: Path
    source: int
    description: Description | None
    keep_ids: bool


def pair_files(
    folder: Path, files: Sequence[Path], source: int, *, keep_ids: bool = False, beside_images: bool = False
) -> Discovery:
    """Pair the image files of a folder by name, never by order.

    Roles come from the folder (``images`` and ``labels``, ``imagesTr`` and ``labelsTr``, ...) or the end of the name
    (``CASE_seg``, ``CASE_mask``, ``CASE_label``) or its beginning (``mask_CASE`` beside ``image_CASE``); ``mask`` belongs to
    the only image of its folder. ``CASE_0000``, ``CASE_0001`` are channels in ``imagesTr`` and
    ``imagesTs``, or where the label is called ``CASE``. A ``dataset.json`` of nnU-Net or the Decathlon names channels and
    classes. Each file is one patient, unless images lie in a folder a patient.

    Pictures are paired apart from volumes, and may have several masks: ``CASE_mask_1``, ``CASE_mask_2``;
    ``masks/CASE/*``; or ``masks/CLASS/CASE``, where the folder names the class. Beside volumes or DICOM series they are
    cases only where a mask pairs with them; else they are left out (``not-an-image``).

    Args:
        folder: What the files are relative to.
        files: Files below it, of formats that are read.
        source: Index of the SRC.
        keep_ids: Show file names as case ids (they may hold identifiers, so they are numbered otherwise).
        beside_images: Whether the source holds DICOM images.

    Raises:
        DataError: If ``dataset.json`` is damaged.
        LabelError: If it declares regions or an ignore label, which a label map of classes cannot hold.
    """
    description = describe(folder / DATASET_JSON) if (folder / DATASET_JSON).is_file() else None
    pairing = _Pairing(folder, source, description, keep_ids)
    volumes = _paired(pairing, [path for path in files if kind_of(path) != "picture"])
    pictures = _paired(pairing, [path for path in files if kind_of(path) == "picture"])
    if beside_images or volumes.cases:
        pictures = _masked_only(pictures)
    found = volumes.joined(pictures)
    if description is not None:
        found = found.joined(Discovery((), tuple(count_training(description, found.cases))))
    return found


def _masked_only(pictures: Discovery) -> Discovery:
    """The pictures that have a mask; the others are thumbnails or screenshots of the images beside them."""
    kept = tuple(case for case in pictures.cases if case.label is not None)
    left = [path for case in pictures.cases if case.label is None for path in case.files]
    left += [path for stray in pictures.strays for path in stray.files]
    if not left:
        return Discovery(kept)
    message = (
        f"{counted(len(left), 'picture')} beside volumes, without a mask or an image, were taken for no cases; "
        "name them in a cases.csv if they are"
    )
    return Discovery(kept, (Stray(Code.NOT_AN_IMAGE, "flagged", message, tuple(sorted(left))),))


def _paired(pairing: _Pairing, files: Sequence[Path]) -> Discovery:
    places = _tied(_split_channels([_place(path.relative_to(pairing.folder)) for path in files]))
    groups: dict[str, list[_Place]] = {}
    for place in places:
        groups.setdefault(place.key, []).append(place)
    classes = sorted({place.class_name for place in places if place.class_name})
    cases, strays = [], []
    for key in sorted(groups):
        images = [p for p in groups[key] if p.role == "image"]
        labels = [p for p in groups[key] if p.role == "label"]
        if images:
            case = _case(pairing, images, labels)
            if classes and labels:
                case = replace(case, classes=tuple(ClassId(n, name) for n, name in enumerate(classes, 1)))
            cases.append(case)
        else:
            message = "label file has no image of its name; rename the files so that they pair, or name them in a cases.csv"
            paths = tuple(pairing.folder / p.path for p in labels)
            strays.append(Stray(Code.IMAGE_MISSING, "refused", message, paths))
    return Discovery(tuple(cases), tuple(strays))


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
        base = (*parents[:depth], (match.group(2) or "").lower(), *inner)
        plain = _plain(name, _IMAGE_NAME if image else _LABEL_NAME)
        patient = _patient(inner, "/".join([*parents[:depth], *inner, plain]))
        if image:
            return _Place(path, "image", "/".join([*base, plain]), "", patient)
        marker = f"{part}/{_marker(name)}"
        return _Place(path, "label", "/".join([*base, plain]), "", patient, marker, base)
    marked = _LABEL_NAME.match(name)
    plain = _plain(marked.group(1) if marked else name, _IMAGE_NAME)
    patient = _patient(parents, "/".join([*parents, plain]))
    role: Literal["image", "label"] = "label" if _marker(name) else "image"
    return _Place(path, role, "/".join([*parents, plain]), "", patient, _marker(name))


def _patient(folders: Sequence[str], otherwise: str) -> str:
    """The first folder that does more than sort, else the file itself."""
    named = [folder for folder in folders if not _SORTING_FOLDER.match(folder)]
    return named[0] if named else otherwise


def _plain(name: str, ending: re.Pattern[str]) -> str:
    match = ending.match(name)
    return match.group(1) if match else name


def _marker(name: str) -> str:
    """The word that tells a label, or empty."""
    if match := _LABEL_NAME.match(name):
        return match.group(2).lower()
    match = _LABEL_FIRST.match(name) or _LABEL_ALONE.match(name)
    return match.group(1).lower() if match else ""


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
    return replace(place, key=match.group(1), channel=match.group(2), patient=patient)


def _tied(places: list[_Place]) -> list[_Place]:
    """Give labels the key of their image, where it is not the one that their own name tells."""
    images = {p.key for p in places if p.role == "image"}
    beside: dict[str, list[str]] = {}
    for key in sorted(images):
        beside.setdefault(key.rpartition("/")[0], []).append(key)
    tied = [p if p.role == "image" or p.key in images or not p.base else _of_image(p, images) for p in places]
    return [p if p.role == "image" or p.key in images else _beside(p, beside) for p in tied]


def _beside(label: _Place, images: Mapping[str, Sequence[str]]) -> _Place:
    """``mask_CASE`` belongs to ``CASE`` or ``image_CASE``, ``mask`` to the only image of its folder."""
    folder, _, name = label.key.rpartition("/")
    near, first = images.get(folder, ()), _LABEL_FIRST.match(name)
    if first:
        same = [key for key in near if _without_image(key.rpartition("/")[2]) == first.group(2)]
        if same:
            return replace(label, key=same[0]) if len(same) == 1 else label
    return replace(label, key=near[0]) if len(near) == 1 and _LABEL_ALONE.match(name) else label


def _without_image(name: str) -> str:
    match = _IMAGE_FIRST.match(name)
    return match.group(2) if match else name


def _of_image(label: _Place, images: set[str]) -> _Place:
    name = label.key.rsplit("/", 1)[-1]
    beside = "/".join(part for part in (*label.base, name) if part)
    if beside in images:
        return replace(label, key=beside)
    if label.kind != "picture" or not label.base[-1]:
        return label
    for instance in ("/".join(label.base), "/".join(part for part in label.base if part)):
        if instance in images:
            return replace(label, key=instance, marker="folder")
    outer = label.base[:-1]
    for sorted_by_class in ("/".join((*outer, name)), "/".join(part for part in (*outer, name) if part)):
        if sorted_by_class in images:
            return replace(label, key=sorted_by_class, marker="class", class_name=label.base[-1])
    return label


def _case(pairing: _Pairing, images: list[_Place], labels: list[_Place]) -> SourceCase:
    images, description = sorted(images, key=lambda p: p.channel), pairing.description
    names = description.channels if description is not None else ()
    lone = len(images) == 1 and not images[0].channel
    if len(images) == 1 and len(names) == _COLOURS and images[0].kind == "picture":
        # nnU-Net counts red, green and blue of one file as channels; here they become luminance
        names, images = (), [replace(images[0], channel="")]
    frames = names if lone and len(names) > 1 and description is not None and description.has_frames else ()
    channels = [
        names[int(p.channel)] if p.channel and int(p.channel) < len(names) else p.channel for p in images
    ]
    if lone and len(names) == 1:
        channels = [names[0]]
    first = images[0]
    case = SourceCase(
        source=pairing.source,
        case_key=first.key.split("/")[-1] if pairing.keep_ids else first.key,
        patient_key=first.patient,
        ids_are_pseudonyms=pairing.keep_ids,
        images=tuple(
            ImageSource(p.kind, _files(pairing.folder / p.path), _channel_name(name, len(images)), frames)
            for p, name in zip(images, channels, strict=True)
        ),
        label=None,
        classes=description.classes if description is not None else (),
        stated=Stated(
            modality=description.modality if description is not None else None,
            licence=description.licence if description is not None else None,
        ),
        problem=_problem(images, labels, 0 if frames else len(names)),
    )
    return _labelled(case, pairing.folder, sorted(labels, key=lambda p: p.path)) if labels else case


def _labelled(case: SourceCase, folder: Path, labels: Sequence[_Place]) -> SourceCase:
    files = tuple(path for p in labels for path in _files(folder / p.path))
    names = tuple(p.class_name for p in labels) if all(p.class_name for p in labels) else ()
    try:
        drawing = slicer_drawing(files[0]) if labels[0].kind == "nrrd" else None
    except DataError as error:
        return replace(case, problem=error.line(), problem_code=error.code)
    drawings = (drawing,) if drawing is not None else ()
    return replace(case, label=LabelSource(labels[0].kind, files, names=names, drawings=drawings))


def _files(path: Path) -> tuple[Path, ...]:
    """The file, and the one that holds its voxels where that is another."""
    other = companion(path)
    return (path,) if other is None else (path, other)


def _channel_name(name: str, count: int) -> str:
    """The name of a channel; a lone channel that is only numbered stays unnamed."""
    if not name.isdecimal():
        return name
    return "" if count == 1 else f"channel_{int(name)}"


def _problem(images: list[_Place], labels: list[_Place], channels: int) -> str:
    """What is wrong with the files of a case; ``channels`` is how many files are stated, 0 for any number."""
    are_parts = len({p.marker for p in labels}) == 1 and all(p.kind == "picture" for p in labels)
    if len(labels) > 1 and not are_parts:
        return "several label files claim one image; keep one"
    if len({p.channel for p in images}) < len(images):
        return "several image files claim one case; keep one, or name the channels in a cases.csv"
    if channels and len(images) != channels:
        return f"case has {counted(len(images), 'channel')}; expected {channels} as dataset.json says"
    return ""
