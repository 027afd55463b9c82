"""What stored values mean: rescale, unit, and what is odd about either, from the header alone."""

from __future__ import annotations

import math
from typing import Final

from medaug.core.errors import UnreadableError
from medaug.core.findings import Code, Finding, finding
from medaug.core.volume import Unit
from medaug.io._dicom.frame import Frame, Rescale

# Modalities whose values are measured: inverting them would change what they mean
_MEASURED = frozenset({"CT", "PT"})
_HU_KINDS = frozenset({"HU", ""})
_UNITS: Final = {"HU": Unit.HU, "SUV": Unit.SUV}
_WITHOUT_UNIT = frozenset({"MR", "US", "CR", "DX", "MG"})


def require_rescale(rescale: Rescale) -> None:
    """Refuse a rescale that loses the values.

    Raises:
        UnreadableError: If the slope is zero, or slope or intercept is not finite.
    """
    if rescale.slope == 0 or not math.isfinite(rescale.slope) or not math.isfinite(rescale.intercept):
        raise UnreadableError(
            f"rescale slope is {rescale.slope:g} and intercept {rescale.intercept:g}",
            expected="finite numbers, the slope other than 0",
            hint="export the original series again",
            code=Code.ZERO_RESCALE_SLOPE,
        )


def unit_of(frame: Frame) -> Unit:
    """HU for CT unless RescaleType (PS3.3 C.11.1.1.2) says otherwise, SUV for PET whose SUV can be computed.

    Of a modality that only medaug's own captures have, RescaleType says it.
    """
    kind = frame.rescale.kind
    if frame.modality == "CT":
        return Unit.HU if kind in _HU_KINDS else Unit.ARBITRARY
    return Unit.ARBITRARY if frame.modality in _WITHOUT_UNIT else _UNITS.get(kind, Unit.ARBITRARY)


def is_inverted(frame: Frame) -> bool:
    """Whether white is stored as 0 and the values carry no unit, so that they are turned round (PS3.3 C.7.6.3.1.2)."""
    return frame.pixels.photometric == "MONOCHROME1" and frame.modality not in _MEASURED


def value_notes(frame: Frame) -> tuple[Finding, ...]:
    """What is odd about the values of a frame, with what the header parser noted."""
    notes = list(frame.notes)
    if frame.pixels.photometric == "MONOCHROME1":
        notes.append(_monochrome1(inverted=is_inverted(frame)))
    if frame.pixels.photometric not in ("MONOCHROME1", "MONOCHROME2"):
        message = "colours were converted to luminance; look whether they mean something (Doppler, overlays)"
        notes.append(finding(Code.COLOUR_CONVERTED, "fixed", message))
    if frame.modality == "CT" and not frame.rescale.is_stated:
        message = "CT without rescale slope or intercept; stored values taken as they are: check that air is about -1000"
        notes.append(finding(Code.RESCALE_MISSING, "flagged", message))
    if frame.modality == "CT" and frame.rescale.kind not in _HU_KINDS:
        message = (
            "CT whose RescaleType is not HU; values taken as arbitrary units: ingest it apart from other CT"
        )
        notes.append(finding(Code.RESCALE_NOT_HU, "flagged", message))
    return tuple(notes)


def _monochrome1(*, inverted: bool) -> Finding:
    if inverted:
        return finding(Code.MONOCHROME1, "fixed", "stored with white as 0; intensities were inverted")
    return finding(
        Code.MONOCHROME1, "flagged", "stored for inverted display; measured values were kept as they are"
    )
