"""A rule reads figures and nothing else; a list is a person's word."""

from __future__ import annotations

from pathlib import Path

import pytest

from medaug.core.assessment import Rejection, SampleScore
from medaug.core.case import CaseRecord, LesionCount, Origin, StoredFile
from medaug.core.errors import ConfigError, DataError, UnreadableError
from medaug.core.keep import FIGURES, KeepRule, broken, read_list
from medaug.core.volume import Unit

CLASSES = ("solid", "ground_glass")


def lesion(case_id: str = "s1", number: int = 0, **figures: object) -> SampleScore:
    told: dict[str, object] = {"score": 0.5, "typical": 0.4, "class": "solid", **figures}
    return SampleScore.model_validate({"case_id": case_id, "lesion": number, **told})


def rule(text: str) -> KeepRule:
    return KeepRule.parse(text, CLASSES, where="--keep")


def record(case_id: str, *, lesions: int = 1, labelled: bool = True) -> CaseRecord:
    label = StoredFile(path=f"labelsTr/{case_id}.nii.gz", sha256="0" * 64) if labelled else None
    counts = (LesionCount(class_name="solid", count=lesions, voxels=9, volume_mm3=9.0),) if lesions else ()
    return CaseRecord(
        case_id=case_id, patient_id="p", modality="CT", unit=Unit.HU, channels=("CT",), origin=Origin.SYNTHETIC,
        shape=(2, 2, 2), spacing_mm=(1, 1, 1), images=(), label=label, lesions=counts,
    )  # fmt: skip


def test_every_figure_of_a_lesion_can_be_asked_for() -> None:
    assert set(FIGURES) == {
        "score",
        "typical",
        "recovered",
        "label_dice",
        "seam",
        "diameter_mm",
        "copy_score",
    }
    for name in FIGURES:
        good, bad = (lesion().model_copy(update={name: value}) for value in (0.3, 0.1))
        assert rule(f"{name} > 0.2").objection(good) == ""
        assert rule(f"{name} > 0.2").objection(bad) == f"{name} is 0.1"


@pytest.mark.parametrize(
    ("text", "objection"),
    [
        ("score>0.4", ""),
        ("score>0.4 and typical>=0.5", "typical is 0.4"),
        ("score>0.6 and typical>=0.5", "score is 0.5, typical is 0.4"),
        ("score>0.6 or typical>=0.4", ""),
        ("score>0.6 or typical>0.4", "score is 0.5, typical is 0.4"),
        ("not score>0.4", "score is 0.5"),
        ("not (score<0.4 or typical<0.3)", ""),
        ("0.1 < typical <= 0.4", ""),
        ("0.1 < typical < 0.4", "typical is 0.4"),
        ("typical < score", ""),
        ("score > -1", ""),
        ("score != 0.5", "score is 0.5"),
        ("class == 'solid'", ""),
        ('class != "solid" or score>0.9', "class is solid, score is 0.5"),
        ("class=='ground_glass' or class=='solid'", ""),
        ("class_name == 'solid'", ""),
    ],
)
def test_what_speaks_against_a_lesion(text: str, objection: str) -> None:
    assert rule(text).objection(lesion()) == objection


@pytest.mark.parametrize(
    "text", ["seam>0.5", "seam<=0.5", "seam!=0.5", "not seam>0.5", "seam>0.5 and score>0.4"]
)
def test_what_was_not_measured_satisfies_nothing(text: str) -> None:
    assert rule(text).objection(lesion(seam=None)) == "seam was not measured"


def test_a_figure_that_is_missing_can_be_outvoted() -> None:
    assert rule("seam>0.5 or score>0.4").objection(lesion(seam=None)) == ""
    assert rule("seam>0.5 or score>0.9").objection(lesion(seam=None)) == "seam was not measured, score is 0.5"
    assert (
        rule("seam>0.5 and score>0.9").objection(lesion(seam=None)) == "seam was not measured, score is 0.5"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("score", "compares nothing in 'score'"),
        ("score >", "cannot be read"),
        ("score = 0.4", "say =="),
        ("score>0.4 && seam>0.5", "say and, or, not"),
        ("scor>0.4", "unknown field 'scor', did you mean score"),
        ("class == solid", "texts want quotes"),
        ("score > 'high'", "compares 'score' with \"'high'\""),
        ("class > 'solid'", "orders class"),
        ("class == 'solit'", "did you mean solid"),
        ("class == 'tumour'", "classes: solid, ground_glass"),
        ("class > 0.4", "compares 'class' with '0.4'"),
        ("1 < 2", "compares no field"),
        ("score > True", "no field, number or text"),
        ("score > 1e999", "no field, number or text"),
        ("score in (0.4, 0.5)", "something else than"),
        ("score > 0.1 + 0.2", "no field, number or text"),
        ("score.real > 0.4", "no field, number or text"),
        ("__import__('os').system('true')", "compares nothing"),
        ("(lambda: score)() > 0.4", "no field, number or text"),
        ("[s for s in score] == 1", "no field, number or text"),
        ("score > 0.4\nscore", "cannot be read"),
        ("score > 0.4 \0", "cannot be read"),
        ("(" * 240 + "score > 0.4" + ")" * 240, "cannot be read"),
        ("not " * 200 + "score>1", "longer than 500"),
    ],
)  # fmt: skip
def test_what_is_no_rule_is_refused_in_one_line_that_names_the_fields(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rule(text)
    line = caught.value.line()
    assert line.startswith("--keep: rule ")
    assert words in line
    assert "\n" not in line
    assert "label_dice" in line or "did you mean" in line or "classes:" in line


def test_a_case_is_kept_if_all_its_lesions_are() -> None:
    cases = (record("s1", lesions=2), record("s2"), record("s3"))
    samples = (lesion("s1"), lesion("s1", 1, score=0.3), lesion("s2"), lesion("s3", score=0.2))
    found = broken(cases, samples, rule("score>0.4"), frozenset())
    assert found == (
        Rejection(case_id="s1", reason="lesion 1: score is 0.3", rule="score>0.4"),
        Rejection(case_id="s3", reason="score is 0.2", rule="score>0.4"),
    )


def test_a_case_without_a_lesion_stays_and_one_that_was_not_measured_goes() -> None:
    cases = (
        record("null"),
        record("none", lesions=0),
        record("small"),
        record("bare", lesions=0, labelled=False),
    )
    found = broken(cases, (), rule("score>0.4"), frozenset({"null"}))
    assert [(one.case_id, one.reason) for one in found] == [
        ("small", "no lesion of it was measured"),
        ("bare", "no lesion of it was measured"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "s1 blurred\ns3\n",
        "\ufeff# by hand\r\n\r\ns1, blurred\r\ns3\r\n",
        'case_id\treason\ns1\t"blurred"\n"s3"',
        "s1;blurred\n  s3  \ns1 seen twice\n",
        "s1 # blurred\ns3 #\ns9 left out before\n",
    ],
)  # fmt: skip
def test_a_list_names_cases_and_may_say_why(tmp_path: Path, text: str) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(text.encode())
    found = read_list(path, ("s1", "s2", "s3"), ("s9",))
    assert found == (Rejection(case_id="s1", reason="blurred"), Rejection(case_id="s3", reason=""))


def test_a_reason_keeps_its_words(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("s1 the rim,  seen at #2, is a step\n")
    assert read_list(path, ("s1",), ())[0].reason == "the rim, seen at #2, is a step"


def test_an_unknown_case_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("SYN_0003\nSYN_00001\nSYN_x\n")
    with pytest.raises(
        DataError, match=r"^--reject: the set has no case SYN_0003 \(and 1 more\); did you mean SYN_00003\?"
    ):
        read_list(path, ("SYN_00001", "SYN_00003"), ())
    path.write_text("gen_003\n")
    with pytest.raises(DataError, match=r"did you mean gen_0003\?"):
        read_list(path, [f"gen_{n:04d}" for n in range(60)], ())
    path.write_text("tumour\n")
    with pytest.raises(DataError, match="no case tumour; `medaug inspect` lists"):
        read_list(path, ("SYN_00001",), ())


def test_a_list_that_says_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("# nobody\n\n")
    with pytest.raises(DataError, match="names no case"):
        read_list(path, ("s1",), ())
    path.write_bytes("s1 blurred".encode("utf-16"))
    with pytest.raises(UnreadableError, match="save it as UTF-8"):
        read_list(path, ("s1",), ())
    with pytest.raises(UnreadableError, match="cannot be read"):
        read_list(tmp_path / "none.txt", ("s1",), ())
