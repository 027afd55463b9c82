"""Canary files: every attribute of the table, at every depth, in odd places, in free text, in every transfer syntax."""

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import config
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from medaug.core.errors import ConfigError, IdentifierError, MedaugError, UnreadableError
from medaug.privacy._deidentify.table import Action
from medaug.privacy.deidentify import Deidentified, Deidentifier, Identifiers, Option, Profile, Secret
from tests.unit.privacy.canaries import KNOWN, Canaries, base, odd_places, parse, table_file, value_of, vr_of

SECRET = Secret.of(b"a secret for tests, thirty-two bytes")
OTHER = Secret.of(b"another secret for tests, of as many")
SYNTAXES = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)
CLEANING = frozenset({Option.CLEAN_DESCRIPTORS, Option.CLEAN_STRUCTURED, Option.MODIFIED_DATES})
EVERYTHING_KEPT = CLEANING | {Option.DEVICE, Option.INSTITUTION, Option.PATIENT}
PROFILES = {"basic": frozenset(), "cleaning": CLEANING, "kept": EVERYTHING_KEPT}


@cache
def _deidentifier(options: frozenset[Option], secret: Secret) -> Deidentifier:
    return Deidentifier(secret, Profile(options))


def clean(content: bytes, options: frozenset[Option] = frozenset(), secret: Secret = SECRET) -> Deidentified:
    deidentifier = _deidentifier(options, secret)
    return deidentifier.clean(content, deidentifier.look(content).identifiers)


@cache
def cleaned_table(profile: str, depth: int) -> bytes:
    return clean(table_file(depth).content(), PROFILES[profile]).content


def content_of(dataset: FileDataset) -> bytes:
    return Canaries(dataset).content()


def cleaned(dataset: FileDataset, options: frozenset[Option] = frozenset()) -> Dataset:
    return parse(clean(content_of(dataset), options).content)


def deepest(dataset: Dataset, depth: int) -> Dataset:
    for _ in range(depth):
        dataset = dataset.ReferencedSeriesSequence[0]
    return dataset


def unpacked(content: bytes) -> bytes:
    """What a reader of the bytes can see: the file, and what is packed in it."""
    dataset = parse(content)
    if not dataset.file_meta.TransferSyntaxUID.is_deflated:
        return content
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = io.BytesIO()
    dataset.save_as(out, implicit_vr=False, little_endian=True)
    return content + out.getvalue()


def stands_in(canary: bytes, content: bytes) -> bool:
    text = canary.decode("ascii")
    forms = (canary, text.lower().encode("ascii"), text.encode("utf-16-le"), text.encode("utf-16-be"))
    return any(form in content for form in forms)


@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.parametrize("profile", PROFILES)
def test_no_value_of_any_row_comes_out_and_each_gets_its_action(profile: str, depth: int) -> None:
    made, rules = table_file(depth), Profile(PROFILES[profile])
    content = cleaned_table(profile, depth)
    before, after = deepest(made.dataset, depth), deepest(parse(content), depth)
    leaks = [
        tag
        for tag, canary in made.values.items()
        if stands_in(canary, content) and rules.action(int(tag, 16)) is not Action.KEEP
    ]
    assert leaks == []
    wrong = [
        (row.tag, row.keyword, action)
        for row in KNOWN
        if int(row.tag, 16) in before
        and not _is_done(action := rules.resolved(row), before, after, int(row.tag, 16))
    ]
    assert wrong == []
    assert sum(int(row.tag, 16) in before for row in KNOWN) > 600


def _is_done(action: Action, before: Dataset, after: Dataset, tag: int) -> bool:
    """Whether an element came out as its action wants it."""
    if action is Action.REMOVE or tag not in after:
        # of a canary cleaning leaves nothing, and then the profile alone decides
        return action in (Action.REMOVE, Action.CLEAN) and tag not in after
    old, new, vr = before[tag].value, after[tag].value, before[tag].VR
    if vr == "SQ":
        return len(new) == (0 if action is Action.EMPTY else len(old))
    if action is Action.KEEP or (action is Action.SHIFT and vr == "TM"):
        return bool(new == old)
    if action is Action.EMPTY and tag != 0x00100010:
        return not new
    is_filled = new not in (None, "", b"") or action is Action.CLEAN or tag == 0x00080201
    return is_filled and bool(new != old)


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("make", [lambda syntax: table_file(1, syntax), odd_places], ids=["table", "odd"])
def test_nothing_comes_out_in_any_transfer_syntax(make: Callable[[str], Canaries], syntax: str) -> None:
    made = make(syntax)
    result = clean(made.content(), CLEANING)
    assert [name for name, canary in made.values.items() if stands_in(canary, unpacked(result.content))] == []
    after = parse(result.content)
    assert after.file_meta.TransferSyntaxUID == syntax
    assert after.PixelData == made.dataset.PixelData
    assert not any(element.tag.is_private for element in after.iterall())


@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.parametrize("profile", PROFILES)
def test_every_value_that_is_written_is_valid(
    profile: str, depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = cleaned_table(profile, depth)
    monkeypatch.setattr(config.settings, "reading_validation_mode", config.RAISE)
    dataset = parse(content)
    seen = {element.VR for element in dataset.iterall() if not element.is_empty}
    assert {"DA", "DT", "PN", "UI", "LO", "SH", "CS", "UT"} <= seen
    for element in dataset.iterall():
        if element.VR in ("DA", "DT", "TM") and element.value:
            # pydicom looks at the form alone; a date must also be in the calendar
            factory = {"DA": pydicom.valuerep.DA, "DT": pydicom.valuerep.DT, "TM": pydicom.valuerep.TM}
            assert factory[element.VR](str(element.value)) is not None
        longest = {"LO": 64, "UI": 64, "PN": 64, "SH": 16, "CS": 16, "AE": 16}.get(element.VR, 1 << 20)
        values = element.value if element.VM > 1 else [element.value]
        assert all(len(str(value)) <= longest for value in values)


def test_header_says_what_was_done() -> None:
    after = cleaned(base(), CLEANING)
    assert after.PatientIdentityRemoved == "YES"
    assert "PS3.15 2026c" in after.DeidentificationMethod[0]
    assert [
        (item.CodeValue, item.CodingSchemeDesignator) for item in after.DeidentificationMethodCodeSequence
    ] == [
        ("113100", "DCM"),
        ("113105", "DCM"),
        ("113104", "DCM"),
        ("113107", "DCM"),
    ]
    assert after.LongitudinalTemporalInformationModified == "MODIFIED"
    assert cleaned(base()).LongitudinalTemporalInformationModified == "REMOVED"
    full = frozenset({Option.FULL_DATES})
    assert cleaned(base(), full).LongitudinalTemporalInformationModified == "UNMODIFIED"
    assert str(after.file_meta.ImplementationVersionName).startswith("medaug")
    assert after.preamble == bytes(128)


def test_same_key_gives_the_same_bytes_and_another_key_other_ones() -> None:
    content = table_file(1).content()
    assert clean(content).content == clean(content).content
    one, other = clean(content), clean(content, secret=OTHER)
    assert one.names.patient_id != other.names.patient_id
    assert one.names.instance_uid != other.names.instance_uid
    # one file tells nothing of the other: not one new UID is shared
    uids = [
        {e.value for e in parse(r.content).iterall() if e.VR == "UI" and "2.25." in str(e.value)}
        for r in (one, other)
    ]
    assert not {str(uid) for uid in uids[0]} & {str(uid) for uid in uids[1]}


def test_own_output_is_left_as_it_is_and_nothing_else_is() -> None:
    result = clean(odd_places().content(), CLEANING)
    again = clean(result.content)
    assert (again.outcome, again.content, again.names) == ("own", result.content, result.names)
    assert clean(result.content, secret=OTHER).outcome == "cleaned"
    claims = base()
    claims.PatientIdentityRemoved = "YES"
    assert clean(content_of(claims)).outcome == "cleaned"


@pytest.mark.parametrize("place", ["header", "preamble", "pixels", "after"])
def test_own_output_that_was_changed_is_cleaned_again_or_refused(place: str) -> None:
    content = bytearray(clean(content_of(base())).content)
    if place == "header":
        at = content.index(b"AXIAL")
        content[at : at + 5] = b"SMITH"
    elif place == "preamble":
        content[:5] = b"SMITH"
    elif place == "pixels":
        content[-1] ^= 1
    else:
        content += bytes.fromhex("fcff fcff 4f42 0000 06000000") + b"SMITH!"
    result = clean(bytes(content))
    assert result.outcome == "cleaned"
    assert place in ("header", "pixels") or b"SMITH" not in result.content


def _referring() -> FileDataset:
    """A data set that refers to others as RTSTRUCT, SEG and SR do."""
    dataset = base()
    dataset.FrameOfReferenceUID = "1.2.826.0.1.88888.4"
    reference = Dataset()
    reference.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    reference.ReferencedSOPInstanceUID = "1.2.826.0.1.88888.1"
    series = Dataset()
    series.ContourImageSequence = Sequence([reference])
    series.SeriesInstanceUID = "1.2.826.0.1.88888.3"
    frame = Dataset()
    frame.FrameOfReferenceUID = "1.2.826.0.1.88888.4"
    study = Dataset()
    study.RTReferencedSeriesSequence = Sequence([series])
    study.ReferencedSOPInstanceUID = "1.2.826.0.1.88888.2"
    frame.RTReferencedStudySequence = Sequence([study])
    dataset.ReferencedFrameOfReferenceSequence = Sequence([frame])
    source = Dataset()
    source.ReferencedSOPInstanceUID = "1.2.826.0.1.88888.1"
    dataset.SourceImageSequence = Sequence([source])
    content = Dataset()
    content.ValueType, content.RelationshipType = "IMAGE", "CONTAINS"
    content.ReferencedSOPSequence = Sequence([source])
    dataset.ContentSequence = Sequence([content])
    return dataset


@pytest.mark.parametrize("profile", PROFILES)
def test_references_of_every_kind_keep_resolving(profile: str) -> None:
    after = cleaned(_referring(), PROFILES[profile])
    frame = after.ReferencedFrameOfReferenceSequence[0]
    series = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert frame.FrameOfReferenceUID == after.FrameOfReferenceUID
    assert series.SeriesInstanceUID == after.SeriesInstanceUID
    assert series.ContourImageSequence[0].ReferencedSOPInstanceUID == after.SOPInstanceUID
    assert frame.RTReferencedStudySequence[0].ReferencedSOPInstanceUID == after.StudyInstanceUID
    assert after.SourceImageSequence[0].ReferencedSOPInstanceUID == after.SOPInstanceUID
    assert after.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == after.SOPInstanceUID
    assert series.ContourImageSequence[0].ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.2"
    assert after.file_meta.MediaStorageSOPInstanceUID == after.SOPInstanceUID
    assert after.SOPInstanceUID.startswith("2.25.")


def test_intervals_of_a_patient_are_exact_over_studies_and_forms() -> None:
    first, second = base(), base()
    first.StudyDate, first.AcquisitionDateTime, first.StudyTime = (
        "20200228",
        "20200228235959.5+0100",
        "235959.5",
    )
    second.StudyDate, second.AcquisitionDateTime = "20200301", "20200301"
    second.StudyInstanceUID = "1.2.826.0.1.88888.9"
    early, late = cleaned(first, CLEANING), cleaned(second, CLEANING)
    day = pydicom.valuerep.DA
    assert (day(late.StudyDate) - day(early.StudyDate)).days == 2
    assert early.AcquisitionDateTime == early.StudyDate + "235959.5+0100"
    assert late.AcquisitionDateTime == late.StudyDate
    assert early.StudyTime == "235959.5"
    assert early.StudyDate != "20200228"
    other = base()
    other.PatientID, other.StudyDate = "MRN4712", "20200228"
    assert cleaned(other, CLEANING).StudyDate != early.StudyDate


TEXTS = (
    "CT chest ordered for Bronislawa Kowalczyk",
    "KOWALCZYK, B. abdomen MRN4711-A",
    "seen 12.03.1985, tel +49 (89) 5550-1234",
    "bronislawa_kowalczyk head 1985-03-12",
    "mail to b.k@hospital.example, born March 12, 1985",
    "Dr. Whitehead: brain, acc A77001234",
    "patient from 7 Elm Street, Springfield",
    "c:/export/kowalczykb/BronislawaKowalczyk_CT",
    "AWhitehead, reader",
)


TELLING = [
    "kowalczyk",
    "bronislawa",
    "mrn4711",
    "1985",
    "5550",
    "a77001234",
    "whitehead",
    "elm",
    "springfield",
    "b.k@",
]


@pytest.mark.parametrize(
    "keyword", ["StudyDescription", "ImageComments", "ProtocolName", "TextValue", "ManufacturerModelName"]
)
def test_identifiers_of_the_header_are_found_in_texts_in_any_form(keyword: str) -> None:
    dataset = base()
    dataset.AccessionNumber, dataset.PatientAddress = "A77001234", "7 Elm Street, Springfield"
    dataset.ReferringPhysicianName, dataset.PatientBirthDate = "Whitehead^Anna", "19850312"
    for text in TEXTS:
        setattr(dataset, keyword, text)
        content = clean(content_of(dataset), CLEANING).content.lower()
        assert [word for word in TELLING if word.encode("ascii") in content] == []


def test_words_of_the_trade_stay_in_a_cleaned_description() -> None:
    dataset = base()
    dataset.StudyDescription = "CT Chest/Abdomen with contrast, 3mm for Kowalczyk"
    dataset.SeriesDescription = "t1_mprage_sag 1.0mm ISO"
    after = cleaned(dataset, CLEANING)
    assert after.StudyDescription == "CT Chest/Abdomen with contrast, 3mm"
    assert after.SeriesDescription == "t1_mprage_sag 1.0mm ISO"
    assert "StudyDescription" not in cleaned(dataset)


def test_identifiers_of_other_files_of_the_patient_are_found_too() -> None:
    named, silent = base(), base()
    named.OperatorsName = "Grzegorczyk^Ola"
    silent.ManufacturerModelName = "Scanner of Grzegorczyk"
    deidentifier = Deidentifier(SECRET, Profile())
    both = deidentifier.look(content_of(named)).identifiers.joined(
        deidentifier.look(content_of(silent)).identifiers
    )
    content = deidentifier.clean(content_of(silent), both).content
    assert parse(content).ManufacturerModelName == "Scanner of"
    assert b"Grzegorczyk" in deidentifier.clean(content_of(silent), Identifiers()).content


@pytest.mark.parametrize("charset", ["ISO_IR 100", "ISO_IR 192", "ISO_IR 144", ["", "ISO 2022 IR 87"]])
def test_texts_in_other_character_sets(charset: str | list[str]) -> None:
    name, word = {
        "ISO_IR 144": ("Люкceмбypг^Роза", "Люкceмбypг"),
        "ISO_IR 100": ("Müller^Jörg", "MÜLLER"),
    }.get(str(charset), ("山田^太郎", "山田"))
    dataset = base()
    dataset.SpecificCharacterSet = charset
    dataset.PatientName, dataset.ManufacturerModelName = name, f"{word} X1"
    after = cleaned(dataset, CLEANING)
    assert after.ManufacturerModelName == "X1"
    assert after.SpecificCharacterSet == charset


def test_values_that_have_not_their_form_do_not_come_out() -> None:
    dataset = base()
    dataset.SliceThickness, dataset.InstanceNumber, dataset.StudyDate = (
        "12345.6789",
        "987654321098",
        "18500101",
    )
    dataset.BodyPartExamined, dataset.PatientPosition, dataset.PatientName = (
        "CANARYCHEST",
        "HHFS",
        "Kowalczyk^B",
    )
    content = content_of(dataset)
    for valid, other in (
        (b"12345.6789", b"Kowalczyk "), (b"987654321098", b"Dr.Kowalczyk"), (b"18500101", b"yester.."),
        (b"CANARYCHEST", b"to.Kowalcz,"), (b"HHFS", b"hfs "),
    ):  # fmt: skip
        assert content.count(valid) == 1
        content = content.replace(valid, other)
    content = clean(content, CLEANING).content
    assert b"Kowalcz" not in content
    after = parse(content)
    assert (after.SliceThickness, after.StudyDate, after.PatientPosition) == (None, "20000101", "HFS")


@pytest.mark.parametrize("word", ["Kowalczyk", "REMOVED"])
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_a_value_of_which_no_word_is_left_is_not_empty(word: str, depth: int) -> None:
    dataset = base()
    dataset.PatientName = f"{word}^Kowalczyk"
    item: Dataset = dataset
    for _ in range(depth):
        item.ReferencedSeriesSequence = Sequence([Dataset()])
        item = item.ReferencedSeriesSequence[0]
    item.Manufacturer, item.ManufacturerModelName, item.SoftwareVersions = (
        "Kowalczyk",
        "",
        ["V1", "Kowalczyk"],
    )
    item.ContentLabel, item.ImageType = "KOWALCZYK", ["ORIGINAL", "KOWALCZYK"]
    item.ReceiveCoilName, item.TextValue = "Kowalczyk", "KOWALCZYK"
    item.AcquisitionProtocolDescription = "Kowalczyk"
    after = deepest(cleaned(dataset, CLEANING), depth)
    assert (after.Manufacturer, after.ContentLabel, after.ReceiveCoilName) == ("REMOVED",) * 3
    assert after.TextValue == "REMOVED"
    assert after.ManufacturerModelName in ("", None)
    assert list(after.SoftwareVersions) == ["V1", "REMOVED"]
    assert list(after.ImageType) == ["ORIGINAL", "REMOVED"]
    # rows that the profile alone removes go
    assert "AcquisitionProtocolDescription" not in after


def test_ages_above_89_are_one() -> None:
    dataset = base()
    kept = frozenset({Option.PATIENT})
    dataset.PatientAge = "097Y"
    assert cleaned(dataset, kept).PatientAge == "090Y"
    dataset.PatientAge = "045Y"
    assert cleaned(dataset, kept).PatientAge == "045Y"
    assert "PatientAge" not in cleaned(dataset)


def test_safe_private_elements_stay_where_they_are_asked_for() -> None:
    dataset = base()
    block = dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", "1000")
    block.add_new(0x0E, "FD", [0.0, 0.6, 0.8])
    block.add_new(0x0F, "LO", "CANARY")
    other = dataset.private_block(0x0029, "CANARY 1.0", create=True)
    other.add_new(0x0C, "IS", "7654321")
    after = cleaned(dataset, frozenset({Option.SAFE_PRIVATE}))
    assert after.private_block(0x0019, "SIEMENS MR HEADER")[0x0C].value == 1000
    assert sorted(int(element.tag) for element in after if element.tag.is_private) == [
        0x00190010,
        0x0019100C,
        0x0019100E,
    ]
    assert not any(element.tag.is_private for element in cleaned(dataset))


def test_private_element_with_a_safe_name_and_another_content_goes() -> None:
    dataset = base()
    block = dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", "87654321")
    content = content_of(dataset).replace(b"87654321", b"Kowalcz.")
    after = parse(clean(content, frozenset({Option.SAFE_PRIVATE})).content)
    assert not any(element.tag.is_private for element in after)


def test_compressed_pixels_are_copied_as_they_are() -> None:
    dataset = base()
    dataset.compress(RLELossless, generate_instance_uid=False)
    assert cleaned(dataset).PixelData == dataset.PixelData


def test_sequences_of_unknown_representation_are_cleaned_inside() -> None:
    dataset = base()
    item = Dataset()
    item.ReferencedSOPInstanceUID, item.PatientName = "1.2.826.0.1.88888.1", "Kowalczyk^B"
    inner = pydicom.filebase.DicomBytesIO()
    inner.is_implicit_VR, inner.is_little_endian = True, True
    pydicom.filewriter.write_sequence(
        inner, pydicom.DataElement(0x00081115, "SQ", Sequence([item])), ["iso8859"]
    )
    dataset.add_new(0x00091115, "UN", inner.getvalue())
    content = content_of(dataset).replace(
        bytes.fromhex("0900 1511") + b"UN", bytes.fromhex("0800 1511") + b"UN"
    )
    content = clean(content).content
    assert b"Kowalczyk" not in content
    after = parse(content)
    assert after.ReferencedSeriesSequence[0].ReferencedSOPInstanceUID == after.SOPInstanceUID


def _damaged_codec(dataset: FileDataset) -> None:
    dataset.file_meta.TransferSyntaxUID = UID(JPEGLSLossless)
    dataset.PixelData = encapsulate([b"\xff\xd8\xff\xfe\0\x0bKOWALCZYK\xff\xd9"])
    dataset["PixelData"].is_undefined_length = True


def _document(dataset: FileDataset) -> None:
    dataset.SOPClassUID, dataset.EncapsulatedDocument = "1.2.840.10008.5.1.4.1.1.104.1", b"%PDF-1.4"


def _directory(dataset: FileDataset) -> None:
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.1.3.10")


def _sound(dataset: FileDataset) -> None:
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.9.4.1"


def _raw(dataset: FileDataset) -> None:
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.66"


def _film(dataset: FileDataset) -> None:
    dataset.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.102")
    dataset.PixelData = encapsulate([b"film"])
    dataset["PixelData"].is_undefined_length = True


def _nobody(dataset: FileDataset) -> None:
    del dataset.PatientID, dataset.PatientName, dataset.StudyInstanceUID


def _no_class(dataset: FileDataset) -> None:
    del dataset.SOPClassUID


def _ultrasound(dataset: FileDataset) -> None:
    dataset.SOPClassUID, dataset.Modality = "1.2.840.10008.5.1.4.1.1.6.1", "US"


def _screenshot(dataset: FileDataset) -> None:
    dataset.ImageType = ["DERIVED", "SECONDARY", "SCREEN SAVE"]


def _admitted(dataset: FileDataset) -> None:
    dataset.BurnedInAnnotation = "YES"


def _coloured(dataset: FileDataset) -> None:
    dataset.PhotometricInterpretation = "RGB"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (_damaged_codec, "pixel-stream"),
        (_document, "encapsulated-document"),
        (_directory, "media-directory"),
        (_sound, "sound"),
        (_raw, "raw-data"),
        (_film, "film"),
        (_nobody, "no-patient"),
        (_no_class, "no-instance"),
        (_ultrasound, "burned-in-text-possible"),
        (_screenshot, "burned-in-text-possible"),
        (_admitted, "burned-in-text-possible"),
        (_coloured, "burned-in-text-possible"),
    ],
)
def test_what_cannot_be_made_safe_is_refused_with_its_reason(
    change: Callable[[FileDataset], None], code: str
) -> None:
    dataset = base()
    change(dataset)
    with pytest.raises(IdentifierError) as caught:
        clean(content_of(dataset))
    assert caught.value.code == code
    assert "Kowalczyk" not in caught.value.line()


@pytest.mark.parametrize("cut", [1, 5, 9, 40, 120])
def test_files_that_are_cut_short_are_refused(cut: int) -> None:
    content = content_of(base())
    with pytest.raises(UnreadableError):
        clean(content[:-cut])


def test_contradicting_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="kept and shifted"):
        Profile(frozenset({Option.MODIFIED_DATES, Option.FULL_DATES}))


def test_values_of_the_generator_are_what_they_claim() -> None:
    """The canaries stand for something: all but the common ones are in the file before it is cleaned."""
    made = table_file(3)
    content = made.content()
    assert len(made.values) > 400
    assert all(canary in content for canary in made.values.values())
    assert len({str(value_of(row, 5)) for row in KNOWN if vr_of(row) == "LO"}) == 1


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_bytes_after_the_pixels_do_not_come_out(syntax: str) -> None:
    dataset = base(syntax)
    dataset.PixelData = bytes(range(32)) + b"Kowalczyk!"
    result = clean(content_of(dataset))
    assert parse(result.content).PixelData == bytes(range(32))


def test_a_document_in_an_image_becomes_a_dummy() -> None:
    dataset = base()
    dataset.EncapsulatedDocument = b"%PDF Kowalczyk"
    assert cleaned(dataset).EncapsulatedDocument == bytes(8)


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(["CT_small.dcm", "rtplan.dcm", "test-SR.dcm", "UN_sequence.dcm"]),
    st.lists(st.tuples(st.integers(128, 8000), st.binary(min_size=1, max_size=4)), min_size=1, max_size=6),
)
def test_damaged_files_are_refused_or_cleaned_to_what_is_known_again(
    name: str, damages: list[tuple[int, bytes]]
) -> None:
    content = bytearray(Path(str(get_testdata_file(name, download=False))).read_bytes())
    for at, damage in damages:
        content[at : at + len(damage)] = damage
    try:
        result = clean(bytes(content), CLEANING)
    except MedaugError:
        return
    assert clean(result.content, CLEANING).outcome == "own"
