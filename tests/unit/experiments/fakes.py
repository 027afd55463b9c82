"""A small cohort and a workbench that train nothing, so that the order of an experiment can be tested."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import final

import numpy as np

from medaug.core.case import Case, CaseRecord, CaseSource, LesionCount, Manifest, Origin, StoredFile
from medaug.core.geometry import Grid
from medaug.core.runs import Progress, RunDir
from medaug.core.seeding import SeedTree
from medaug.core.splits import Fold
from medaug.core.volume import LabelMap, Prediction, Unit, Volume
from medaug.experiments.cell import Material, Trained
from medaug.experiments.design import Arm, ExperimentConfig, TrainingSubset
from medaug.experiments.run import Ground, Sample

CLASSES = ("solid", "ground_glass")
GRID = Grid((12, 12, 2), np.eye(4))
HASH = "0" * 64


def record(case_id: str, patient_id: str, *classes: str) -> CaseRecord:
    return CaseRecord(
        case_id=case_id,
        patient_id=patient_id,
        modality="CT",
        unit=Unit.HU,
        channels=("CT",),
        shape=GRID.shape,
        spacing_mm=(1.0, 1.0, 1.0),
        images=(StoredFile(path="imagesTr/x_0000.nii.gz", sha256=HASH),),
        label=StoredFile(path="labelsTr/x.nii.gz", sha256=HASH),
        lesions=tuple(LesionCount(class_name=c, count=1, voxels=16, volume_mm3=16.0) for c in classes),
        lesion_free=not classes,
        licence="CC BY 4.0",
    )


def cohort(n: int = 12) -> Manifest:
    """Patient pN: one solid case; every even patient one ground glass case too; the last one no lesion."""
    records = []
    for number in range(n - 1):
        records.append(record(f"p{number:02d}_a", f"p{number:02d}", "solid"))
        if number % 2 == 0:
            records.append(record(f"p{number:02d}_b", f"p{number:02d}", "ground_glass"))
    records.append(record(f"p{n - 1:02d}_a", f"p{n - 1:02d}"))
    return Manifest(name="cohort", classes=CLASSES, cases=tuple(records))


def halves(manifest: Manifest) -> tuple[Fold, Fold]:
    patients = manifest.patient_ids
    middle = len(patients) // 2
    one, two = patients[:middle], patients[middle:]
    return Fold(index=0, train=one, held_out=two), Fold(index=1, train=two, held_out=one)


def case(of: CaseRecord) -> Case:
    rng = SeedTree(0).child(of.case_id).rng()
    labels = np.zeros(GRID.shape, dtype=np.uint8)
    for name in of.classes:
        labels[4:8, 4:8, 0] = CLASSES.index(name) + 1
    image = rng.normal(0, 50, (1, *GRID.shape)).astype(np.float32) + 200.0 * labels
    volume = Volume(image.astype(np.float32), GRID, Unit.HU, ("CT",))
    return Case(of.case_id, of.patient_id, volume, LabelMap(labels, GRID, CLASSES))


@final
class FakeSource:
    def __init__(self, donors: frozenset[str]) -> None:
        self._donors = donors

    @property
    def donor_patient_ids(self) -> frozenset[str]:
        return self._donors

    @property
    def classes(self) -> tuple[str, ...]:
        return CLASSES

    def draw(
        self, class_names: tuple[str | None, ...], rngs: tuple[np.random.Generator, ...]
    ) -> tuple[Case, ...]:
        return ()


@final
class FakePrepared:
    kind = "copy_paste"

    def __init__(self, subset: TrainingSubset, cases: Sequence[Case], stray: str | None) -> None:
        self._subset, self._cases, self._stray = subset, cases, stray

    def source(self, arm: Arm) -> CaseSource:
        return FakeSource(frozenset(self._subset.fold.train) | ({self._stray} if self._stray else set()))

    def samples(self, count: int, seed: SeedTree) -> Sequence[Sample]:
        host = next(c for c in self._cases if c.label_map is not None and c.label_map.labels.any())
        made = Case("made", host.patient_id, host.volume, host.label_map, Origin.SYNTHETIC)
        assert host.label_map is not None
        return [Sample(made, np.asarray(host.label_map.labels > 0), "ground_glass")] * count


@final
class FakeBench:
    """Shifts the threshold of a trivial segmenter by arm; counts what it is asked."""

    def __init__(self, *, stray: str | None = None, unfair: str = "", stop_after: int | None = None) -> None:
        self.stray, self.unfair, self.stop_after = stray, unfair, stop_after
        self.trained: list[str] = []
        self.prepared: list[str] = []
        self.seeds: list[int] = []

    def load(self, of: CaseRecord) -> Case:
        return case(of)

    def prepare(
        self, arm: Arm, subset: TrainingSubset, cases: Sequence[Case], folder: Path, progress: Progress
    ) -> FakePrepared:
        self.prepared.append(f"{arm.name} {folder.name}")
        return FakePrepared(subset, cases, self.stray)

    def estimate_seconds(self, cases: Sequence[Case]) -> float:
        return 1.0

    def trainings(self, arm: Arm) -> float:
        return 1.0

    def train(self, arm: Arm, material: Material, run: RunDir, progress: Progress, seed: SeedTree) -> Trained:
        if self.stop_after is not None and len(self.trained) >= self.stop_after:
            raise KeyboardInterrupt
        self.trained.append(run.path.name)
        self.seeds.append(seed.seed)
        cut = 2 if arm.name == "real" else 0

        def predict(volume: Volume) -> Prediction:
            labels = np.zeros(volume.grid.shape, dtype=np.uint8)
            labels[4 : 8 - cut, 4:8, 0] = 1
            return Prediction(LabelMap(labels, volume.grid, CLASSES))

        steps = 9 if arm.name == self.unfair else 10
        return Trained(predict, steps, (8, 8), 0.5, arm.synthetic_share, 0.1)


@final
class Lines:
    """Progress that keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def start(self, label: str, total: int | None) -> None:
        pass

    def advance(self, units: int = 1, note: str = "") -> None:
        pass

    def say(self, line: str) -> None:
        self.said.append(line)


def experiment(**changes: object) -> ExperimentConfig:
    raw: dict[str, object] = {
        "name": "trial",
        "task": {"kind": "segmentation"},
        "arms": [
            {"name": "real"},
            {"name": "copy_paste", "generator": {"kind": "copy_paste"}, "synthetic_share": 0.5},
        ],
        "baseline": "real",
    }
    return ExperimentConfig.model_validate(raw | changes)


def ground() -> Ground:
    manifest = cohort()
    return Ground(manifest, halves(manifest))
