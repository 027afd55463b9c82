"""An archive that speaks the DICOM network protocol (DIMSE, PS3.7): C-FIND, C-GET and C-STORE.

C-GET brings an instance over the association that asked for it, so no port is opened here and none has to be known
to the archive; C-MOVE, which needs both, is not spoken.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import final

from pydicom.dataset import Dataset, FileDataset

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
    Tls,
    persist,
    silenced,
)

try:
    from pynetdicom import (
        AE,
        ALL_TRANSFER_SYNTAXES,
        StoragePresentationContexts,
        build_context,
        build_role,
        evt,
    )
    from pynetdicom.association import Association
    from pynetdicom.presentation import PresentationContext
except ImportError as missing:
    raise DependencyError(
        "the DICOM network protocol needs pynetdicom", hint="install it with `pip install medaug[pacs]`"
    ) from missing

# Study Root Query/Retrieve Information Model - FIND and - GET (PS3.4 section C.6.2)
_FIND, _GET = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.3"
_ADDRESS = re.compile(r"(?P<ae>[^@\\\s]{1,16})@(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:@/\[\]]+):(?P<port>\d{1,5})")
_PENDING = (0xFF00, 0xFF01)
_WARNINGS = range(0xB000, 0xC000)
# One association proposes at most 128 contexts (PS3.8 section 9.3.2.2); one is the question itself.
_MOST_CONTEXTS = 127
_WHERE = "--dimse"


@final
@dataclass(frozen=True, slots=True)
class _Peer:
    """An application entity and where it listens."""

    title: str
    host: str
    port: int


@contextmanager
def connect(address: str, access: Access) -> Iterator[DimseArchive]:
    """Talk with the archive at ``AE@HOST:PORT``; associations are made when they are needed.

    Raises:
        ConfigError: If the address has no such form, or a certificate cannot be used.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or not 0 < int(match["port"]) < 1 << 16:
        raise ConfigError("is no address", where=_WHERE, expected="AE@HOST:PORT")
    peer = _Peer(match["ae"], match["host"].strip("[]"), int(match["port"]))
    context = None if access.tls is None else _ssl_context(access.tls)
    with silenced("pynetdicom"):
        archive, is_well = DimseArchive(peer, access, context), False
        try:
            yield archive
            is_well = True
        finally:
            archive.hang_up(politely=is_well)


def _ssl_context(tls: Tls) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        if tls.client_cert is not None:
            context.load_cert_chain(tls.client_cert, tls.client_key, password=_no_passphrase)
    except (OSError, ValueError) as error:
        raise ConfigError(
            "certificates cannot be used", where="--tls", expected="PEM files, the key without a passphrase"
        ) from error
    return context


def _no_passphrase() -> str:
    raise ValueError("the key is encrypted")  # else OpenSSL asks for it on the terminal


@final
@dataclass(slots=True)
class DimseArchive:
    """Keeps one association open, for as long as what is proposed on it will do; made by :func:`connect`."""

    _peer: _Peer
    _access: Access
    _tls: ssl.SSLContext | None
    _association: Association | None = field(default=None, init=False)
    _proposed: tuple[str, str] = field(default=("", ""), init=False)
    _received: list[bytes] = field(default_factory=list, init=False, repr=False)
    _n_bytes: int = field(default=0, init=False)

    def find(self, level: Level, keys: Mapping[str, str]) -> Iterator[Answer]:
        """See :class:`~medaug.io.pacs.Archive`; all answers are taken before the first is given."""
        return iter(persist(lambda: self._ask(level, keys), self._access.retries))

    def fetch(self, instance: Instance) -> bytes:
        """See :class:`~medaug.io.pacs.Archive`."""
        return persist(lambda: self._get(instance), self._access.retries)

    def store(self, dataset: FileDataset) -> Stored:
        """See :class:`~medaug.io.pacs.Archive`."""
        return persist(lambda: self._send(dataset), self._access.retries)

    def hang_up(self, *, politely: bool = True) -> None:
        """Release the association; abort it where an operation may still be under way."""
        association, self._association, self._proposed = self._association, None, ("", "")
        if association is not None and association.is_established:
            if politely:
                association.release()
            else:
                association.abort()

    def _ask(self, level: Level, keys: Mapping[str, str]) -> list[Answer]:
        association = self._associate((_FIND, ""), [build_context(_FIND)])
        _require_service(association, _FIND, "C-FIND")
        question, answers = _identifier(level, keys), []
        with self._talking():
            for status, identifier in association.send_c_find(question, _FIND):
                code = self._code(status)
                if code in _PENDING and identifier is not None:
                    answers.append(_answer(identifier, keys))
                elif code not in (0, *_PENDING):
                    raise NetworkError(f"archive refuses the question (status {code:#06x})", where=_WHERE)
                if len(answers) > MAX_ANSWERS:
                    raise NetworkError("archive's answer never ends", where=_WHERE)
        return answers

    def _get(self, instance: Instance) -> bytes:
        association = self._associate((_GET, instance.sop_class_uid), _get_contexts(instance.sop_class_uid))
        _require_service(association, _GET, "C-GET")
        self._received.clear()
        uids = {
            "StudyInstanceUID": instance.study_uid,
            "SeriesInstanceUID": instance.series_uid,
            "SOPInstanceUID": instance.sop_instance_uid,
        }
        code = 0
        with self._talking():
            for status, _ in association.send_c_get(_identifier(Level.IMAGE, uids), _GET):
                code = self._code(status)
        if len(self._received) != 1:
            raise DataError(f"archive sent {len(self._received)} instances for one (status {code:#06x})")
        return self._received.pop()

    def _send(self, dataset: FileDataset) -> Stored:
        kind = str(dataset.SOPClassUID), str(dataset.file_meta.TransferSyntaxUID)
        association = self._associate(kind, [build_context(*kind)])
        if not _accepts(association, kind[0]):
            raise DataError("archive does not take this kind of instance in its transfer syntax")
        with self._talking(), quiet_pydicom():
            code = self._code(association.send_c_store(dataset))
        if code != 0 and code not in _WARNINGS:
            raise DataError(f"archive refuses the instance (status {code:#06x})")
        return "warned" if code else "accepted"

    def _associate(self, proposed: tuple[str, str], contexts: list[PresentationContext]) -> Association:
        """The open association where it proposes the same, else a new one."""
        if self._association is not None and self._association.is_established and self._proposed == proposed:
            return self._association
        self.hang_up()
        entity = AE(self._access.calling_ae)
        entity.connection_timeout = entity.acse_timeout = self._access.timeout_s
        entity.dimse_timeout = entity.network_timeout = self._access.timeout_s
        is_get = proposed[0] == _GET
        stored = {str(one.abstract_syntax) for one in contexts} - {_GET}
        try:
            association = entity.associate(
                self._peer.host,
                self._peer.port,
                contexts,
                self._peer.title,
                ext_neg=[build_role(uid, scp_role=True) for uid in sorted(stored)] if is_get else [],
                tls_args=None if self._tls is None else (self._tls, self._peer.host),
                evt_handlers=[
                    (evt.EVT_CONN_OPEN, _send_at_once),
                    (evt.EVT_C_STORE, self._receive),
                    (evt.EVT_PDU_RECV, self._count),
                ],
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise _unreachable() from error
        if association.is_rejected:
            hint = "check the AE title in the address, and that the archive knows ours (--aet)"
            raise NetworkError("archive rejects the association", where=_WHERE, hint=hint)
        # where nothing was accepted, pynetdicom has hung up already
        if not association.is_established and not association.rejected_contexts:
            raise _unreachable()
        self._association, self._proposed = association, proposed
        return association

    @contextmanager
    def _talking(self) -> Iterator[None]:
        """Failures of an association in our words."""
        self._n_bytes = 0
        try:
            yield
        except (DataError, NetworkError):
            raise
        except PYDICOM_ERRORS as error:
            if self._association is None or not self._association.is_established:
                raise _unreachable() from error
            raise DataError("archive and file do not fit each other") from error
        finally:
            if self._n_bytes > MAX_INSTANCE_BYTES:
                raise NetworkError(
                    f"archive sends more than {MAX_INSTANCE_BYTES >> 20} MiB at once", where=_WHERE
                )

    def _code(self, status: Dataset) -> int:
        """The status of a response; none where the archive timed out, broke off or answered nonsense."""
        if "Status" not in status:
            if self._association is not None:
                self._association.abort()
            raise _unreachable()
        return int(status.Status)

    def _receive(self, event: evt.Event) -> int:
        """Keep an instance as it came (a handler of pynetdicom)."""
        self._received.append(event.encoded_dataset())
        return 0

    def _count(self, event: evt.Event) -> None:
        """Break off an archive that never ends, before the memory is full (a handler of pynetdicom)."""
        self._n_bytes += len(event.pdu)
        if self._n_bytes > MAX_INSTANCE_BYTES:
            event.assoc.abort()


def _unreachable() -> UnreachableError:
    hint = "check the address and --tls; the same command goes on"
    return UnreachableError("archive does not answer", where=_WHERE, hint=hint)


def _send_at_once(event: evt.Event) -> None:
    """Small messages shall not wait for the answer to the one before (a handler of pynetdicom)."""
    connection = event.assoc.dul.socket
    if connection is not None and connection.socket is not None:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _accepts(association: Association, sop_class_uid: str) -> bool:
    return any(one.abstract_syntax == sop_class_uid for one in association.accepted_contexts)


def _require_service(association: Association, sop_class_uid: str, name: str) -> None:
    if not _accepts(association, sop_class_uid):
        raise NetworkError(f"archive offers no {name}", where=_WHERE, hint="try --dicomweb")


def _get_contexts(sop_class_uid: str) -> list[PresentationContext]:
    """What to propose for a C-GET: each transfer syntax apart, so that the archive can send what it holds.

    Where it does not tell the class, the usual ones are proposed, uncompressed.
    """
    if sop_class_uid:
        stored = [build_context(sop_class_uid, syntax) for syntax in ALL_TRANSFER_SYNTAXES]
    else:
        stored = StoragePresentationContexts[:_MOST_CONTEXTS]
    return [build_context(_GET), *stored]


def _identifier(level: Level, keys: Mapping[str, str]) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level.value
    if not all(value.isascii() for value in keys.values()):
        identifier.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in keys.items():
        setattr(identifier, keyword, value.split("\\") if "\\" in value else value)
    return identifier


def _answer(identifier: Dataset, keywords: Mapping[str, str]) -> Answer:
    """The text of each keyword; what cannot be read counts as not given."""
    values = {}
    with quiet_pydicom():
        for keyword in keywords:
            with suppress(*PYDICOM_ERRORS):
                values[keyword] = str(identifier.get(keyword) or "")
    return Answer(values)
