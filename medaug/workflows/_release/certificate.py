"""The certificate of a release, but for its files."""

from __future__ import annotations

from datetime import UTC, datetime

from medaug import __version__
from medaug.core.certificate import Faces, ReleaseCertificate
from medaug.privacy.provenance import keyed_hashes
from medaug.workflows._release.material import DEFAULT_TERMS, Material, ReleaseOptions


def certify(options: ReleaseOptions, material: Material) -> ReleaseCertificate:
    """What is signed; the files are not written yet."""
    request, manifest, audit = material.request, material.manifest, material.request.audit
    quality = request.quality
    membership = None if audit is None or audit.membership is None else audit.membership.verdict
    return ReleaseCertificate(
        tier=options.tier,
        content="synthetic" if request.is_synthetic else "real",
        layout=", ".join(str(value) for value in options.layout.values()),
        created=datetime.now(tz=UTC).isoformat(timespec="seconds"),
        medaug_version=__version__,
        files=(),
        n_cases=len(manifest.cases),
        n_rejected=0 if quality is None else len(quality.rejected),
        generators=_makers(material),
        lineage=_lineage(material),
        source_hmac=keyed_hashes(
            tuple(one for record in manifest.cases for one in record.source_sha256), material.key
        ),
        audit_sha256=material.audit_sha256,
        verdict=None if audit is None else audit.verdict,
        membership=membership,
        detection_limit=None if audit is None else audit.detection_limit,
        accepted_inconclusive=options.accept_inconclusive
        and audit is not None
        and audit.verdict.lesion == "inconclusive",
        faces=_faces(options, material),
        identifiers_searched=request.listed is not None,
        dp_epsilon=None if material.budget is None else material.budget.epsilon,
        dp_delta=None if material.budget is None else material.budget.delta,
        licence=" AND ".join(sorted({record.licence or options.licence or "" for record in manifest.cases})),
        terms=" ".join(sorted({record.terms or options.terms or DEFAULT_TERMS for record in manifest.cases})),
    )


def _makers(material: Material) -> tuple[str, ...]:
    makers = {f"{recipe.generator} {recipe.generator_sha256}" for recipe in material.recipes}
    makers |= {f"{row.translator} {row.translator_sha256}" for row in material.translations}
    return tuple(sorted(makers))


def _lineage(material: Material) -> tuple[str, ...]:
    """Pseudonyms of all whose voxels or label maps went in."""
    if not material.request.is_synthetic:
        return material.manifest.patient_ids
    patients = {
        one for recipe in material.recipes for one in (recipe.host_patient_id, *recipe.donor_patient_ids)
    }
    patients |= {one for row in material.translations for one in row.donor_patient_ids}
    return tuple(sorted(patients))


def _faces(options: ReleaseOptions, material: Material) -> Faces:
    """What stands on the weakest ground says it of all."""
    if options.tier != "hosted":
        return "not looked for"
    outcomes = {one.outcome for one in material.faces}
    if "said" in outcomes:
        return "none, says a person"
    if "removed before" in outcomes:
        return "removed before, says a record"
    return "removed" if "to be removed" in outcomes else "none seen"
