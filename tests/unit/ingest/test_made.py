"""Files of a set that says it was made are never taken for scans without a word, wherever they are read from."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from medaug.core.case import MANIFEST, RECIPES, Manifest, Origin, StoredFile
from medaug.ingest import made
from medaug.ingest.described import read_described
from medaug.ingest.made import with_makers_word
from medaug.ingest.sources import ImageSource, SourceCase, Stated
from medaug.io.dataset import DATASET_JSON
from medaug.privacy.datasheet import DATASHEET
from medaug.privacy.provenance import CERTIFICATE
from tests.unit.privacy.synthetic_set import make_set

IMAGE = "imagesTr/case.nii.gz"


def _case(path: Path, origin: Origin | None = None) -> SourceCase:
    stated = Stated(origin=origin)
    return SourceCase(0, "a", "a", False, (ImageSource("nifti", (path,)),), None, stated=stated)


def _says(path: Path, out: Path | None = None) -> str:
    (case,) = with_makers_word([_case(path)], out)
    return case.said_synthetic


def _record(**update: object) -> Callable[[Path], str]:
    def manifest(folder: Path) -> str:
        (record, *_) = make_set(folder / "other").manifest.cases
        stored = StoredFile(path=IMAGE, sha256="0" * 64)
        record = record.model_copy(update={"images": (stored,)} | update)
        return Manifest(name="x", classes=("solid",), cases=(record,)).model_dump_json()

    return manifest


def _certificate(content: str) -> Callable[[Path], str]:
    statement = json.dumps({"predicate": {"content": content}}).encode()
    envelope = json.dumps({"payload": base64.b64encode(statement).decode()})
    return lambda _: envelope


def _text(text: str) -> Callable[[Path], str]:
    return lambda _: text


@pytest.mark.parametrize(
    ("name", "content", "speaks"),
    [
        (MANIFEST, _record(), True),
        (MANIFEST, _record(origin=Origin.AUGMENTED), True),
        (MANIFEST, _record(origin=Origin.REAL, findings=("synthetic-data",)), True),
        (MANIFEST, _record(origin=Origin.REAL), False),
        (MANIFEST, _text("{"), False),
        (MANIFEST, _text('{"name": "of another tool"}'), False),
        (RECIPES, _text("{}"), True),
        (DATASET_JSON, _text('{"origin": "synthetic"}'), True),
        (DATASET_JSON, _text('{"origin": "real, synthetic"}'), True),
        (DATASET_JSON, _text('{"origin": "a synthetic aperture"}'), False),
        (DATASET_JSON, _text('{"labels": {}}'), False),
        (CERTIFICATE, _certificate("synthetic"), True),
        (CERTIFICATE, _certificate("real"), False),
        (CERTIFICATE, _text('{"payload": "%"}'), False),
        (DATASHEET, _text("**Tier** Synthetic lesions; released with medaug 1"), True),
        (DATASHEET, _text("Scans of patients; released with medaug 1"), False),
    ],
)
def test_what_a_folder_says(tmp_path: Path, name: str, content: Callable[[Path], str], speaks: bool) -> None:
    folder = tmp_path / "set"
    (folder / "imagesTr" / "deep").mkdir(parents=True)
    (folder / name).write_text(content(tmp_path))
    for place in (IMAGE, "case.nii.gz", "imagesTr/deep/case.nii.gz"):
        assert _says(folder / place) == (name if speaks else "")
    assert _says(tmp_path / "beside" / "case.nii.gz") == ""


def test_names_and_words_are_those_of_releases() -> None:
    assert (made.CERTIFICATE, made.DATASHEET) == (CERTIFICATE, DATASHEET)


def test_a_manifest_tells_its_scans_from_what_was_made(tmp_path: Path) -> None:
    scan = json.loads(_record(origin=Origin.REAL)(tmp_path))
    other = json.loads(_record(case_id="made", images=(StoredFile(path="b.nii", sha256="0" * 64),))(tmp_path))
    (tmp_path / MANIFEST).write_text(json.dumps(scan | {"cases": scan["cases"] + other["cases"]}))
    assert [_says(tmp_path / place) for place in (IMAGE, "b.nii", "c.nii")] == ["", MANIFEST, MANIFEST]


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / RECIPES).write_text("{}")
    (tmp_path / "set" / "case.nii.gz").write_text("x")
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "a.nii.gz").symlink_to(tmp_path / "set" / "case.nii.gz")
    assert _says(tmp_path / "scans" / "a.nii.gz") == RECIPES


def test_the_dataset_to_be_says_nothing_of_its_sources(tmp_path: Path) -> None:
    (tmp_path / "out" / ".working").mkdir(parents=True)
    (tmp_path / "out" / RECIPES).write_text("{}")
    assert _says(tmp_path / "out" / ".working" / "a.nii.gz", tmp_path / "out") == ""


def test_a_stated_origin_is_not_asked_again(tmp_path: Path) -> None:
    (tmp_path / RECIPES).write_text("{}")
    (case,) = with_makers_word([_case(tmp_path / "a.nii.gz", Origin.SYNTHETIC)], None)
    assert case.said_synthetic == ""


def test_a_flag_of_the_manifest_is_kept(tmp_path: Path) -> None:
    material = make_set(tmp_path)
    first, second = material.manifest.cases
    flagged = first.model_copy(update={"origin": Origin.REAL, "findings": ("synthetic-data",)})
    plain = second.model_copy(update={"origin": Origin.REAL})
    material.manifest.model_copy(update={"cases": (flagged, plain)}).write(material.dataset / MANIFEST)
    found = read_described(material.dataset, (), 0).cases
    assert [case.said_synthetic for case in with_makers_word(found, None)] == [MANIFEST, ""]
