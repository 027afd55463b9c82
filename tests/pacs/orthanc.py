"""A real Orthanc for the tests, in a network of its own: it listens on every address of the machine otherwise."""

from __future__ import annotations

import ctypes
import datetime as dt
import fcntl
import ipaddress
import json
import os
import shutil
import socket
import socketserver
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
HOST, TOKEN = "127.0.0.1", "abc.DEF-123"
_TLS_PORT = 18443
_CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
# Only requests with the right token get in; evaluated by Orthanc for every request.
_LUA = f"""
function IncomingHttpRequestFilter(method, uri, ip, username, headers)
  return headers['authorization'] == 'Bearer {TOKEN}'
end
"""


def require_orthanc() -> None:
    """Skip, saying why, where the tests cannot have an archive of their own."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("a network namespace for Orthanc needs root on Linux")
    if shutil.which("Orthanc") is None or not PLUGIN.is_file():
        pytest.skip("Orthanc or its DICOMweb plugin is not installed (Debian: orthanc, orthanc-dicomweb)")


@contextmanager
def own_network() -> Iterator[None]:
    """Give this thread, and all that it starts, a network that holds nothing but the loopback."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if libc.unshare(_CLONE_NEWNET) != 0:
            pytest.skip(f"no network namespace may be made here: {os.strerror(ctypes.get_errno())}")
        try:
            _loopback_up()
            yield
        finally:
            assert libc.setns(before, _CLONE_NEWNET) == 0
    finally:
        os.close(before)


def _loopback_up() -> None:
    with socket.socket() as control:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))


@dataclass
class Orthanc:
    """One archive; can be killed and started again on what it holds."""

    folder: Path
    number: int
    is_secure: bool = False
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """Of its DICOMweb service."""
        if self.is_secure:
            return f"https://{HOST}:{_TLS_PORT}/dicom-web"
        return f"http://{HOST}:{18042 + self.number}/dicom-web"

    @property
    def title(self) -> str:
        """As AE@HOST:PORT."""
        return f"ORTHANC@{HOST}:{14242 + self.number}"

    def start(self) -> None:
        """Begin to start."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / "filter.lua").write_text(_LUA)
        config = {
            "Name": "TEST",
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "storage"),
            "HttpPort": 18042 + self.number,
            "DicomPort": 14242 + self.number,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomAlwaysAllowEcho": True,
            "DicomAlwaysAllowStore": True,
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowGet": True,
            "Plugins": [str(PLUGIN)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }
        config |= _secured(self.folder) if self.is_secure else {}
        (self.folder / "orthanc.json").write_text(json.dumps(config))
        log = (self.folder / "log").open("ab")
        with log:
            command = ["Orthanc", str(self.folder / "orthanc.json")]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def wait(self) -> None:
        """Wait until it answers; its DICOM port opens before that of HTTP."""
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection((HOST, 18042 + self.number), timeout=1).close()
            except OSError:
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """As in a power cut; a polite end takes three seconds."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def _secured(folder: Path) -> dict[str, object]:
    certificates = make_certificates(folder)
    return {
        "LuaScripts": [str(folder / "filter.lua")],
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(certificates.server),
        "DicomTlsPrivateKey": str(certificates.server),
        "DicomTlsTrustedCertificates": str(certificates.authority),
        "DicomTlsRemoteCertificateRequired": True,
    }


@contextmanager
def tls_gate(archive: Orthanc) -> Iterator[None]:
    """Encryption in front of an archive's HTTP port: Debian's Orthanc 1.10 itself falls over at a first https request.

    Clients need a certificate. What they say is passed on as it is.
    """
    certificates = make_certificates(archive.folder)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates.authority)
    context.load_cert_chain(certificates.server)
    context.verify_mode = ssl.CERT_REQUIRED

    class Gate(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with (
                suppress(OSError),
                context.wrap_socket(self.request, server_side=True) as outside,
                socket.create_connection((HOST, 18042 + archive.number)) as inside,
            ):
                back = threading.Thread(target=_pass_on, args=(inside, outside))
                back.start()
                _pass_on(outside, inside)
                back.join()

    with socketserver.ThreadingTCPServer((HOST, _TLS_PORT), Gate) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(1 << 16):
            target.sendall(chunk)
    for one in (source, target):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True)
class Certificates:
    """PEM files; those of server and client hold key and certificate."""

    authority: Path
    server: Path
    client: Path
    other_authority: Path


def make_certificates(folder: Path) -> Certificates:
    """A small authority with a server and a client, and an authority that signed neither; once a folder."""
    made = Certificates(*(folder / f"{name}.pem" for name in ("ca", "server", "client", "other")))
    if made.authority.is_file():
        return made
    authority, key = _certificate("medaug test authority", None, None)
    other, _ = _certificate("another authority", None, None)
    made.authority.write_bytes(authority.public_bytes(Encoding.PEM))
    made.other_authority.write_bytes(other.public_bytes(Encoding.PEM))
    for path in (made.server, made.client):
        signed, own = _certificate(path.stem, authority, key)
        text = own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(text + signed.public_bytes(Encoding.PEM))
    return made


def _certificate(
    name: str, issuer: x509.Certificate | None, issuer_key: ec.EllipticCurvePrivateKey | None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    signer = issuer_key or key
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=issuer is None, crl_sign=issuer is None, key_encipherment=False,
        content_commitment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
        decipher_only=False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False
        )
    )
    return builder.sign(signer, hashes.SHA256()), key
