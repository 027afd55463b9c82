"""Small whole cases for tests of translators: blocks and waves in a head-like ellipsoid, thin or thick slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medaug.core.case import Case, CaseRecord, StoredFile
from medaug.core.geometry import Grid
from medaug.core.splits import Fold
from medaug.core.volume import LabelMap, Unit, Volume

CLASSES = ("core", "rim")


def scan(
    number: int,
    *,
    shape: tuple[int, int, int] = (20, 18, 16),
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    channels: tuple[str, ...] = ("T1",),
    spacing_known: bool = True,
) -> Case:
    """An ellipsoid with waves through it in channel n, dark around; a ball of two classes in the middle."""
    rng = np.random.default_rng(number)
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    radius = np.sqrt(sum(a**2 for a in axes))
    phase = rng.uniform(0, 6, 3)
    image = np.stack(
        [
            np.where(
                radius < 0.95,
                400 + 100 * (n + 1) * np.sin(9 * axes[2] + phase[0]) * np.cos(5 * axes[n % 2] + phase[1]),
                0,
            )
            for n in range(len(channels))
        ]
    )
    labels = np.zeros(shape, dtype=np.uint8)
    labels[radius < 0.6] = 2
    labels[radius < 0.4] = 1
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = (-10.0, 5.0, 30.0)
    grid = Grid(shape, affine)
    volume = Volume(image.astype(np.float32), grid, Unit.ARBITRARY, channels, spacing_known)
    return Case(f"case_{number:03d}", f"patient_{number:03d}", volume, LabelMap(labels, grid, CLASSES))


@dataclass(frozen=True)
class MadeCases:
    """Training cases in memory."""

    cases: tuple[Case, ...]
    classes: tuple[str, ...] = CLASSES
    dataset_sha256: str = "0" * 64

    @staticmethod
    def of(cases: Sequence[Case]) -> MadeCases:
        """These."""
        return MadeCases(tuple(cases))

    @property
    def records(self) -> tuple[CaseRecord, ...]:
        """What a manifest would say of them."""
        return tuple(record(case) for case in self.cases)

    @property
    def fold(self) -> Fold:
        """A fold that trains on all of them."""
        train = tuple(sorted({case.patient_id for case in self.cases}))
        return Fold(index=0, train=train, held_out=("patient_999",))

    def load(self, record: CaseRecord) -> Case:
        """The case of that id."""
        return next(case for case in self.cases if case.case_id == record.case_id)


def record(case: Case) -> CaseRecord:
    """What a manifest would say of a case."""
    return CaseRecord(
        case_id=case.case_id,
        patient_id=case.patient_id,
        modality="MR",
        unit=case.volume.unit,
        channels=case.volume.channels,
        shape=case.volume.grid.shape,
        spacing_mm=case.volume.grid.spacing_mm,
        spacing="known" if case.volume.spacing_known else "nominal",
        images=tuple(
            StoredFile(path=f"{case.case_id}_{n}", sha256="0" * 64)
            for n, _ in enumerate(case.volume.channels)
        ),
        label=None,
    )
