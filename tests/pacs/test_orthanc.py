"""pull and push against a real Orthanc, as a user calls them: both protocols, TLS, a token, and cuts."""

from __future__ import annotations

import gc
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydantic import SecretStr

from medaug.cli.main import main
from medaug.core.errors import UnreachableError
from medaug.core.runs import NoProgress
from medaug.phantom.cohort import PhantomSpec, make_cohort
from medaug.privacy.keys import PRIVATE_KEY, PUBLIC_KEY, write_key_pair
from medaug.workflows.archive import ArchiveOptions
from medaug.workflows.pull import PullOptions, pull
from medaug.workflows.release import ReleaseOptions, release
from tests.pacs.orthanc import TOKEN, Orthanc, make_certificates, own_network, require_orthanc, tls_gate
from tests.unit.privacy.synthetic_set import make_set

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
PROTOCOLS = ("--dicomweb", "--dimse")
Call = Callable[..., dict[str, object]]


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """pynetdicom leaves the socket of a failed connection to the garbage collector: let it come while we expect it."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def network() -> Iterator[None]:
    require_orthanc()
    with own_network():
        yield


@pytest.fixture(scope="module")
def archives(network: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Orthanc, Orthanc]]:
    """An open archive and a secured one."""
    folder = tmp_path_factory.mktemp("archives")
    plain, secure = Orthanc(folder / "plain", 0), Orthanc(folder / "secure", 1, is_secure=True)
    try:
        for one in (plain, secure):
            one.start()
        for one in (plain, secure):
            one.wait()
        with tls_gate(secure):
            yield plain, secure
    finally:
        for one in (plain, secure):
            one.kill()


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Series of three phantom patients."""
    folder = tmp_path_factory.mktemp("cohort")
    spec = PhantomSpec(solid=2, ground_glass=1, both=0, lesion_free=1, lesions=1, shape=(64, 64, 8))
    make_cohort(folder, spec, NoProgress())
    return folder / "dicom"


@pytest.fixture(scope="module")
def filled(
    archives: tuple[Orthanc, Orthanc], cohort: Path, tmp_path_factory: pytest.TempPathFactory
) -> Orthanc:
    """The open archive with the cohort in it: every second file by the one protocol, the others by the other."""
    folder = tmp_path_factory.mktemp("halves")
    for number, path in enumerate(sorted(p for p in cohort.rglob("*") if p.is_file())):
        half = folder / PROTOCOLS[number % 2].strip("-")
        half.mkdir(exist_ok=True)
        shutil.copy(path, half / f"{number}.dcm")
    for protocol in PROTOCOLS:
        half = folder / protocol.strip("-")
        assert main(["push", str(half), "--allow-unverified", "--strict", *at(archives[0], protocol)]) == 0
    return archives[0]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command that succeeds, and give its answer; nothing that it says holds an identifier."""

    def run(*arguments: object, code: int = 0) -> dict[str, object]:
        assert main([*map(str, arguments), "--json"]) == code, capsys.readouterr().err
        out, err = capsys.readouterr()
        assert not re.search(
            r"\d\.\d+\.\d+\.\d+\.\d|P\d{3}|phantom", err + out.replace("127.0.0.1", ""), re.IGNORECASE
        )
        return dict(json.loads(out)) if code == 0 else {"line": err.splitlines()[-1]}

    return run


def at(archive: Orthanc, protocol: str) -> list[str]:
    return [protocol, archive.url if protocol == "--dicomweb" else archive.title]


def images(folder: Path) -> dict[str, np.ndarray]:
    """Pixels by SOPInstanceUID."""
    found = [pydicom.dcmread(path) for path in folder.rglob("*") if path.is_file() and path.name[0] != "."]
    return {str(one.SOPInstanceUID): one.pixel_array for one in found}


def same(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> bool:
    return left.keys() == right.keys() and all(np.array_equal(left[uid], right[uid]) for uid in left)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_was_pushed_is_pulled_voxel_by_voxel(
    filled: Orthanc, cohort: Path, protocol: str, tmp_path: Path, call: Call
) -> None:
    out, wanted = tmp_path / "out", images(cohort)
    said = call("pull", *at(filled, protocol), "--query", "PatientID=*", "--out", out)
    assert (said["n_fetched"], said["refused"], said["n_ignored"]) == (len(wanted), {}, 0)
    assert same(images(out), wanted)
    visible = [p.relative_to(out).as_posix() for p in out.rglob("*.dcm")]
    assert len(visible) == len(wanted)
    assert all(re.fullmatch(r"\d{4}/\d{5}\.dcm", name) for name in visible)
    assert (out / ".pull.private.jsonl").stat().st_mode & 0o777 == 0o600
    assert {p.stat().st_mode & 0o777 for p in out.rglob("*.dcm")} == {0o600}
    again = call("pull", *at(filled, protocol), "--query", "PatientID=*", "--out", out)
    assert (again["n_fetched"], again["n_present"]) == (0, len(wanted))
    (out / visible[0]).unlink()
    assert call("pull", *at(filled, protocol), "--query", "PatientID=*", "--out", out)["n_fetched"] == 1
    assert same(images(out), wanted)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_queries_find_what_they_say(
    filled: Orthanc, cohort: Path, protocol: str, tmp_path: Path, call: Call
) -> None:
    headers = [pydicom.dcmread(p, stop_before_pixels=True) for p in cohort.rglob("*") if p.is_file()]
    first = headers[0]
    series = {str(h.SeriesInstanceUID) for h in headers}
    patient = {str(h.SeriesInstanceUID) for h in headers if h.PatientID == first.PatientID}
    modality = {str(h.SeriesInstanceUID) for h in headers if h.Modality == first.Modality}
    described = {str(h.SeriesInstanceUID) for h in headers if h.SeriesDescription == first.SeriesDescription}
    cases = {
        f"PatientID={first.PatientID}": patient,
        f"PatientID={first.PatientID[:-1]}?": {
            str(h.SeriesInstanceUID) for h in headers if h.PatientID[:-1] == first.PatientID[:-1]
        },
        f"StudyDate={first.StudyDate}-,Modality={first.Modality}": {
            str(h.SeriesInstanceUID)
            for h in headers
            if h.StudyDate >= first.StudyDate and h.Modality == first.Modality
        },
        f"Modality={first.Modality}": modality,
        f"SeriesDescription={first.SeriesDescription}": described,
        f"StudyInstanceUID={first.StudyInstanceUID}": patient,
        f"SeriesInstanceUID={first.SeriesInstanceUID}": {str(first.SeriesInstanceUID)},
        "StudyDate=19000101-19010101": set(),
        "BodyPartExamined=NOWHERE": set(),
        "AccessionNumber=nobody*": set(),
    }
    assert patient < series
    for query, wanted in cases.items():
        said = call("pull", *at(filled, protocol), "--query", query, "--out", tmp_path / "none", "--dry-run")
        assert said["n_series"] == len(wanted), query.partition("=")[0]
    limited = ("--query", "PatientID=*", "--out", tmp_path / "none", "--dry-run", "--limit", 1)
    assert call("pull", *at(filled, protocol), *limited)["n_series"] == 1
    whole = call("pull", *at(filled, protocol), *limited, "--level", "study")
    assert (whole["n_studies"], whole["n_series"]) == (1, len(patient))
    assert not (tmp_path / "none").exists()
    said = call(
        "pull", *at(filled, protocol), "--query", "PatientID=nobody", "--out", tmp_path / "none", code=3
    )
    assert "nobody" not in str(said["line"])


class Cut:
    """A progress that does something after so many instances."""

    def __init__(self, after: int, action: Callable[[], None]) -> None:
        self.left, self.action, self.is_fetching = after, action, False

    def start(self, label: str, total: int | None) -> None:
        self.is_fetching = label.startswith("fetching")

    def advance(self, units: int = 1, note: str = "") -> None:
        self.left -= self.is_fetching
        if self.left == 0 and self.is_fetching:
            self.action()

    def say(self, line: str) -> None:
        pass


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_pull_goes_on_after_ctrl_c_and_after_the_archive_fell_over(
    filled: Orthanc, cohort: Path, protocol: str, tmp_path: Path
) -> None:
    kind, address = at(filled, protocol)
    archive = ArchiveOptions.model_validate({kind[2:]: address, "retries": 0, "timeout_s": 5})
    options = PullOptions(archive=archive, query=("PatientID=*",), out=tmp_path / "out")

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(options, Cut(3, stop))
    assert len(list(options.out.rglob("*.dcm"))) == 3
    try:
        with pytest.raises(UnreachableError):
            pull(options, Cut(2, filled.kill))
        assert len(list(options.out.rglob("*.dcm"))) == 5
    finally:
        filled.start()
        filled.wait()
    summary = pull(options, NoProgress())
    wanted = images(cohort)
    assert (summary.n_present, summary.n_fetched) == (5, len(wanted) - 5)
    assert same(images(options.out), wanted)


def test_pulled_series_are_taken_in_as_the_files_that_were_pushed(
    filled: Orthanc, cohort: Path, tmp_path: Path, call: Call
) -> None:
    call("pull", *at(filled, "--dicomweb"), "--query", "PatientID=*", "--out", tmp_path / "scans")
    found = []
    for name, source in (("pulled", tmp_path / "scans"), ("pushed", cohort)):
        assert main(["ingest", str(source), "--out", str(tmp_path / name), "--json"]) == 0
        manifest = json.loads((tmp_path / name / "manifest.json").read_text())
        found.append(sorted(image["sha256"] for case in manifest["cases"] for image in case["images"]))
        findings = json.loads((tmp_path / name / "findings.json").read_text())["findings"]
        assert not [one for one in findings if one["severity"] == "refused"]
    assert found[0] == found[1] != []


def test_every_encoding_comes_back_as_it_was(
    filled: Orthanc, medaug_data: Path, tmp_path: Path, call: Call
) -> None:
    source = medaug_data / "dicom" / "encodings" / "In"
    pushed = call("push", source, "--allow-unverified", *at(filled, "--dimse"), "--state", tmp_path / "state")
    assert (pushed["n_accepted"], pushed["refused"]) == (9, {})
    uid = pydicom.dcmread(next(source.iterdir())).StudyInstanceUID
    for protocol in PROTOCOLS:
        out = tmp_path / protocol.strip("-")
        call("pull", *at(filled, protocol), "--query", f"StudyInstanceUID={uid}", "--out", out)
        for path in source.iterdir():
            sent = pydicom.dcmread(path)
            back = next(
                b
                for p in out.rglob("*.dcm")
                if (b := pydicom.dcmread(p)).SOPInstanceUID == sent.SOPInstanceUID
            )
            assert back.file_meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID
            assert back.PixelData == sent.PixelData


def test_a_secured_archive(
    archives: tuple[Orthanc, Orthanc], cohort: Path, tmp_path: Path, call: Call
) -> None:
    secure = archives[1]
    files = make_certificates(secure.folder)
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "wrong").write_text("wrong\n")
    web, dimse = at(secure, "--dicomweb"), at(secure, "--dimse")
    trusting = ("--ca-file", files.authority)
    token = ("--token-file", tmp_path / "token")
    known = (*trusting, "--client-cert", files.client)
    push = (
        "push",
        cohort,
        "--allow-unverified",
        "--retries",
        0,
        "--timeout",
        10,
        "--state",
        tmp_path / "state",
    )
    for options in (
        (*web, *known),
        (*web, *known, "--token-file", tmp_path / "wrong"),
        (*web, *trusting, *token),
        (*web, *token, "--client-cert", files.client),
        (*web, *token, "--ca-file", files.other_authority, "--client-cert", files.client),
        dimse,
        (*dimse, *trusting),
        (*dimse, "--client-cert", files.client),
        (*dimse, "--ca-file", files.other_authority, "--client-cert", files.client),
    ):
        assert TOKEN not in str(call(*push, *options, code=8)["line"])
    wanted = images(cohort)
    assert call(*push, *dimse, *known)["n_accepted"] == len(wanted)
    assert call(*push, *web, *known, *token)["n_accepted"] == len(wanted)
    for options in ((*web, *known, *token), (*dimse, *known)):
        out = tmp_path / str(options[0]).strip("-")
        call("pull", *options, "--query", "PatientID=*", "--out", out)
        assert same(images(out), wanted)


def test_a_verified_release_is_sent_as_it_was_signed(filled: Orthanc, tmp_path: Path, call: Call) -> None:
    material, keys, out = make_set(tmp_path), tmp_path / "keys", tmp_path / "release"
    write_key_pair(keys, "correct horse")
    asked = {
        "synthetic": material.dataset,
        "assessment": material.assessment,
        "key": keys / PRIVATE_KEY,
        "out": out,
    }
    release(
        ReleaseOptions.model_validate(asked | {"passphrase": SecretStr("correct horse"), "format": "dicom"}),
        NoProgress(),
    )
    push = ("push", out, "--public-key", keys / PUBLIC_KEY, *at(filled, "--dicomweb"))
    sent = {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in out.rglob("*.dcm")}
    assert call(*push)["n_accepted"] == len(sent)
    assert call(*push)["n_present"] == len(sent)
    uid = pydicom.dcmread(next(iter(sent)), stop_before_pixels=True).StudyInstanceUID
    call("pull", *at(filled, "--dicomweb"), "--query", f"StudyInstanceUID={uid}", "--out", tmp_path / "back")
    back = {hashlib.sha256(p.read_bytes()).hexdigest() for p in (tmp_path / "back").rglob("*.dcm")}
    assert back <= set(sent.values())
    assert len(back) > 1
    (out / "added.txt").write_text("x")
    assert "added" in str(call(*push, code=6)["line"])
