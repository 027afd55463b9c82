"""De-identification of DICOM headers by PS3.15 Annex E; fails closed, and knows its own output by a keyed seal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, final

from medaug.core.errors import IdentifierError
from medaug.io.headers import quiet_pydicom
from medaug.privacy._deidentify.burned import Looked, check_pixels, clean_pixels, silent
from medaug.privacy._deidentify.directory import Entry, directory_entry, write_directory
from medaug.privacy._deidentify.harvest import Identifiers, charset_of, harvest, patient_of, walk
from medaug.privacy._deidentify.marks import closed, is_own, marks, meta_elements, without_marks
from medaug.privacy._deidentify.ocr import text_reader
from medaug.privacy._deidentify.pixels import trimmed
from medaug.privacy._deidentify.risks import burned_in, refusals
from medaug.privacy._deidentify.secret import Pseudonyms, Secret, load_secret, new_secret, write_secret
from medaug.privacy._deidentify.stream import (
    Element,
    Stream,
    packed,
    read_stream,
    write_elements,
    write_meta,
)
from medaug.privacy._deidentify.table import EDITION, Option, Profile, parse_options
from medaug.privacy._deidentify.text import Scrubber
from medaug.privacy._deidentify.values import TEXTS, decode, is_uid
from medaug.privacy._deidentify.walk import Cleaner

__all__ = [
    "EDITION",
    "Deidentified",
    "Deidentifier",
    "Entry",
    "Finding",
    "Identifiers",
    "Names",
    "Option",
    "Profile",
    "Secret",
    "load_secret",
    "new_secret",
    "parse_options",
    "write_secret",
]

_CLASS, _INSTANCE, _STUDY, _SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
_PATIENT_ID = 0x00100020
_NAMING: Final = frozenset({_PATIENT_ID, _STUDY, _SERIES, _INSTANCE})
_PIXEL_GROUP = 0x7FE00000
_CODEC_HEAD = 1 << 14
_REASONS: Final = {
    "media-directory": "a directory of media, which is made anew where files of it are written",
    "encapsulated-document": "a document (PDF, CDA or the like) that no header cleaning reaches",
    "raw-data": "raw data of an unknown form",
    "sound": "recorded sound",
    "film": "film, whose frames were not looked at",
    "burned-in-text-possible": "pixels that may carry writing, and were not cleaned",
    "no-patient": "nothing that tells whose it is",
    "no-instance": "no SOP class or instance UID",
    "identifier-left": "a text, or a comment in its pixel stream, that still holds an identifier of the patient",
}


@final
@dataclass(frozen=True, slots=True)
class Names:
    """Under which a file goes out.

    Attributes:
        patient_id: Pseudonym.
        study_uid: New one; empty where there was none.
        series_uid: New one; empty where there was none.
        instance_uid: New one; empty where there was none.
    """

    patient_id: str
    study_uid: str
    series_uid: str
    instance_uid: str


@final
@dataclass(frozen=True, slots=True)
class Finding:
    """What the first look at a file gives; it holds identifiers and is for memory alone.

    Attributes:
        patient: What tells the patient from others; empty where nothing does.
        study: What tells the study from others; empty where nothing does.
        identifiers: Found in the header.
        names: Under which the file goes out, if it does.
        is_own: Whether the file was written with this key before and is unchanged.
        is_directory: Whether it is the directory of a file-set (DICOMDIR), which is never cleaned but made anew.
    """

    patient: str
    study: str
    identifiers: Identifiers
    names: Names
    is_own: bool
    is_directory: bool


@final
@dataclass(frozen=True, slots=True)
class Deidentified:
    """A file as it may go out.

    Attributes:
        content: Of the whole file.
        names: Under which it goes out.
        outcome: ``cleaned``, or ``own`` where the file was output of this key already and is left as it is.
        boxes: Places that were blanked in its pixels; None where they were not searched for writing.
        spared: Places within ultrasound regions that look like writing and stay.
    """

    content: bytes
    names: Names
    outcome: Literal["cleaned", "own"] = "cleaned"
    boxes: int | None = None
    spared: int = 0


@final
class Deidentifier:
    """Cleans files one by one, with the same replacements for the same secret, whatever the order.

    Args:
        secret: Behind all replacements.
        profile: Which action each attribute gets.
        pixels_are_clean: Whether somebody has looked at the pixels: else what may carry writing is refused.

    Raises:
        DependencyError: If text is to be read, and there is no Tesseract.
    """

    def __init__(self, secret: Secret, profile: Profile, *, pixels_are_clean: bool = False) -> None:
        self._pseudonyms, self._profile, self._trusts_pixels = Pseudonyms(secret), profile, pixels_are_clean
        self._reader = text_reader() if Option.PIXELS_OCR in profile.options else None
        self._cleaner = lru_cache(maxsize=32)(self._new_cleaner)

    @property
    def key_check(self) -> str:
        """Tells whether two runs have the same key and options, and nothing else."""
        options = ",".join(sorted(option.value for option in self._profile.options))
        return self._pseudonyms.seal(b"key check", options.encode("ascii"))

    def look(self, content: bytes) -> Finding:
        """Whose file this is, and the identifiers in its header; those of all files of a patient belong together.

        Raises:
            UnreadableError: If it is cut short, damaged, or no DICOM.
        """
        with quiet_pydicom():
            stream = read_stream(content)
            patient, is_ours = patient_of(stream.elements), is_own(stream, self._pseudonyms)
            return Finding(
                patient,
                _word(stream.elements, _STUDY),
                harvest(stream.elements, self._profile),
                _names(stream.elements if is_ours else self._naming(stream.elements, patient)),
                is_ours,
                "media-directory" in refusals(stream),
            )

    @staticmethod
    def entry(content: bytes, file: str) -> Entry | None:
        """What the directory of a file-set says of a cleaned file; nothing where it lacks what the record must hold."""
        with quiet_pydicom():
            return directory_entry(content, file)

    def directory(self, entries: Iterable[Entry]) -> bytes:
        """The directory of a file-set of cleaned files."""
        return write_directory(entries, self._pseudonyms)

    def _naming(self, elements: list[Element], patient: str) -> list[Element]:
        """The elements that name a file, as they will go out: no text of the header matters for them."""
        cleaner, _ = self._cleaner(patient, Identifiers())
        return cleaner.clean([element for element in elements if element.tag in _NAMING])

    def clean(self, content: bytes, identifiers: Identifiers) -> Deidentified:
        """A file as it may go out.

        Args:
            content: Of the whole file.
            identifiers: Of all files of the patient.

        Raises:
            IdentifierError: If the file cannot be made safe; its ``code`` says why.
            UnreadableError: If it is cut short, damaged, or no DICOM.
        """
        with quiet_pydicom():
            stream = read_stream(content)
            if is_own(stream, self._pseudonyms):
                return Deidentified(content, _names(stream.elements), "own")
            reasons = refusals(stream)
            if reasons:
                raise _refused(reasons[0])
            patient = patient_of(stream.elements)
            if not patient:
                raise _refused("no-patient")
            cleaner, scrubber = self._cleaner(patient, identifiers)
            return self._written(self._looked(stream), cleaner, scrubber)

    def _looked(self, stream: Stream) -> Looked:
        """The file with pixels that may go out."""
        if self._trusts_pixels:
            return Looked(silent(stream))
        reasons = burned_in(stream)
        if reasons and not self._profile.cleans_pixels:
            raise _refused(reasons[0])
        return clean_pixels(stream, self._reader) if reasons else check_pixels(stream)

    def _written(self, looked: Looked, cleaner: Cleaner, scrubber: Scrubber) -> Deidentified:
        stream = looked.stream
        elements = cleaner.clean(without_marks(stream.elements))
        kind, names = _word(elements, _CLASS), _names(elements)
        if not is_uid(kind) or not names.instance_uid:
            raise _refused("no-instance")
        _require_clean(elements, scrubber)
        meta = write_meta(meta_elements(kind, names.instance_uid, stream.syntax.uid))
        pixels = trimmed(
            [element for element in elements if element.tag >= _PIXEL_GROUP], elements, stream.syntax
        )
        header = [element for element in elements if element.tag < _PIXEL_GROUP] + marks(
            self._profile, pixels_cleaned=looked.boxes is not None
        )
        body = write_elements(header, stream.syntax) + write_elements(pixels, stream.syntax)
        content = meta + packed(closed(meta, body, self._pseudonyms), stream.syntax)
        return Deidentified(content, names, boxes=looked.boxes, spared=looked.spared)

    def _new_cleaner(self, patient: str, identifiers: Identifiers) -> tuple[Cleaner, Scrubber]:
        scrubber = Scrubber(identifiers.names, identifiers.ids)
        return Cleaner(self._profile, self._pseudonyms, scrubber, patient), scrubber


def _names(elements: list[Element]) -> Names:
    uids = (_word(elements, tag) for tag in (_STUDY, _SERIES, _INSTANCE))
    # names of files are made of these: what is no UID, such as several of them, is none
    return Names(_word(elements, _PATIENT_ID), *(uid if is_uid(uid) else "" for uid in uids))


def _word(elements: list[Element], tag: int) -> str:
    found = next((element.value for element in elements if element.tag == tag), b"")
    return found.decode("latin-1").strip(" \0")


def _require_clean(elements: list[Element], scrubber: Scrubber) -> None:
    """Look at every text once more, at every depth: what still tells something does not go out."""
    for element, charset in walk(elements, charset_of(elements)):
        # comments of a codec stand before the first pixel
        if element.is_encapsulated and scrubber.is_in_bytes(element.value[:_CODEC_HEAD]):
            raise _refused("identifier-left")
        # a pseudonym can hold the letters of a short name
        if element.vr not in TEXTS | {"CS", "AE"} or element.tag == _PATIENT_ID:
            continue
        if scrubber.holds_identifier(decode(element.value, charset) or ""):
            raise _refused("identifier-left")


def _refused(code: str) -> IdentifierError:
    return IdentifierError(
        f"file holds {_REASONS[code]}", hint="look at it, and leave it out or clean it by hand", code=code
    )
