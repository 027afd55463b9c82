"""DIMSE against an archive that misbehaves: each way is one clear error, and only what was asked for is taken."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from pynetdicom.transport import ThreadedAssociationServer

from medaug.core.errors import ConfigError, DataError, NetworkError, UnreachableError
from medaug.io import dimse
from medaug.io.pacs import Access, Instance, Level, Tls, persist
from tests.unit.io.series import CT, instance, stored_values

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
FIND, GET = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.3"
QUICK = Access(timeout_s=2, retries=0)
KEYS = {"PatientID": "Abc*", "StudyInstanceUID": ""}
Handlers = list[Any]


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """pynetdicom leaves the socket of a failed connection to the garbage collector: let it come while we expect it."""
    yield
    gc.collect()


@contextmanager
def archive(handlers: Handlers, *classes: str, title: str = "ARCHIVE") -> Iterator[str]:
    """A service class provider for these classes; gives its address."""
    entity = AE(title)
    entity.require_called_aet = True
    for uid in classes:
        entity.add_supported_context(uid, scu_role=True, scp_role=True)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert isinstance(server, ThreadedAssociationServer)
    try:
        yield f"ARCHIVE@127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()


def slice_of(number: int = 0) -> Dataset:
    return instance(stored_values(1)[0], number, CT, "1.2.3")


def asked(number: int = 0) -> Instance:
    dataset = slice_of(number)
    return Instance(str(dataset.StudyInstanceUID), "1.2.3", str(dataset.SOPInstanceUID), CT)


def answering(*answers: tuple[int, Dataset | None]) -> Handlers:
    return [(evt.EVT_C_FIND, lambda _: iter(answers))]


def sending(*datasets: Dataset) -> Handlers:
    def handle(_: evt.Event) -> Iterator[object]:
        yield len(datasets)
        for dataset in datasets:
            yield 0xFF00, dataset

    return [(evt.EVT_C_GET, handle)]


def study(**values: str) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def find(address: str, access: Access = QUICK) -> list[str]:
    with dimse.connect(address, access) as remote:
        return [one.text("PatientID") for one in remote.find(Level.STUDY, KEYS)]


def test_answers_are_taken_and_the_question_holds_what_was_asked() -> None:
    questions: list[Dataset] = []

    def handle(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        questions.append(event.identifier)
        yield 0xFF00, study(PatientID="Abc1 ", StudyInstanceUID="1.2")
        yield 0xFF01, study(StudyInstanceUID="1.3")

    with archive([(evt.EVT_C_FIND, handle)], FIND) as address, dimse.connect(address, QUICK) as remote:
        assert [one.text("PatientID") for one in remote.find(Level.STUDY, KEYS)] == ["Abc1", ""]
        list(remote.find(Level.STUDY, {"StudyDescription": "Schädel", "StudyInstanceUID": "1.2\\1.3"}))
    assert (questions[0].QueryRetrieveLevel, questions[0].PatientID) == ("STUDY", "Abc*")
    assert "SpecificCharacterSet" not in questions[0]
    assert (questions[1].StudyDescription, list(questions[1].StudyInstanceUID)) == ("Schädel", ["1.2", "1.3"])


def test_a_refused_question_is_an_error() -> None:
    with archive(answering((0xA700, None)), FIND) as address, pytest.raises(NetworkError, match="0xa700"):
        find(address)


def test_an_endless_answer_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dimse, "MAX_ANSWERS", 5)
    answers = [(0xFF00, study(PatientID="1"))] * 50
    with archive(answering(*answers), FIND) as address, pytest.raises(NetworkError, match="never ends"):
        find(address)


def test_an_archive_without_the_service_says_so() -> None:
    with archive([], Verification) as address, dimse.connect(address, QUICK) as remote:
        with pytest.raises(NetworkError, match="C-FIND"):
            list(remote.find(Level.STUDY, KEYS))
        with pytest.raises(NetworkError, match="C-GET"):
            remote.fetch(asked())


def test_a_wrong_title_is_told_from_a_wrong_address() -> None:
    with (
        archive(answering(), FIND, title="OTHER") as address,
        pytest.raises(NetworkError, match="rejects") as failure,
    ):
        find(address)
    assert not isinstance(failure.value, UnreachableError)
    with pytest.raises(UnreachableError):
        find("ARCHIVE@127.0.0.1:1")
    with pytest.raises(UnreachableError):
        find("ARCHIVE@no-such-host.invalid:104")


def test_an_archive_that_hangs_up_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dimse, "persist", lambda action, retries: persist(action, retries, lambda _: None))
    calls: list[int] = []

    def handle(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        calls.append(1)
        if len(calls) < 3:
            event.assoc.abort()
            return
        yield 0xFF00, study(PatientID="1")

    with archive([(evt.EVT_C_FIND, handle)], FIND) as address:
        with pytest.raises(UnreachableError):
            find(address)
        assert find(address, Access(timeout_s=2, retries=2)) == ["1"]
    assert len(calls) == 3


def test_an_archive_that_says_nothing_is_left_in_time() -> None:
    held = threading.Event()

    def handle(_: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        held.wait(10)
        return iter(())

    with archive([(evt.EVT_C_FIND, handle)], FIND) as address:
        try:
            with pytest.raises(UnreachableError):
                find(address, Access(timeout_s=0.3, retries=0))
        finally:
            held.set()


def test_an_instance_comes_as_it_is() -> None:
    wanted = slice_of()
    with archive(sending(wanted), GET, CT) as address, dimse.connect(address, QUICK) as remote:
        content = remote.fetch(asked())
        assert remote.fetch(asked()) == content
    assert content[128:132] == b"DICM"
    assert wanted.PixelData in content


@pytest.mark.parametrize("numbers", [(), (0, 1)])
def test_none_or_several_for_one_are_refused(numbers: tuple[int, ...]) -> None:
    sent = sending(*(slice_of(number) for number in numbers))
    refused = pytest.raises(DataError, match=f"sent {len(numbers)} instances")
    with archive(sent, GET, CT) as address, dimse.connect(address, QUICK) as remote, refused:
        remote.fetch(asked())


def test_an_instance_without_end_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dimse, "MAX_INSTANCE_BYTES", 1 << 20)
    large = slice_of()
    large.Rows = large.Columns = 2048
    large.PixelData = bytes(2 * 2048**2)
    refused = pytest.raises(NetworkError, match="1 MiB")
    with archive(sending(large), GET, CT) as address, dimse.connect(address, QUICK) as remote, refused:
        remote.fetch(asked())


@pytest.mark.parametrize(
    ("status", "outcome"), [(0x0000, "accepted"), (0xB000, "warned"), (0xA700, None), (0xC000, None)]
)
def test_what_was_stored_is_told_apart(status: int, outcome: str | None) -> None:
    with (
        archive([(evt.EVT_C_STORE, lambda _: status)], CT) as address,
        dimse.connect(address, QUICK) as remote,
    ):
        if outcome is None:
            with pytest.raises(DataError, match=f"{status:#06x}"):
                remote.store(instance(stored_values(1)[0], 0, CT, "1.2.3"))
        else:
            assert remote.store(instance(stored_values(1)[0], 0, CT, "1.2.3")) == outcome


def test_a_kind_that_is_not_taken_is_refused_and_the_others_go_on() -> None:
    other = instance(stored_values(1)[0], 0, "1.2.840.10008.5.1.4.1.1.4", "1.2.3")
    with archive([(evt.EVT_C_STORE, lambda _: 0)], CT) as address, dimse.connect(address, QUICK) as remote:
        with pytest.raises(DataError, match="does not take"):
            remote.store(other)
        assert remote.store(instance(stored_values(1)[0], 0, CT, "1.2.3")) == "accepted"


@pytest.mark.parametrize(
    "address", ["", "pacs:104", "A@pacs", "A@pacs:0", "A@pacs:99999", "A" * 17 + "@pacs:104", "A@a/b:1"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError), dimse.connect(address, QUICK):
        pass


def test_certificates_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pem").write_text("no certificate")
    for tls in (Tls(ca_file=tmp_path / "a.pem"), Tls(client_cert=tmp_path / "a.pem")):
        with pytest.raises(ConfigError), dimse.connect("A@127.0.0.1:1", Access(tls=tls)):
            pass
