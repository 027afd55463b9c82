"""DICOMweb against a server that answers whatever it likes: each absurdity is one clear error, and none a crash."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from medaug.core.errors import ConfigError, DataError, MedaugError, NetworkError, UnreachableError
from medaug.io import dicomweb
from medaug.io.pacs import Access, Instance, Level, Tls, persist
from tests.unit.io.series import CT, instance, stored_values

QUICK = Access(timeout_s=2, retries=0)
ASKED = Instance("1.2", "1.2.3", "1.2.3.4")
KEYS = {"PatientID": "Abc ^é*", "StudyInstanceUID": ""}


class Server(ThreadingHTTPServer):
    """Gives one prepared answer after the other, the last for ever, and remembers what it was asked."""

    daemon_threads = True
    answers: list[tuple[int, dict[str, str], bytes]]
    asked: list[tuple[str, dict[str, str], bytes]]

    def say(self, *answers: tuple[int, dict[str, str], bytes]) -> None:
        """What to answer from now on."""
        self.answers, self.asked = list(answers), []

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what some tests want."""

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}/dicom-web/"


class Handler(BaseHTTPRequestHandler):
    """Answers a GET and a POST alike."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.path, dict(self.headers), body))
        answers = self.server.answers
        status, headers, content = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = "Content-Length" in headers

    do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""


@pytest.fixture(scope="module")
def listening() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def server(listening: Server) -> Server:
    listening.say((500, {}, b""))
    return listening


def answer(content: object, status: int = 200) -> tuple[int, dict[str, str], bytes]:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return status, {"Content-Type": "application/dicom+json"}, text


def study(uid: object) -> dict[str, object]:
    return {"0020000D": {"vr": "UI", "Value": [uid]}, "00100020": {"vr": "LO", "Value": ["Abc"]}}


def find(server: Server, access: Access = QUICK) -> list[str]:
    with dicomweb.connect(server.url, access) as archive:
        return [one.text("StudyInstanceUID") for one in archive.find(Level.STUDY, KEYS)]


def fetch(server: Server) -> bytes:
    with dicomweb.connect(server.url, QUICK) as archive:
        return archive.fetch(ASKED)


def test_pages_are_asked_for_until_one_is_empty(server: Server) -> None:
    server.say(answer([study("1.1"), study("1.2")]), answer([study("1.3")]), answer([]))
    assert find(server) == ["1.1", "1.2", "1.3"]
    assert [path[path.index("offset") :].split("&")[0] for path, _, _ in server.asked] == [
        "offset=0",
        "offset=2",
        "offset=3",
    ]


def test_an_archive_that_ignores_the_offset_does_not_hold_us(server: Server) -> None:
    server.say(answer([study("1.1"), study("1.2")]))
    assert find(server) == ["1.1", "1.2"]
    assert len(server.asked) == 2


def test_a_value_is_sent_in_letters_that_need_no_encoding(server: Server) -> None:
    server.say(answer([]))
    find(server)
    path = server.asked[0][0]
    assert path.startswith("/dicom-web/studies?")
    assert "PatientID=Abc???*" in path
    assert "%" not in path


@pytest.mark.parametrize(
    "content",
    [
        b"", b"no json", b"[1, 2]", b'"text"', b"7", b"[" * 100_000, b'[{"0020000D": 7}]', b'[{"0020000D": {"Value": 7}}]',
        b'[{"0020000D": {"Value": []}}]', b'[{"0020000D": {"Value": [{"x": 1}]}}]', b"[{}]", b"{}", b"\xff\xfe",
    ],
)  # fmt: skip
def test_an_absurd_list_of_matches_is_an_error_or_nothing(server: Server, content: bytes) -> None:
    server.say(answer(content))
    try:
        found = find(server)
    except NetworkError as error:
        found = ["Abc"] if "Abc" in error.line() else []
    assert not any(found)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, NetworkError), (403, NetworkError), (404, NetworkError), (500, NetworkError), (503, UnreachableError),
     (429, UnreachableError), (302, NetworkError), (204, list)],
)  # fmt: skip
def test_a_status_says_what_to_do(server: Server, status: int, kind: type) -> None:
    server.say((status, {"Location": "http://127.0.0.1:1/"}, b""))
    if kind is list:
        assert find(server) == []
        return
    with pytest.raises(MedaugError) as failure:
        find(server)
    assert type(failure.value) is kind
    assert failure.value.exit_code == 8
    assert "/" not in failure.value.line()


def test_what_may_pass_is_tried_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicomweb, "persist", lambda action, retries: persist(action, retries, lambda _: None))
    server.say((503, {}, b""), (503, {}, b""), answer([study("1.1")]), answer([]))
    assert find(server, Access(timeout_s=2, retries=2)) == ["1.1"]


def test_an_answer_cut_short_or_never_given_is_an_error(server: Server) -> None:
    server.say((200, {"Content-Length": "100", "Content-Type": "application/dicom+json"}, b"[{}"))
    with pytest.raises(UnreachableError):
        find(server)
    with pytest.raises(UnreachableError), dicomweb.connect("http://127.0.0.1:1/", QUICK) as archive:
        list(archive.find(Level.STUDY, KEYS))


def test_an_endless_answer_is_broken_off(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicomweb, "_MAX_JSON_BYTES", 1 << 20)
    bomb = gzip.compress(b"[" + b" " * (16 << 20) + b"]")
    server.say((200, {"Content-Type": "application/dicom+json", "Content-Encoding": "gzip"}, bomb))
    with pytest.raises(NetworkError, match="1 MiB"):
        find(server)


def multipart(*parts: bytes, end: bytes = b"--") -> tuple[int, dict[str, str], bytes]:
    body = b"".join(b"\r\n--B\r\nContent-Type: application/dicom\r\n\r\n" + part for part in parts)
    return (
        200,
        {"Content-Type": 'multipart/related; type="application/dicom"; boundary=B'},
        body + b"\r\n--B" + end,
    )


def test_a_file_comes_as_it_is(server: Server) -> None:
    content = bytes(range(256)) * 300
    server.say(multipart(content))
    assert fetch(server) == content
    assert server.asked[0][0] == "/dicom-web/studies/1.2/series/1.2.3/instances/1.2.3.4"
    server.say((200, {"Content-Type": "application/dicom"}, content))
    assert fetch(server) == content


@pytest.mark.parametrize(
    "said",
    [
        multipart(), multipart(b"a", b"b"), multipart(b"a", end=b""), (200, {"Content-Type": "text/html"}, b"<p>"),
        (200, {"Content-Type": "multipart/related"}, b"x"), (200, {}, b""), (404, {}, b""), (410, {}, b""), (500, {}, b""),
        (200, {"Content-Type": 'multipart/related; boundary=""'}, b"--\r\n\r\nx\r\n----"),
    ],
)  # fmt: skip
def test_what_is_not_one_file_is_refused_and_the_others_go_on(
    server: Server, said: tuple[int, dict[str, str], bytes]
) -> None:
    server.say(said)
    with pytest.raises(DataError):
        fetch(server)


def test_the_token_goes_into_the_header_alone(server: Server) -> None:
    server.say(answer([]))
    access = Access(token="secret-1", timeout_s=2, retries=0)
    find(server, access)
    path, headers, _ = server.asked[0]
    assert headers["Authorization"] == "Bearer secret-1"
    assert "secret" not in path + repr(access)
    assert headers["Host"].endswith(str(server.server_address[1]))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "pacs",
        "ftp://a/b",
        "http://",
        "http://a:99999/",
        "http://a:0/",
        "http://u:p@a/",
        "http://a/b?c=d",
        "http://[::1",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError), dicomweb.connect(url, QUICK):
        pass


def test_secrets_need_encryption() -> None:
    with pytest.raises(ConfigError, match="unencrypted"), dicomweb.connect("http://pacs/", Access(token="t")):
        pass
    with (
        pytest.raises(ConfigError, match="not encrypted"),
        dicomweb.connect("http://pacs/", Access(tls=Tls())),
    ):
        pass


def test_what_was_stored_is_told_apart(server: Server) -> None:
    dataset = instance(stored_values(1)[0], 0, CT, "1.2.3")
    accepted = {"00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2"]}}]}}
    warned = {"00081199": {"vr": "SQ", "Value": [{"00081196": {"vr": "US", "Value": [45056]}}]}}
    refused = {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [272]}}]}}

    def store(*said: tuple[int, dict[str, str], bytes]) -> str:
        server.say(*said)
        with dicomweb.connect(server.url, QUICK) as archive:
            return archive.store(dataset)

    assert store(answer(accepted)) == "accepted"
    assert store(answer(b"")) == "accepted"
    assert store(answer(warned, 202)) == "warned"
    for said in (answer(refused), answer(refused, 409), answer(b"", 400)):
        with pytest.raises(DataError, match="refuses"):
            store(said)
    for said in (answer(b"7"), answer(b'{"00081198": 7}'), (200, {"Content-Type": "application/xml"}, b"<")):
        with pytest.raises(MedaugError):
            store(said)
    sent = server.asked[0][2]
    assert dataset.PixelData in sent
