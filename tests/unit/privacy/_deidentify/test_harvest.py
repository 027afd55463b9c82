"""Identifiers are found in every form in which headers hold them, and taken out of every text in any form."""

import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

from medaug.privacy.deidentify import Option
from tests.unit.privacy.canaries import base
from tests.unit.privacy.test_deidentify import CLEANING, clean, cleaned, content_of

ENCODINGS = ("utf-8", "utf-16-le", "latin-1", "gb18030", "iso2022_jp", "euc_kr", "iso8859-5")


def _left(content: bytes, words: tuple[str, ...]) -> list[str]:
    """Words that stand in bytes, in any encoding."""
    content = content.lower()
    found = []
    for word in words:
        forms = [word.encode(name, "ignore").lower() for name in ENCODINGS]
        found += [word] if any(form and form in content for form in forms if len(form) > 2) else []
    return found


def _named() -> FileDataset:
    dataset = base()
    dataset.PatientName, dataset.PatientBirthDate = "Kowalczyk^Bronislawa^Maria^Dr", "19850312"
    dataset.AccessionNumber, dataset.ReferringPhysicianName = "A77001234", "Whitehead^Anna"
    dataset.PatientAddress, dataset.PatientTelephoneNumbers = "7 Elm Street, Springfield", "(089) 5550-1234"
    return dataset


TEXTS = (
    ("Bronislawa M. Kowalczyk", ("bronislawa", "kowalczyk")),
    ("Kowalczyk,Bronislawa", ("bronislawa", "kowalczyk")),
    ("KOWALCZYK^BRONISLAWA", ("bronislawa", "kowalczyk")),
    ("Kowalczyk1 / PatKowalczyk", ("kowalczyk",)),
    ("KowalczykB_19850312_CT", ("kowalczyk", "1985")),
    ("seen 3/12/85 and 12.03.85", ("3/12/85", "12.03.85")),
    ("born 12th of March, 1985", ("1985", "march")),
    ("Mar-12-1985, MARCH 1985", ("1985",)),
    ("1985-03-12T10:11:12 19850312101112", ("1985",)),
    ("850312 03121985 12Mar85", ("850312", "031219", "12mar")),
    ("tel 089/5550-1234", ("5550", "1234")),
    ("(089)55501234, 0895550 1234", ("5550", "1234")),
    ("+49-89-5550-1234 or 555-1234", ("5550", "1234", "555-")),
    ("id MRN 4711 A, mrn4711a, acc#A77001234", ("4711", "a7700")),
    ("uid:1.2.826.0.1.88888.2.", ("88888",)),
    ("7 Elm St., Springfield", ("elm", "springfield")),
    ("whitehead,a / Dr.Whitehead", ("whitehead",)),
    ("SSN 123-45-6789", ("6789", "123-")),
)


@pytest.mark.parametrize(
    "keyword",
    [
        *("StudyDescription", "SeriesDescription", "ImageComments", "PatientComments", "ProtocolName"),
        *("TextValue", "CodeMeaning", "ManufacturerModelName"),
    ],
)
def test_what_a_header_tells_is_found_in_texts_in_any_form(keyword: str) -> None:
    for text, words in TEXTS:
        dataset = _named()
        setattr(dataset, keyword, text)
        content = clean(content_of(dataset), CLEANING).content
        assert (text, _left(content, words)) == (text, [])


@pytest.mark.parametrize(
    ("charset", "name", "text", "words"),
    [
        ("GB18030", "Wang^XiaoDong=王^小东", "患者王小东CT Wang XiaoDong", ("王小东", "小东", "XiaoDong", "Wang")),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう", "山田太郎様 Tarou", ("山田", "太郎", "Tarou")),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동", "홍길동 환자 Gildong", ("홍길동", "길동", "Gildong")),
        ("ISO_IR 144", "Люкceмбypг^Роза", "аппарат Люкceмбypга", ("Люкceмбypг", "Роза")),
        ("ISO_IR 192", "Müller-Öztürk^Zoë", "Oeztuerk, ZOE / MÜLLER", ("oeztuerk", "zoe", "müller")),
    ],
)  # fmt: skip
def test_each_group_of_a_name_is_found_in_its_writing(
    charset: str | list[str], name: str, text: str, words: tuple[str, ...]
) -> None:
    for keyword in ("ManufacturerModelName", "StudyDescription", "AcquisitionComments"):
        dataset = base()
        dataset.SpecificCharacterSet, dataset.PatientName = charset, name
        setattr(dataset, keyword, text)
        assert _left(clean(content_of(dataset), CLEANING).content, words) == []
        assert cleaned(dataset, CLEANING).SpecificCharacterSet == charset


@pytest.mark.parametrize("separator", ["\r\n", "\t", "\f", "\\"])
def test_lines_of_long_texts_are_cleaned_one_as_the_other(separator: str) -> None:
    dataset = _named()
    dataset.ImageComments = separator.join(["Kowalczyk", "MRN4711-A", "chest", "Bronislawa"])
    after = cleaned(dataset, CLEANING)
    assert after.ImageComments.split() == ["chest"]


def test_identifiers_in_bytes_and_in_rows_of_numbers_do_not_come_out() -> None:
    dataset = _named()
    dataset.ICCProfile = b"\0\1profile of Bronislawa Kowalczyk\0\0"
    dataset.RedPaletteColorLookupTableData = b"MRN4711-A".ljust(16)
    text = b"Kowalczyk Bronislawa"
    dataset.LUTData = b"\0\1" * 8
    dataset.add_new(0x00283002, "US", [text[i] + 256 * text[i + 1] for i in range(0, len(text), 2)])
    content = clean(content_of(dataset)).content
    assert _left(content, ("kowalczyk", "bronislawa", "mrn4711")) == []
    assert b"\0\1" * 8 in content


def test_what_devices_and_codes_say_stays() -> None:
    dataset = _named()
    dataset.InstitutionName, dataset.StationName = "Springfield General Medical Center", "SPRCT1"
    dataset.InstitutionalDepartmentName = "Radiology Department"
    said = {
        "Manufacturer": "GE MEDICAL SYSTEMS",
        "ManufacturerModelName": "Discovery CT750 HD",
        "SoftwareVersions": "07MW18.4",
        "BodyPartExamined": "CHEST",
        "ConvolutionKernel": "STANDARD",
        "SliceThickness": 1.25,
        "KVP": 120,
        "PatientPosition": "HFS",
        "PixelSpacing": [0.5, 0.5],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ScanningSequence": ["SE", "IR"],
        "Modality": "CT",
        "WindowCenterWidthExplanation": "ABDOMEN",
        "RescaleType": "HU",
    }
    for keyword, value in said.items():
        setattr(dataset, keyword, value)
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "121071", "DCM", "Finding"
    dataset.ProcedureCodeSequence = Sequence([code])
    after = cleaned(dataset, CLEANING | {Option.DEVICE})
    assert {keyword: after.get(keyword) for keyword in said} == said
    assert after.SOPClassUID == dataset.SOPClassUID
    dataset.AnatomicRegionSequence = Sequence([code])
    assert cleaned(dataset, CLEANING).AnatomicRegionSequence[0] == code


def test_empty_stays_empty() -> None:
    dataset = _named()
    dataset.ContrastBolusAgent = ""
    assert cleaned(dataset, CLEANING).ContrastBolusAgent == ""


def test_names_in_unknown_representation_and_in_private_items_do_not_come_out() -> None:
    dataset = _named()
    item = Dataset()
    item.add_new(0x00100010, "UN", b"Kowalczyk^Bronislawa")
    item.ReferringPhysicianName = "Whitehead^Anna"
    item.add_new(0x00090010, "LO", "Bronislawa 1.0")
    item.add_new(0x00091001, "UT", "Kowalczyk")
    inner = Dataset()
    inner.add_new(0x00090010, "LO", "Bronislawa 1.0")
    inner.add_new(0x00091002, "SQ", Sequence([item]))
    dataset.add_new(0x00090010, "LO", "CANARY 1.0")
    dataset.add_new(0x00091002, "SQ", Sequence([inner]))
    dataset.ReferencedImageSequence = Sequence([inner])
    dataset["ReferencedImageSequence"].is_undefined_length = True
    dataset.ReferencedImageSequence[0].is_undefined_length_sequence_item = True
    content = clean(content_of(dataset), CLEANING | {Option.SAFE_PRIVATE}).content
    assert _left(content, ("kowalczyk", "bronislawa", "whitehead", "canary")) == []


def test_structured_content_keeps_its_form_and_loses_its_names() -> None:
    dataset = _named()
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.88.33")
    del dataset.PixelData
    texts = {
        "TextValue": "Lesion of Kowalczyk in liver, 12 March 1985",
        "PersonName": "Kowalczyk^B",
        "UID": "1.2.826.0.1.88888.1",
        "DateTime": "20200301101112",
        "Date": "20200301",
        "NumericValue": "12.5",
    }
    items = []
    for keyword, value in texts.items():
        items.append(Dataset())
        items[-1].RelationshipType = "CONTAINS"
        setattr(items[-1], keyword, value)
    dataset.ContentSequence, dataset.StudyDate = Sequence(items), "20200301"
    after = cleaned(dataset, CLEANING)
    text, person, uid, moment, day, number = after.ContentSequence
    assert text.TextValue == "Lesion of in liver"
    assert person.PersonName == "ANONYMIZED"
    assert after.SOPInstanceUID == uid.UID
    assert (moment.DateTime, day.Date) == (f"{after.StudyDate}101112", after.StudyDate)
    assert number.NumericValue == 12.5
    assert all(item.RelationshipType == "CONTAINS" for item in after.ContentSequence)


def _item(code: str, meaning: str, keyword: str, value: object) -> Dataset:
    name, item = Dataset(), Dataset()
    name.CodeValue, name.CodingSchemeDesignator, name.CodeMeaning = code, "DCM", meaning
    item.ConceptNameCodeSequence, item.RelationshipType = Sequence([name]), "HAS OBS CONTEXT"
    setattr(item, keyword, value)
    return item


def test_content_items_of_a_person_keep_their_place_and_lose_their_value() -> None:
    dataset = _named()
    age, sex = Dataset(), Dataset()
    age.NumericValue = "93"
    sex.CodeValue, sex.CodingSchemeDesignator, sex.CodeMeaning = "M", "DCM", "Male"
    dataset.ContentSequence = Sequence(
        [
            _item("121031", "Subject Birth Date", "Date", "19850312"),
            _item("121033", "Subject Age", "MeasuredValueSequence", Sequence([age])),
            _item("121030", "Subject ID", "TextValue", "12"),
            _item("121032", "Subject Sex", "ConceptCodeSequence", Sequence([sex])),
            _item("121071", "Finding", "TextValue", "lesion 12"),
        ]
    )
    after = cleaned(dataset, CLEANING).ContentSequence
    assert [one.ConceptNameCodeSequence for one in after] == [
        one.ConceptNameCodeSequence for one in dataset.ContentSequence
    ]
    assert [one.RelationshipType for one in after] == ["HAS OBS CONTEXT"] * 5
    assert (after[0].Date, after[1].MeasuredValueSequence[0].NumericValue) == ("20000101", 0)
    assert (after[2].TextValue, after[4].TextValue) == ("ANONYMIZED", "lesion 12")
    assert after[3].ConceptCodeSequence[0].CodeMeaning == "ANONYMIZED"
    kept = cleaned(dataset, CLEANING | {Option.PATIENT}).ContentSequence
    assert kept[3].ConceptCodeSequence[0] == sex
    assert kept[1].MeasuredValueSequence[0].NumericValue == 0


def test_the_example_of_the_standard() -> None:
    dataset = _named()
    dataset.StudyDescription = "CT chest abdomen pelvis - 55F Dr. Smith"
    assert cleaned(dataset, CLEANING).StudyDescription == "CT chest abdomen pelvis"
