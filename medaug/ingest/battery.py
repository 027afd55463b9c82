"""The battery of checks that a finished dataset goes through, one case in memory at a time.

What a check finds is a Finding. ``refused`` means here: not fit for use until it is mended, since a split, a score or a
training run with it would be wrong; ``flagged`` means: look at it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

from medaug.core.case import Case, CaseRecord, Manifest, Origin
from medaug.core.findings import Finding
from medaug.core.volume import Volume
from medaug.ingest import checks
from medaug.ingest._battery import cohort, geometry, intensity, labels
from medaug.ingest._battery.likeness import Pair, Thumb, fingerprint, near_pairs, sidedness, windowed


@final
@dataclass(frozen=True, slots=True, eq=False)
class Examined:
    """What is kept of a case once its voxels are gone.

    Attributes:
        record: Its line of the manifest.
        thumb: Fingerprint of its first channel; None where the voxels are of no use.
        findings: What its own checks found.
    """

    record: CaseRecord
    thumb: Thumb | None
    findings: tuple[Finding, ...]


def examine(case: Case, record: CaseRecord) -> Examined:
    """Run the checks of one case."""
    labelled = case.label_map is not None
    broken = _present(_voxels(case.volume, case.case_id, labelled=labelled))
    if broken:
        return Examined(record, None, broken)
    found = _present(
        [*_geometry(case.volume, case.case_id), *_intensity(case, record), *_labels(case, record)]
    )
    return Examined(record, fingerprint(windowed(case.volume)), found)


def _present(found: Sequence[Finding | None] | Iterator[Finding | None]) -> tuple[Finding, ...]:
    return tuple(one for one in found if one is not None)


def _voxels(volume: Volume, case_id: str, *, labelled: bool) -> Iterator[Finding | None]:
    broken = checks.check_finite(volume, case_id)
    yield broken
    if broken is None:
        yield checks.check_constant(volume, case_id, labelled=labelled)


def _geometry(volume: Volume, case_id: str) -> Iterator[Finding | None]:
    yield geometry.check_shear(volume.grid, case_id)
    if volume.spacing_known:
        yield geometry.check_anisotropy(volume.grid, case_id)
        yield geometry.check_voxel_size(volume.grid, case_id)
        yield geometry.check_field_of_view(volume.grid, case_id)


def _intensity(case: Case, record: CaseRecord) -> Iterator[Finding | None]:
    unit = case.volume.unit
    for levels in intensity.Levels.of(case.volume):
        yield intensity.check_hu(levels, unit, case.case_id)
        yield intensity.check_hu_range(levels, unit, case.case_id)
        yield intensity.check_padding(levels, unit, case.case_id)
        yield intensity.check_negative(levels, record.modality, case.case_id)
        yield intensity.check_clipped(levels, unit, case.case_id)


def _labels(case: Case, record: CaseRecord) -> Iterator[Finding | None]:
    if case.label_map is None:
        return
    present = labels.ids_present(case.label_map.labels)
    yield checks.check_label_ids(present, range(len(case.label_map.class_names) + 1), case.case_id)
    yield checks.check_lesion_free(case.label_map.labels, case.case_id, lesion_free=record.lesion_free)
    yield from labels.check_labels(case.volume, case.label_map, case.case_id)


@final
@dataclass(frozen=True, slots=True)
class SetVerdict:
    """What the set as a whole shows.

    Attributes:
        findings: In the order of the checks.
        notes: What could not be told, in sentences.
    """

    findings: tuple[Finding, ...]
    notes: tuple[str, ...]


def examine_set(
    manifest: Manifest,
    examined: Sequence[Examined],
    folds: int,
    load: Callable[[int], Volume],
    tick: Callable[[], None],
) -> SetVerdict:
    """Run the checks of the whole set.

    Args:
        manifest: The dataset.
        examined: Its cases, those that could be read.
        folds: Folds that its patients are to be divided into.
        load: The image of an examined case by its number; called for the few that may be alike.
        tick: Called once a case.
    """
    found = [
        *checks.check_single_lesions(manifest.cases, manifest.classes),
        *cohort.check_few_patients(manifest.cases, manifest.classes, folds),
        *cohort.check_spacing_outliers(manifest.cases),
        *_present([cohort.check_modalities(manifest.cases)]),
    ]
    if any(record.origin is not Origin.REAL for record in manifest.cases):
        note = "copies and sides: not looked for, since synthetic and augmented cases resemble scans"
        return SetVerdict(tuple(found), (note,))
    found += _present([cohort.check_repeat_studies(manifest.cases)])
    compared = [n for n, one in enumerate(examined) if one.thumb is not None]
    thumbs = [thumb for one in examined if (thumb := one.thumb) is not None]
    records = [examined[n].record for n in compared]
    for pair in near_pairs(thumbs, lambda n: windowed(load(compared[n])), tick):
        found += _pair_findings(pair, records)
    if not thumbs:
        return SetVerdict(tuple(found), ())
    sides, note = cohort.check_sides(sidedness(thumbs), records)
    return SetVerdict((*found, *sides), (note,))


def _pair_findings(pair: Pair, records: Sequence[CaseRecord]) -> tuple[Finding, ...]:
    first, second = records[pair.first], records[pair.second]
    return _present(
        [cohort.check_near_duplicate(pair, first, second), cohort.check_laterality_flip(pair, first, second)]
    )
