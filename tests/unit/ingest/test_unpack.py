"""Sources with archives in them, seen through a mirror."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest

from medaug.core.runs import WORKING
from medaug.ingest.discover import discover
from medaug.ingest.unpack import opened
from tests.unit.ingest.material import ct_set, ct_values, deep_folder, label_values, save, write_table
from tests.unit.io.series import stored_values, write_series


def pack(archive: Path, folder: Path) -> Path:
    """Zip the files of a folder, without the folder's own name."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
        for path in sorted(folder.rglob("*")):
            made.write(path, path.relative_to(folder))
    return archive


def test_a_source_without_archives_is_looked_at_itself(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "x").touch()
    with opened([tmp_path / "src", tmp_path / "src" / "x"], tmp_path / "out") as found:
        assert (found.sources, found.count) == ([tmp_path / "src", tmp_path / "src" / "x"], 2)
        assert not (tmp_path / "out").exists()
        assert found.origin(tmp_path / "src" / "x") == str(tmp_path / "src" / "x")


def test_archives_stand_for_folders_and_pair_with_what_lies_beside_them(tmp_path: Path) -> None:
    save(tmp_path / "raw" / "a.nii.gz", ct_values(1))
    pack(tmp_path / "src" / "images.zip", tmp_path / "raw")
    save(tmp_path / "src" / "labels" / "a.nii.gz", label_values(1))
    with opened([tmp_path / "src"], tmp_path / "out") as found:
        (case,) = discover(found.sources, None, opened=found).cases
        assert case.label is not None
        assert stat.S_IMODE(found.working.stat().st_mode) == 0o700
        assert found.origin(case.images[0].files[0]) == f"{tmp_path / 'src/images.zip'}!a.nii.gz"
        assert found.origin(case.label.files[0]) == str(tmp_path / "src/labels/a.nii.gz")
        assert case.case_key.endswith("a")
    assert not (tmp_path / "out").exists()


def test_an_archive_and_a_folder_of_one_name_stay_apart(tmp_path: Path) -> None:
    save(tmp_path / "raw" / "a.nii.gz", ct_values(1))
    pack(tmp_path / "src" / "p.zip", tmp_path / "raw")
    save(tmp_path / "src" / "p" / "a.nii.gz", ct_values(2))
    with opened([tmp_path / "src"], tmp_path / "out") as found:
        assert len(discover(found.sources, None, opened=found).cases) == 2


def test_an_archive_as_source_with_archives_inside_it(tmp_path: Path) -> None:
    write_series(tmp_path / "inner" / "s", stored_values(3))
    pack(tmp_path / "middle" / "study.zip", tmp_path / "inner")
    pack(tmp_path / "outer" / "patient", tmp_path / "middle")
    whole = pack(tmp_path / "all.zip", tmp_path / "outer")
    middle = tmp_path / "outer" / "patient"
    with opened([middle], tmp_path / "out") as found:
        (case,) = discover(found.sources, None, opened=found).cases
        origins = [found.origin(path) for path in case.files]
        assert len(origins) == 3
        assert all(origin.startswith(f"{middle}!study.zip!s/IM") for origin in origins)
        assert found.strays == []
    with opened([whole], tmp_path / "out") as found:
        seen = discover(found.sources, None, opened=found)
        assert (len(seen.cases), [s.code for s in seen.strays]) == (0, ["archive-bomb"])
        assert found.origin(seen.strays[0].files[0]) == f"{whole}!patient!study.zip"


def test_what_is_refused_leaves_a_note_and_the_rest_goes_on(tmp_path: Path) -> None:
    save(tmp_path / "src" / "a.nii.gz", ct_values(1))
    (tmp_path / "src" / "Meier.zip").write_bytes(b"junk")
    (tmp_path / "src" / "Meier.7z").write_bytes(b"7z\xbc\xaf\x27\x1c")
    with zipfile.ZipFile(tmp_path / "src" / "evil.zip", "w") as made:
        made.writestr("good", b"x")
        made.writestr("../../../evil", b"x")
    with opened([tmp_path / "src"], tmp_path / "out") as found:
        seen = discover(found.sources, None, opened=found)
        assert len(seen.cases) == 1
        assert [s.code for s in seen.strays] == ["unsupported-format", "archive-unsafe", "archive-unsafe"]
        assert not any("Meier" in s.message or "evil" in s.message for s in seen.strays)
        assert found.origin(seen.strays[0].files[0]) == str(tmp_path / "src" / "Meier.7z")
    assert not list(tmp_path.rglob("evil"))


def test_a_table_out_of_an_archive_names_nothing_outside_it(tmp_path: Path) -> None:
    rows = ct_set(tmp_path / "raw", ("a1", "a2", "a3"))
    save(tmp_path / "secret.nii.gz", ct_values(7))
    rows[1]["image"] = str(tmp_path / "secret.nii.gz")
    rows[2]["image"] = "../" * 12 + str(tmp_path / "secret.nii.gz")[1:]
    write_table(tmp_path / "raw", rows)
    with opened([pack(tmp_path / "x.zip", tmp_path / "raw")], tmp_path / "out") as found:
        cases = discover(found.sources, None, opened=found).cases
        assert ["outside the archive" in case.problem for case in cases] == [False, True, True]


def test_a_table_beside_an_archive_names_files_of_both(tmp_path: Path) -> None:
    rows = ct_set(tmp_path / "raw", ("a1",))
    pack(tmp_path / "src" / "set.zip", tmp_path / "raw")
    ct_set(tmp_path / "elsewhere", ("a2",))
    listed = [
        rows[0] | {"image": "set/images/a1.nii.gz", "label": "set/labels/a1.nii.gz"},
        rows[0] | {"case_id": "a2", "image": "../elsewhere/images/a2.nii.gz", "label": ""},
    ]
    write_table(tmp_path / "src", listed)
    with opened([tmp_path / "src"], tmp_path / "out") as found:
        assert [case.problem for case in discover(found.sources, None, opened=found).cases] == ["", ""]


def test_the_working_folder_is_gone_whatever_happens(tmp_path: Path) -> None:
    save(tmp_path / "raw" / "a.nii.gz", ct_values(1))
    source = pack(tmp_path / "x.zip", tmp_path / "raw")
    (tmp_path / "out" / WORKING).mkdir(parents=True)
    (tmp_path / "out" / WORKING / "left").write_text("by a kill")

    def stopped() -> None:
        with opened([source], tmp_path / "out") as found:
            assert not (found.working / "left").exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert list((tmp_path / "out").iterdir()) == []


def test_a_source_of_any_depth_is_mirrored_and_the_mirror_removed(tmp_path: Path) -> None:
    save(tmp_path / "raw" / "a.nii.gz", ct_values(1))
    pack(tmp_path / "src" / "x.zip", tmp_path / "raw")
    with deep_folder(tmp_path / "src", 1200), opened([tmp_path / "src"], tmp_path / "out") as found:
        assert len(discover(found.sources, None, opened=found).cases) == 1
        assert found.count == 2
    assert not (tmp_path / "out").exists()
