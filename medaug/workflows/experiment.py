"""``medaug experiment``: wires bank, generators, transforms and task into the arms of an experiment."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, cast, final

from pydantic import Field, JsonValue

from medaug.core.case import (
    AUGMENTATIONS,
    FINDINGS,
    Case,
    CaseRecord,
    CaseSource,
    FindingsFile,
    Manifest,
    read_manifest,
)
from medaug.core.config import Frozen, load_yaml
from medaug.core.errors import ConfigError, DataError
from medaug.core.intensity import IntensityScheme
from medaug.core.lesion import Generator
from medaug.core.results import (
    Comparison,
    ExperimentContext,
    ExperimentResult,
    FindingCount,
    Summary,
)
from medaug.core.runs import NoProgress, Progress, RunDir, RunRecord, finished, open_run
from medaug.core.seeding import SeedTree
from medaug.core.splits import Fold, Splits, read_splits
from medaug.core.storage import require_free_space, sha256_text
from medaug.engine.augment import BatchAugment
from medaug.experiments.cell import Material, Trained
from medaug.experiments.context import CONTEXT, describe
from medaug.experiments.design import (
    Arm,
    ExperimentConfig,
    Settings,
    TrainingSubset,
    cells,
    classes_to_draw,
    scored_records,
    training_subset,
)
from medaug.experiments.run import RESULTS, STEP, Ground, Sample, run_experiment
from medaug.generators.base import GeneratorConfig, TrainableConfig, load_generator, parse_generator
from medaug.io.dataset import load_case
from medaug.lesions.bank import Bank, bank_of_cases
from medaug.report.verdict import verdict
from medaug.synthesis.fit import fit_generator
from medaug.synthesis.order import Finish, Order
from medaug.synthesis.render import Renderer
from medaug.synthesis.source import StreamingSource, StreamOptions
from medaug.tasks.base import TaskConfig, TrainingData, parse_task
from medaug.transforms import Journal
from medaug.transforms.base import TransformConfig, parse_transforms
from medaug.workflows.policy import Basis, check_packages, choose, starting, trained, trainings

FIT_STEP = "fit"
_CELL_BYTES = 48 << 20
_PROBE_STEPS = 8
_TRIES = 12
_SHARES = ("synthetic_share", "null_share", "real_only_tail")


@final
class ExperimentOptions(Frozen):
    """Options of `medaug experiment`."""

    dataset: Path
    config: Path = Field(description="YAML file of an experiment")
    out: Path
    device: str = "auto"


@final
class ExperimentSummary(Summary):
    """What came out."""

    out: Path
    results: Path
    verdict: str
    warning: str
    comparisons: tuple[Comparison, ...]
    trainings: int
    skipped: bool = Field(description="the run folder held this experiment already")

    def lines(self) -> tuple[str, ...]:
        """The verdict, and where to read on."""
        done = "done before, nothing to do" if self.skipped else f"{self.trainings} trainings done"
        warning = (self.warning,) if self.warning else ()
        return (
            self.verdict,
            *warning,
            f"{done}; figures in {self.results}",
            f"next: `medaug report {self.out}`",
        )


def experiment(options: ExperimentOptions, progress: Progress) -> ExperimentSummary:
    """Run the arms of an experiment on the outer folds; an interrupted one goes on where it stopped.

    Raises:
        ConfigError: If the configuration is wrong, or ``out`` holds another experiment.
        DependencyError: If an arm learns its augmentation and the package for that is missing.
        DataError: If a training subset cannot be made, or there is no lesion to learn from.
        SplitLeakageError: If something would be both trained on and scored.
        TrainingError: If arms were not treated equally, or a training cannot go on.
        StorageError: If the disk is too full.
    """
    config = resolved(load_yaml(options.config, ExperimentConfig))
    manifest = read_manifest(options.dataset)
    splits = read_splits(options.dataset, manifest)
    planned = cells(config, splits.outer_folds)
    drawn = classes_to_draw(config, manifest.classes)
    for arm in config.arms:
        check_packages(parse_transforms(arm.transforms))
    for cell in planned:  # what cannot be trained is said before a folder is made
        training_subset(manifest, cell.fold, config.limit_class, cell.n_annotated)
    inputs = {"dataset": manifest.content_sha256, "splits": sha256_text(splits.model_dump_json())}
    _require_lesions(manifest, {cell.fold.index: cell.fold for cell in planned}.values())
    skipped = finished(options.out, STEP, config, inputs)
    if not skipped:
        require_free_space(options.out, len(planned) * _CELL_BYTES)
        bench = _Bench(options, config, manifest, drawn)
        with open_run(options.out, STEP, config, inputs) as run:
            _context(options, config, manifest, splits).write(options.out / CONTEXT)
            run_experiment(config, Ground(manifest, splits.outer_folds), bench, run, progress)
    result = ExperimentResult.read(options.out / RESULTS)
    said = verdict(result)
    return ExperimentSummary(
        out=options.out,
        results=options.out / RESULTS,
        verdict=said.sentence,
        warning=said.warning,
        comparisons=result.comparisons,
        trainings=result.cells_done,
        skipped=skipped,
    )


def _require_lesions(manifest: Manifest, folds: Iterable[Fold]) -> None:
    """Hours of training would end without one Dice."""
    if not any(record.lesions for fold in folds for record in scored_records(manifest, fold)):
        raise DataError(
            "no held-out patient has a lesion: there would be nothing to score",
            where="folds",
            hint="choose other folds, or split the dataset again",
        )


def resolved(config: ExperimentConfig) -> ExperimentConfig:
    """The configuration with every plugin's defaults written out, so that a run folder says all it did.

    Raises:
        ConfigError: If the settings of a plugin are wrong.
    """
    arms = []
    for arm in config.arms:
        _task_of(config.task, arm)
        transforms = _settings(parse_transforms(arm.transforms))
        generator = None if arm.generator is None else _settings(_generator_of(arm))
        arms.append(arm.model_copy(update={"transforms": transforms, "generator": generator}))
    task = _settings(_task_of(config.task, config.arms[0]))
    for key in _SHARES:  # each arm has its own
        task.pop(key, None)
    return config.model_copy(update={"task": task, "arms": tuple(arms)})


def _settings(config: TaskConfig | TransformConfig | GeneratorConfig) -> dict[str, JsonValue]:
    return cast("dict[str, JsonValue]", cast(Frozen, config).model_dump(mode="json"))


def _task_of(settings: Settings, arm: Arm) -> TaskConfig:
    """The task with the arm's shares of synthetic patches."""
    for key in _SHARES:
        if key in settings:
            raise ConfigError(
                f"{key} belongs to the arms", where="task", hint="set it in each arm with a generator"
            )
    own = arm.model_dump(include=set(_SHARES))
    return parse_task({**settings, **own})


def _generator_of(arm: Arm) -> GeneratorConfig:
    if arm.generator is None:
        raise ConfigError("has no generator", where=f"arm {arm.name}")
    return parse_generator(arm.generator, where=f"arm {arm.name}")


def _context(
    options: ExperimentOptions, config: ExperimentConfig, manifest: Manifest, splits: Splits
) -> ExperimentContext:
    command = (
        f"medaug experiment {options.dataset.name} --config {options.config.name} --out {options.out.name}"
    )
    context = describe(config, manifest, cells(config, splits.outer_folds))
    return context.model_copy(update={"command": command, "findings": _findings(options.dataset)})


def _findings(dataset: Path) -> tuple[FindingCount, ...]:
    if not (dataset / FINDINGS).is_file():
        return ()
    found = Counter((f.code, f.severity) for f in FindingsFile.read(dataset / FINDINGS).findings)
    return tuple(
        FindingCount(code=code, severity=severity, count=n) for (code, severity), n in sorted(found.items())
    )


@final
class _Prepared:
    """A renderer fitted inside one training subset, and its hosts."""

    def __init__(
        self, renderer: Renderer, hosts: Sequence[Case], drawn: Sequence[str], dims: Literal[2, 3]
    ) -> None:
        self._renderer, self._hosts, self._drawn, self._dims = renderer, hosts, drawn, dims
        self.kind = renderer.generator.kind

    def source(self, arm: Arm) -> CaseSource:
        """See :class:`medaug.experiments.run.Prepared`."""
        options = StreamOptions(self._dims, tuple(self._drawn), arm.swap_share)
        return StreamingSource(self._hosts, self._renderer, options)

    def samples(self, count: int, seed: SeedTree) -> Sequence[Sample]:
        """See :class:`medaug.experiments.run.Prepared`."""
        found = (self._sample(name, seed.child(name, n)) for name in self._drawn for n in range(count))
        return [sample for sample in found if sample is not None]

    def _sample(self, class_name: str, seed: SeedTree) -> Sample | None:
        """One lesion in a random host; None where several hosts have no place for it."""
        rng = seed.rng()
        for _ in range(_TRIES):
            host = self._hosts[int(rng.integers(len(self._hosts)))]
            try:
                (made,) = self._renderer.render([host], [Order(class_name)], [rng])
            except DataError:  # no place in this host: not a fault of the data
                continue
            if made.case.label_map is not None:
                lesion = made.case.label_map.mask(class_name) & made.edit_mask
                return Sample(made.case, lesion, class_name)
        return None


@final
class _Bench:
    """The workbench of an experiment (:class:`medaug.experiments.run.Workbench`)."""

    def __init__(
        self, options: ExperimentOptions, config: ExperimentConfig, manifest: Manifest, drawn: Sequence[str]
    ) -> None:
        self._options, self._config, self._manifest, self._drawn = options, config, manifest, drawn
        self._bank: tuple[str, Bank] | None = None
        self._generators: dict[str, Generator] = {}
        self._prepared: dict[tuple[str, Finish], _Prepared] = {}

    def load(self, record: CaseRecord) -> Case:
        """Read one case."""
        return load_case(self._options.dataset, record, self._manifest.classes)

    def prepare(
        self, arm: Arm, subset: TrainingSubset, cases: Sequence[Case], folder: Path, progress: Progress
    ) -> _Prepared:
        """Fit bank and generator on the subset; those of another subset are let go."""
        bank = self._bank_of(subset, cases, progress)
        config = _generator_of(arm)
        name = f"generator_{config.kind}_{sha256_text(config.model_dump_json())[:8]}"
        finish = Finish(arm.blending, arm.match_noise, arm.shapes)
        if name not in self._generators:
            self._generators[name] = self._generator(config, bank, subset, folder / name, progress)
        if (name, finish) not in self._prepared:
            renderer = Renderer(bank, self._generators[name], finish=finish)
            for class_name in self._drawn:
                renderer.require_class(class_name)
            dims = _dims_of(self._config.task)
            self._prepared[name, finish] = _Prepared(renderer, cases, self._drawn, dims)
        return self._prepared[name, finish]

    def _bank_of(self, subset: TrainingSubset, cases: Sequence[Case], progress: Progress) -> Bank:
        if self._bank is None or self._bank[0] != subset.sha256:
            progress.say("cutting the lesion bank out of the training cases")
            bank = bank_of_cases(cases, subset.fold, self._manifest.content_sha256)
            self._bank, self._generators, self._prepared = (subset.sha256, bank), {}, {}
        return self._bank[1]

    def _generator(
        self, config: GeneratorConfig, bank: Bank, subset: TrainingSubset, path: Path, progress: Progress
    ) -> Generator:
        if not isinstance(config, TrainableConfig):
            return config.build()
        asked = _FitSettings(generator=_settings(cast(GeneratorConfig, config)))
        inputs = {"bank": bank.sha256, "subset": subset.sha256}
        if finished(path, FIT_STEP, asked, inputs):
            return load_generator(str(path), subset.fold)
        with open_run(path, FIT_STEP, asked, inputs) as run:
            seed = SeedTree(0).child("fit", path.parent.name)
            return fit_generator(cast(GeneratorConfig, config), bank, subset.fold, run, progress, seed)

    def train(self, arm: Arm, material: Material, run: RunDir, progress: Progress, seed: SeedTree) -> Trained:
        """Train the task with the arm's transforms, shares and source; a policy is learnt before."""
        task, device = _task_of(self._config.task, arm), self._options.device
        data = self._training_data(material.cases, material.source)
        basis = Basis(data, material.fold, self._manifest.modality, task, device)
        chosen = choose(parse_transforms(arm.transforms), basis, run, progress, seed)
        augment = chosen.augment
        if self._config.record_augmentations:
            augment = Journal(augment, run.path / AUGMENTATIONS)
        report = task.build(device).fit(data, augment, run, progress, seed)
        return trained(report, run, device, chosen.search_steps)

    def trainings(self, arm: Arm) -> float:
        """How many trainings a cell of the arm amounts to."""
        return trainings(parse_transforms(arm.transforms))

    def estimate_seconds(self, cases: Sequence[Case]) -> float:
        """Seconds of one training, from a few steps of the first arm."""
        arm = self._config.arms[0]
        real = dict.fromkeys(_SHARES, 0.0)
        steps = self._config.task.get("steps")
        wanted = steps if isinstance(steps, int) else _PROBE_STEPS
        probe = parse_task({**self._config.task, **real, "steps": min(_PROBE_STEPS, wanted)})
        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            run = RunDir(
                Path(folder), RunRecord(step="probe", status="running", config={}, inputs={}), resumed=False
            )
            augment = self._augment(arm)
            task = probe.build(self._options.device)
            report = task.fit(self._training_data(cases, None), augment, run, NoProgress(), SeedTree(0))
        once = time.monotonic() - begun - report.seconds
        return once + report.seconds / report.steps * wanted

    def _augment(self, arm: Arm) -> BatchAugment:
        unit, modality = self._manifest.unit, self._manifest.modality
        return starting(parse_transforms(arm.transforms), unit, modality).build(unit, modality)

    def _training_data(self, cases: Sequence[Case], source: CaseSource | None) -> TrainingData:
        scheme = IntensityScheme.for_volume(cases[0].volume)
        return TrainingData(tuple(cases), self._manifest.classes, scheme, source)


@final
class _FitSettings(Frozen):
    """What makes the fit of a generator the same fit."""

    generator: Settings


def _dims_of(task: Settings) -> Literal[2, 3]:
    """Whether training patches are slices or volumes; a task without the setting sees volumes."""
    return 2 if task.get("dims", 3) == 2 else 3
