"""The data sheet of a release, after Gebru et al., "Datasheets for Datasets" (arXiv 1803.09010), in short."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import final

from medaug.core.assessment import ClassQuality, Figure, QualityReport
from medaug.core.case import Manifest
from medaug.core.certificate import Content, Faces, ReleaseCertificate
from medaug.core.config import Frozen
from medaug.core.plan import Recipe, Translation

DATASHEET = "DATASHEET.md"
_SHOWN = 50
_TIERS = {
    "hosted": (
        "The background of an image is a real patient's scan, unless it is listed below as nobody's. Where a case has an "
        "edit mask, only the voxels inside it are synthetic; all others are the host's. These images are patient data, though "
        "headers and names are gone. For controlled sharing under the terms below, not for publication."
    ),
    "synthetic-only": (
        "No lesion and no background was found to match a training scan within the detection limit below. The "
        "generator was trained on real lesions without differential privacy unless an epsilon is stated."
    ),
    "real": (
        "Every image is a real patient's scan; nothing was synthesised. These images are patient data, though headers and names are gone. For controlled sharing under the terms below, not for publication."
    ),
    "internal": "For use inside the institution that made it. It must not be passed on.",
}


_USES: dict[Content, tuple[str, ...]] = {
    "synthetic": (
        "Training data for research on segmentation and detection, and for measuring such methods' weaknesses. ",
        "Not for diagnosis, not for treatment, and not as test data: a score on synthetic cases says nothing about patients.",
    ),
    "real": (
        "Data for research on segmentation and detection, under the terms below. Not for diagnosis and not for treatment.",
    ),
}
_WRONG = "- Images and labels can be wrong in ways that no figure here shows; look at them before use."
_LIMITS: dict[Content, tuple[str, ...]] = {
    "synthetic": (
        "- Frequency, size and place of the lesions follow the plan of the set, not how often they occur in people.",
        _WRONG,
        "- Synthetic cases belong into training only, and never beside a test set that holds their host or donor patients.",
    ),
    "real": (
        _WRONG,
        "- Without names a scan is still that patient's: whoever has the same scan, or another of the patient, can find it again.",
    ),
}
_FACES: dict[Faces, str] = {
    "not looked for": "Faces were not looked for.",
    "none seen": "No image shows a head, as far as size, bone and lungs tell.",
    "none, says a person": "Some images may show a head; a person looked and says that no face is in view.",
    "removed before, says a record": "Faces in head MR were removed before, says a record of the dataset that nobody signed; it was believed.",
    "removed": "Faces in head MR were removed; an audit of copies, where there is one, is of the images before that.",
}


@final
class SheetFacts(Frozen):
    """What the data sheet is written from."""

    certificate: ReleaseCertificate
    manifest: Manifest
    recipes: tuple[Recipe, ...]
    translations: tuple[Translation, ...]
    quality: QualityReport | None


def write_datasheet(facts: SheetFacts) -> str:
    """The data sheet in Markdown; holds pseudonyms and counts only."""
    return "\n".join(_sheet(facts)) + "\n"


def _sheet(facts: SheetFacts) -> Iterator[str]:
    certificate = facts.certificate
    yield f"# Data sheet: {facts.manifest.name}"
    is_real = certificate.content == "real"
    what = "Scans of patients" if is_real else "Synthetic lesions"
    yield f"\n**{certificate.statement}** {what}; released with medaug "
    yield f"{certificate.medaug_version}, {certificate.created}."
    shown = "real" if is_real and certificate.tier == "hosted" else certificate.tier
    yield f"\n## Tier: {certificate.tier}\n\n{_TIERS[shown]}"
    yield "\n## Content\n"
    yield from _content(facts)
    yield "\n## What was checked\n"
    yield from _checked(certificate)
    yield "\n## Copying audit\n"
    yield from _audit(certificate)
    if not is_real:
        yield "\n## Quality\n"
        yield from _quality(facts.quality)
    yield "\n## Left out\n"
    yield from _left_out(facts)
    yield "\n## Intended use\n"
    yield from _USES[certificate.content]
    yield "\n## Limits\n"
    yield from _LIMITS[certificate.content]
    yield f"\n## Licence and terms\n\n{certificate.licence}. {certificate.terms}"
    yield "\nThe signed certificate beside this sheet names every file; `medaug verify` checks them."


def _content(facts: SheetFacts) -> Iterator[str]:
    manifest, certificate = facts.manifest, facts.certificate
    modalities = ", ".join(sorted({f"{record.modality} ({record.unit})" for record in manifest.cases}))
    yield f"- {len(manifest.cases)} cases, {modalities}, in layout {certificate.layout}"
    yield from _origin(facts)
    drawn = [recipe for recipe in facts.recipes if recipe.use != "null"]
    nulls = len(facts.recipes) - len(drawn)
    if nulls:
        yield f"- {nulls} of the cases hold healthy tissue that was pasted, unlabelled"
    made = Counter(
        [*(recipe.class_name for recipe in drawn), *(row.class_name for row in facts.translations)]
    )
    is_real = certificate.content == "real"
    if is_real:
        yield "\n| class | lesions labelled |\n|---|---|"
    else:
        yield "\n| class | lesions drawn | lesions labelled, hosts' own included |\n|---|---|---|"
    for name in manifest.classes:
        labelled = sum(
            lesion.count
            for record in manifest.cases
            for lesion in record.lesions
            if lesion.class_name == name
        )
        drawn_of = "" if is_real else f"{made[name] if certificate.generators else 'not known'} | "
        yield f"| {name} | {drawn_of}{labelled} |"


def _origin(facts: SheetFacts) -> Iterator[str]:
    """Whose scans and label maps went in, and what made the cases."""
    if facts.certificate.content == "real":
        yield f"- {len(facts.manifest.patient_ids)} patients, by pseudonym only"
        return
    if not facts.recipes and not facts.translations:
        yield "- Made by another tool: its generator, its hosts and its donors are not known here"
        return
    if facts.recipes:
        hosts = {recipe.host_patient_id for recipe in facts.recipes}
        donors = {patient for recipe in facts.recipes for patient in recipe.donor_patient_ids}
        yield f"- {len(hosts)} host patients, {len(donors)} donor patients, by pseudonym only"
    if facts.translations:
        donors = {patient for row in facts.translations for patient in row.donor_patient_ids}
        yield f"- {len(facts.translations)} cases are nobody's scan, drawn over bent label maps of {len(donors)} patients"
    yield f"- Generators: {', '.join(facts.certificate.generators) or 'none'}"


def _checked(certificate: ReleaseCertificate) -> Iterator[str]:
    """What was looked at before the signature, and what was not."""
    yield "- Every file was read back and compared with what was to be written; headers hold geometry and pseudonyms alone."
    listed = "was searched for and not found" if certificate.identifiers_searched else "was not given"
    yield f"- A list of known identifiers {listed}."
    yield f"- {_FACES[certificate.faces]}"


def _audit(certificate: ReleaseCertificate) -> Iterator[str]:
    verdict = certificate.verdict
    if verdict is None or certificate.detection_limit is None:
        yield "None: there is nothing synthetic that could be a copy."
        return
    yield f"- Lesions: {verdict.lesion}; background: {verdict.background}"
    yield f"- Membership of patients in the training set: {certificate.membership or 'not measured'}"
    yield f"- Detection limit: up to {certificate.detection_limit:.1%} of the samples could be copies that went unseen (95%)."
    if certificate.accepted_inconclusive:
        yield "- The verdict on lesions is inconclusive; a person accepted that for this release."
    yield f"- Differential privacy: {_private(certificate)}"


def _private(certificate: ReleaseCertificate) -> str:
    if certificate.dp_epsilon is None:
        return "none stated" if certificate.generators else "not known"
    delta = "" if certificate.dp_delta is None else f", delta {certificate.dp_delta:g}"
    return (
        f"epsilon {certificate.dp_epsilon:.3g}{delta}, unit patient, of the generator's weights. Hosts, outlines and places come "
        "from patients and are not covered: the release as a whole is not differentially private."
    )


def _left_out(facts: SheetFacts) -> Iterator[str]:
    """Which cases were left out before, by which rule; what a person wrote of one is not released."""
    rejected = facts.quality.rejected if facts.quality is not None else ()
    if facts.certificate.content == "real":
        yield "What was refused or changed on the way in stands in findings.json; nothing was left out after that."
        return
    if not rejected:
        yield "Nothing: the set is as it was made."
        return
    yield f"{len(rejected)} of {len(facts.manifest.cases) + len(rejected)} cases, before the copying audit.\n"
    yield "| by | cases | ids |\n|---|---|---|"
    for rule in dict.fromkeys(one.rule for one in rejected):
        ids = [one.case_id for one in rejected if one.rule == rule]
        more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
        by = "a person" if rule is None else f"the rule `{rule}`"
        yield f"| {by} | {len(ids)} | {', '.join(ids[:_SHOWN])}{more} |"


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
