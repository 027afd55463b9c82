"""What stands beside the images of a release: manifest, findings, recipes, translations and data sheet."""

from __future__ import annotations

import hmac
from hashlib import sha256
from pathlib import Path
from typing import Final

from medaug.core.case import FINDINGS, MANIFEST, RECIPES, TRANSLATIONS, AttributeName, Manifest
from medaug.core.certificate import ReleaseCertificate
from medaug.core.plan import Recipe, write_lines
from medaug.core.storage import write_text_atomic
from medaug.privacy.datasheet import DATASHEET, SheetFacts, write_datasheet
from medaug.privacy.keys import SigningKey
from medaug.workflows._release.material import DEFAULT_TERMS, Material, ReleaseOptions

TEXTS: Final = (MANIFEST, FINDINGS, RECIPES, TRANSLATIONS)
_ALLOWED_ATTRIBUTES: Final[frozenset[AttributeName]] = frozenset()  # of patients: none leaves
_PSEUDONYM_DIGITS = 16


def shown(material: Material, options: ReleaseOptions) -> Manifest:
    """The manifest as a recipient may see it; plain source hashes and what users told of patients stay at home."""
    manifest = material.manifest.with_attributes(_ALLOWED_ATTRIBUTES)
    cases = tuple(
        record.model_copy(
            update={
                "source_sha256": (),
                "licence": record.licence or options.licence,
                "terms": record.terms or options.terms or DEFAULT_TERMS,
            }
        )
        for record in manifest.cases
    )
    return manifest.model_copy(update={"cases": cases})


def write_texts(folder: Path, written: Manifest, certificate: ReleaseCertificate, material: Material) -> None:
    """Write them; the manifest comes last."""
    recipes = tuple(_keyed(recipe, material.key) for recipe in material.recipes)
    facts = SheetFacts(
        certificate=certificate,
        manifest=written,
        recipes=recipes,
        translations=material.translations,
        quality=material.request.quality,
    )
    if recipes:
        write_lines(folder / RECIPES, recipes)
    if material.translations:
        write_lines(folder / TRANSLATIONS, material.translations)
    material.request.findings.write(folder / FINDINGS)
    write_text_atomic(folder / DATASHEET, write_datasheet(facts))
    written.write(folder / MANIFEST)


def _keyed(recipe: Recipe, key: SigningKey) -> Recipe:
    """A recipe whose host case and bank can be told by the holder of the key alone.

    Ids of cases may be file names of another archive, with dates in them, and the hash of a bank is one of real lesions.
    """
    host = _digest(key, "host case", recipe.host_case_id)[:_PSEUDONYM_DIGITS]
    bank = _digest(key, "source hash", recipe.bank_sha256)
    return recipe.model_copy(update={"host_case_id": f"H{host}", "bank_sha256": bank})


def _digest(key: SigningKey, purpose: str, text: str) -> str:
    return hmac.new(key.derive(purpose), text.encode("utf-8"), sha256).hexdigest()
