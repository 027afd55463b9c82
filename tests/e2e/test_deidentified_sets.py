"""Real sets go through de-identification whole: images, segmentations, structure sets, reports, and their directory."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom._uid_dict import UID_dictionary
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from medaug.core.certificate import ReportLine
from medaug.core.runs import NoProgress
from medaug.workflows.deidentify import DeidentifyOptions, deidentify

DATA = os.environ.get("MEDAUG_DATA", "")
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.skipif(not DATA, reason="MEDAUG_DATA names no folder of real data"),
]
SETS = ("seg", "rtstruct", "series", "private_nested", "pydicom")
_DIRECTORY = "1.2.840.10008.1.3.10"


def _set(name: str, place: Path) -> Path:
    source = place / "source"
    if name != "pydicom":
        shutil.copytree(Path(DATA) / "dicom" / name, source)
        return source
    directory = Path(str(get_testdata_file("DICOMDIR", download=False)))
    shutil.copytree(directory.parent, source)
    for report in ("test-SR.dcm", "reportsi.dcm", "rtplan.dcm", "rtstruct.dcm"):
        path = get_testdata_file(report, download=False)
        if isinstance(path, str):
            shutil.copy(path, source)
    return source


def _pairs(before: Dataset, after: Dataset) -> Iterator[tuple[str, str, str]]:
    """Keyword, old and new value of every UID that came out, at every depth."""
    for element in after:
        if element.tag not in before or element.tag.is_private:
            continue
        old = before[element.tag]
        if element.VR == "SQ":
            for was, now in zip(old.value, element.value, strict=True) if element.value else ():
                yield from _pairs(was, now)
        elif element.VR == "UI" and element.value:
            olds, news = ([one.value] if one.VM == 1 else [*one.value] for one in (old, element))
            yield from ((element.keyword, str(was), str(now)) for was, now in zip(olds, news, strict=True))


@pytest.mark.parametrize("name", SETS)
def test_uids_map_one_to_one_and_every_reference_that_led_somewhere_still_does(
    name: str, tmp_path: Path
) -> None:
    source, out, report = _set(name, tmp_path), tmp_path / "out", tmp_path / "report.jsonl"
    deidentify(
        DeidentifyOptions(source=source, out=out, key_file=tmp_path / "key", report=report), NoProgress()
    )
    lines = [ReportLine.model_validate_json(line) for line in report.read_text("utf-8").splitlines()]
    assert {line.input for line in lines} == {
        path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()
    }
    forth: dict[str, str] = {}
    back: dict[str, str] = {}
    references: list[tuple[str, str]] = []
    instances: dict[str, str] = {}
    for line in lines:
        if line.output is None or line.output.endswith(("DICOMDIR", ".nii.gz")):
            continue
        before = pydicom.dcmread(source / line.input, force=True, stop_before_pixels=True)
        after = pydicom.dcmread(out / line.output, stop_before_pixels=True)
        instances[str(before.SOPInstanceUID)] = str(after.SOPInstanceUID)
        for keyword, old, new in _pairs(before, after):
            assert forth.setdefault(old, new) == new
            assert back.setdefault(new, old) == old
            assert (old == new) == (old in UID_dictionary or old.startswith("1.2.840.10008."))
            references += [(old, new)] if keyword == "ReferencedSOPInstanceUID" else []
    led = [(old, new) for old, new in references if old in instances]
    assert all(instances[old] == new for old, new in led)
    assert len(instances) >= 2
    if name in ("seg", "rtstruct"):
        assert len(led) > 2
    if name == "pydicom":
        directory = pydicom.dcmread(out / "DICOMDIR")
        listed = [
            "/".join(one.ReferencedFileID)
            for one in directory.DirectoryRecordSequence
            if "ReferencedFileID" in one
        ]
        assert len(listed) == len({line.output for line in lines if line.output}) - 1
        assert all((out / path).is_file() for path in listed)
        assert directory.file_meta.MediaStorageSOPClassUID == _DIRECTORY
