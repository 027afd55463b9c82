"""The card of a trained generator: what it is, what it has seen, and whether a host is like that."""

from __future__ import annotations

from typing import Literal, Self, final

import numpy as np
from pydantic import Field

from medaug.core.budget import PrivacyBudget
from medaug.core.case import CaseRecord
from medaug.core.config import Document, Frozen
from medaug.core.errors import CheckpointError, GeometryError
from medaug.core.intensity import IntensityScheme
from medaug.core.lesion import LesionEntry
from medaug.core.storage import sha256_text

_WARN, _REFUSE = 2.0, 4.0  # times finer or coarser than what was learnt
_HINT = "use a generator of `medaug fit` on this dataset"

Millimetres = tuple[float, float, float]


@final
class Learnt(Frozen):
    """What a generator has learnt from, in figures."""

    lesions: dict[str, int] = Field(description="of each class")
    patients: dict[str, int] = Field(description="who have a lesion of the class")
    diameter_mm: dict[str, tuple[float, float]] = Field(description="smallest and largest of each class")
    spacing: Literal["known", "nominal"] = Field(description="nominal where any scan's was unknown")
    finest_mm: Millimetres = Field(description="smallest spacing along each axis")
    coarsest_mm: Millimetres = Field(description="largest spacing along each axis")

    @staticmethod
    def of(entries: tuple[LesionEntry, ...]) -> Learnt:
        """The figures of some lesions, at least one."""
        named: dict[str, list[LesionEntry]] = {}
        for entry in entries:
            named.setdefault(entry.class_name, []).append(entry)
        spacings = np.array([entry.spacing_mm for entry in entries])
        low, high = (tuple(float(v) for v in row) for row in (spacings.min(axis=0), spacings.max(axis=0)))
        return Learnt(
            lesions={name: len(group) for name, group in named.items()},
            patients={name: len({e.patient_id for e in group}) for name, group in named.items()},
            diameter_mm={name: _range([e.diameter_mm for e in group]) for name, group in named.items()},
            spacing="known" if all(entry.spacing == "known" for entry in entries) else "nominal",
            finest_mm=(low[0], low[1], low[2]),
            coarsest_mm=(high[0], high[1], high[2]),
        )


@final
class GeneratorCard(Document):
    """``generator.json`` of a trained generator: what it is and what it has seen."""

    kind: str
    config: dict[str, object]
    classes: tuple[str, ...] = Field(min_length=1)
    scheme: IntensityScheme
    training_patients: tuple[str, ...]
    training_scope_sha256: str = Field(description="hash of the training patients")
    bank_sha256: str
    dataset_sha256: str
    fold: int
    steps: int
    weights_sha256: str
    learnt: Learnt | None = Field(default=None, description="null in cards of earlier versions")
    instead_of: str | None = Field(
        default=None, description="the kind that was asked for, where there was too little to train it"
    )
    notes: tuple[str, ...] = Field(default=(), description="what to beware of, in sentences")
    privacy: PrivacyBudget | None = Field(
        default=None,
        exclude_if=lambda value: value is None,  # the seals of cards without it hold
        description="what differential privacy was kept; absent: none",
    )
    seal: str = Field(default="", description="hash of all the rest; tells an edited card")

    def sealed(self) -> Self:
        """The card with its seal."""
        return self.model_copy(update={"seal": self._hash()})

    @property
    def is_intact(self) -> bool:
        """Whether nobody changed it since it was sealed; a card without seal is taken as it is."""
        return self.seal in {"", self._hash()}

    def _hash(self) -> str:
        return sha256_text(self.model_copy(update={"seal": ""}).model_dump_json())


def check_classes(card: GeneratorCard, classes: tuple[str, ...]) -> None:
    """Refuse a generator that has learnt classes a dataset does not have.

    Raises:
        CheckpointError: If its table is another.
    """
    odd = [name for name in card.classes if name not in classes]
    if odd:
        found = f"the generator was trained on another class table: {', '.join(card.classes)}"
        raise CheckpointError(found, expected=", ".join(classes), hint=_HINT)


def check_host(card: GeneratorCard, host: CaseRecord) -> str | None:
    """Whether a generator may draw into a host: same channels, unit, and a spacing near those it has learnt.

    Sizes in voxels and grain of the texture change with the spacing, so one beyond twice the learnt range is warned
    of, and one beyond four times is refused. Along the slices it matters to a generator of volumes alone. A nominal
    spacing, here or there, is not compared.

    Returns:
        A warning, or None.

    Raises:
        CheckpointError: If unit or channels are others.
        GeometryError: If the spacing is far from all that was learnt.
    """
    scheme = card.scheme
    if host.unit is not scheme.unit:
        expected = f"{scheme.unit.value}, as the generator has learnt"
        raise CheckpointError(f"the host's voxels are in {host.unit.value}", expected=expected, hint=_HINT)
    if host.channels != scheme.channels:
        expected = f"{', '.join(scheme.channels)}, as the generator has learnt"
        raise CheckpointError(
            f"the host's channels are {', '.join(host.channels)}", expected=expected, hint=_HINT
        )
    learnt = card.learnt
    if learnt is None or learnt.spacing == "nominal" or host.spacing == "nominal":
        return None
    axes = 2 if card.config.get("dims") == 2 else 3
    rows = zip(host.spacing_mm[:axes], learnt.finest_mm, learnt.coarsest_mm, strict=False)
    factor = max(max(low / now, now / high) for now, low, high in rows)
    if factor <= _WARN:
        return None
    found = (
        f"the host's spacing of {_words(host.spacing_mm)} mm is {factor:.1f} times outside what was learnt"
    )
    expected = f"{_words(learnt.finest_mm)} to {_words(learnt.coarsest_mm)} mm"
    if factor > _REFUSE:
        raise GeometryError(found, expected=expected, hint="resample the host, or train on such scans")
    return f"{found} ({expected}); lesions may be too fine or too coarse"


def _range(values: list[float]) -> tuple[float, float]:
    return round(min(values), 3), round(max(values), 3)


def _words(spacing_mm: Millimetres) -> str:
    return " x ".join(f"{value:.3g}" for value in spacing_mm)
