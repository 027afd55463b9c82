"""Whatever bytes a file holds: ingest ends with cases, or with one line; it writes nowhere but in its folder."""

from __future__ import annotations

import shutil
import tempfile
import warnings
import zipfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from medaug.core.errors import DataError, MedaugError
from medaug.core.runs import NoProgress
from medaug.io.archives import Budget, unpack
from medaug.workflows.ingest import IngestOptions, ingest

_STARTS = (
    b"", b"\0" * 128 + b"DICM", b"\x02\x00\x00\x00UL\x04\x00", b"PK\x03\x04", b"NRRD0004\n", b"II*\0\x08\0\0\0",
    b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", b"\x1f\x8b\x08\0", b"\x5c\x01\0\0", b"NDims = 3\nObjectType = Image\n", b"{",
)  # fmt: skip
_NAMES = (
    "a",
    "a.dcm",
    "a.nii",
    "a.nii.gz",
    "a.nrrd",
    "a.mha",
    "a.png",
    "a.tif",
    "a.zip",
    "DICOMDIR",
    "cases.csv",
    "dataset.json",
)


@settings(max_examples=150, deadline=5000)
@given(st.sampled_from(_NAMES), st.sampled_from(_STARTS), st.binary(max_size=600))
def test_any_bytes_under_any_name_end_in_cases_or_one_line(name: str, start: bytes, rest: bytes) -> None:
    place = Path(tempfile.mkdtemp())
    try:
        (place / "src").mkdir()
        (place / "src" / name).write_bytes(start + rest)
        options = IngestOptions(sources=(place / "src",), out=place / "out", workers=1)
        line = ""
        try:
            assert ingest(options, NoProgress()).cases
        except MedaugError as error:
            line = error.line()
        assert "\n" not in line
        assert str(place) not in line
        assert {path.name for path in place.iterdir()} <= {"src", "out"}
        assert [path.name for path in (place / "src").iterdir()] == [name]
    finally:
        shutil.rmtree(place)


@settings(max_examples=150, deadline=5000)
@given(
    st.lists(st.text("abx./\\:é \n", min_size=1, max_size=9), max_size=4),
    st.binary(max_size=40),
    st.integers(0, 60),
)
def test_no_member_of_an_archive_leaves_its_folder(names: list[str], content: bytes, limit: int) -> None:
    place = Path(tempfile.mkdtemp())
    try:
        with (
            warnings.catch_warnings(),
            zipfile.ZipFile(place / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            warnings.simplefilter("ignore")
            for name in names:
                archive.writestr(name.replace("x", "../"), content)
        files: tuple[Path, ...] = ()
        code = "archive-unsafe"
        try:
            files = unpack(place / "x.zip", place / "out", Budget(limit))
        except DataError as error:
            code = error.code
        assert code in ("archive-unsafe", "archive-bomb")
        assert all(path.resolve().is_relative_to((place / "out").resolve()) for path in files)
        assert sum(path.stat().st_size for path in files) <= limit
        assert {path.name for path in place.iterdir()} <= {"x.zip", "out"}
    finally:
        shutil.rmtree(place)
