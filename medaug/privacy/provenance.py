"""The signed certificate of a release: an in-toto statement in a DSSE envelope.

in-toto Statement v1 (github.com/in-toto/attestation) names every file with its SHA-256; the predicate is the
:class:`~medaug.core.certificate.ReleaseCertificate`. DSSE v1 (github.com/secure-systems-lab/dsse) signs type and
payload together. One statement has exactly one form on disk, so that any changed byte shows.
"""

from __future__ import annotations

import base64
import hmac
from hashlib import sha256
from pathlib import Path
from typing import Literal, final

from pydantic import Field, ValidationError

from medaug.core.certificate import ReleaseCertificate, ReleasedFile
from medaug.core.config import Frozen
from medaug.core.errors import GateRefusedError, StorageError
from medaug.core.storage import sha256_file, storage_error, write_bytes_atomic
from medaug.privacy.keys import PublicKey, SigningKey

CERTIFICATE = "certificate.dsse.json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:medaug:release-certificate:v1"
_SHOWN = 5


@final
class _Digest(Frozen):
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


@final
class _Subject(Frozen):
    name: str
    digest: _Digest


@final
class _Statement(Frozen):
    type_: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: tuple[_Subject, ...]
    predicate_type: Literal["urn:medaug:release-certificate:v1"] = Field(alias="predicateType")
    predicate: ReleaseCertificate


@final
class _Signature(Frozen):
    keyid: str
    sig: str


@final
class _Envelope(Frozen):
    payload_type: Literal["application/vnd.in-toto+json"] = Field(alias="payloadType")
    payload: str
    signatures: tuple[_Signature, ...] = Field(min_length=1, max_length=1)


def list_files(folder: Path) -> tuple[ReleasedFile, ...]:
    """Every file of a release but its certificate, sorted by path, with its hash.

    Raises:
        GateRefusedError: If something is no plain file (a link could show another content tomorrow) or an empty folder.
        StorageError: If a file cannot be read.
    """
    files = []
    try:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise GateRefusedError(
                    f"{name} is no plain file", hint="get the release again from its source"
                )
            if path.is_dir() and not any(path.iterdir()):
                raise GateRefusedError(
                    f"{name} is an empty folder", hint="get the release again from its source"
                )
            if path.is_file() and name != CERTIFICATE:
                files.append(ReleasedFile(path=name, sha256=sha256_file(path)))
    except OSError as error:
        raise storage_error(error, folder) from error
    return tuple(sorted(files, key=lambda file: file.path))


def keyed_hashes(hashes: tuple[str, ...], key: SigningKey) -> tuple[str, ...]:
    """HMAC-SHA-256 of source hashes: the holder of the key can match them with a scan, nobody else can."""
    secret = key.derive("source hash")
    return tuple(sorted(hmac.new(secret, one.encode("ascii"), sha256).hexdigest() for one in set(hashes)))


def sign(folder: Path, certificate: ReleaseCertificate, key: SigningKey) -> None:
    """Write the signed certificate into a release folder; it is over the files named in it."""
    payload = _statement_bytes(certificate)
    signature = key.sign(_pre_authentication(payload))
    write_bytes_atomic(folder / CERTIFICATE, _envelope_bytes(payload, signature, key.public))


def verify_release(folder: Path, key: PublicKey) -> ReleaseCertificate:
    """Check signature and every file of a release against one public key; no key of the release is trusted.

    Returns:
        The certificate, which can be believed.

    Raises:
        GateRefusedError: If certificate or signature is missing, damaged, by another key, or a file was changed,
            added, removed or renamed.
        StorageError: If a file cannot be read.
    """
    certificate = _read_certificate(folder, key)
    wanted = {file.path: file.sha256 for file in certificate.files}
    found = {file.path: file.sha256 for file in list_files(folder)}
    changed = sorted(name for name in wanted.keys() & found.keys() if wanted[name] != found[name])
    reasons = [
        *_name("missing", sorted(wanted.keys() - found.keys())),
        *_name("added", sorted(found.keys() - wanted.keys())),
        *_name("changed", changed),
    ]
    if reasons:
        raise GateRefusedError(
            "release is not as it was signed: " + "; ".join(reasons),
            hint="get the release again from its source",
        )
    return certificate


def _name(what: str, paths: list[str]) -> list[str]:
    """One clause for all files of a kind, the first few by name."""
    if not paths:
        return []
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return [f"{what} {', '.join(paths[:_SHOWN])}{more}"]


def _read_certificate(folder: Path, key: PublicKey) -> ReleaseCertificate:
    path = folder / CERTIFICATE
    hint = "get the release again from its source"
    if path.is_symlink() or not path.is_file():
        raise GateRefusedError(
            f"{CERTIFICATE} is missing", hint="name the folder that `medaug release` wrote"
        )
    try:
        content = path.read_bytes()
        envelope = _Envelope.model_validate_json(content)
        payload = base64.b64decode(envelope.payload, validate=True)
        signature = base64.b64decode(envelope.signatures[0].sig, validate=True)
    except OSError as error:
        raise StorageError(f"{CERTIFICATE} cannot be read: {error.strerror}") from error
    except (ValidationError, ValueError) as error:
        raise GateRefusedError(f"{CERTIFICATE} is no certificate", hint=hint) from error
    if not key.accepts(_pre_authentication(payload), signature):
        raise GateRefusedError(
            "signature is not by this key over this certificate",
            hint="check --public-key, or get the release again",
        )
    # base64 and JSON allow many spellings of one content: only the one that `sign` writes is accepted
    if content != _envelope_bytes(payload, signature, key):
        raise GateRefusedError(f"{CERTIFICATE} was changed around its signature", hint=hint)
    return _certificate(payload)


def _certificate(payload: bytes) -> ReleaseCertificate:
    try:
        statement = _Statement.model_validate_json(payload)
    except ValidationError as error:
        raise GateRefusedError(
            f"{CERTIFICATE} is of an unknown form", hint="use the medaug that wrote it"
        ) from error
    named = tuple(ReleasedFile(path=one.name, sha256=one.digest.sha256) for one in statement.subject)
    once = len({one.name for one in statement.subject}) == len(statement.subject)
    if (
        not once
        or named != statement.predicate.files
        or statement.predicate.schema_version != ReleaseCertificate.VERSION
    ):
        raise GateRefusedError(f"{CERTIFICATE} contradicts itself", hint="use the medaug that wrote it")
    return statement.predicate


def _statement_bytes(certificate: ReleaseCertificate) -> bytes:
    statement = _Statement(
        _type=STATEMENT_TYPE,
        subject=tuple(_Subject(name=f.path, digest=_Digest(sha256=f.sha256)) for f in certificate.files),
        predicateType=PREDICATE_TYPE,
        predicate=certificate,
    )
    return statement.model_dump_json(by_alias=True).encode("utf-8")


def _pre_authentication(payload: bytes) -> bytes:
    """What DSSE signs: ``DSSEv1``, then type and payload, each with its length in front."""
    kind = PAYLOAD_TYPE.encode("ascii")
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _envelope_bytes(payload: bytes, signature: bytes, key: PublicKey) -> bytes:
    envelope = _Envelope(
        payloadType=PAYLOAD_TYPE,
        payload=base64.b64encode(payload).decode("ascii"),
        signatures=(_Signature(keyid=key.fingerprint, sig=base64.b64encode(signature).decode("ascii")),),
    )
    return (envelope.model_dump_json(by_alias=True, indent=1) + "\n").encode("utf-8")
