"""The battery: clean phantoms pass, planted faults do not, and one broken case does not stop the rest."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from medaug.core.case import Case, CaseRecord, Manifest, Origin
from medaug.core.seeding import SeedTree
from medaug.core.volume import LabelMap, Unit, Volume
from medaug.ingest.battery import Examined, SetVerdict, examine, examine_set
from medaug.phantom.growth import CLASSES
from medaug.phantom.scan import draw_scan
from tests.unit.ingest.material import record

SHAPE = (64, 64, 12)


def _phantom(number: int) -> tuple[Case, CaseRecord]:
    scan = draw_scan(SHAPE, ("solid",), SeedTree(number))
    case = Case(f"c{number}", f"p{number}", scan.volume, scan.label_map)
    line = record(case.case_id, case.patient_id, ("solid",), unit=Unit.HU, modality="CT")
    return case, line.model_copy(
        update={"shape": scan.volume.grid.shape, "spacing_mm": scan.volume.grid.spacing_mm}
    )


@pytest.fixture(scope="module")
def phantoms() -> list[tuple[Case, CaseRecord]]:
    return [_phantom(number) for number in range(1, 7)]


def _with_image(case: Case, image: np.ndarray) -> Case:
    volume = case.volume
    return dataclasses.replace(
        case, volume=Volume(image.astype(np.float32), volume.grid, volume.unit, volume.channels)
    )


def _verdict(cases: list[Case], records: list[CaseRecord], examined: list[Examined]) -> SetVerdict:
    manifest = Manifest(name="set", classes=CLASSES, cases=tuple(records))
    ticks: list[None] = []
    verdict = examine_set(manifest, examined, 5, lambda n: cases[n].volume, lambda: ticks.append(None))
    assert len(ticks) in (0, len([one for one in examined if one.thumb is not None]))
    return verdict


def test_clean_phantoms_pass(phantoms: list[tuple[Case, CaseRecord]]) -> None:
    examined = [examine(case, line) for case, line in phantoms]
    assert [one.findings for one in examined] == [()] * len(phantoms)
    cases, records = zip(*phantoms, strict=True)
    verdict = _verdict(list(cases), list(records), examined)
    assert {one.code for one in verdict.findings} <= {"class-without-lesion"}


def test_one_scan_under_two_patients_is_found(phantoms: list[tuple[Case, CaseRecord]]) -> None:
    cases, records = (list(part) for part in zip(*phantoms, strict=True))
    noise = np.random.default_rng(0).normal(0, 5, cases[2].volume.image.shape)
    cases.append(dataclasses.replace(_with_image(cases[2], cases[2].volume.image + noise), case_id="copy"))
    records.append(records[2].model_copy(update={"case_id": "copy", "patient_id": "somebody"}))
    examined = [examine(case, line) for case, line in zip(cases, records, strict=True)]
    (found,) = [one for one in _verdict(cases, records, examined).findings if one.code == "near-duplicate"]
    assert (found.case_id, found.severity) == ("copy", "refused")
    assert cases[2].case_id in found.message
    assert "somebody" not in found.message


def test_one_patient_mirrored_is_found(phantoms: list[tuple[Case, CaseRecord]]) -> None:
    cases, records = (list(part) for part in zip(*phantoms, strict=True))
    mirrored = _with_image(cases[1], cases[1].volume.image[:, ::-1])
    cases.append(dataclasses.replace(mirrored, case_id="again"))
    records.append(records[1].model_copy(update={"case_id": "again"}))
    examined = [examine(case, line) for case, line in zip(cases, records, strict=True)]
    found = {one.code: one for one in _verdict(cases, records, examined).findings}
    assert found["laterality-flip"].case_id == "again"
    assert "repeat-studies" in found


def test_voxels_of_no_use_end_the_checks_of_a_case(phantoms: list[tuple[Case, CaseRecord]]) -> None:
    case, line = phantoms[0]
    broken = case.volume.image.copy()
    broken[0, 0, 0, 0] = np.nan
    for image, code in ((broken, "not-finite"), (np.zeros_like(broken), "constant-image")):
        one = examine(_with_image(case, image), line)
        assert [found.code for found in one.findings] == [code]
        assert one.thumb is None
        verdict = _verdict([case], [line], [one])
        assert verdict.notes == ()


@pytest.mark.parametrize("fault", ["not-hu", "label-id-unknown", "label-empty", "label-outside-body"])
def test_faults_of_a_case_are_found(phantoms: list[tuple[Case, CaseRecord]], fault: str) -> None:
    case, line = phantoms[0]
    assert case.label_map is not None
    labels, image = case.label_map.labels.copy(), case.volume.image
    if fault == "not-hu":
        image = np.interp(image, (-1024, 1000), (0, 255)).round()
    elif fault == "label-id-unknown":
        labels[labels == 1] = 9
    elif fault == "label-empty":
        labels[:] = 0
    else:
        where = np.argwhere(labels == 1)
        labels[:] = 0
        labels[1:4, 1:4, int(where[0, 2])] = 1
    spoilt = dataclasses.replace(
        _with_image(case, image), label_map=LabelMap(labels, case.volume.grid, CLASSES)
    )
    assert fault in {one.code for one in examine(spoilt, line).findings}


def test_nominal_spacing_is_not_judged(phantoms: list[tuple[Case, CaseRecord]]) -> None:
    case, line = phantoms[0]
    grid = dataclasses.replace(case.volume.grid, affine=np.diag([0.01, 0.01, 0.01, 1.0]))
    for known in (True, False):
        volume = dataclasses.replace(case.volume, grid=grid, spacing_known=known)
        codes = {
            one.code
            for one in examine(dataclasses.replace(case, volume=volume, label_map=None), line).findings
        }
        assert codes == ({"voxel-size", "field-of-view"} if known else set())


def test_synthetic_sets_are_not_searched_for_copies(phantoms: list[tuple[Case, CaseRecord]]) -> None:
    case, line = phantoms[0]
    line = line.model_copy(update={"origin": Origin.SYNTHETIC})
    records = [line, line.model_copy(update={"case_id": "twin", "patient_id": "other"})]
    verdict = _verdict([case, case], records, [examine(case, one) for one in records])
    assert "near-duplicate" not in {one.code for one in verdict.findings}
    assert verdict.notes[0].startswith("copies and sides: not looked for")
