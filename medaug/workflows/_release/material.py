"""What a release is made from, gathered and passed by the gate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, final

from pydantic import Field, SecretStr

from medaug.core.assessment import AUDIT, QUALITY, AuditReport, QualityReport, read_rejections
from medaug.core.budget import PrivacyBudget
from medaug.core.case import FINDINGS, FindingsFile, Manifest, Origin, read_manifest
from medaug.core.certificate import Tier
from medaug.core.config import Frozen
from medaug.core.errors import ConfigError
from medaug.core.plan import Recipe, Translation
from medaug.core.storage import sha256_file
from medaug.core.synthetic import read_origins
from medaug.generators.base import load_generator, read_card
from medaug.privacy.faces import FaceVerdict
from medaug.privacy.gate import Objection, ReleaseRequest, check_faces, check_release
from medaug.privacy.identifiers import read_identifiers
from medaug.privacy.keys import SigningKey, load_signing_key

DEFAULT_TERMS: Final = "No terms beyond the licence."


@final
class ReleaseOptions(Frozen):
    """What is to be released, as what, and who signs."""

    synthetic: Path = Field(
        description="a synthetic set, or a dataset of real cases (hosted and internal alone)"
    )
    assessment: Path | None = Field(
        default=None, description="folder of `medaug assess` for this very set; a real dataset has none"
    )
    key: Path
    out: Path = Field(description="new folder")
    passphrase: SecretStr
    tier: Tier = "hosted"
    format: str = Field(default="nnunet", description="nnunet, nifti, msd, bids or dicom")
    segmentation: Literal["binary", "labelmap"] = Field(
        default="binary", description="kind of DICOM SEG; dicom alone"
    )
    class_codes: str = Field(
        default="", description="terms of classes, such as nodule=SCT:27925004:Nodule; dicom alone"
    )
    licence: str | None = Field(default=None, description="for cases whose manifest names none")
    terms: str | None = Field(
        default=None, description=f"for cases whose manifest says none, instead of: {DEFAULT_TERMS}"
    )
    generator: Path | None = Field(
        default=None,
        description="run folder of the generator, where the certificate is to name its privacy budget",
    )
    accept_inconclusive: bool = False
    no_faces: bool = Field(default=False, description="a person has looked: no face is in view")
    identifiers: Path | None = Field(
        default=None, description="list of what must not leave, or a folder of the original DICOM files"
    )
    report: Path | None = Field(default=None, description="one JSON line an input file; outside --out")

    @property
    def layout(self) -> dict[str, object]:
        """What the layout is asked; one that does not know a setting refuses it."""
        stated: dict[str, object] = {"kind": self.format}
        if self.segmentation != "binary":
            stated["segmentation"] = self.segmentation.upper()
        if self.class_codes:
            stated["class_codes"] = self.class_codes
        return stated


@final
@dataclass(frozen=True, slots=True)
class Material:
    """Everything a release is made from.

    Attributes:
        request: What the gate was asked, and all that was read.
        key: That signs.
        audit_sha256: Of the audit; None for a real dataset.
        objections: Of the gate; a release has none.
        faces: What becomes of the scans of patients that may show one.
        budget: What differential privacy the generator kept; None where nobody showed it, or it kept none.
    """

    request: ReleaseRequest
    key: SigningKey
    audit_sha256: str | None
    objections: tuple[Objection, ...]
    faces: tuple[FaceVerdict, ...]
    budget: PrivacyBudget | None

    @property
    def manifest(self) -> Manifest:
        """Of the set."""
        return self.request.manifest

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """Of its lesions."""
        return self.request.recipes

    @property
    def translations(self) -> tuple[Translation, ...]:
        """Of its whole cases."""
        return self.request.translations


def gather(options: ReleaseOptions) -> Material:
    """Read key, set and assessment, and ask the gate.

    Raises:
        ConfigError: If the folders lie within each other, there is no such assessment or can be none, or key, passphrase
            or list of identifiers are wrong.
        DataError: If a file of the set or the assessment is damaged.
    """
    check_places(options)
    key = load_signing_key(options.key, options.passphrase.get_secret_value())
    request = _request(options)
    budget = None if options.generator is None else _budget(options.generator, request.recipes)
    audit = _part(options.assessment, AUDIT)
    sha256 = None if audit is None else sha256_file(audit)
    objections = check_release(request)
    # images are looked at only where the files are what the manifest says
    faces = () if any(one.path for one in objections) else check_faces(request)
    refused = (Objection(one.reason, one.path) for one in faces if one.outcome == "refused")
    return Material(request, key, sha256, (*objections, *refused), faces, budget)


def _request(options: ReleaseOptions) -> ReleaseRequest:
    folder = options.synthetic
    manifest = read_manifest(folder)
    _check_assessment(options.assessment, manifest)
    recipes, translations = read_origins(folder)
    audit, quality = (_part(options.assessment, name) for name in (AUDIT, QUALITY))
    return ReleaseRequest(
        dataset=folder,
        manifest=manifest,
        findings=FindingsFile.read(folder / FINDINGS),
        recipes=recipes,
        translations=translations,
        rejected=read_rejections(folder),
        audit=None if audit is None else AuditReport.read(audit),
        quality=None if quality is None else QualityReport.read(quality),
        tier=options.tier,
        licence=options.licence,
        terms=options.terms,
        accept_inconclusive=options.accept_inconclusive,
        no_faces=options.no_faces,
        listed=None if options.identifiers is None else read_identifiers(options.identifiers),
    )


def _part(assessment: Path | None, name: str) -> Path | None:
    """A file of the assessment, where there is one."""
    path = None if assessment is None else assessment / name
    return path if path is not None and path.is_file() else None


def _check_assessment(assessment: Path | None, manifest: Manifest) -> None:
    """Scans of patients have no assessment, and one that is named is there."""
    if assessment is None:
        return
    if manifest.cases and all(record.origin is not Origin.SYNTHETIC for record in manifest.cases):
        what = "an assessment says nothing of scans of patients"
        raise ConfigError(what, where="--assessment", hint="leave it out")
    if not assessment.is_dir():
        hint = "name the --out of `medaug assess`"
        raise ConfigError(f"there is no folder {assessment}", where="--assessment", hint=hint)


def _budget(folder: Path, recipes: tuple[Recipe, ...]) -> PrivacyBudget | None:
    """What the generator of the recipes kept, by its card; a budget whose noise could be repeated claims nothing.

    Raises:
        ConfigError: If the recipes are of another generator.
        CheckpointError: If the folder holds no finished generator.
    """
    card, sha256 = read_card(folder), load_generator(str(folder), device="cpu").sha256
    if {recipe.generator_sha256 for recipe in recipes} != {sha256}:
        what = f"{folder} is not the generator, or not the only one, of this set"
        raise ConfigError(
            what, where="--generator", hint="name the run folder that `medaug synthesize` was given"
        )
    return card.privacy if card.privacy is not None and card.privacy.is_claimed else None


def check_places(options: ReleaseOptions) -> None:
    """Nothing that was read may come to lie in the output, nor the output in anything that is read.

    Raises:
        ConfigError: If it would.
    """
    out = options.out.resolve()
    if options.out.is_symlink() or (out.exists() and not out.is_dir()):
        raise ConfigError("output is no plain folder", where="--out", hint="name a new folder")
    read = (options.synthetic, options.assessment, options.generator, options.identifiers)
    for folder in (path.resolve() for path in read if path is not None and path.is_dir()):
        if out.is_relative_to(folder) or folder.is_relative_to(out):
            what = f"output and {folder.name} lie within each other"
            raise ConfigError(what, where="--out", hint="name another folder")
    for name, path in (
        ("--key", options.key),
        ("--identifiers", options.identifiers),
        ("--report", options.report),
    ):
        if path is not None and path.resolve().is_relative_to(out):
            raise ConfigError("file would lie in the output", where=name, hint="name a place outside it")
