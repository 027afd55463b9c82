"""An archive that speaks DICOMweb (PS3.18): QIDO-RS finds, WADO-RS fetches, STOW-RS stores.

Retrieved files are kept byte for byte, so their multipart body is taken apart here; dicomweb-client would parse and
write them anew.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from functools import partial
from typing import TypeVar, final
from urllib.parse import urlsplit
from xml.etree.ElementTree import ParseError

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import FileDataset

from medaug.core.errors import ConfigError, DataError, DependencyError, NetworkError, UnreachableError
from medaug.io._dicom.border import PYDICOM_ERRORS, quiet_pydicom
from medaug.io.pacs import (
    MAX_ANSWERS,
    MAX_INSTANCE_BYTES,
    Access,
    Answer,
    Instance,
    Level,
    Stored,
    persist,
    silenced,
)

try:
    import requests
    from dicomweb_client.web import DICOMwebClient
    from requests.auth import AuthBase
    from urllib3 import BaseHTTPResponse
except ImportError as missing:
    raise DependencyError(
        "DICOMweb needs dicomweb-client", hint="install it with `pip install medaug[pacs]`"
    ) from missing

_ASKED_FOR = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_PAGE = 500
_MAX_JSON_BYTES = 256 << 20
_NOT_LET_IN = (401, 403, 407)
# The gateway's or the archive's own word that it may work later (RFC 9110 section 15)
_LATER = (408, 429, 502, 503, 504)
_WHERE = "--dicomweb"
_ABOVE = {
    Level.STUDY: (),
    Level.SERIES: ("StudyInstanceUID",),
    Level.IMAGE: ("StudyInstanceUID", "SeriesInstanceUID"),
}

T = TypeVar("T")


@contextmanager
def connect(url: str, access: Access) -> Iterator[DicomwebArchive]:
    """Open a session with the DICOMweb service at ``url``.

    Raises:
        ConfigError: If the address is none, holds credentials, or would send a token unencrypted.
    """
    _check_address(url, access)
    with silenced("dicomweb_client", "retrying", "urllib3"), requests.Session() as session:
        session.trust_env = False  # neither proxies nor ~/.netrc: what is used was said on the command line
        session.max_redirects = 0
        session.auth = _LastTouch(access.token)
        session.headers["Accept"] = "application/dicom+json"
        session.hooks["response"].append(_bound)
        if access.tls is not None and access.tls.ca_file is not None:
            session.verify = str(access.tls.ca_file)
        if access.tls is not None and access.tls.client_cert is not None:
            cert, key = access.tls.client_cert, access.tls.client_key
            session.cert = str(cert) if key is None else (str(cert), str(key))
        client = DICOMwebClient(url.rstrip("/"), session=session, timeout=access.timeout_s)
        client.set_http_retry_params(retry=False)
        yield DicomwebArchive(client, session, access)


def _check_address(url: str, access: Access) -> None:
    try:
        parts = urlsplit(url)
        host, is_odd = parts.hostname or "", parts.port == 0
    except ValueError:
        host, is_odd = "", True
    if is_odd or not host or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
        raise ConfigError("is no address", where=_WHERE, expected="https://HOST:PORT/PATH")
    if parts.username or parts.password:
        raise ConfigError("holds a password", where=_WHERE, hint="give a token with --token-file")
    if parts.scheme == "http" and access.tls is not None:
        raise ConfigError("is not encrypted", where=_WHERE, expected="https, as --tls and its files ask")
    if parts.scheme == "http" and access.token and not _is_loopback(host):
        raise ConfigError("would send the token unencrypted", where=_WHERE, expected="https")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@final
@dataclass(frozen=True, slots=True)
class DicomwebArchive:
    """An open session; made by :func:`connect`."""

    _client: DICOMwebClient
    _session: requests.Session
    _access: Access

    def find(self, level: Level, keys: Mapping[str, str]) -> Iterator[Answer]:
        """See :class:`~medaug.io.pacs.Archive`; answers come in pages."""
        seen, offset = set[str](), 0
        while offset < MAX_ANSWERS:
            page = self._persist(partial(self._page, level, keys, offset))
            # an archive that ignores the offset gives the same page for ever
            fresh = [answer for answer in page if answer.text(_uid_of(level)) not in seen]
            yield from fresh
            seen.update(answer.text(_uid_of(level)) for answer in fresh)
            if not fresh:
                return
            offset += len(page)

    def fetch(self, instance: Instance) -> bytes:
        """See :class:`~medaug.io.pacs.Archive`."""
        url = (
            f"{self._client.base_url}/studies/{instance.study_uid}/series/{instance.series_uid}"
            f"/instances/{instance.sop_instance_uid}"
        )
        return self._persist(lambda: self._retrieve(url))

    def store(self, dataset: FileDataset) -> Stored:
        """See :class:`~medaug.io.pacs.Archive`."""
        return self._persist(lambda: self._send(dataset))

    def _persist(self, action: Callable[[], T]) -> T:
        return persist(action, self._access.retries)

    def _page(self, level: Level, keys: Mapping[str, str], offset: int) -> list[Answer]:
        """Matches from number ``offset`` on; UIDs of the levels above stand in the address (PS3.18 section 10.6)."""
        asked = {k: v for k, v in keys.items() if k not in _ABOVE[level]}
        filters = {k: _bare(v) for k, v in asked.items() if v}
        with _translated(""):
            found = self._search(level, keys)(
                limit=_PAGE, offset=offset, fields=list(asked), search_filters=filters
            )
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise NetworkError(
                "archive's answer is no list of matches", where=_WHERE, hint="check the address"
            )
        return [_answer(one, [*keys, _uid_of(level)]) for one in found]

    def _search(self, level: Level, keys: Mapping[str, str]) -> Callable[..., object]:
        if level is Level.STUDY:
            return self._client.search_for_studies
        if level is Level.SERIES:
            return partial(self._client.search_for_series, keys["StudyInstanceUID"])
        return partial(self._client.search_for_instances, keys["StudyInstanceUID"], keys["SeriesInstanceUID"])

    def _retrieve(self, url: str) -> bytes:
        with _translated("instance"):
            # compressing pixels takes an archive longer than sending them
            headers = {"Accept": _ASKED_FOR, "Accept-Encoding": "identity"}
            response = self._session.get(url, headers=headers, timeout=self._access.timeout_s, stream=True)
            with response:
                response.raise_for_status()
                return _only_part(response.headers.get("Content-Type", ""), response.content)

    def _send(self, dataset: FileDataset) -> Stored:
        with _translated("instance"), quiet_pydicom():
            said = self._client.store_instances([dataset])
        try:
            failed, stored = said.get("FailedSOPSequence") or (), said.get("ReferencedSOPSequence") or ()
            reasons = [int(item.get("FailureReason") or 0) for item in failed]
            is_warned = any(item.get("WarningReason") for item in stored)
        except PYDICOM_ERRORS as error:
            raise NetworkError(
                "archive's answer to a stored instance makes no sense", where=_WHERE
            ) from error
        if reasons:
            raise DataError(f"archive refuses the instance (reason {reasons[0]:#06x})")
        return "warned" if is_warned else "accepted"


@final
class _LastTouch(AuthBase):
    """What each request gets at the very end; its being there keeps requests from looking into ~/.netrc."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign one request (RFC 6750), and write its address as every archive understands it."""
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        request.headers.pop("Host", None)  # dicomweb-client names the host without its port
        if request.url is not None:
            request.url = request.url.replace("%2A", "*").replace("%3F", "?").replace("%2C", ",")
        return request


@final
@dataclass(slots=True)
class _Bounded:
    """A response's bytes, up to a limit: an archive that never ends would fill the memory."""

    raw: BaseHTTPResponse
    limit: int
    taken: int = field(default=0, init=False)

    def stream(self, size: int, decode_content: bool = True) -> Iterator[bytes]:  # noqa: FBT001, FBT002 - as urllib3's
        """Decoded chunks."""
        for chunk in self.raw.stream(size, decode_content=decode_content):
            self.taken += len(chunk)
            if self.taken > self.limit:
                self.raw.close()
                raise NetworkError(f"archive sends more than {self.limit >> 20} MiB at once", where=_WHERE)
            yield chunk

    def close(self) -> None:
        """Close the connection."""
        self.raw.close()

    def release_conn(self) -> None:
        """Give the connection back."""
        self.raw.release_conn()


def _bound(response: requests.Response, *_: object, **__: object) -> None:
    """Limit what will be read of a response (a hook of requests)."""
    is_json = "json" in response.headers.get("Content-Type", "")
    response.raw = _Bounded(response.raw, _MAX_JSON_BYTES if is_json else MAX_INSTANCE_BYTES)


@contextmanager
def _translated(part: str) -> Iterator[None]:
    """Failures of a request in our words; with ``part``, a refusal concerns that alone and the others go on."""
    try:
        yield
    except requests.HTTPError as error:
        raise _status_error(0 if error.response is None else error.response.status_code, part) from error
    except requests.exceptions.SSLError as error:
        raise NetworkError(
            "the encrypted connection fails", where=_WHERE, hint="check --ca-file and --client-cert"
        ) from error
    except (
        requests.ConnectionError,
        requests.Timeout,
        requests.exceptions.ChunkedEncodingError,
    ) as error:
        raise UnreachableError(
            "archive does not answer", where=_WHERE, hint="check the address; the same command goes on"
        ) from error
    except requests.TooManyRedirects as error:
        raise NetworkError(
            "archive sends us elsewhere", where=_WHERE, hint="give its final address"
        ) from error
    except (requests.RequestException, ParseError, *PYDICOM_ERRORS) as error:
        if isinstance(error, DataError | NetworkError):
            raise
        raise NetworkError(
            "archive's answer makes no sense", where=_WHERE, hint="check the address"
        ) from error


def _status_error(status: int, part: str) -> DataError | NetworkError:
    if status in _NOT_LET_IN:
        hint = "check --token-file and --client-cert"
        return NetworkError(f"archive does not let us in (status {status})", where=_WHERE, hint=hint)
    if status in _LATER:
        return UnreachableError(f"archive is busy (status {status})", where=_WHERE, hint="try again later")
    if part:
        return DataError(f"archive refuses the {part} (status {status})")
    return NetworkError(
        f"archive refuses the question (status {status})", where=_WHERE, hint="check the address"
    )


def _only_part(content_type: str, body: bytes) -> bytes:
    """The one file in a multipart body (RFC 2046), or the body itself where an archive sends it bare."""
    header = Message()
    header["Content-Type"] = content_type
    if header.get_content_type() == "application/dicom":
        return body
    boundary = header.get_param("boundary")
    if header.get_content_type() != "multipart/related" or not isinstance(boundary, str):
        raise DataError("archive sent no DICOM file")
    marker = f"--{boundary}".encode()
    start = body.find(b"\r\n\r\n", body.find(marker))
    end = body.find(b"\r\n" + marker, start)
    if not boundary or start < 0 or end < 0 or not body.startswith(b"--", end + 2 + len(marker)):
        raise DataError("archive sent no file, a cut one, or several")
    return body[start + 4 : end]


def _bare(value: str) -> str:
    """A value without a character that an address has to encode: Orthanc 1.10 does not decode it.

    ``?`` stands for any one; answers are compared with the whole value later. UIDs may be listed with commas
    (PS3.18 section 8.3.4.1).
    """
    return re.sub(r"[^A-Za-z0-9*?,._-]", "?", value.replace("\\", ","))


def _uid_of(level: Level) -> str:
    return "SOPInstanceUID" if level is Level.IMAGE else f"{level.title()}InstanceUID"


def _answer(item: Mapping[str, object], keywords: list[str]) -> Answer:
    """The first value of each keyword in a DICOM JSON object (PS3.18 annex F); nothing where there is none."""
    values = {}
    for keyword in keywords:
        entry = item.get(f"{tag_for_keyword(keyword) or 0:08X}")
        listed = entry.get("Value") if isinstance(entry, dict) else None
        if isinstance(listed, list) and listed and isinstance(listed[0], str | int | float):
            values[keyword] = str(listed[0])
    return Answer(values)
