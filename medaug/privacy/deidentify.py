"""De-identification of DICOM headers by PS3.15 Annex E; fails closed, and knows its own output by a keyed seal."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, final

from medaug.core.errors import IdentifierError
from medaug.io.headers import quiet_pydicom
from medaug.privacy._deidentify.harvest import Identifiers, charset_of, harvest, patient_of, walk
from medaug.privacy._deidentify.marks import closed, is_own, marks, meta_elements, without_marks
from medaug.privacy._deidentify.pixels import trimmed
from medaug.privacy._deidentify.risks import burned_in, refusals
from medaug.privacy._deidentify.secret import Pseudonyms, Secret, load_secret, write_secret
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
from medaug.privacy._deidentify.values import TEXTS, decode
from medaug.privacy._deidentify.walk import Cleaner

__all__ = [
    "EDITION",
    "Deidentified",
    "Deidentifier",
    "Finding",
    "Identifiers",
    "Option",
    "Profile",
    "Secret",
    "load_secret",
    "parse_options",
    "write_secret",
]

_CLASS, _INSTANCE, _STUDY, _SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
_PIXEL_GROUP = 0x7FE00000
_CODEC_HEAD = 1 << 14
_REASONS: Final = {
    "media-directory": "a directory of media, whose paths and names would have to be made anew",
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
class Finding:
    """What the first look at a file gives; it holds identifiers and is for memory alone.

    Attributes:
        patient: What tells the patient from others; empty where nothing does.
        identifiers: Found in the header.
        is_own: Whether the file was written with this key before and is unchanged.
    """

    patient: str
    identifiers: Identifiers
    is_own: bool


@final
@dataclass(frozen=True, slots=True)
class Deidentified:
    """A file as it may go out.

    Attributes:
        content: Of the whole file.
        patient_id: Pseudonym.
        study_uid: New one; empty where there was none.
        series_uid: New one; empty where there was none.
        instance_uid: New one.
        outcome: ``cleaned``, or ``own`` where the file was output of this key already and is left as it is.
    """

    content: bytes
    patient_id: str
    study_uid: str
    series_uid: str
    instance_uid: str
    outcome: Literal["cleaned", "own"] = "cleaned"


@final
class Deidentifier:
    """Cleans files one by one, with the same replacements for the same secret, whatever the order.

    Args:
        secret: Behind all replacements.
        profile: Which action each attribute gets.
        pixels_are_clean: Whether somebody has looked at the pixels: else what may carry writing is refused.
    """

    def __init__(self, secret: Secret, profile: Profile, *, pixels_are_clean: bool = False) -> None:
        self._pseudonyms, self._profile, self._trusts_pixels = Pseudonyms(secret), profile, pixels_are_clean
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
            found = harvest(stream.elements, self._profile)
            return Finding(patient_of(stream.elements), found, is_own(stream, self._pseudonyms))

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
                return _result(content, stream.elements, "own")
            reasons = refusals(stream) + (() if self._trusts_pixels else burned_in(stream))
            if reasons:
                raise _refused(reasons[0])
            patient = patient_of(stream.elements)
            if not patient:
                raise _refused("no-patient")
            cleaner, scrubber = self._cleaner(patient, identifiers)
            return self._written(stream, cleaner, scrubber)

    def _written(self, stream: Stream, cleaner: Cleaner, scrubber: Scrubber) -> Deidentified:
        elements = cleaner.clean(without_marks(stream.elements))
        kind, instance = _word(elements, _CLASS), _word(elements, _INSTANCE)
        if not kind or not instance:
            raise _refused("no-instance")
        _require_clean(elements, scrubber)
        meta = write_meta(meta_elements(kind, instance, stream.syntax.uid))
        pixels = trimmed(
            [element for element in elements if element.tag >= _PIXEL_GROUP], elements, stream.syntax
        )
        header = [element for element in elements if element.tag < _PIXEL_GROUP] + marks(self._profile)
        body = write_elements(header, stream.syntax) + write_elements(pixels, stream.syntax)
        content = meta + packed(closed(meta, body, self._pseudonyms), stream.syntax)
        return _result(content, elements, "cleaned")

    def _new_cleaner(self, patient: str, identifiers: Identifiers) -> tuple[Cleaner, Scrubber]:
        scrubber = Scrubber(identifiers.names, identifiers.ids)
        return Cleaner(self._profile, self._pseudonyms, scrubber, patient), scrubber


def _result(content: bytes, elements: list[Element], outcome: Literal["cleaned", "own"]) -> Deidentified:
    return Deidentified(
        content,
        _word(elements, 0x00100020),
        _word(elements, _STUDY),
        _word(elements, _SERIES),
        _word(elements, _INSTANCE),
        outcome,
    )


def _word(elements: list[Element], tag: int) -> str:
    found = next((element.value for element in elements if element.tag == tag), b"")
    return found.decode("latin-1").strip(" \0")


def _require_clean(elements: list[Element], scrubber: Scrubber) -> None:
    """Look at every text once more, at every depth: what still tells something does not go out."""
    for element, charset in walk(elements, charset_of(elements)):
        # comments of a codec stand before the first pixel
        if element.is_encapsulated and scrubber.is_in_bytes(element.value[:_CODEC_HEAD]):
            raise _refused("identifier-left")
        if element.vr not in TEXTS | {"CS", "AE"}:
            continue
        if scrubber.holds_identifier(decode(element.value, charset) or ""):
            raise _refused("identifier-left")


def _refused(code: str) -> IdentifierError:
    return IdentifierError(
        f"file holds {_REASONS[code]}", hint="look at it, and leave it out or clean it by hand", code=code
    )
