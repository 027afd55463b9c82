"""What a run folder says of its data and its design, so that its rows can be judged without the dataset."""

from __future__ import annotations

from collections.abc import Sequence

from medaug.core.case import CaseRecord, Manifest
from medaug.core.results import ClassCount, ExperimentContext
from medaug.experiments.design import Cell, ExperimentConfig, scored_records

CONTEXT = "context.json"
LEARNT = "An augmentation that is learnt was learnt on an inner fold of each training subset."
_TRAINED = "Every training case belongs to a training patient of its outer fold."
_FITTED = "Bank and generators were fitted inside each training subset, on its cases alone."
_TAUGHT = "Teachers of generators were trained inside each training subset, on its cases alone."
_DRAWN = "Hosts and donors of synthetic lesions belong to the training subset."
_SCORED = "Only real, labelled cases of held-out patients were scored; no synthetic case was."


def describe(config: ExperimentConfig, manifest: Manifest, planned: Sequence[Cell]) -> ExperimentContext:
    """The design in figures; the workflow adds its command and the dataset's findings."""
    folds = {cell.fold.index: cell.fold for cell in planned}.values()
    scored = [record for fold in folds for record in scored_records(manifest, fold)]
    held_out = {patient for fold in folds for patient in fold.held_out}
    trained = {patient for fold in folds for patient in fold.train}
    return ExperimentContext(
        name=config.name,
        command="",
        n_cases=len(manifest.cases),
        n_patients=len(manifest.patient_ids),
        classes=tuple(_count(name, manifest.cases, scored) for name in manifest.classes),
        findings=(),
        checks=_checks(config),
        licences=tuple(sorted({record.licence for record in manifest.cases if record.licence})),
        terms=tuple(sorted({record.terms for record in manifest.cases if record.terms})),
        dataset=manifest.name,
        cells=tuple(cell.name for cell in planned),
        held_out_patients=len(held_out),
        only_trained_patients=len(trained - held_out),
    )


def _checks(config: ExperimentConfig) -> tuple[str, ...]:
    """What the guards of a run enforce, as far as its arms call for it."""
    of_generators = (_FITTED, _DRAWN) if any(arm.generator for arm in config.arms) else ()
    of_teachers = (_TAUGHT,) if any(arm.teacher for arm in config.arms) else ()
    return (_TRAINED, *of_generators, *of_teachers, _SCORED)


def _count(name: str, records: Sequence[CaseRecord], scored: Sequence[CaseRecord]) -> ClassCount:
    held = [record for record in records if name in record.classes]
    return ClassCount(
        class_name=name,
        cases=len(held),
        patients=len({record.patient_id for record in held}),
        scored_patients=len({record.patient_id for record in scored if name in record.classes}),
    )
