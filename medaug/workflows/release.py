"""``medaug release``: gate, write, read back, sign, verify; a release appears whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import final

from pydantic import Field

from medaug.core.case import Manifest, read_manifest
from medaug.core.certificate import ReleaseCertificate, Tier
from medaug.core.errors import ConfigError, DataError, GateRefusedError
from medaug.core.runs import Progress
from medaug.core.storage import require_free_space, settle, storage_error
from medaug.core.summary import Summary
from medaug.layouts.base import Export, Layout, parse_layout
from medaug.privacy.gate import Objection, check_folder
from medaug.privacy.keys import SigningKey
from medaug.privacy.provenance import list_files, sign, verify_release
from medaug.workflows._release.certificate import certify
from medaug.workflows._release.faces import without_faces
from medaug.workflows._release.material import Material, ReleaseOptions, gather
from medaug.workflows._release.report import report_refused, report_written
from medaug.workflows._release.texts import shown, write_texts

__all__ = ["ReleaseOptions", "ReleaseSummary", "release"]

_SHOWN = 8


@final
class ReleaseSummary(Summary):
    """A release that was written, signed and verified."""

    release: str
    tier: Tier
    layout: str
    n_cases: int
    n_files: int
    licence: str
    fingerprint: str
    skipped: bool = Field(description="the same release was there already, and verified")

    def lines(self) -> tuple[str, ...]:
        """The release in short."""
        done = "was there already and verified" if self.skipped else "written, signed and verified"
        return (
            f"release {self.release} {done}: {self.n_cases} cases, {self.n_files} files, tier {self.tier}, {self.layout}",
            f"licence {self.licence}; key {self.fingerprint}",
            "research use, not a medical device",
        )


def release(options: ReleaseOptions, progress: Progress) -> ReleaseSummary:
    """Release a synthetic set, or a dataset of real cases: refuse with all reasons, or write, read back, sign and verify it.

    The folder is written beside ``out`` and renamed at the end; nothing is left on failure. A folder that already
    holds this very release, verified, is left as it is.

    Raises:
        GateRefusedError: If the gate has a reason against it; the line lists the reasons, the report all of them.
        ConfigError: If ``out`` exists and is not this release, lies in what is read, or key, passphrase or format are wrong.
        DataError: If a file of the set or the assessment is damaged.
        StorageError: If a file cannot be written.
        DependencyError: If cryptography (or highdicom, for ``dicom``) is not installed.
    """
    form = parse_layout(options.layout)
    layout = form.build()
    with _failure_reported(options):
        material = gather(options)
    form.check_classes(material.manifest.classes)
    _refuse(material.objections, options, material)
    certificate = certify(options, material)
    if options.out.exists():
        found = _existing(options, certificate, material.key)
        _report(options, material, read_manifest(options.out), options.out)
        return _summary(options, found, material.key, skipped=True)
    require_free_space(options.out, 3 * _size(options.synthetic))
    with _staging(options.out) as folder:
        with _failure_reported(options):
            written = _write(options, layout, material, folder, progress)
        write_texts(folder, written, certificate, material)
        certificate = _signed(folder, certificate, options, material)
        _report(options, material, written, folder)
    return _summary(options, certificate, material.key, skipped=False)


def _write(
    options: ReleaseOptions, layout: Layout, material: Material, folder: Path, progress: Progress
) -> Manifest:
    """Write the cases without the faces that are to go, and read them back."""
    faces = frozenset(one.case_id for one in material.faces if one.outcome == "to be removed")
    manifest = shown(material, options)
    with without_faces(options.synthetic, manifest, faces, options.out, progress) as (dataset, cases):
        export = Export(dataset, cases, folder, material.key.derive("DICOM UID"))
        written = layout.write(export, progress)
        layout.check(export, written, progress)
    return written


def _signed(
    folder: Path, certificate: ReleaseCertificate, options: ReleaseOptions, material: Material
) -> ReleaseCertificate:
    """The certificate with all files, once each was inspected as it lies on disk, and the signature was checked."""
    complete = certificate.model_copy(update={"files": list_files(folder)})
    names = tuple(file.path for file in complete.files)
    reasons = check_folder(folder, names, material.request.known)
    _refuse(tuple(map(Objection, reasons)), options, material)
    sign(folder, complete, material.key)
    return verify_release(folder, material.key.public)


@contextmanager
def _failure_reported(options: ReleaseOptions) -> Iterator[None]:
    """Report every file as refused where data, or a face that cannot be removed, end a release."""
    try:
        yield
    except (DataError, GateRefusedError) as error:
        if options.report is not None:
            report_refused(options.report, options.synthetic, (Objection(error.line()),))
        raise


def _report(options: ReleaseOptions, material: Material, written: Manifest, folder: Path) -> None:
    if options.report is not None:
        report_written(options.report, options.synthetic, material.manifest, written, folder)


def _refuse(objections: tuple[Objection, ...], options: ReleaseOptions, material: Material) -> None:
    """Refuse with the first reasons; the report has all of them."""
    if not objections:
        return
    if options.report is not None:
        report_refused(options.report, options.synthetic, objections)
    reasons = tuple(one.reason for one in objections)
    more = (
        f"; and {len(reasons) - _SHOWN} more reasons, all of them with --report"
        if len(reasons) > _SHOWN
        else ""
    )
    again = "a set that changed needs `medaug assess` again" if material.request.is_synthetic else ""
    raise GateRefusedError("release refused: " + "; ".join(reasons[:_SHOWN]) + more, hint=again)


def _existing(options: ReleaseOptions, wanted: ReleaseCertificate, key: SigningKey) -> ReleaseCertificate:
    """The certificate of a finished release in ``out`` that is the one wanted."""
    hint = "name a new folder or delete this one"
    try:
        found = verify_release(options.out, key.public)
    except GateRefusedError as error:
        message = f"{options.out} exists and holds no release by this key"
        raise ConfigError(message, where="--out", hint=hint) from error
    fresh = {"created": wanted.created, "files": wanted.files}
    if found.model_copy(update=fresh) != wanted:
        raise ConfigError(f"{options.out} holds another release", where="--out", hint=hint)
    return found


@contextmanager
def _staging(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` that becomes ``out`` when the block ends well, and goes when it does not."""
    folder = out.with_name(f".{out.name}.partial.release")
    try:
        if folder.exists():  # left by a killed run
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        yield folder
        folder.rename(out)
        settle(out.parent)
    except OSError as error:
        raise storage_error(error, out) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _size(folder: Path) -> int:
    """Bytes of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _summary(
    options: ReleaseOptions, certificate: ReleaseCertificate, key: SigningKey, *, skipped: bool
) -> ReleaseSummary:
    return ReleaseSummary(
        release=str(options.out),
        tier=certificate.tier,
        layout=certificate.layout,
        n_cases=certificate.n_cases,
        n_files=len(certificate.files),
        licence=certificate.licence,
        fingerprint=key.public.fingerprint,
        skipped=skipped,
    )
