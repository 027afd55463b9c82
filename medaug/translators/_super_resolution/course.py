"""What a super-resolution network is taught: which cases, which factor, thick slices how far apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from medaug.core.case import CaseRecord
from medaug.core.errors import DataError, GeometryError
from medaug.translators._super_resolution.settings import Config
from medaug.translators._super_resolution.slices import slice_axis

Views = Literal["through_plane", "in_plane"]

_ISOTROPIC = 1.25  # slices are thin where they are at most so many pixels apart
_EXACT = 1.05
_TOLERANCE = 4 / 3
_FACTORS = range(2, 9)


@final
@dataclass(frozen=True, slots=True)
class Course:
    """What is learnt.

    Attributes:
        views: Thin slices made thick, in 3D; or rows within slices made coarse, plane by plane.
        factor: Thin slices for one thick slice.
        low_mm: Smallest distance of thick slices that is seen.
        high_mm: Largest one.
    """

    views: Views
    factor: int
    low_mm: float
    high_mm: float

    def takes(self, spacing_mm: float) -> bool:
        """Whether slices so far apart are like those seen, within a third."""
        return self.low_mm / _TOLERANCE - 1e-6 <= spacing_mm <= self.high_mm * _TOLERANCE + 1e-6

    @property
    def range_text(self) -> str:
        """The distances it takes, in words."""
        return f"{self.low_mm / _TOLERANCE:.2g} to {self.high_mm * _TOLERANCE:.2g} mm"


def choose_course(config: Config, records: Sequence[CaseRecord]) -> tuple[Course, tuple[CaseRecord, ...]]:
    """Choose what to learn from which training cases.

    Raises:
        GeometryError: If no training case has a known spacing and several slices.
        DataError: If no case can teach what is asked, or no factor follows from the spacings.
    """
    usable = [r for r in records if r.spacing == "known" and r.shape[slice_axis(r.spacing_mm)] > 1]
    if not usable:
        raise GeometryError(
            "no training case has a known spacing and several slices",
            expected="slices whose distance is known",
            hint="the spacing of this dataset is nominal, or its cases are single slices",
        )
    factor = config.factor or _wanted_factor(config, usable)
    through = config.learn_from != "in_plane"
    seen = _thin(config, usable) if through else []
    if seen:
        apart = [config.target_spacing_mm or along_mm(r) for r in seen]
        return Course("through_plane", factor, factor * min(apart), factor * max(apart)), tuple(seen)
    if config.learn_from == "through_plane":
        raise DataError(
            f"no training case has slices of {config.target_spacing_mm:g} mm or less",
            where="target_spacing_mm",
            hint="use learn_from: in_plane",
        )
    return _from_rows(factor, usable)


def along_mm(record: CaseRecord) -> float:
    """Distance of a case's slices."""
    return record.spacing_mm[slice_axis(record.spacing_mm)]


def pixel_mm(record: CaseRecord) -> float:
    """Width of a case's pixels within its slices; the larger one where they are not square."""
    axis = slice_axis(record.spacing_mm)
    return max(width for n, width in enumerate(record.spacing_mm) if n != axis)


def _from_rows(factor: int, usable: Sequence[CaseRecord]) -> tuple[Course, tuple[CaseRecord, ...]]:
    """Learn from rows within slices, where these are as fine as the slices are to become."""
    seen = [r for r in usable if pixel_mm(r) <= _EXACT * along_mm(r) / factor]
    if not seen:
        raise DataError(
            "no training case has thin slices, or pixels as small as the slices are to become",
            expected=f"pixels {factor} times smaller than the slices are apart",
            hint="lower factor, or use learn_from: through_plane",
        )
    apart = [along_mm(r) for r in seen]
    return Course("in_plane", factor, min(apart), max(apart)), tuple(seen)


def _thin(config: Config, usable: Sequence[CaseRecord]) -> list[CaseRecord]:
    """The cases whose slices are thin enough to be the truth."""
    if config.target_spacing_mm is not None:
        return [r for r in usable if along_mm(r) <= _EXACT * config.target_spacing_mm]
    if config.learn_from == "through_plane":
        return list(usable)
    return [r for r in usable if along_mm(r) <= _ISOTROPIC * pixel_mm(r)]


def _wanted_factor(config: Config, usable: Sequence[CaseRecord]) -> int:
    """The factor that makes the thick training cases as thin as asked, or as thin as their pixels are wide."""
    ratios = [along_mm(r) / (config.target_spacing_mm or pixel_mm(r)) for r in usable]
    thick = [ratio for ratio in ratios if ratio > _ISOTROPIC]
    if not thick:
        hint = "name factor: thin slices are then made thicker by it to learn from"
        raise DataError("no training case has thick slices to tell a factor from", where="factor", hint=hint)
    factor = max(2, round(float(np.median(thick))))
    if factor not in _FACTORS:
        raise DataError(
            f"slices are {factor} times as far apart as asked",
            expected=f"at most {_FACTORS[-1]} times",
            hint="name a larger target_spacing_mm",
        )
    return factor
