"""Decisions that need all cases: units, channels, duplicates."""

from __future__ import annotations

from medaug.core.case import CaseRecord
from medaug.core.findings import Finding
from medaug.core.volume import Unit
from medaug.ingest.settle import ReadCase, Settled, settle
from tests.unit.ingest.material import record


def _read(
    kept: CaseRecord, *, pixels: str = "", hu: bool = False, guessed: bool = False, source: int = 0
) -> ReadCase:
    return ReadCase(
        case_id=kept.case_id,
        source=source,
        record=kept,
        findings=(),
        pixels_sha256=pixels or kept.case_id,
        looks_like_hu=hu,
        is_guessed=guessed,
    )


def _codes(settled: Settled) -> list[tuple[str, str, str | None]]:
    return [(f.code, f.severity, f.case_id) for f in settled.findings]


def _unknown(case_id: str) -> CaseRecord:
    return record(case_id, channels=("",), modality="OT")


def test_a_source_that_looks_like_hu_is_ct_as_a_whole() -> None:
    read = [_read(_unknown(n), hu=n != "c", guessed=True) for n in "abc"]
    settled = settle(read, ())
    assert [(r.modality, r.unit, r.channels) for r in settled.records] == [("CT", Unit.HU, ("CT",))] * 3
    assert _codes(settled) == [("modality-guessed", "flagged", None)]


def test_a_source_that_mostly_does_not_look_like_hu_keeps_arbitrary_units() -> None:
    read = [_read(_unknown(n), hu=n == "c", guessed=True) for n in "abc"]
    settled = settle(read, ())
    assert [(r.modality, r.unit, r.channels) for r in settled.records] == [
        ("OT", Unit.ARBITRARY, ("image",))
    ] * 3


def test_the_unit_of_most_cases_is_that_of_the_set() -> None:
    settled = settle(
        [_read(record("a")), _read(record("b")), _read(record("c", unit=Unit.HU, modality="CT"))], ()
    )
    assert [r.case_id for r in settled.records] == ["a", "b"]
    assert _codes(settled) == [("unit-differs", "refused", "c")]


def test_unnamed_channels_take_the_name_of_their_fellows() -> None:
    settled = settle(
        [_read(record("a", channels=("FLAIR",))), _read(_unknown("b"), guessed=True, source=1)], ()
    )
    assert [r.channels for r in settled.records] == [("FLAIR",), ("FLAIR",)]


def test_other_channels_than_most_are_refused() -> None:
    two = ("T1", "T2")
    settled = settle(
        [_read(record("a", channels=two)), _read(record("b", channels=two)), _read(record("c"))], ()
    )
    assert [r.case_id for r in settled.records] == ["a", "b"]
    assert _codes(settled) == [("channels-differ", "refused", "c")]


def test_one_image_under_two_patients_is_refused_and_under_one_flagged() -> None:
    read = [_read(record(n, p), pixels="same") for n, p in (("a", "p1"), ("b", "p2"), ("c", "p1"))]
    settled = settle(read, ())
    assert [r.case_id for r in settled.records] == ["a", "c"]
    assert _codes(settled) == [("duplicate-image", "refused", "b"), ("duplicate-image", "flagged", "c")]
    assert settled.records[1].findings == ("duplicate-image",)


def test_findings_of_cases_notes_and_classes_all_arrive() -> None:
    own = Finding(code="label-empty", severity="flagged", case_id="a", message="m")
    note = Finding(code="not-an-image", severity="flagged", case_id=None, message="m")
    read = [
        _read(record("a", "p", ("x",), lesions=1)).model_copy(update={"findings": (own,)}),
        _read(record("b", "p"), source=1),
    ]
    settled = settle(read, ("x",), [note])
    assert [f.code for f in settled.findings] == [
        "label-empty",
        "not-an-image",
        "patient-in-several-sources",
        "single-lesion-class",
    ]
    assert settled.records[0].findings == ("label-empty",)


def test_nothing_kept_settles_to_nothing() -> None:
    refused = _read(record("a")).model_copy(update={"record": None})
    assert settle([refused], ()).records == ()
