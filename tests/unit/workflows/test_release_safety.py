"""A release that is stopped, misplaced or watched: nothing half-made appears, and no secret shows."""

from __future__ import annotations

import base64
import errno
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from medaug.cli.main import main
from medaug.core.budget import PrivacyBudget, Randomness
from medaug.core.case import read_manifest
from medaug.core.errors import ConfigError, DataError, GateRefusedError, StorageError, UnreadableError
from medaug.core.plan import Recipe, read_lines
from medaug.core.runs import NoProgress
from medaug.core.volume import Unit, Volume
from medaug.io.dataset import load_case
from medaug.layouts.nnunet import NnunetLayout
from medaug.privacy.deface import Defaced, DefaceReport
from medaug.privacy.defaced import DEFACED, DefacedCase, DefacedFile
from medaug.privacy.keys import PRIVATE_KEY, PUBLIC_KEY, load_public_key, load_signing_key, write_key_pair
from medaug.privacy.provenance import verify_release
from medaug.workflows.release import release
from tests.unit.privacy.synthetic_set import CLASSES, Material, assess, change_manifest, make_real, make_set
from tests.unit.workflows.releasing import PASSPHRASE, options

FORMS = ("nnunet", "nifti", "msd", "bids", "dicom")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    write_key_pair(folder, PASSPHRASE)
    return folder


@pytest.fixture
def material(tmp_path: Path) -> Material:
    return make_set(tmp_path)


class Killed(BaseException):
    """The process is gone."""


@contextmanager
def stopped_at(point: int, error: BaseException, *, dead: bool) -> Iterator[list[int]]:
    """Stop at one of the moments when something takes its place on disk; the dead do not clean up."""
    count = [0]

    def counted(whole: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            count[0] += 1
            if count[0] >= point:
                raise error
            return whole(*args, **kwargs)

        return call

    def unless_dead(whole: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            return None if dead and count[0] >= point else whole(*args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patched:
        for name in ("replace", "rename", "mkdir"):
            patched.setattr(Path, name, counted(getattr(Path, name)))
        for keeper, name in ((Path, "unlink"), (shutil, "rmtree")):
            patched.setattr(keeper, name, unless_dead(getattr(keeper, name)))
        yield count


@pytest.mark.parametrize("form", ["nnunet", "dicom"])
def test_a_stop_at_any_moment_leaves_no_release(keys: Path, tmp_path: Path, form: str) -> None:
    material = make_set(tmp_path, count=1)
    whole = tmp_path / "whole"
    asked = options(material, keys, whole, format=form, report=tmp_path / "whole.jsonl")
    with stopped_at(10**9, Killed(), dead=True) as count:
        release(asked, NoProgress())
    points = count[0]
    assert points > 10
    out = tmp_path / "out"
    for point in range(1, points + 1):
        with stopped_at(point, Killed(), dead=True), pytest.raises(Killed):
            release(options(material, keys, out, format=form, report=tmp_path / "report"), NoProgress())
        assert not out.exists(), point
    release(options(material, keys, out, format=form, report=tmp_path / "report"), NoProgress())
    verify_release(out, load_public_key(keys / PUBLIC_KEY))
    left = {path.name for path in tmp_path.iterdir() if "partial" in path.name}
    assert all(
        name.endswith(".partial.report") for name in left
    )  # of the last words alone, outside the release
    assert {path.name for path in out.rglob("*")} == {path.name for path in whole.rglob("*")}


def test_a_full_disk_at_any_moment_leaves_nothing(material: Material, keys: Path, tmp_path: Path) -> None:
    out, full = tmp_path / "out", OSError(errno.ENOSPC, "No space left on device")
    with stopped_at(10**9, full, dead=False) as count:
        release(options(material, keys, tmp_path / "whole"), NoProgress())
    for point in range(1, count[0] + 1):
        with stopped_at(point, full, dead=False), pytest.raises(StorageError, match="disk is full"):
            release(options(material, keys, out), NoProgress())
        assert sorted(path.name for path in tmp_path.iterdir()) == ["assessment", "syn", "whole"]


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("syn/release", "syn lie within each other"),
        ("syn", "syn lie within each other"),
        (".", "within each other"),
        ("assessment/release", "assessment lie within each other"),
        ("link", "no plain folder"),
        ("dangling", "no plain folder"),
        ("file", "no plain folder"),
        ("into/release", "syn lie within each other"),
        ("x/../syn/release", "syn lie within each other"),
    ],
)
def test_places_of_the_output(material: Material, keys: Path, tmp_path: Path, place: str, words: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "into").symlink_to(material.dataset)
    (tmp_path / "file").write_text("x")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError, match=words):
        release(options(material, keys, tmp_path / place), NoProgress())
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["report", "identifiers", "key"])
def test_what_tells_who_is_who_does_not_lie_in_the_output(
    material: Material, keys: Path, tmp_path: Path, name: str
) -> None:
    with pytest.raises(ConfigError, match="would lie in the output"):
        release(options(material, keys, tmp_path / "out", **{name: tmp_path / "out" / "x"}), NoProgress())


@pytest.mark.parametrize("name", ["generator", "identifiers"])
def test_the_output_lies_in_no_folder_that_is_read(
    material: Material, keys: Path, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "read"
    folder.mkdir()
    with pytest.raises(ConfigError, match="output and read lie within each other"):
        release(options(material, keys, folder / "out", **{name: folder}), NoProgress())
    assert not any(folder.iterdir())


def test_a_link_where_the_release_is_staged(material: Material, keys: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "mine.txt").write_text("x")
    (tmp_path / ".out.partial.release").symlink_to(tmp_path / "victim")
    with pytest.raises(StorageError):
        release(options(material, keys, tmp_path / "out"), NoProgress())
    assert (tmp_path / "victim" / "mine.txt").read_text() == "x"
    assert not (tmp_path / "out").exists()


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("form", FORMS)
def test_report_names_every_input_file_and_where_it_went(
    material: Material, keys: Path, tmp_path: Path, form: str
) -> None:
    (material.dataset / "sources.private.json").write_text("{}")
    report = tmp_path / "report.jsonl"
    release(options(material, keys, tmp_path / "out", format=form, report=report), NoProgress())
    assert report.stat().st_mode & 0o777 == 0o600
    found = {row["input"]: row for row in rows(report)}
    here = {
        path.relative_to(material.dataset).as_posix()
        for path in material.dataset.rglob("*")
        if path.is_file()
    }
    assert set(found) == here
    for row in found.values():
        assert set(row) == {"input", "output", "outcome", "reasons"}
        assert (row["outcome"] == "written") is (row["output"] is not None)
        assert row["outcome"] == "quarantined" or (tmp_path / "out" / row["output"]).exists()
    assert found["sources.private.json"]["outcome"] == "quarantined"
    assert found["imagesTr/syn_0_0000.nii.gz"]["outcome"] == "written"


def test_report_of_a_refusal_says_why_file_by_file(material: Material, keys: Path, tmp_path: Path) -> None:
    path = material.dataset / "edits" / "syn_0.nii.gz"
    path.write_bytes(path.read_bytes() + b"x")
    report = tmp_path / "report.jsonl"
    with pytest.raises(GateRefusedError, match="changed since"):
        release(options(material, keys, tmp_path / "out", report=report), NoProgress())
    found = {row["input"]: row for row in rows(report)}
    assert {row["outcome"] for row in found.values()} == {"refused"}
    assert "changed since" in found["edits/syn_0.nii.gz"]["reasons"][0]
    assert found["edits/syn_1.nii.gz"]["reasons"] == ["the release was refused as a whole"]
    assert report.stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "out").exists()


def refused(material: Material, report: Path) -> list[list[str]]:
    """The reasons of a report that refuses every file of the set."""
    found = rows(report)
    here = sorted(
        path.relative_to(material.dataset).as_posix()
        for path in material.dataset.rglob("*")
        if path.is_file()
    )
    assert [row["input"] for row in found] == here
    assert {(row["outcome"], row["output"]) for row in found} == {("refused", None)}
    return [row["reasons"] for row in found]


def test_report_of_what_only_the_last_inspection_refuses(keys: Path, tmp_path: Path) -> None:
    material = make_set(tmp_path, terms=None)
    report = tmp_path / "report.jsonl"
    with pytest.raises(GateRefusedError, match="e-mail"):
        release(
            options(material, keys, tmp_path / "out", report=report, terms="Ask anna@example.org."),
            NoProgress(),
        )
    assert all(any("DATASHEET.md" in reason for reason in why) for why in refused(material, report))


@pytest.mark.parametrize("moment", ["write", "check"])
def test_report_of_a_failure_on_the_way(
    material: Material, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def fail(*_: object) -> None:
        raise UnreadableError("voxel differs", where="syn_0")

    monkeypatch.setattr(NnunetLayout, moment, fail)
    report = tmp_path / "report.jsonl"
    with pytest.raises(UnreadableError):
        release(options(material, keys, tmp_path / "out", report=report), NoProgress())
    assert refused(material, report)[0] == ["syn_0: voxel differs"]
    assert not (tmp_path / "out").exists()


def test_report_of_a_set_that_is_damaged(material: Material, keys: Path, tmp_path: Path) -> None:
    (material.dataset / "manifest.json").write_text("{")
    report = tmp_path / "report.jsonl"
    with pytest.raises(DataError):
        release(options(material, keys, tmp_path / "out", report=report), NoProgress())
    assert "manifest.json" in refused(material, report)[0][0]


def test_a_release_that_is_there_is_reported_too(keys: Path, tmp_path: Path) -> None:
    material = make_set(tmp_path, unit=Unit.ARBITRARY, channels=("T1.5", "T2"), count=1)
    for name in ("first", "again"):
        summary = release(
            options(material, keys, tmp_path / "out", report=tmp_path / name, format="dicom"), NoProgress()
        )
        assert summary.skipped is (name == "again")
    assert rows(tmp_path / "first") == rows(tmp_path / "again")
    places = [row["output"] for row in rows(tmp_path / "first") if row["outcome"] == "written"]
    assert {"dicom/syn_0/T1-5", "dicom/syn_0/T2", "dicom/syn_0/seg.dcm"} < set(places)
    assert all((tmp_path / "out" / place).exists() for place in places)


@pytest.mark.parametrize("form", FORMS)
def test_real_scans_are_released_without_an_audit(keys: Path, tmp_path: Path, form: str) -> None:
    material = make_real(tmp_path)
    out = tmp_path / "out"
    release(options(material, keys, out, format=form, assessment=None), NoProgress())
    certificate = verify_release(out, load_public_key(keys / PUBLIC_KEY))
    assert (certificate.content, certificate.audit_sha256, certificate.verdict) == ("real", None, None)
    assert (certificate.generators, certificate.lineage) == ((), ("p0", "p1"))
    sheet = (out / "DATASHEET.md").read_text()
    assert "nothing was synthesised" in sheet
    assert "2 patients, by pseudonym only" in sheet
    for path in out.rglob("*.dcm"):
        assert pydicom.dcmread(path).SyntheticData == "NO"
    if form != "dicom":
        record = read_manifest(out).cases[0]
        assert load_case(out, record, CLASSES).patient_id == "p0"


def test_scans_of_patients_take_no_assessment(keys: Path, tmp_path: Path) -> None:
    material = make_real(tmp_path)
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "run.json").write_text("{}")
    for name in ("nowhere", "unfinished"):
        named = tmp_path / name
        with pytest.raises(ConfigError, match=r"--assessment: .* scans of patients; leave it out"):
            release(options(material, keys, tmp_path / "out", assessment=named), NoProgress())
    assert not (tmp_path / "out").exists()


def test_an_assessment_that_is_named_is_there(material: Material, keys: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--assessment: there is no folder .*nowhere"):
        release(options(material, keys, tmp_path / "out", assessment=tmp_path / "nowhere"), NoProgress())


def test_a_new_assessment_is_a_remedy_of_synthetic_sets_alone(keys: Path, tmp_path: Path) -> None:
    for name, make in (("real", make_real), ("made", make_set)):
        material = make(tmp_path / name)
        (material.dataset / material.manifest.cases[0].images[0].path).unlink()
        assessment = None if name == "real" else material.assessment
        with pytest.raises(GateRefusedError, match="missing or no plain file") as caught:
            release(options(material, keys, tmp_path / "out", assessment=assessment), NoProgress())
        assert ("medaug assess" in caught.value.line()) == (name == "made")


def test_faces_that_were_removed_before_stay_removed_and_the_record_stays_at_home(
    keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    material = make_set(tmp_path, unit=Unit.ARBITRARY)
    cases = tuple(
        DefacedCase(
            case_id=record.case_id,
            images=tuple(file.sha256 for file in record.images),
            report=DefaceReport(outcome="defaced", reason="face-removed"),
        )
        for record in material.manifest.cases
    )
    DefacedFile(cases=cases).write(material.dataset / DEFACED)
    monkeypatch.setattr("medaug.privacy.faces.look_for_head", lambda _: "maybe a head")
    monkeypatch.setattr("medaug.privacy.faces.deface", lambda *_, **__: pytest.fail("defaced again"))
    out = tmp_path / "out"
    release(options(material, keys, out, format="nifti", report=tmp_path / "report.jsonl"), NoProgress())
    certificate = verify_release(out, load_public_key(keys / PUBLIC_KEY))
    assert certificate.faces == "removed before, says a record"
    assert "nobody signed" in (out / "DATASHEET.md").read_text()
    assert not [*out.rglob(DEFACED)]
    lines = [json.loads(line) for line in (tmp_path / "report.jsonl").read_text().splitlines()]
    assert [line["outcome"] for line in lines if line["input"] == DEFACED] == ["quarantined"]


@pytest.mark.parametrize("form", ["nnunet", "msd", "dicom"])
def test_faces_are_removed_on_the_way_out(
    keys: Path, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    material = make_set(tmp_path, unit=Unit.ARBITRARY, channels=("FLAIR", "T1"))
    before = {path: path.read_bytes() for path in material.dataset.rglob("*") if path.is_file()}

    def cut(volume: Volume, spared: np.ndarray, *, modality: str) -> Defaced:
        assert (modality, bool(spared.any())) == ("MR", True)
        removed = ~spared
        removed[:, :5] = False
        image = volume.image.copy()
        image[:, removed] = 0
        return Defaced(
            replace(volume, image=image), removed, DefaceReport(outcome="defaced", reason="face-removed")
        )

    monkeypatch.setattr("medaug.privacy.faces.look_for_head", lambda _: "maybe a head")
    monkeypatch.setattr("medaug.privacy.faces.deface", cut)
    out = tmp_path / "out"
    release(options(material, keys, out, format=form), NoProgress())
    certificate = verify_release(out, load_public_key(keys / PUBLIC_KEY))
    assert certificate.faces == "removed"
    assert "Faces in head MR were removed" in (out / "DATASHEET.md").read_text()
    assert {path: path.read_bytes() for path in before} == before
    if form == "dicom":
        stored = pydicom.dcmread(out / "dicom" / "syn_0" / "T1" / "0001.dcm")
        assert np.unique(stored.pixel_array[:3]).size == 1 < np.unique(stored.pixel_array[8:]).size
    else:
        image = load_case(out, read_manifest(out).cases[0], CLASSES).volume.image
        old = load_case(material.dataset, material.manifest.cases[0], CLASSES).volume.image
        assert not image[:, :, 7:].any()
        assert np.array_equal(image[:, :, :5], old[:, :, :5])
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"assessment", "syn", "out"}


@dataclass(frozen=True)
class Fitted:
    """What is asked of a card and of its generator."""

    privacy: PrivacyBudget | None = None
    sha256: str = "a" * 64


def budget(randomness: Randomness) -> PrivacyBudget:
    return PrivacyBudget(
        epsilon=7.9, delta=1e-5, epsilon_prv=7.9, epsilon_pld=7.88, noise_multiplier=1.1, clip_norm=1.0,
        sampling_rate=0.1, steps=100, patients=80, randomness=randomness,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("held", "epsilon"), [(budget("system"), 7.9), (budget("seeded"), None), (None, None)]
)
def test_the_certificate_names_the_budget_of_the_generator_of_the_recipes(
    material: Material,
    keys: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    held: PrivacyBudget | None,
    epsilon: float | None,
) -> None:
    room = "medaug.workflows._release.material"
    monkeypatch.setattr(f"{room}.read_card", lambda _: Fitted(held))
    monkeypatch.setattr(f"{room}.load_generator", lambda *_, **__: Fitted())
    release(options(material, keys, tmp_path / "out", generator=tmp_path / "cgan"), NoProgress())
    certificate = verify_release(tmp_path / "out", load_public_key(keys / PUBLIC_KEY))
    assert certificate.dp_epsilon == epsilon
    monkeypatch.setattr(f"{room}.load_generator", lambda *_, **__: Fitted(sha256="b" * 64))
    with pytest.raises(ConfigError, match="not the generator"):
        release(options(material, keys, tmp_path / "x", generator=tmp_path / "cgan"), NoProgress())


def test_hosts_and_banks_can_be_told_by_the_holder_of_the_key_alone(
    material: Material, keys: Path, tmp_path: Path
) -> None:
    release(options(material, keys, tmp_path / "out"), NoProgress())
    before = read_lines(material.dataset / "recipes.jsonl", Recipe)
    after = read_lines(tmp_path / "out" / "recipes.jsonl", Recipe)
    content = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    for old, new in zip(before, after, strict=True):
        assert old.host_case_id.encode() not in content
        assert old.bank_sha256.encode() not in content
        assert old.host_patient_id == new.host_patient_id
    again = tmp_path / "again"
    release(options(material, keys, again), NoProgress())
    assert read_lines(again / "recipes.jsonl", Recipe) == after


def test_an_older_audit_is_stale(material: Material, keys: Path, tmp_path: Path) -> None:
    older = tmp_path / "older"
    shutil.copytree(material.assessment, older)
    first, second = material.manifest.cases
    change_manifest(material, second, first)
    release(options(material, keys, tmp_path / "new"), NoProgress())
    with pytest.raises(GateRefusedError, match="copying audit is stale"):
        release(options(material, keys, tmp_path / "old", assessment=older), NoProgress())
    (older / "quality.json").write_bytes((material.assessment / "quality.json").read_bytes())
    with pytest.raises(GateRefusedError, match="copying audit is stale"):
        release(options(material, keys, tmp_path / "old", assessment=older), NoProgress())


def call(material: Material, keys: Path, secret: Path, out: Path) -> list[str]:
    named = ["--assessment", material.assessment, "--key", keys / PRIVATE_KEY, "--out", out]
    return ["--debug", "release", *map(str, [material.dataset, *named, "--passphrase-file", secret])]


def test_secrets_show_nowhere(
    material: Material, keys: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    key = load_signing_key(keys / PRIVATE_KEY, PASSPHRASE)
    raw = key._key.private_bytes_raw()
    secret = tmp_path / "passphrase"
    for number, phrase in enumerate((PASSPHRASE, "wrong donkey")):
        secret.write_text(phrase + "\n")
        main(call(material, keys, secret, tmp_path / f"out {number}"))
    assess(material, lesion="fail")
    secret.write_text(PASSPHRASE + "\n")
    assert main(call(material, keys, secret, tmp_path / "refused")) == 6
    shown = "".join(capfd.readouterr()).encode()
    written = b"".join(path.read_bytes() for path in tmp_path.glob("out */**/*") if path.is_file())
    assert b"verified" in shown
    assert written
    for told in (
        b"horse",
        b"donkey",
        raw,
        raw.hex().encode(),
        base64.b64encode(raw),
        key.derive("DICOM UID"),
    ):
        assert told not in shown
        assert told not in written
    assert str(tmp_path).encode() not in written


def test_no_passphrase_on_the_command_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for command in ("keygen", "release", "verify"):
        assert main([command, "--passphrase", PASSPHRASE, "--out", str(tmp_path / "x")]) == 2
        assert "horse" not in "".join(capfd.readouterr())
    assert not (tmp_path / "x").exists()
