"""PET values to SUVbw (g/ml), where the header allows; its tags are followed one by one, and nothing is assumed.

The rules are those of QIBA's vendor-neutral pseudo-code for SUVbw, with the attributes of PS3.3 C.8.9.1 (PET Series),
C.8.9.2 (PET Isotope), C.8.9.4 (PET Image) and C.8.22.5 (Enhanced PET).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, final

from medaug.core.findings import Code, Finding, finding
from medaug.io._dicom.elements import Elements
from medaug.io._dicom.frame import Rescale

_UNITS, _SUV_TYPE, _CORRECTED, _DECAY = 0x00541001, 0x00541006, 0x00280051, 0x00541102
_WEIGHT, _ISOTOPES = 0x00101030, 0x00540016
_DOSE, _HALF_LIFE, _START, _START_MOMENT = 0x00181074, 0x00181075, 0x00181072, 0x00181078
_SERIES_DATE, _SERIES_TIME, _ACQUIRED_DATE, _ACQUIRED_TIME = 0x00080021, 0x00080031, 0x00080022, 0x00080032
_FRAME_MS, _REFERENCE_MS = 0x00181242, 0x00541300
_ENHANCED_DECAY, _ENHANCED_ATTENUATION, _DECAY_MOMENT = 0x00189758, 0x00189759, 0x00189701
_PHILIPS, _PHILIPS_SUV, _PHILIPS_ACTIVITY = 0x70530010, 0x70531000, 0x70531009
_GE, _GE_SCAN_MOMENT = 0x00090010, 0x0009100D

TAGS: Final = (
    *(_UNITS, _SUV_TYPE, _CORRECTED, _DECAY, _WEIGHT, _ISOTOPES, _SERIES_DATE, _SERIES_TIME),
    *(_ACQUIRED_DATE, _ACQUIRED_TIME, _FRAME_MS, _REFERENCE_MS, _ENHANCED_DECAY, _ENHANCED_ATTENUATION),
    *(_DECAY_MOMENT, _PHILIPS, _PHILIPS_SUV, _PHILIPS_ACTIVITY, _GE, _GE_SCAN_MOMENT),
)

_SHOWN_UNITS: Final = frozenset({"BQML", "CNTS", "GML", "PROPCPS", "PROPCNTS", "CPS", "NONE", "CM2", "PCNT"})
# A dose below 0.1 MBq is one that was written in MBq; no patient weighs half a ton
_LEAST_DOSE_BQ, _MOST_WEIGHT_KG = 1e5, 500.0
# Without a date the day of the injection is known only for nuclides that are gone a day later
_LONGEST_DATELESS_HALF_LIFE_S = 6 * 3600.0
_MOST_HALF_LIVES = 20.0
_DAY = timedelta(days=1)


@final
class _MissingError(Exception):
    """Carries what stands against a SUV; never leaves this file."""


@final
@dataclass(frozen=True, slots=True)
class _Dose:
    """What was injected."""

    activity_bq: float
    half_life_s: float
    start: Elements


def to_suv(elements: Elements, rescale: Rescale) -> tuple[Rescale, tuple[Finding, ...]]:
    """A rescale that leads from stored values to SUVbw, or the old one with a finding that says what is missing.

    Args:
        elements: Of the data set, read for :data:`TAGS` at least.
        rescale: Stored values to those of ``Units``.

    Returns:
        The rescale, of kind ``SUV`` where it leads there, and what to report.
    """
    try:
        factor = _factor(elements, rescale.kind)
    except _MissingError as missing:
        unit = rescale.kind if rescale.kind in _SHOWN_UNITS else "their own unit"
        message = f"SUV was not computed: {missing}; values stay in {unit}: add the tag at the source"
        return rescale, (finding(Code.SUV_NOT_COMPUTED, "flagged", message),)
    return replace(
        rescale, slope=rescale.slope * factor, intercept=rescale.intercept * factor, kind="SUV"
    ), ()


def _factor(elements: Elements, units: str) -> float:
    """Value in its unit to g/ml."""
    if units == "GML":
        kind = elements.text(_SUV_TYPE).upper()
        if kind not in ("", "BW"):
            raise _MissingError(
                f"SUVType is {kind if kind in ('BSA', 'LBM', 'LBMJAMES128', 'LBMJANMA', 'IBW') else 'unknown'}, not BW"
            )
        return 1.0
    if units == "CNTS":
        return _philips_factor(elements)
    if units != "BQML":
        raise _MissingError("Units is missing" if not units else "Units is none of BQML, GML and CNTS")
    return _per_becquerel(elements)


def _philips_factor(elements: Elements) -> float:
    """Counts, through the factors that Philips writes beside them."""
    if elements.text(_PHILIPS).upper() != "PHILIPS PET PRIVATE GROUP":
        raise _MissingError("Units is CNTS without a Philips factor")
    direct = elements.number(_PHILIPS_SUV) or 0.0
    if 0 < direct < math.inf:
        return direct
    activity = elements.number(_PHILIPS_ACTIVITY) or 0.0
    if not 0 < activity < math.inf:
        raise _MissingError("Units is CNTS without a Philips factor")
    return activity * _per_becquerel(elements)


def _per_becquerel(elements: Elements) -> float:
    """Bq/ml to g/ml: weight in g over the activity that was left of the dose when the values were corrected for."""
    reference = _correction(elements)
    weight_kg = elements.number(_WEIGHT) or 0.0
    if not 0 < weight_kg <= _MOST_WEIGHT_KG:
        raise _MissingError("PatientWeight is missing or out of range")
    dose = _dose(elements)
    decay_s = 0.0 if reference == "ADMIN" else _decay_s(elements, dose)
    return weight_kg * 1000 / (dose.activity_bq * 2 ** (-decay_s / dose.half_life_s))


def _correction(elements: Elements) -> str:
    """To when the values are corrected for decay: START or ADMIN."""
    corrected = {part.upper() for part in elements.texts(_CORRECTED)}
    if "ATTN" not in corrected and elements.text(_ENHANCED_ATTENUATION).upper() != "YES":
        raise _MissingError("CorrectedImage does not hold ATTN")
    if elements.text(_ENHANCED_DECAY).upper() == "YES" and elements.text(_DECAY_MOMENT):
        return "START"
    if "DECY" not in corrected:
        raise _MissingError("CorrectedImage does not hold DECY")
    reference = elements.text(_DECAY).upper()
    if reference not in ("START", "ADMIN"):
        raise _MissingError("DecayCorrection is neither START nor ADMIN")
    return reference


def _dose(elements: Elements) -> _Dose:
    isotopes = elements.items(_ISOTOPES)
    if len(isotopes) != 1:
        what = "is missing" if not isotopes else "names several"
        raise _MissingError(f"RadiopharmaceuticalInformationSequence {what}")
    activity_bq = isotopes[0].number(_DOSE) or 0.0
    if not _LEAST_DOSE_BQ <= activity_bq < math.inf:
        raise _MissingError("RadionuclideTotalDose is missing or not in Bq")
    half_life_s = isotopes[0].number(_HALF_LIFE) or 0.0
    if not 0 < half_life_s < math.inf:
        raise _MissingError("RadionuclideHalfLife is missing")
    return _Dose(activity_bq, half_life_s, isotopes[0])


def _decay_s(elements: Elements, dose: _Dose) -> float:
    """From injection to the moment the values are corrected to."""
    scan = _scan_start(elements, dose.half_life_s)
    start = _moment(dose.start.text(_START_MOMENT))
    if start is None:
        start = _start_by_time(dose, scan)
    decay_s = (scan - start).total_seconds()
    if not 0 <= decay_s <= _MOST_HALF_LIVES * dose.half_life_s:
        raise _MissingError("RadiopharmaceuticalStartDateTime and the time of the scan do not fit together")
    return decay_s


def _start_by_time(dose: _Dose, scan: datetime) -> datetime:
    """The last time before the scan that the clock showed the time of the injection."""
    start = _moment(f"{scan:%Y%m%d}{dose.start.text(_START)}") if dose.start.text(_START) else None
    if start is None:
        raise _MissingError("RadiopharmaceuticalStartTime is missing")
    if dose.half_life_s > _LONGEST_DATELESS_HALF_LIFE_S:
        raise _MissingError("RadiopharmaceuticalStartDateTime is missing, and the nuclide lives for days")
    return start if start <= scan else start - _DAY


def _scan_start(elements: Elements, half_life_s: float) -> datetime:
    """When the scan began: the moment that START means."""
    stated = _moment(elements.text(_DECAY_MOMENT))
    if stated is not None:
        return stated
    series = _moment(elements.text(_SERIES_DATE) + elements.text(_SERIES_TIME))
    acquired = _moment(elements.text(_ACQUIRED_DATE) + elements.text(_ACQUIRED_TIME))
    if acquired is None:
        raise _MissingError("AcquisitionDate or AcquisitionTime is missing")
    if series is not None and series <= acquired:
        return series
    # a series that was made later: its own time says nothing about the scan
    if elements.text(_GE).upper() == "GEMS_PETD_01":
        scanned = _moment(elements.text(_GE_SCAN_MOMENT))
        if scanned is not None:
            return scanned
    return acquired - _into_scan(elements, half_life_s)


def _into_scan(elements: Elements, half_life_s: float) -> timedelta:
    """From the start of the scan to that of this frame, through the moment of its mean count rate."""
    frame_s = (elements.number(_FRAME_MS) or 0.0) / 1000
    reference_s = (elements.number(_REFERENCE_MS) or 0.0) / 1000
    if not (0 < frame_s < math.inf and 0 < reference_s < math.inf):
        raise _MissingError(
            "SeriesTime is later than AcquisitionTime, and no FrameReferenceTime tells the scan's start"
        )
    decay = math.log(2) / half_life_s * frame_s
    mean_s = frame_s / decay * math.log(decay / -math.expm1(-decay))
    return timedelta(seconds=reference_s - mean_s)


def _moment(text: str) -> datetime | None:
    """A DICOM date and time (PS3.5 6.2); a fraction is kept, an offset from UTC is the scanner's own and left out."""
    plain, _, fraction = re.split(r"[+-]", text, maxsplit=1)[0].partition(".")
    if len(plain) < 12 or not plain.isdigit():
        return None
    try:
        moment = datetime.strptime(plain[:14].ljust(14, "0"), "%Y%m%d%H%M%S")  # noqa: DTZ007  (scanners' own clock)
        return moment + timedelta(seconds=float(f"0.{fraction or 0}"))
    except ValueError:
        return None
