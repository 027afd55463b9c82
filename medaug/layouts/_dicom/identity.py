"""Who and what a written DICOM series claims to be; every UID is derived from a key, never from a clock."""

from __future__ import annotations

import hashlib
import hmac
import uuid
from dataclasses import dataclass
from typing import final

from pydicom.dataset import Dataset

from medaug import __version__

MANUFACTURER = "medaug"
_LO_LENGTH, _PN_LENGTH = 64, 64


@final
@dataclass(frozen=True, slots=True)
class Uids:
    """Unique identifiers by name: the same key and names give the same UID, and without the key none.

    Attributes:
        key: Secret, or for made-up patients anything.
        scope: Names in front of all others; the first is the patient.
    """

    key: bytes
    scope: tuple[str, ...]

    def uid(self, *names: str | int) -> str:
        """A UID below 2.25 (PS3.5 B.2) from a keyed hash of the names."""
        text = "\x1f".join((*self.scope, *(str(name) for name in names)))
        digest = hmac.new(self.key, text.encode("utf-8"), hashlib.sha256).digest()
        return f"2.25.{uuid.UUID(bytes=digest[:16], version=4).int}"


@final
@dataclass(frozen=True, slots=True)
class SeriesIdentity:
    """What the header of a series says; holds pseudonyms only.

    Attributes:
        uids: Where the UIDs come from.
        patient_id: Patient ID (LO, at most 64 characters).
        patient_name: Patient's Name in DICOM form, e.g. ``PHANTOM^007``.
        modality: DICOM modality code.
        description: Series Description, e.g. the channel's name.
        series_number: Of the image series; its segmentation gets 1000 more.
        date: YYYYMMDD; a constant, since medaug knows no date of the scan.
        is_synthetic: Whether Synthetic Data (0008,001C) is YES.
        is_own: Whether medaug made what is synthetic; who else did is not known, and nobody is named.
        study: Study Description, e.g. the case.
        derivation: How the pixels came about, in a sentence.
    """

    uids: Uids
    patient_id: str
    patient_name: str
    modality: str = "CT"
    description: str = ""
    series_number: int = 1
    date: str = "20000101"
    is_synthetic: bool = False
    is_own: bool = True
    study: str = ""
    derivation: str = ""

    @property
    def frame_of_reference_uid(self) -> str:
        """One a case, shared by all its series."""
        return self.uids.uid("frame of reference")

    def fill(self, dataset: Dataset, *, is_placed: bool = True) -> None:
        """Set patient, study and, unless the image lies nowhere, frame of reference (PS3.3 C.7.1.1, C.7.2.1, C.7.4.1).

        Also what made the image, and that its header was written without knowledge of the patient.
        """
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.PatientID = self.patient_id[:_LO_LENGTH]
        dataset.PatientName = self.patient_name[:_PN_LENGTH]
        dataset.PatientBirthDate = ""
        dataset.PatientSex = ""
        dataset.PatientIdentityRemoved = "YES"
        dataset.DeidentificationMethod = "medaug: header written anew from voxels and pseudonyms"
        dataset.LongitudinalTemporalInformationModified = "REMOVED"
        dataset.StudyInstanceUID = self.uids.uid("study")
        dataset.StudyDate = dataset.SeriesDate = self.date
        dataset.StudyTime = dataset.SeriesTime = "000000"
        dataset.StudyID = "1"
        if self.study:
            dataset.StudyDescription = self.study[:_LO_LENGTH]
        dataset.AccessionNumber = ""
        dataset.ReferringPhysicianName = ""
        dataset.ContentDate = dataset.InstanceCreationDate = self.date
        dataset.ContentTime = dataset.InstanceCreationTime = "000000"
        if is_placed:
            dataset.FrameOfReferenceUID = self.frame_of_reference_uid
            dataset.PositionReferenceIndicator = ""
        dataset.SyntheticData = "YES" if self.is_synthetic else "NO"
        if self.is_synthetic and self.is_own:
            dataset.ContributingEquipmentSequence = [_synthesiser()]


def _synthesiser() -> Dataset:
    """Code 109100 of PS3.16 CID 7005 is the one that PS3.3 table C.12-1 names at Synthetic Data."""
    equipment = Dataset()
    equipment.PurposeOfReferenceCodeSequence = [coded("109100", "DCM", "Synthesizing Equipment")]
    equipment.Manufacturer = MANUFACTURER
    equipment.ManufacturerModelName = MANUFACTURER
    equipment.SoftwareVersions = __version__
    equipment.ContributionDescription = "Synthesised the image or lesions in it"
    return equipment


def coded(value: str, scheme: str, meaning: str) -> Dataset:
    """An item of a code sequence (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item
