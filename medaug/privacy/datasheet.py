"""The data sheet of a release, after Gebru et al., "Datasheets for Datasets" (arXiv 1803.09010), in short."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import final

from medaug.core.assessment import ClassQuality, Figure, QualityReport
from medaug.core.case import Manifest
from medaug.core.config import Frozen
from medaug.core.plan import Recipe
from medaug.core.results import ReleaseCertificate

DATASHEET = "DATASHEET.md"
_TIERS = {
    "hosted": (
        "The background of every image is a real patient's scan. Only voxels inside the edit mask of a case are "
        "synthetic; all others are the host's. These images are patient data: header and names "
        "are gone, but nothing was defaced, and images that show a head must not be passed on in this tier. For "
        "controlled sharing under the terms below, not for publication."
    ),
    "synthetic-only": (
        "No lesion and no background was found to match a training scan within the detection limit below. The "
        "generator was trained on real lesions without differential privacy unless an epsilon is stated."
    ),
    "internal": "For use inside the institution that made it. It must not be passed on.",
}


@final
class SheetFacts(Frozen):
    """What the data sheet is written from."""

    certificate: ReleaseCertificate
    manifest: Manifest
    recipes: tuple[Recipe, ...]
    quality: QualityReport | None


def write_datasheet(facts: SheetFacts) -> str:
    """The data sheet in Markdown; holds pseudonyms and counts only."""
    return "\n".join(_sheet(facts)) + "\n"


def _sheet(facts: SheetFacts) -> Iterator[str]:
    certificate = facts.certificate
    yield f"# Data sheet: {facts.manifest.name}"
    yield f"\n**{certificate.statement}** Synthetic lesions; made with medaug {certificate.medaug_version}, "
    yield f"released {certificate.created}."
    yield f"\n## Tier: {certificate.tier}\n\n{_TIERS[certificate.tier]}"
    yield "\n## Content\n"
    yield from _content(facts)
    yield "\n## Copying audit\n"
    yield from _audit(certificate)
    yield "\n## Quality\n"
    yield from _quality(facts.quality)
    yield "\n## Intended use\n"
    yield "Training data for research on segmentation and detection, and for measuring such methods' weaknesses. "
    yield "Not for diagnosis, not for treatment, and not as test data: a score on synthetic cases says nothing about patients."
    yield "\n## Limits\n"
    yield "- Frequency, size and place of the lesions follow the plan of the set, not how often they occur in people."
    yield "- Images and labels can be wrong in ways that no figure here shows; look at them before use."
    yield "- Synthetic cases belong into training only, and never beside a test set that holds their host or donor patients."
    yield f"\n## Licence and terms\n\n{certificate.licence}. {certificate.terms}"
    yield "\nThe signed certificate beside this sheet names every file; `medaug verify` checks them."


def _content(facts: SheetFacts) -> Iterator[str]:
    manifest, certificate = facts.manifest, facts.certificate
    hosts = {recipe.host_patient_id for recipe in facts.recipes}
    donors = {patient for recipe in facts.recipes for patient in recipe.donor_patient_ids}
    modalities = ", ".join(sorted({f"{record.modality} ({record.unit})" for record in manifest.cases}))
    yield f"- {len(manifest.cases)} cases, {modalities}, in layout {certificate.layout}"
    yield f"- {len(hosts)} host patients, {len(donors)} donor patients, by pseudonym only"
    yield f"- Generators: {', '.join(certificate.generators) or 'none'}"
    made = Counter(recipe.class_name for recipe in facts.recipes)
    yield "\n| class | lesions drawn | lesions labelled, hosts' own included |\n|---|---|---|"
    for name in manifest.classes:
        labelled = sum(
            lesion.count
            for record in manifest.cases
            for lesion in record.lesions
            if lesion.class_name == name
        )
        yield f"| {name} | {made[name]} | {labelled} |"


def _audit(certificate: ReleaseCertificate) -> Iterator[str]:
    verdict = certificate.verdict
    yield f"- Lesions: {verdict.lesion}; background: {verdict.background}"
    yield f"- Detection limit: up to {certificate.detection_limit:.1%} of the samples could be copies that went unseen (95%)."
    if certificate.accepted_inconclusive:
        yield "- The verdict on lesions is inconclusive; a person accepted that for this release."
    epsilon = certificate.dp_epsilon
    yield "- Differential privacy: " + ("none" if epsilon is None else f"epsilon {epsilon:g}")


def _quality(quality: QualityReport | None) -> Iterator[str]:
    if quality is None or not quality.classes:
        yield "Not measured."
        return
    yield "| class | synthetic | held-out real | kernel distance to real | real against real |\n|---|---|---|---|---|"
    for row in quality.classes:
        yield _quality_row(row)


def _quality_row(row: ClassQuality) -> str:
    figures = (row.spaces[0].kernel, row.spaces[0].kernel_floor) if row.spaces else (None, None)
    shown = " | ".join("too few" if figure is None else _interval(figure) for figure in figures)
    return f"| {row.class_name} | {row.n_synthetic} | {row.n_held_out} | {shown} |"


def _interval(figure: Figure) -> str:
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"
