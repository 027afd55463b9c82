"""Zip archives, good and hostile."""

from __future__ import annotations

import gzip
import io
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from medaug.core.errors import DataError
from medaug.io import archives
from medaug.io.archives import Budget, archive_format, refuse_depth, refuse_format, unpack

Pack = Callable[[zipfile.ZipFile], None]


def _zip(path: Path, pack: Pack, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        pack(archive)
    return path


def _refused(path: Path, into: Path, budget: Budget | None = None) -> tuple[str, str]:
    with pytest.raises(DataError) as caught:
        unpack(path, into, budget or Budget(1 << 30))
    line = caught.value.line()
    assert "Meier" not in line
    assert str(path) not in line
    return caught.value.code, line


def test_files_come_out_in_order_private_and_whole(tmp_path: Path) -> None:
    def pack(archive: zipfile.ZipFile) -> None:
        archive.writestr("b/two", b"2" * 3_000_000)
        archive.writestr("a/", b"")
        archive.writestr("./one", b"1")
        archive.writestr("c\\three", b"3")

    files = unpack(_zip(tmp_path / "x.zip", pack), tmp_path / "out", Budget(4_000_000))
    assert [file.relative_to(tmp_path / "out").as_posix() for file in files] == ["b/two", "one", "c/three"]
    assert [file.stat().st_size for file in files] == [3_000_000, 1, 1]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "out" / "b").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (("../Meier",), "outside itself"),
        (("a/../../Meier",), "outside itself"),
        (("..\\Meier",), "outside itself"),
        (("/etc/Meier",), "outside itself"),
        (("C:\\Meier",), "outside itself"),
        (("a//b",), "no file can have"),
        (("a/NUL.dcm",), "no file can have"),
        (("Meier\nAnna",), "no file can have"),
        (("M" * 300,), "too long"),
        (("m/" * 70 + "x",), "too deep"),
        (("Meier", "Meier"), "one name"),
        (("Meier", "Meier/x"), "one name"),
        (("Meier/x", "./Meier/x"), "one name"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_lead_elsewhere_or_stand_twice_are_refused(
    tmp_path: Path, names: tuple[str, ...], what: str
) -> None:
    def pack(archive: zipfile.ZipFile) -> None:
        for name in names:
            archive.writestr(name, b"x")

    path = _zip(tmp_path / "x.zip", pack)
    code, line = _refused(path, tmp_path / "out")
    assert (code, what in line) == ("archive-unsafe", True)
    assert not (tmp_path / "out").exists()


def test_a_name_that_hides_its_end_is_refused(tmp_path: Path) -> None:
    path = _zip(tmp_path / "x.zip", lambda archive: archive.writestr("aXMeier", b"x"))
    path.write_bytes(path.read_bytes().replace(b"aXMeier", b"a\0Meier"))
    assert _refused(path, tmp_path / "out")[0] == "archive-unsafe"


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    info = zipfile.ZipInfo("x")
    info.external_attr = (kind | 0o777) << 16
    path = _zip(tmp_path / "x.zip", lambda archive: archive.writestr(info, "/etc/passwd"))
    code, line = _refused(path, tmp_path / "out")
    assert (code, "links or devices" in line) == ("archive-unsafe", True)


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    path = _zip(tmp_path / "x.zip", lambda archive: archive.writestr("x", b"x"), zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    code, line = _refused(path, tmp_path / "out")
    assert (code, "encrypted" in line) == ("archive-unsafe", True)


def test_entries_that_overlap_are_refused(tmp_path: Path) -> None:
    def pack(archive: zipfile.ZipFile) -> None:
        archive.writestr("a", b"0" * 500)
        archive.writestr("b", b"0" * 500)

    path = _zip(tmp_path / "x.zip", pack)
    content = path.read_bytes()
    second = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 1)
    # the second entry of the directory points at the data of the first
    path.write_bytes(content[: second + 42] + struct.pack("<I", 0) + content[second + 46 :])
    code, line = _refused(path, tmp_path / "out")
    assert (code, "overlap" in line) == ("archive-unsafe", True)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_methods_are_refused_by_name(tmp_path: Path, method: int) -> None:
    path = _zip(tmp_path / "x.zip", lambda archive: archive.writestr("x", b"x" * 99), method)
    assert _refused(path, tmp_path / "out")[0] == "unsupported-format"


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    path = _zip(tmp_path / "x.zip", lambda archive: archive.writestr("x", b"123456789" * 99))
    whole = path.read_bytes()
    for part in (b"", b"PK", whole[:40], whole[:-30], whole.replace(b"PK\x01\x02", b"PK\x09\x09")):
        path.write_bytes(part)
        assert _refused(path, tmp_path / "out")[0] == "archive-unsafe"
    path.write_bytes(whole[:45] + b"\xff\xff" + whole[47:])
    assert _refused(path, tmp_path / "out")[0] == "archive-unsafe"


def test_more_than_the_disk_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = _zip(tmp_path / "x.zip", lambda archive: archive.writestr("x", b"\0" * 5000))
    code, line = _refused(path, tmp_path / "out", Budget(4999))
    assert (code, "disk" in line) == ("archive-bomb", True)
    assert not (tmp_path / "out").exists()
    assert unpack(path, tmp_path / "out", Budget(5000))


def test_archives_share_one_budget_of_bytes_and_members(tmp_path: Path) -> None:
    path = _zip(tmp_path / "x.zip", lambda archive: archive.writestr("x", b"\0" * 5000))
    budget = Budget(9000)
    unpack(path, tmp_path / "one", budget)
    assert _refused(path, tmp_path / "two", budget)[0] == "archive-bomb"
    code, line = _refused(path, tmp_path / "three", Budget(9000, members_left=0))
    assert (code, "members" in line) == ("archive-bomb", True)
    with pytest.raises(DataError, match="disk"):
        Budget(1).take(2)


def test_what_packs_far_too_well_is_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _zip(tmp_path / "x.zip", lambda archive: archive.writestr("x", b"\0" * 2_000_000))
    assert unpack(path, tmp_path / "small", Budget(1 << 30))
    monkeypatch.setattr(archives, "_RATIO_FROM_BYTES", 1_000_000)
    code, line = _refused(path, tmp_path / "out")
    assert (code, "times its size" in line) == ("archive-bomb", True)


def test_a_member_never_gives_more_than_it_claims(tmp_path: Path) -> None:
    path = _zip(tmp_path / "x.zip", lambda archive: archive.writestr("x", b"\0" * 2_000_000))
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<I", 2_000_000), struct.pack("<I", 10)))
    assert _refused(path, tmp_path / "out", Budget(100))[0] == "archive-unsafe"
    assert sum(file.stat().st_size for file in (tmp_path / "out").rglob("*")) <= 10


def test_an_endless_directory_is_not_read(tmp_path: Path) -> None:
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 9, 9, 200 << 20, 0, 0)
    (tmp_path / "x.zip").write_bytes(end)
    assert _refused(tmp_path / "x.zip", tmp_path / "out")[0] == "archive-bomb"
    record = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1 << 40, 1 << 40, 1 << 40, 0)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, 0, 1)
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    (tmp_path / "x.zip").write_bytes(record + locator + end)
    assert _refused(tmp_path / "x.zip", tmp_path / "out")[0] == "archive-bomb"


def test_formats_are_told_by_their_first_bytes(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("x"), io.BytesIO())
    tar, dicom = buffer.getvalue(), b"\0" * 128 + b"DICM" + b"\0" * 600
    told = {
        "a.zip": (b"junk", "zip"),
        "bare": (b"PK\x03\x04....", "zip"),
        "sheet.xlsx": (b"PK\x03\x04....", None),
        "b.tar": (tar, "tar"),
        "c.tgz": (gzip.compress(tar), "gzip"),
        "d.dcm.gz": (gzip.compress(dicom), "gzip"),
        "d.txt.gz": (gzip.compress(b"words" * 200), None),
        "e.nii.gz": (gzip.compress(dicom), None),
        "f.7z": (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
        "g.rar": (b"Rar!\x1a\x07\0", "RAR"),
        "h.xz": (b"\xfd7zXZ\x00", "xz"),
        "i.bz2": (b"BZh9", "bzip2"),
        "IM0001": (dicom, None),
        "IM.dcm": (dicom, None),
    }
    for name, (content, _) in told.items():
        (tmp_path / name).write_bytes(content)
    assert {name: archive_format(tmp_path / name) for name in told} == {n: f for n, (_, f) in told.items()}
    assert archive_format(tmp_path / "gone") is None
    assert refuse_format("RAR").code == "unsupported-format"
    assert refuse_depth(2).code == "archive-bomb"
