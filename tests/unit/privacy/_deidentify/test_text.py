"""What is written as identifiers are goes from labels; from descriptions goes every word that is not of the trade."""

import pytest

from medaug.privacy._deidentify.text import Scrubber, general_words, vocabulary

SCRUBBER = Scrubber(["Müller", "Li", "Head", "O'Brien"], ["MRN-4711", "A7", "Elm Street 7"])


@pytest.mark.parametrize(
    "text",
    [
        "1985-03-12", "12/03/85", "12.3.1985", "12. 3. 1985", "19850312", "12 March 1985", "March 12, 1985", "12-MAR-1985",
        "12MAR85", "3rd of May 2001", "+49 89 5550 1234", "(555) 123-4567", "555-123-4567", "555.123.4567",
        "5551234567", "555-1234", "0895550 1234", "Mar-12-1985", "March 1985", "92-year-old", "95 yo", "a.b@c.org", "https://x.org/y", "www.x.org", "1.2.840.113619.2.55", "Müller", "MUELLER", "muller",
        "mrn-4711", "MRN 4711", "mrn4711", "a7", "Elm street 7", "o'brien", "Dr. Who", "prof Who", "Frau O’Who",
    ],
)  # fmt: skip
def test_identifiers_go_from_labels(text: str) -> None:
    assert SCRUBBER.label(f"Scanner {text} X") == "Scanner X"


@pytest.mark.parametrize(
    "text",
    [
        "Aquilion ONE",
        "DR Detector",
        "syngo CT 2014A",
        "VB17.3",
        "V5.1.2",
        "HEAD",
        "Lithium",
        "SOMATOM 64",
        "A72",
        "B30f",
        "1.5T",
    ],
)
def test_names_of_the_trade_stay_in_labels(text: str) -> None:
    assert SCRUBBER.label(text) == text


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("CT Thorax/Abdomen nativ KM", "CT Thorax/Abdomen"),
        ("t2_tse_cor 5.0mm", "t2_tse_cor 5.0mm"),
        ("MRT head, li. Knie", "knee"[:0]),
        ("Dr Brain liver", ""),
        ("Dr Who Brain liver", "liver"),
        ("scan 4711 of room 12", "scan of 12"),
        ("CANARY00017", ""),
        ("b1000 TE30 L5", "b1000 TE30 L5"),
        ("GTV1 SpinalCord PTV_60 Lung_L", "GTV1 SpinalCord PTV_60 Lung"),
        ("Smith1 GTV12345 SmithLung", ""),
        ("JPEG-lossy SimpleITK, accelerated", "JPEG-lossy SimpleITK, accelerated"),
    ],
)
def test_only_known_words_stay_in_descriptions(text: str, cleaned: str) -> None:
    assert SCRUBBER.description(text) == cleaned


def test_long_identifiers_go_from_within_words() -> None:
    assert SCRUBBER.label("scan_xMRN-4711x") == "scan_x x"
    assert Scrubber(["Kowalczyk"]).label("PatKowalczykX") == "Pat X"
    assert SCRUBBER.label("Müller2 X") == "2 X"
    # a part of a word of the trade is none of a name
    assert Scrubber(["Nhanced"]).label("Unenhanced") == "Unenhanced"


def test_names_go_from_texts_without_blanks() -> None:
    scrubber = Scrubber(["王", "小东", "길동"])
    assert scrubber.label("患者王小东CT") == "患者 CT"
    assert scrubber.label("길동환자") == "환자"
    assert scrubber.is_in_bytes("\0王小东\0".encode("gb18030"))


def test_a_code_is_no_telephone_number() -> None:
    assert SCRUBBER.code("73211009") == "73211009"
    assert SCRUBBER.code("MRN-4711") == ""
    assert SCRUBBER.label("73211009") == ""


def test_nothing_known_leaves_codes_alone() -> None:
    assert Scrubber().code("Müller") == "Müller"
    assert not Scrubber().is_in_bytes(b"Mueller")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "utf-16-le"])
def test_identifiers_are_found_in_bytes(encoding: str) -> None:
    assert SCRUBBER.is_in_bytes(b"\0\1" + "MÜLLER".replace("Ü", "ü").encode(encoding) + b"\0")
    assert not SCRUBBER.is_in_bytes(b"\0\1Head Li\0")


def test_general_words_of_places_are_plain() -> None:
    assert {"hospital", "street"} <= general_words()
    assert not {word for word in general_words() if not word.isalpha() or word != word.lower()}


def test_vocabulary_holds_plain_words() -> None:
    assert len(vocabulary()) > 500
    assert not {word for word in vocabulary() if word != word.lower() or "," in word}
