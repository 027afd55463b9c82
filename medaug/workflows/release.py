"""``medaug release``: gate, write, read back, sign, verify; a release appears whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, final

from pydantic import Field, SecretStr

from medaug import __version__
from medaug.core.assessment import AUDIT, QUALITY, AuditReport, QualityReport, read_rejections
from medaug.core.case import (
    FINDINGS,
    MANIFEST,
    RECIPES,
    TRANSLATIONS,
    AttributeName,
    FindingsFile,
    Manifest,
    read_manifest,
)
from medaug.core.config import Frozen
from medaug.core.errors import ConfigError, GateRefusedError
from medaug.core.plan import Recipe, Translation, write_lines
from medaug.core.results import ReleaseCertificate, Summary, Tier
from medaug.core.runs import Progress
from medaug.core.storage import require_free_space, sha256_file, storage_error, write_text_atomic
from medaug.core.synthetic import read_origins
from medaug.layouts.base import Export, parse_layout
from medaug.privacy.datasheet import DATASHEET, SheetFacts, write_datasheet
from medaug.privacy.gate import ReleaseRequest, check_folder, check_release
from medaug.privacy.keys import SigningKey, load_signing_key
from medaug.privacy.provenance import keyed_hashes, list_files, sign, verify_release

_ALLOWED_ATTRIBUTES: Final[frozenset[AttributeName]] = frozenset()  # of patients: none leaves
_DEFAULT_TERMS = "No terms beyond the licence."
_SHOWN = 8
_REMEDY = "mend that and run `medaug assess` again for this very set"


@final
class ReleaseOptions(Frozen):
    """What is to be released, as what, and who signs."""

    synthetic: Path
    assessment: Path = Field(description="folder of `medaug assess` for this very set")
    key: Path
    out: Path = Field(description="new folder")
    passphrase: SecretStr
    tier: Tier = "hosted"
    format: str = Field(default="nnunet", description="nnunet, nifti, msd, bids or dicom")
    licence: str | None = Field(default=None, description="for cases whose manifest names none")
    terms: str | None = None
    accept_inconclusive: bool = False


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


@final
@dataclass(frozen=True, slots=True)
class _Material:
    """Everything a release is made from."""

    manifest: Manifest
    findings: FindingsFile
    recipes: tuple[Recipe, ...]
    translations: tuple[Translation, ...]
    audit: AuditReport
    audit_sha256: str
    quality: QualityReport
    key: SigningKey


def release(options: ReleaseOptions, progress: Progress) -> ReleaseSummary:
    """Release a synthetic set: refuse with all reasons, or write, read back, sign and verify it.

    The folder is written beside ``out`` and renamed at the end; nothing is left on failure. A folder that already
    holds this very release, verified, is left as it is.

    Raises:
        GateRefusedError: If the gate has a reason against it; the line lists the reasons.
        ConfigError: If ``out`` exists and is not this release, or key, passphrase or format are wrong.
        DataError: If a file of the set or the assessment is damaged.
        StorageError: If a file cannot be written.
        DependencyError: If cryptography (or highdicom, for ``dicom``) is not installed.
    """
    layout = parse_layout({"kind": options.format}).build()
    material = _gather(options)
    certificate = _certify(options, material)
    if options.out.exists():
        return _summary(options, _existing(options, certificate, material.key), material.key, skipped=True)
    require_free_space(options.out, 3 * _size(options.synthetic))
    with _staging(options.out) as folder:
        shown = material.manifest.with_attributes(_ALLOWED_ATTRIBUTES)
        export = Export(options.synthetic, shown, folder, material.key.derive("DICOM UID"))
        written = layout.write(export, progress)
        layout.check(export, written, progress)
        _write_texts(folder, written, certificate, material, options)
        certificate = certificate.model_copy(update={"files": list_files(folder)})
        _refuse(check_folder(folder, tuple(file.path for file in certificate.files)))
        sign(folder, certificate, material.key)
        verify_release(folder, material.key.public)
    return _summary(options, certificate, material.key, skipped=False)


def _gather(options: ReleaseOptions) -> _Material:
    """Read key, set and assessment, and pass the gate."""
    key = load_signing_key(options.key, options.passphrase.get_secret_value())
    manifest = read_manifest(options.synthetic)
    recipes, translations = read_origins(options.synthetic)
    audit_path, quality_path = options.assessment / AUDIT, options.assessment / QUALITY
    audit = AuditReport.read(audit_path) if audit_path.is_file() else None
    quality = QualityReport.read(quality_path) if quality_path.is_file() else None
    request = ReleaseRequest(
        dataset=options.synthetic,
        manifest=manifest,
        recipes=recipes,
        translations=translations,
        rejected=read_rejections(options.synthetic),
        audit=audit,
        quality=quality,
        tier=options.tier,
        licence=options.licence,
        accept_inconclusive=options.accept_inconclusive,
    )
    _refuse(check_release(request))
    if audit is None or quality is None:
        raise GateRefusedError("there is no assessment", hint="run `medaug assess` first")
    findings = FindingsFile.read(options.synthetic / FINDINGS)
    sha256 = sha256_file(audit_path)
    return _Material(manifest, findings, recipes, translations, audit, sha256, quality, key)


def _refuse(reasons: tuple[str, ...]) -> None:
    if not reasons:
        return
    more = f"; and {len(reasons) - _SHOWN} more reasons" if len(reasons) > _SHOWN else ""
    raise GateRefusedError("release refused: " + "; ".join(reasons[:_SHOWN]) + more, hint=_REMEDY)


def _certify(options: ReleaseOptions, material: _Material) -> ReleaseCertificate:
    """The certificate, but for the files, which are not written yet."""
    manifest, recipes, audit = material.manifest, material.recipes, material.audit
    licences = sorted({record.licence or options.licence or "" for record in manifest.cases})
    terms = sorted({record.terms or options.terms or _DEFAULT_TERMS for record in manifest.cases})
    lineage = {
        patient for recipe in recipes for patient in (recipe.host_patient_id, *recipe.donor_patient_ids)
    }
    lineage |= {patient for row in material.translations for patient in row.donor_patient_ids}
    makers = {f"{recipe.generator} {recipe.generator_sha256}" for recipe in recipes}
    makers |= {f"{row.translator} {row.translator_sha256}" for row in material.translations}
    sources = tuple(one for record in manifest.cases for one in record.source_sha256)
    return ReleaseCertificate(
        tier=options.tier,
        layout=options.format,
        created=datetime.now(tz=UTC).isoformat(timespec="seconds"),
        medaug_version=__version__,
        files=(),
        n_cases=len(manifest.cases),
        n_rejected=len(material.quality.rejected),
        generators=tuple(sorted(makers)),
        lineage=tuple(sorted(lineage)),
        source_hmac=keyed_hashes(sources, material.key),
        audit_sha256=material.audit_sha256,
        verdict=audit.verdict,
        detection_limit=audit.detection_limit,
        accepted_inconclusive=options.accept_inconclusive and audit.verdict.lesion == "inconclusive",
        dp_epsilon=None,
        licence=" AND ".join(licences),
        terms=" ".join(terms),
    )


def _existing(options: ReleaseOptions, wanted: ReleaseCertificate, key: SigningKey) -> ReleaseCertificate:
    """The certificate of a finished release in ``out`` that is the one wanted."""
    hint = "name a new folder or delete this one"
    try:
        found = verify_release(options.out, key.public)
    except GateRefusedError as error:
        message = f"{options.out.name} exists and holds no release by this key"
        raise ConfigError(message, where="--out", hint=hint) from error
    fresh = {"created": wanted.created, "files": wanted.files}
    if found.model_copy(update=fresh) != wanted:
        raise ConfigError(f"{options.out.name} holds another release", where="--out", hint=hint)
    return found


def _write_texts(
    folder: Path,
    written: Manifest,
    certificate: ReleaseCertificate,
    material: _Material,
    options: ReleaseOptions,
) -> None:
    """Manifest, findings, recipes, translations and data sheet; plain source hashes stay at home."""
    cases = tuple(
        record.model_copy(
            update={
                "source_sha256": (),
                "licence": record.licence or options.licence,
                "terms": record.terms or options.terms or _DEFAULT_TERMS,
            }
        )
        for record in written.cases
    )
    released = written.model_copy(update={"cases": cases})
    facts = SheetFacts(
        certificate=certificate,
        manifest=released,
        recipes=material.recipes,
        translations=material.translations,
        quality=material.quality,
    )
    if material.recipes:
        write_lines(folder / RECIPES, material.recipes)
    if material.translations:
        write_lines(folder / TRANSLATIONS, material.translations)
    material.findings.write(folder / FINDINGS)
    write_text_atomic(folder / DATASHEET, write_datasheet(facts))
    released.write(folder / MANIFEST)


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
