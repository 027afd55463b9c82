"""What was found on the way in, before anything is read: cases to be, files that fit nowhere, and the private tie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

from pydantic import Field

from medaug.core.assessment import Rejection
from medaug.core.case import Attributes, Origin
from medaug.core.config import Document, Frozen
from medaug.core.findings import Severity
from medaug.core.plan import Recipe, Translation
from medaug.core.volume import Unit
from medaug.io.dicom import Stack
from medaug.io.drawings import Drawing

Kind = Literal["nifti", "dicom", "nrrd", "metaimage", "picture"]


@final
@dataclass(frozen=True, slots=True)
class ClassId:
    """A label id and the class it stands for, in the files of one source."""

    label_id: int
    name: str


@final
@dataclass(frozen=True, slots=True)
class ImageSource:
    """One channel: a NIfTI file, or the files of a DICOM series; ``channel`` is empty where nothing names it.

    ``frames`` names the channels along the fourth axis of a file whose source states them; ``sha256`` is what its manifest
    says of the file. ``frame`` is the one frame of the fourth axis to take, where each became a case of its own. ``stack`` is
    what the headers of a DICOM series already told; without it the files are opened when they are read.
    """

    kind: Kind
    files: tuple[Path, ...]
    channel: str = ""
    frames: tuple[str, ...] = ()
    sha256: str = ""
    frame: int | None = None
    stack: Stack | None = None


@final
@dataclass(frozen=True, slots=True)
class LabelSource:
    """A label map, annotations (DICOM SEG, RTSTRUCT), or mask files to be merged; ``sha256`` is what its manifest says.

    ``names`` holds the class of each file, where its folder tells it and its values do not. ``drawings`` is what each
    annotation declares, and ``tables`` the class of each of its segments that is not left out, by its number.
    """

    kind: Kind
    files: tuple[Path, ...]
    sha256: str = ""
    names: tuple[str, ...] = ()
    drawings: tuple[Drawing, ...] = ()
    tables: tuple[tuple[ClassId, ...], ...] = ()


@final
@dataclass(frozen=True, slots=True)
class Stated:
    """What the source itself says of a case; None where it is silent."""

    modality: str | None = None
    spacing: Literal["known", "nominal"] | None = None
    split: Literal["train", "test"] | None = None
    lesion_free: bool = False
    licence: str | None = None
    terms: str | None = None
    classes: tuple[str, ...] = ()
    unit: Unit | None = None
    origin: Origin | None = None
    source_sha256: tuple[str, ...] = ()


@final
@dataclass(frozen=True, slots=True)
class Attribute:
    """A column of ``cases.csv`` that medaug does not know: kept apart, private."""

    name: str
    value: str


@final
@dataclass(frozen=True, slots=True)
class SourceCase:
    """A case as it stands in its source. Keys are private: they enter no message and no public file.

    Attributes:
        source: Which SRC of the command line, counted from 0.
        case_key: What the source calls the case, or its path; private unless ``ids_are_pseudonyms``.
        patient_key: What tells patients apart; private unless ``ids_are_pseudonyms``.
        ids_are_pseudonyms: The keys were written by hand in a table and may be shown.
        images: One a channel.
        label: None for an unlabelled case.
        classes: Names of the label ids of this case; empty where its source names none.
        problem: Why the case is refused before it is read; empty where it is not.
        problem_code: Code of that refusal; empty for ``source-row``.
        edit_mask: Where a synthetic case differs from its host, as its manifest says.
        recipe: How a synthetic case was made.
        characteristics: Site, scanner, sex and age, as far as the source tells them.
        said_synthetic: Name of the file beside the images that says they were made, where nothing states an origin.
    """

    source: int
    case_key: str
    patient_key: str
    ids_are_pseudonyms: bool
    images: tuple[ImageSource, ...]
    label: LabelSource | None
    classes: tuple[ClassId, ...] = ()
    stated: Stated = Stated()
    attributes: tuple[Attribute, ...] = ()
    problem: str = ""
    problem_code: str = ""
    edit_mask: LabelSource | None = None
    recipe: Recipe | Translation | None = None
    characteristics: Attributes = ()
    said_synthetic: str = ""

    @property
    def channels(self) -> tuple[str, ...]:
        """The name of every channel, empty where nothing names it."""
        return tuple(name for image in self.images for name in image.frames or (image.channel,))

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file the case is made of."""
        images = tuple(path for image in self.images for path in image.files)
        masks = tuple(mask for mask in (self.label, self.edit_mask) if mask is not None)
        return images + tuple(path for mask in masks for path in mask.files)


@final
@dataclass(frozen=True, slots=True)
class Stray:
    """Files that became no case; the message names none of them."""

    code: str
    severity: Severity
    message: str
    files: tuple[Path, ...]


@final
@dataclass(frozen=True, slots=True)
class Discovery:
    """What the sources hold, and what a person or a rule left out of them before."""

    cases: tuple[SourceCase, ...]
    strays: tuple[Stray, ...] = ()
    rejected: tuple[Rejection, ...] = ()

    def joined(self, other: Discovery) -> Discovery:
        """Both together, in order."""
        return Discovery(self.cases + other.cases, self.strays + other.strays, self.rejected + other.rejected)


@final
@dataclass(frozen=True, slots=True)
class Choices:
    """How the command line wants files to be read where more than one way is right.

    Attributes:
        frames: The fourth axis of an image: None asks (NIfTI is refused, a DICOM series becomes channels), ``channels``,
            ``cases`` (each frame a case of the same patient), or the number of the frame to take, counted from 0.
        tilt: A tilted gantry is resampled upright with a finding, or refused.
        fraction_threshold: From which fraction on a voxel of a FRACTIONAL SEG belongs to its segment.
        priority: Classes that win where segments overlap, the strongest first; empty refuses overlaps.
        resample_labels: Put label maps on the grid of their image with nearest neighbour instead of refusing them.
    """

    frames: Literal["channels", "cases"] | int | None = None
    tilt: Literal["resample", "refuse"] = "resample"
    fraction_threshold: float = 0.5
    priority: tuple[str, ...] = ()
    resample_labels: bool = False


@final
@dataclass(frozen=True, slots=True)
class Policy:
    """What the command line says of all cases; it wins over the files. None where it is silent."""

    origin: Origin | None = None
    modality: str | None = None
    spacing: Literal["known", "nominal"] | None = None
    licence: str | None = None
    terms: str | None = None
    require_labels: bool = False
    choices: Choices = Choices()


@final
class PrivateCase(Frozen):
    """Where a case came from."""

    case_id: str
    patient_id: str
    case_key: str
    patient_key: str
    files: tuple[str, ...]
    attributes: dict[str, str] = Field(description="columns of cases.csv that medaug does not know")
    refused: bool


@final
class PrivateSource(Frozen):
    """Files that became no case."""

    source_id: str
    files: tuple[str, ...]


@final
class SourcesPrivate(Document):
    """``sources.private.json``, mode 600: the only tie between pseudonyms and sources."""

    cases: tuple[PrivateCase, ...]
    others: tuple[PrivateSource, ...]
