"""SUVbw against figures worked out by hand, and a reason for every tag without which there is none."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset

from medaug.core.volume import Unit
from medaug.io._dicom.elements import Elements
from medaug.io._dicom.frame import Rescale
from medaug.io._dicom.suv import TAGS, to_suv
from medaug.io.dicom import read_series
from tests.unit.io._dicom.pictures import write_picture

_F18_S = 6586.2


def _pet(**changes: Any) -> Dataset:
    """70 kg, 370 MBq of F-18 at 10:00, series and scan from 11:00 on."""
    dataset = Dataset()
    dataset.SeriesDate, dataset.SeriesTime = "20200101", "110000"
    dataset.AcquisitionDate, dataset.AcquisitionTime = "20200101", "110500"
    dataset.CorrectedImage, dataset.DecayCorrection, dataset.Units = ["NORM", "ATTN", "DECY"], "START", "BQML"
    dataset.PatientWeight = "70"
    isotope = Dataset()
    isotope.RadionuclideTotalDose, isotope.RadionuclideHalfLife = "370000000", str(_F18_S)
    isotope.RadiopharmaceuticalStartTime = "100000.00"
    dataset.RadiopharmaceuticalInformationSequence = [isotope]
    for name, value in changes.items():
        target = isotope if name.startswith("Radi") else dataset
        if value is None:
            delattr(target, name)
        else:
            setattr(target, name, value)
    return dataset


def _read(dataset: Dataset) -> tuple[Rescale, str]:
    content = io.BytesIO()
    pydicom.dcmwrite(content, dataset, implicit_vr=False, little_endian=True)
    content.seek(0)
    elements = Elements.of(pydicom.dcmread(content, force=True, specific_tags=list(TAGS)))
    rescale, notes = to_suv(elements, Rescale(2.0, 1.0, True, elements.text(0x00541001)))
    assert [note.code for note in notes] == ([] if rescale.kind == "SUV" else ["suv-not-computed"])
    return rescale, notes[0].message if notes else ""


def _factor(dataset: Dataset) -> float:
    rescale, message = _read(dataset)
    assert rescale.kind == "SUV", message
    assert rescale.intercept == pytest.approx(rescale.slope / 2)
    return rescale.slope / 2


def test_an_hour_of_decay_before_the_scan() -> None:
    # 370 MBq decay to 370e6 * 2 ** (-3600 / 6586.2) = 253.314 MBq; 70,000 g over it
    assert _factor(_pet()) == pytest.approx(2.763367e-4, rel=1e-6)


def test_values_corrected_to_the_injection_know_no_decay() -> None:
    assert _factor(_pet(DecayCorrection="ADMIN", SeriesTime=None)) == pytest.approx(70_000 / 370e6)


def test_injection_before_midnight() -> None:
    dataset = _pet(SeriesTime="003000", AcquisitionTime="003500", RadiopharmaceuticalStartTime="233000")
    assert _factor(dataset) == pytest.approx(2.763367e-4, rel=1e-6)


def test_a_full_date_wins_and_allows_nuclides_that_live_for_days() -> None:
    half_life_s = 282_240.0
    slow = {"RadionuclideHalfLife": str(half_life_s)}
    dataset = _pet(**slow, RadiopharmaceuticalStartDateTime="20191229110000")
    assert _factor(dataset) == pytest.approx(70_000 / (370e6 * 2 ** (-3 * 86_400 / half_life_s)))
    assert "StartDateTime" in _read(_pet(**slow))[1]


def test_a_series_made_later_is_dated_by_the_frame() -> None:
    # a frame of 120 s that began 600 s into the scan: its mean count rate falls 59.94 s later
    decay = math.log(2) / _F18_S
    mean_s = math.log(decay * 120 / (1 - math.exp(-decay * 120))) / decay
    dataset = _pet(
        SeriesTime="150000",
        AcquisitionTime="111000",
        ActualFrameDuration="120000",
        FrameReferenceTime=f"{(600 + mean_s) * 1000:.3f}",
    )
    assert mean_s == pytest.approx(59.937, abs=0.001)
    assert _factor(dataset) == pytest.approx(2.763367e-4, rel=1e-6)


def test_a_series_made_later_is_dated_by_the_scanner() -> None:
    dataset = _pet(SeriesTime="150000")
    block = dataset.private_block(0x0009, "GEMS_PETD_01", create=True)
    block.add_new(0x0D, "DT", "20200101110000.00")
    assert _factor(dataset) == pytest.approx(2.763367e-4, rel=1e-6)


def test_counts_through_the_factors_of_the_maker() -> None:
    dataset = _pet(Units="CNTS")
    block = dataset.private_block(0x7053, "Philips PET Private Group", create=True)
    block.add_new(0x00, "DS", "0.000551")
    assert _factor(dataset) == pytest.approx(0.000551)
    block[0x00].value = "0"
    block.add_new(0x09, "DS", "1.5")
    assert _factor(dataset) == pytest.approx(1.5 * 2.763367e-4, rel=1e-6)


def test_grams_a_millilitre_are_taken_as_they_are() -> None:
    assert _factor(_pet(Units="GML", PatientWeight=None)) == 1.0
    assert _factor(_pet(Units="GML", SUVType="BW")) == 1.0
    assert "SUVType" in _read(_pet(Units="GML", SUVType="LBM"))[1]


def test_enhanced_objects_state_the_moment_of_correction() -> None:
    dataset = _pet(CorrectedImage=None, DecayCorrection=None, SeriesTime=None)
    dataset.AttenuationCorrected, dataset.DecayCorrected = "YES", "YES"
    dataset.DecayCorrectionDateTime = "20200101110000"
    assert _factor(dataset) == pytest.approx(2.763367e-4, rel=1e-6)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"PatientWeight": None}, "PatientWeight"),
        ({"PatientWeight": "70000"}, "PatientWeight"),
        ({"RadionuclideTotalDose": None}, "RadionuclideTotalDose"),
        ({"RadionuclideTotalDose": "370"}, "RadionuclideTotalDose"),
        ({"RadionuclideHalfLife": None}, "RadionuclideHalfLife"),
        ({"RadiopharmaceuticalStartTime": None}, "RadiopharmaceuticalStartTime"),
        ({"RadiopharmaceuticalStartDateTime": "20200101113000"}, "RadiopharmaceuticalStartDateTime"),
        ({"RadiopharmaceuticalStartDateTime": "20180101113000"}, "RadiopharmaceuticalStartDateTime"),
        ({"CorrectedImage": ["NORM", "DECY"]}, "ATTN"),
        ({"CorrectedImage": ["NORM", "ATTN"]}, "DECY"),
        ({"DecayCorrection": "NONE"}, "DecayCorrection"),
        ({"AcquisitionTime": None}, "AcquisitionTime"),
        ({"SeriesTime": "150000"}, "FrameReferenceTime"),
        ({"Units": None}, "Units"),
        ({"Units": "PROPCPS"}, "Units"),
        ({"Units": "CNTS"}, "Philips"),
    ],
)
def test_what_is_missing_is_named(change: dict[str, Any], named: str) -> None:
    rescale, message = _read(_pet(**change))
    assert named in message
    assert (rescale.slope, rescale.intercept) == (2.0, 1.0)


@pytest.mark.parametrize("number", [0, 2])
def test_one_injection_is_needed(number: int) -> None:
    dataset = _pet()
    isotope = dataset.RadiopharmaceuticalInformationSequence[0]
    dataset.RadiopharmaceuticalInformationSequence = [isotope] * number
    assert "RadiopharmaceuticalInformationSequence" in _read(dataset)[1]


@pytest.mark.parametrize("is_weighed", [True, False])
def test_a_pet_series_is_read_in_suv_or_says_why_not(tmp_path: Path, is_weighed: bool) -> None:
    def change(dataset: FileDataset) -> None:
        for element in _pet(**({} if is_weighed else {"PatientWeight": None})):
            dataset.add(element)
        dataset.Modality, dataset.RescaleSlope = "PT", "2"

    stored = np.arange(30, dtype="<u2").reshape(5, 6)
    path = write_picture(tmp_path / "a", stored, change, "1.2.840.10008.5.1.4.1.1.128")
    read = read_series([path])
    codes = {finding.code for finding in read.findings}
    values = np.sort(read.volume.image.ravel())
    if is_weighed:
        assert read.volume.unit is Unit.SUV
        assert np.allclose(values, np.arange(30) * 2 * 2.763367e-4, rtol=1e-6)
        assert "suv-not-computed" not in codes
    else:
        assert read.volume.unit is Unit.ARBITRARY
        assert np.array_equal(values, np.arange(30) * 2)
        assert "suv-not-computed" in codes
