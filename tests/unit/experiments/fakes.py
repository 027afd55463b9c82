"""A small cohort and a workbench that train nothing, so that the order of an experiment can be tested."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import final

import numpy as np

from medaug.core.case import Case, CaseRecord, CaseSource, LesionCount, Manifest, Origin, StoredFile
from medaug.core.claims import CLAIMS, Claims
from medaug.core.errors import DataError
from medaug.core.geometry import Grid
from medaug.core.results import ExperimentResult
from medaug.core.runs import Progress, RunDir, begin_run
from medaug.core.seeding import SeedTree
from medaug.core.splits import Fold
from medaug.core.volume import LabelMap, Prediction, Unit, Volume
from medaug.experiments.bench import Predict, Rates, Sample, Work
from medaug.experiments.cell import Material, Trained
from medaug.experiments.context import CONTEXT, describe
from medaug.experiments.design import Arm, ExperimentConfig, SplitDataset, TrainingSubset, cells
from medaug.experiments.run import STEP, run_experiment
from medaug.experiments.study import Shard, Study, plan_study
from medaug.experiments.subset import SharedRun

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

    def __init__(
        self,
        *,
        stray: str | None = None,
        unfair: str = "",
        stop_after: int | None = None,
        trouble: tuple[str, str] = ("", ""),
        seconds: float = 0.0,
    ) -> None:
        self.stray, self.unfair, self.stop_after, self.trouble = stray, unfair, stop_after, trouble
        self.seconds = seconds
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

    def rates(self, subset: TrainingSubset, cases: Sequence[Case], score: Callable[[Predict], None]) -> Rates:
        score(_segmenter(0))
        names = ("real", "copy_paste", "classical")
        return Rates(dict.fromkeys(names, Work(60, 120, 1 << 20)), dict.fromkeys(names, Work(30)), Work(1, 2))

    def train(self, arm: Arm, material: Material, run: RunDir, progress: Progress, seed: SeedTree) -> Trained:
        if self.stop_after is not None and len(self.trained) >= self.stop_after:
            raise KeyboardInterrupt
        time.sleep(self.seconds)
        if run.path.name == self.trouble[0]:
            _fail(self.trouble[1])
        self.trained.append(run.path.name)
        self.seeds.append(seed.seed)
        steps = 9 if arm.name == self.unfair else 10
        return Trained(
            _segmenter(2 if arm.name == "real" else 0), steps, (8, 8), 0.5, arm.synthetic_share, 0.1
        )


def _segmenter(cut: int) -> Predict:
    def predict(volume: Volume) -> Prediction:
        labels = np.zeros(volume.grid.shape, dtype=np.uint8)
        labels[4 : 8 - cut, 4:8, 0] = 1
        return Prediction(LabelMap(labels, volume.grid, CLASSES))

    return predict


def _fail(how: str) -> None:
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "defect":
        raise ValueError("patient Doe, /home/doe/scan.nii")
    raise DataError("image is damaged", where="p00_a")


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


def split_dataset() -> SplitDataset:
    manifest = cohort()
    return SplitDataset(manifest, halves(manifest))


def study(config: ExperimentConfig | None = None, shard: str | None = None) -> Study:
    config, on = config or experiment(), split_dataset()
    context = describe(config, on.manifest, cells(config, on))
    return plan_study(config, on, context, None if shard is None else Shard.parse(shard))


INPUTS = {"dataset": cohort().content_sha256, "splits": HASH}


def go(
    out: Path, bench: FakeBench, of: Study | None = None, progress: Progress | None = None, workers: int = 1
) -> ExperimentResult:
    """Run an experiment as the workflow does."""
    of = of or study()
    run = begin_run(out, STEP, of.config, INPUTS)
    of.plan.context.write(out / CONTEXT)
    with Claims(out / CLAIMS) as claims:
        result = run_experiment(of, bench, SharedRun(out, claims, progress or Lines()), workers)
    if result.complete:
        run.finish()
    return result
