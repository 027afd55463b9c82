"""What a case tells beyond its files changes the hash of a set, and only where there is something to tell."""

from __future__ import annotations

from pathlib import Path

from medaug.core.case import Manifest
from medaug.core.storage import sha256_text
from tests.unit.ingest.material import record


def _manifest(**attributes: str) -> Manifest:
    one = record("a").model_copy(update={"attributes": attributes})
    return Manifest(name="x", classes=("solid",), cases=(one, record("b")))


def test_a_manifest_without_attributes_is_written_as_it_always_was(tmp_path: Path) -> None:
    manifest = _manifest()
    assert "attributes" not in manifest.model_dump_json()
    old = (
        '{"schema_version":1,"name":"x","classes":["solid"],"cases":[{"case_id":"a","patient_id":"p_a","modality":"MR",'
        '"unit":"a.u.","channels":["MR"],"origin":"real","shape":[2,2,2],"spacing_mm":[1.0,1.0,1.0],"spacing":"known",'
        '"images":[{"path":"x","sha256":"'
        + "0" * 64
        + '"}],"label":{"path":"x","sha256":"'
        + "0" * 64
        + '"},'
        '"edit_mask":null,"lesions":[],"lesion_free":false,"split":null,"source_sha256":[],"findings":[],"licence":null,'
        '"terms":null}]}'
    )
    assert manifest.model_copy(update={"cases": manifest.cases[:1]}).content_sha256 == sha256_text(old)
    told = _manifest(sex="F", age="40-49")
    assert told.content_sha256 != manifest.content_sha256
    told.write(tmp_path / "manifest.json")
    assert Manifest.read(tmp_path / "manifest.json").content_sha256 == told.content_sha256


def test_only_allowed_attributes_stay() -> None:
    told = _manifest(sex="F", site="north")
    assert told.with_attributes(frozenset({"site"})).cases[0].attributes == {"site": "north"}
    assert told.with_attributes(frozenset()).content_sha256 == _manifest().content_sha256
    assert told.cases[0].attributes == {"sex": "F", "site": "north"}
