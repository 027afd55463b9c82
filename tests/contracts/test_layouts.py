"""What every layout keeps: each voxel within its stated precision, labels exactly, and a loss is seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from medaug.core.case import MANIFEST
from medaug.core.errors import ConfigError, MedaugError
from medaug.core.plugins import kinds, load_plugin
from medaug.core.runs import NoProgress
from medaug.core.volume import Unit
from medaug.layouts.base import Export, parse_layout
from tests.unit.privacy.synthetic_set import make_set

KINDS = kinds("layouts")


def export(folder: Path, *, unit: Unit = Unit.HU, channels: tuple[str, ...] = ("CT",)) -> Export:
    material = make_set(folder, unit=unit, channels=channels)
    (folder / "out").mkdir()
    return Export(material.dataset, material.manifest, folder / "out", b"key")


@pytest.mark.parametrize("kind", KINDS)
def test_config_is_called_as_its_file(kind: str) -> None:
    assert load_plugin("layouts", kind).Config().kind == kind


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("unit", "channels"), [(Unit.HU, ("CT",)), (Unit.ARBITRARY, ("FLAIR", "T1"))])
def test_what_is_written_passes_its_own_check(
    tmp_path: Path, kind: str, unit: Unit, channels: tuple[str, ...]
) -> None:
    wanted = export(tmp_path, unit=unit, channels=channels)
    layout = parse_layout({"kind": kind}).build()
    written = layout.write(wanted, NoProgress())
    layout.check(wanted, written, NoProgress())
    assert [record.case_id for record in written.cases] == ["syn_0", "syn_1"]
    for record in written.cases:
        assert record.edit_mask is not None
        assert record.label is not None
        for stored in (*record.images, record.edit_mask, record.label):
            assert (wanted.out / stored.path).is_file()
    assert not list(wanted.out.rglob(MANIFEST))


@pytest.mark.parametrize("kind", KINDS)
def test_same_dataset_gives_the_same_bytes(tmp_path: Path, kind: str) -> None:
    for name in ("a", "b"):
        parse_layout({"kind": kind}).build().write(export(tmp_path / name), NoProgress())
    paths = [path for path in (tmp_path / "a" / "out").rglob("*") if path.is_file()]
    assert paths
    for path in paths:
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_damage_after_writing_is_seen(tmp_path: Path, kind: str) -> None:
    wanted = export(tmp_path)
    layout = parse_layout({"kind": kind}).build()
    written = layout.write(wanted, NoProgress())
    stored = written.cases[0].images
    image = wanted.out / stored[0].path if stored else min(wanted.out.rglob("0001.dcm"))
    content = bytearray(image.read_bytes())
    content[-20] ^= 0x55
    image.write_bytes(bytes(content))
    with pytest.raises(MedaugError):
        layout.check(wanted, written, NoProgress())


@pytest.mark.parametrize("kind", KINDS)
def test_dataset_that_changed_is_refused(tmp_path: Path, kind: str) -> None:
    wanted = export(tmp_path)
    for folder in ("imagesTr", "edits"):
        path = next((wanted.dataset / folder).iterdir())
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(MedaugError):
        parse_layout({"kind": kind}).build().write(wanted, NoProgress())


def test_unknown_kind_and_key() -> None:
    with pytest.raises(ConfigError, match="did you mean nifti"):
        parse_layout({"kind": "nifty"})
    with pytest.raises(ConfigError, match="unknown key level"):
        parse_layout({"kind": "nifti", "level": 3})
