"""Queries: what may be asked, and that nothing else than what was asked is taken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from medaug.core.errors import ConfigError
from medaug.io.pacs import Answer, Level
from medaug.io.query import KEYS, Search, parse_query


class Shelf:
    """An archive that gives prepared answers, whatever it is asked, and remembers the questions."""

    def __init__(
        self, studies: list[dict[str, str]], series: list[dict[str, str]], images: list[dict[str, str]]
    ) -> None:
        self.answers = {Level.STUDY: studies, Level.SERIES: series, Level.IMAGE: images}
        self.asked: list[tuple[Level, dict[str, str]]] = []

    def find(self, level: Level, keys: Mapping[str, str]) -> Iterator[Answer]:
        self.asked.append((level, dict(keys)))
        return (Answer(values) for values in self.answers[level])

    def fetch(self, instance: object) -> bytes:
        raise NotImplementedError

    def store(self, dataset: object) -> object:
        raise NotImplementedError


def search(shelf: Shelf, query: str) -> Search:
    return Search(shelf, parse_query([query]))  # type: ignore[arg-type]


STUDY = {"StudyInstanceUID": "1.2", "PatientID": "Abc 1", "StudyDate": "20200315"}
SERIES = {"SeriesInstanceUID": "1.2.3", "Modality": "CT", "StudyInstanceUID": "1.2"}
IMAGE = {"SOPInstanceUID": "1.2.3.4", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}


def test_a_comma_that_no_key_follows_belongs_to_the_value() -> None:
    query = parse_query(["StudyDescription=Head, neck,Modality=CT", "PatientID=7"])
    assert query.keys == (("Modality", "CT"), ("PatientID", "7"), ("StudyDescription", "Head, neck"))


@pytest.mark.parametrize(
    "text",
    [
        "", "Smith", "PatientName=Smith", "PatientID=", "PatientID=a\\b", "PatientID=a\nb", "StudyDate=2020*",
        "StudyDate=-", "StudyInstanceUID=1.2/x", "Modality=CT,Modality=MR", f"PatientID={'x' * 65}",
    ],
)  # fmt: skip
def test_what_is_no_query_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        parse_query([text])
    assert "Smith" not in refusal.value.line()
    assert "x" * 65 not in refusal.value.line()


def test_no_query_would_ask_for_everything() -> None:
    with pytest.raises(ConfigError, match="everything"):
        parse_query([])


@pytest.mark.parametrize(
    ("query", "fits"),
    [
        ("PatientID=abc 1", True), ("PatientID=Abc*", True), ("PatientID=A?c 1", True), ("PatientID=Abc", False),
        ("PatientID=Abc.1", False), ("StudyDate=20200315", True), ("StudyDate=20200316-", False),
        ("StudyDate=-20200315", True), ("StudyDate=20200101-20200314", False), ("StudyInstanceUID=1.2", True),
        ("StudyInstanceUID=1.1\\1.2", True), ("StudyInstanceUID=1", False), ("Modality=C*", True), ("Modality=MR", False),
        ("BodyPartExamined=HEAD", False), ("AccessionNumber=*", True),
    ],
)  # fmt: skip
def test_an_answer_must_show_what_was_asked_for(query: str, fits: bool) -> None:
    found = search(Shelf([STUDY], [SERIES], [IMAGE]), query)
    assert len(list(found.series("series", None))) == fits
    assert found.ignored == (not fits)


def test_each_level_is_asked_below_the_one_above() -> None:
    shelf = Shelf([STUDY], [SERIES], [IMAGE])
    (series,) = search(shelf, "PatientID=Abc*,Modality=CT").series("series", None)
    assert [one.sop_instance_uid for one in series.instances] == ["1.2.3.4"]
    (_, study), (_, below), (_, images) = shelf.asked
    assert (study["PatientID"], study["ModalitiesInStudy"]) == ("Abc*", "CT")
    assert (below["Modality"], below["StudyInstanceUID"]) == ("CT", "1.2")
    assert (images["StudyInstanceUID"], images["SeriesInstanceUID"]) == ("1.2", "1.2.3")
    assert not any("Abc" in value for value in {**below, **images}.values())


def test_study_level_brings_the_series_beside() -> None:
    seg = SERIES | {"SeriesInstanceUID": "1.2.9", "Modality": "SEG"}
    assert [
        s.uid for s in search(Shelf([STUDY], [SERIES, seg], []), "Modality=CT").series("study", None)
    ] == [
        "1.2.3",
        "1.2.9",
    ]
    assert [
        s.uid for s in search(Shelf([STUDY], [SERIES, seg], []), "Modality=CT").series("series", None)
    ] == ["1.2.3"]
    assert list(search(Shelf([STUDY], [seg], []), "Modality=CT").series("study", None)) == []


def test_a_limit_ends_the_search() -> None:
    studies = [STUDY | {"StudyInstanceUID": f"1.{n}"} for n in range(2, 6)]
    series = [{"SeriesInstanceUID": f"1.2.{n}", "Modality": "CT"} for n in (3, 4)]
    assert len(list(search(Shelf(studies, series, []), "Modality=CT").series("series", 3))) == 3
    assert len(list(search(Shelf(studies, series, []), "Modality=CT").series("study", 3))) == 6


def test_absurd_answers_are_left_out_and_counted() -> None:
    studies = [{}, {"StudyInstanceUID": "../../etc"}, {"StudyInstanceUID": "1." * 40}, STUDY, STUDY]
    series = [SERIES | {"StudyInstanceUID": "9.9"}, SERIES, SERIES]
    images = [
        IMAGE | {"SeriesInstanceUID": "9.9"},
        {"SOPInstanceUID": "x"},
        IMAGE | {"SOPClassUID": "?"},
        IMAGE,
    ]
    found = search(Shelf(studies, series, images), "PatientID=Abc*")
    (one,) = found.series("series", None)
    assert [instance.sop_class_uid for instance in one.instances] == [""]
    assert found.ignored == 3 + 1 + 2


def test_nothing_shows_itself_when_printed() -> None:
    found = search(Shelf([STUDY], [SERIES], [IMAGE]), "PatientID=Abc*")
    shown = repr([*found.series("series", None), found.query, Answer(STUDY)])
    assert "Abc" not in shown
    assert "1.2" not in shown


def test_the_documented_keys_are_those_there_are() -> None:
    assert len(KEYS) == 9
