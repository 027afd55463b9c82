"""Pseudonyms for names of files and folders; words of BIDS that tell of the image and not of the patient stay."""

from __future__ import annotations

import hmac
import os
import re
from pathlib import PurePath
from typing import Final, final

from medaug.privacy._deidentify.secret import Secret

SUFFIXES: Final = (".nii.gz", ".nii", ".json", ".bval", ".bvec", ".bvals", ".bvecs")
_FOLDERS: Final = frozenset(
    # of BIDS and of nnU-Net
    (*("anat", "func", "dwi", "fmap", "perf", "pet"), *("imagesTr", "labelsTr", "imagesTs", "labelsTs"))
)
# what an image is (BIDS suffixes and what else is common), and nnU-Net's number of a channel
_KINDS: Final = re.compile(
    r"(?:T1|T2|PD)w|T2starw?|FLAIR|flair|[Tt][12](?:w|gd|ce|map)?|T1rho|UNIT1|angio|inplaneT[12]|bold|cbv|sbref|dwi|ADC|adc|epi|"
    r"asl|m0scan|phase[12]?|phasediff|magnitude[12]?|fieldmap|pet|CT|MR|mask|seg|dseg|probseg|label|000\d"
)
_KEPT: Final = re.compile(
    r"(?:run|echo|inv|flip|split|chunk)-\d{1,2}|part-(?:mag|phase|real|imag)|dir-(?:AP|PA|LR|RL|SI|IS)|"
    r"hemi-[LR]|mt-(?:on|off)|task-rest"
)
_LABEL: Final = re.compile(rb"([a-z]{2,10})-(.+)", re.DOTALL)
# keys of BIDS: another word before a hyphen may be a name
_KEYS: Final = frozenset(
    b"sub ses task acq ce trc rec dir run mod echo flip inv mt part proc hemi space split recording chunk seg res den label desc".split()
)
_SUBJECT: Final = re.compile(r"sub-[^_/.]+")
_OWN: Final = re.compile(r"[0-9A-F]{24}")
_NAME_DIGITS, _SEAL_DIGITS = 16, 8
_LONGEST = 200


@final
class ImageNames:
    """Gives each part of a path a pseudonym, the same for the same secret whatever else there is.

    A pseudonym is 16 hexadecimal digits of a keyed hash and eight more that seal them, by which it is known again and left
    as it is. Names that differ get others; the same name in two folders (an image and its label map) stays the same.
    """

    def __init__(self, secret: Secret) -> None:
        self._key, self._seal = secret.derive("file name"), secret.derive("file name seal")

    def path(self, given: PurePath) -> str:
        """Relative path in the output for one in the source; its suffix must be one of ``SUFFIXES``."""
        found = _SUBJECT.search(given.as_posix())
        subject = os.fsencode(found.group() if found else "")
        folders = [
            self._folder(part, os.fsencode("/".join(given.parts[:number])), subject)
            for number, part in enumerate(given.parts[:-1])
        ]
        stem, suffix = split_name(given.name)
        return "/".join([*folders, self._stem(stem, subject) + suffix])

    def _folder(self, name: str, above: bytes, subject: bytes) -> str:
        if name in _FOLDERS:
            return name
        if name.startswith(("sub-", "ses-")):
            return self._entity(name, subject)
        return self._pseudonym(name, b"folder", above)

    def _stem(self, stem: str, subject: bytes) -> str:
        """Kinds of image at the end stay; what stands before them goes, by its parts where they are those of BIDS."""
        parts = stem.split("_")
        last = len(parts)
        while last and _KINDS.fullmatch(parts[last - 1]):
            last -= 1
        if parts[0].isdecimal():
            last = max(last, 1)
        head = "_".join(parts[:last])
        if head.startswith("sub-"):
            head = "_".join(self._entity(part, subject) for part in parts[:last])
        elif head:
            head = self._pseudonym(head, b"file")
        made = "_".join([*([head] if head else []), *parts[last:]])
        return made if len(made) <= _LONGEST else self._pseudonym(stem, b"long name")

    def _entity(self, part: str, subject: bytes) -> str:
        """``key-label`` with a label that says nothing; that of all but the subject is another one for each subject."""
        if _KEPT.fullmatch(part):
            return part
        found = _LABEL.fullmatch(os.fsencode(part))
        if found is None or found.group(1) not in _KEYS:
            return self._pseudonym(part, b"part", subject)
        key, label = found.groups()
        scope = b"" if key == b"sub" else subject
        return f"{key.decode('ascii')}-{self._pseudonym(os.fsdecode(label), key, scope)}"

    def _pseudonym(self, text: str, *scope: bytes) -> str:
        if _OWN.fullmatch(text) and hmac.compare_digest(self._sealed(text[:_NAME_DIGITS]), text):
            return text
        whole = b"".join(len(one).to_bytes(8, "big") + one for one in (*scope, os.fsencode(text)))
        return self._sealed(hmac.digest(self._key, whole, "sha256").hex()[:_NAME_DIGITS].upper())

    def _sealed(self, digits: str) -> str:
        seal = hmac.digest(self._seal, digits.encode("ascii"), "sha256").hex()
        return digits + seal[:_SEAL_DIGITS].upper()


def split_name(name: str) -> tuple[str, str]:
    """Stem and suffix of a file, the suffix in small letters; it is empty where it is none of ``SUFFIXES``."""
    low = name.lower()
    suffix = next((one for one in SUFFIXES if low.endswith(one) and len(low) > len(one)), "")
    return name[: len(name) - len(suffix)], suffix
