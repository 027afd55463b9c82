"""The workbench of an experiment: bank, generators, transforms and task as the arms ask for them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

from pydantic import Field

from medaug.core.case import AUGMENTATIONS, Case, CaseRecord, CaseSource, Manifest
from medaug.core.config import Frozen
from medaug.core.errors import ConfigError, DataError
from medaug.core.intensity import IntensityScheme
from medaug.core.lesion import Generator
from medaug.core.runs import NoProgress, Progress, RunDir, finished, open_run
from medaug.core.seeding import SeedTree
from medaug.core.storage import sha256_text
from medaug.engine.augment import BatchAugment
from medaug.experiments.bench import Predict, Rates, Sample, Work
from medaug.experiments.cell import Material, Trained
from medaug.experiments.design import Arm, ExperimentConfig, Settings, TrainingSubset
from medaug.generators.base import (
    GeneratorConfig,
    ReadyConfig,
    load_generator,
    on_device,
    parse_generator,
)
from medaug.io.dataset import load_case
from medaug.lesions.bank import Bank, bank_of_cases
from medaug.quality.judge import ClassJudge
from medaug.synthesis.fit import fit_generator
from medaug.synthesis.order import Finish, Order
from medaug.synthesis.rejection import Acceptance, RejectionSource
from medaug.synthesis.render import Renderer
from medaug.synthesis.source import StreamingSource, StreamOptions
from medaug.tasks.base import TrainingData, parse_task
from medaug.transforms import Journal
from medaug.transforms.base import parse_transforms
from medaug.workflows.arms import SHARES, generator_of, settings_of, task_of, taught_by, teacher_of
from medaug.workflows.policy import Basis, choose, starting, trained, trainings
from medaug.workflows.train import STEP as TRAIN_STEP
from medaug.workflows.trial import STEPS, EnoughError, Laps, Mark, left_in, trial_run

_FIT_STEP = "fit"
_TRIES = 12
_DRAWS = 6  # that are timed


@final
@dataclass(frozen=True, slots=True)
class Where:
    """Where the cases lie, and where networks compute: training, generators and what they draw."""

    dataset: Path
    device: str


@final
class _Prepared:
    """A renderer fitted inside one training subset, and its hosts."""

    def __init__(
        self, renderer: Renderer, hosts: Sequence[Case], drawn: Sequence[str], dims: Literal[2, 3]
    ) -> None:
        self._renderer, self._hosts, self._drawn, self._dims = renderer, hosts, drawn, dims
        self._judge: ClassJudge | None = None
        self.kind = renderer.generator.kind

    def source(self, arm: Arm) -> CaseSource:
        """See :class:`medaug.experiments.bench.Prepared`."""
        options = StreamOptions(self._dims, tuple(self._drawn), arm.swap_share, arm.contrast)
        source = StreamingSource(self._hosts, self._renderer, options)
        if arm.keep_score is None:
            return source
        if self._judge is None:
            self._judge = ClassJudge(self._renderer.bank, self._dims)
        return RejectionSource(source, self._judge, Acceptance(arm.keep_score))

    def samples(self, count: int, seed: SeedTree) -> Sequence[Sample]:
        """See :class:`medaug.experiments.bench.Prepared`."""
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
class Bench:
    """The workbench of an experiment (:class:`medaug.experiments.bench.Workbench`).

    Args:
        where: The dataset and the device.
        config: The experiment, with all defaults written out.
        manifest: Of the dataset.
        drawn: Classes that synthetic lesions have.
    """

    def __init__(
        self, where: Where, config: ExperimentConfig, manifest: Manifest, drawn: Sequence[str]
    ) -> None:
        self._where, self._config, self._manifest, self._drawn = where, config, manifest, drawn
        self._bank: tuple[str, Bank] | None = None
        self._generators: dict[str, Generator] = {}
        self._prepared: dict[tuple[str, Finish], _Prepared] = {}

    def load(self, record: CaseRecord) -> Case:
        """Read one case."""
        return load_case(self._where.dataset, record, self._manifest.classes)

    def prepare(
        self, arm: Arm, subset: TrainingSubset, cases: Sequence[Case], folder: Path, progress: Progress
    ) -> _Prepared:
        """Fit bank and generator on the subset; those of another subset are let go."""
        bank = self._bank_of(subset, cases, progress)
        config, finish = generator_of(arm), _finish(arm)
        told = config.model_dump_json() + ("" if arm.teacher is None else json.dumps(arm.teacher))
        name = f"generator_{config.kind}_{sha256_text(told)[:8]}"
        if name not in self._generators:
            self._generators[name] = self._generator(arm, subset, cases, folder / name, progress)
        if (name, finish) not in self._prepared:
            self._prepared[name, finish] = self._ready(arm, bank, self._generators[name], cases)
        return self._prepared[name, finish]

    def _ready(self, arm: Arm, bank: Bank, generator: Generator, cases: Sequence[Case]) -> _Prepared:
        """What draws for an arm with a generator that has learnt."""
        renderer = Renderer(bank, generator, finish=_finish(arm))
        for class_name in self._drawn:
            renderer.require_class(class_name)
        return _Prepared(renderer, cases, self._drawn, _dims_of(self._config.task))

    def _bank_of(self, subset: TrainingSubset, cases: Sequence[Case], progress: Progress) -> Bank:
        if self._bank is None or self._bank[0] != subset.sha256:
            progress.say("cutting the lesion bank out of the training cases")
            bank = bank_of_cases(cases, subset.fold, self._manifest.content_sha256)
            self._bank, self._generators, self._prepared = (subset.sha256, bank), {}, {}
        return self._bank[1]

    def _generator(
        self, arm: Arm, subset: TrainingSubset, cases: Sequence[Case], path: Path, progress: Progress
    ) -> Generator:
        """The arm's generator, fitted in its folder; its teacher is trained before, in a folder beside."""
        config, bank = generator_of(arm), self._bank_of(subset, cases, progress)
        if isinstance(config, ReadyConfig):
            return config.build()
        asked = _FitSettings(generator=settings_of(config), teacher=arm.teacher)
        inputs = {"bank": bank.sha256, "subset": subset.sha256}
        if finished(path, _FIT_STEP, asked, inputs):
            return load_generator(str(path), subset.fold, self._where.device)
        if arm.teacher is not None:
            teacher = path.with_name(f"teacher_of_{path.name}")
            self._teach(arm, subset, cases, teacher, progress)
            config = taught_by(config, teacher)
        with open_run(path, _FIT_STEP, asked, inputs) as run:
            seed = SeedTree(0).child("fit", path.parent.name)
            placed = on_device(config, self._where.device)
            return fit_generator(placed, bank, subset.fold, run, progress, seed)

    def _teach(
        self, arm: Arm, subset: TrainingSubset, cases: Sequence[Case], path: Path, progress: Progress
    ) -> None:
        """Train the teacher of one generator on the subset, with classical augmentation whatever the arm's."""
        task, transforms = teacher_of(arm), parse_transforms({"kind": "classical"})
        asked = _TeacherSettings(task=settings_of(task), transforms=settings_of(transforms))
        inputs = {"fold": subset.fold.scope_sha256, "subset": subset.sha256}
        if finished(path, TRAIN_STEP, asked, inputs):
            return
        with open_run(path, TRAIN_STEP, asked, inputs) as run:
            progress.say(f"training the teacher of {arm.name}'s generator on the training subset")
            seed = SeedTree(0).child("teach", path.parent.name)
            augment = transforms.build(self._manifest.unit, self._manifest.modality)
            data = self._training_data(cases, None)
            task.build(self._where.device).fit(data, augment, run, progress, seed)

    def train(self, arm: Arm, material: Material, run: RunDir, progress: Progress, seed: SeedTree) -> Trained:
        """Train the task with the arm's transforms, shares and source; a policy is learnt before."""
        task, device = task_of(self._config.task, arm), self._where.device
        data = self._training_data(material.cases, material.source)
        basis = Basis(data, material.fold, self._manifest.modality, task, device)
        chosen = choose(parse_transforms(arm.transforms), basis, run, progress, seed)
        augment = chosen.augment
        if self._config.record_augmentations:
            augment = Journal(augment, run.path / AUGMENTATIONS)
        report = task.build(device).fit(data, augment, run, progress, seed)
        return trained(report, run, device, chosen.search_steps)

    def rates(self, subset: TrainingSubset, cases: Sequence[Case], score: Callable[[Predict], None]) -> Rates:
        """See :class:`medaug.experiments.bench.Workbench`; training is tried with the first arm's augmentation."""
        plain, patches, scoring = self._try_training(cases, score)
        training: dict[str, Work] = {}
        fitting: dict[str, Work] = {}
        tried: dict[str, tuple[Work, Work]] = {}
        for arm in self._config.arms:
            training[arm.name] = plain.times(trainings(parse_transforms(arm.transforms)))
            if arm.generator is not None:
                key = f"{arm.generator} {arm.teacher} {_finish(arm)}"
                if key not in tried:
                    tried[key] = self._try_generator(arm, subset, cases)
                fitting[arm.name], draw = tried[key]
                task = settings_of(task_of(self._config.task, arm))
                training[arm.name] += draw.times(patches * _drawn_share(task))
        return Rates(training, fitting, scoring)

    def _try_training(
        self, cases: Sequence[Case], score: Callable[[Predict], None]
    ) -> tuple[Work, int, Work]:
        """A training on real cases, the patches that it takes, and the scoring of one case."""
        settings = {**self._config.task, **dict.fromkeys(SHARES, 0.0)}
        steps = settings.get("steps")
        if isinstance(steps, int):
            settings["steps"] = min(STEPS, steps)
        device, augment = self._where.device, self._augment(self._config.arms[0])
        with trial_run() as run:
            laps = Laps()
            data = self._training_data(cases, None)
            report = parse_task(settings).build(device).fit(data, augment, run, laps, SeedTree(0))
            whole = steps if isinstance(steps, int) else report.steps
            work = laps.whole(whole) + left_in(run)
            predict = trained(report, run, device).predict
            score(predict)  # what is slow the first time only
            begun = Mark.now()
            score(predict)
            return work, whole * report.batch_size, begun.since

    def _try_generator(self, arm: Arm, subset: TrainingSubset, cases: Sequence[Case]) -> tuple[Work, Work]:
        """A fit of the arm's generator, with its teacher, and one draw."""
        bank = self._bank_of(subset, cases, NoProgress())
        config, taught = on_device(generator_of(arm), self._where.device), Work()
        with trial_run() as run:
            if arm.teacher is not None:
                taught = self._try_teaching(arm, subset, cases, run.path / "teacher") + left_in(run)
                config = taught_by(config, run.path / "teacher")
            generator, fit = self._try_fit(config, bank, subset)
        source = self._ready(arm, bank, generator, cases).source(arm)
        begun, seed = Mark.now(), SeedTree(0)
        names = tuple(self._drawn[n % len(self._drawn)] for n in range(_DRAWS))
        source.draw(names, tuple(seed.child(n).rng() for n in range(_DRAWS)))
        return taught + fit, begun.since.times(1 / _DRAWS)

    def _try_teaching(self, arm: Arm, subset: TrainingSubset, cases: Sequence[Case], path: Path) -> Work:
        """What a training of the teacher takes; one of a few steps is left in the folder."""
        steps, laps = settings_of(teacher_of(arm)).get("steps"), Laps()
        if not isinstance(steps, int):
            raise ConfigError("needs a number of steps", where=f"arm {arm.name}: teacher.steps")
        short = arm.model_copy(update={"teacher": {**(arm.teacher or {}), "steps": min(STEPS, steps)}})
        self._teach(short, subset, cases, path, laps)
        return laps.whole(steps)

    def _try_fit(self, config: GeneratorConfig, bank: Bank, subset: TrainingSubset) -> tuple[Generator, Work]:
        """A generator that draws as the trained one will in the end, after three steps, and what the whole fit takes."""
        steps, seed, fit = config.model_dump(mode="json").get("steps"), SeedTree(0), Work()
        if not isinstance(config, ReadyConfig) and isinstance(steps, int) and steps > STEPS:
            with trial_run() as run:
                laps = Laps(STEPS)
                with suppress(EnoughError):
                    fit_generator(config, bank, subset.fold, run, laps, seed)
                fit = laps.whole(steps)
            config = parse_generator({**config.model_dump(mode="json"), "steps": 3})
        with trial_run() as run:
            begun = Mark.now()
            generator = fit_generator(config, bank, subset.fold, run, NoProgress(), seed)
            if not isinstance(config, ReadyConfig):
                fit = (fit if fit.seconds else begun.since) + left_in(run)
            return generator, fit

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
    teacher: Settings | None = Field(default=None, exclude_if=lambda teacher: teacher is None)


@final
class _TeacherSettings(Frozen):
    """What makes the training of a teacher the same training."""

    task: Settings
    transforms: Settings


def _dims_of(task: Settings) -> Literal[2, 3]:
    """Whether lesions are drawn into single slices or whole volumes, as slices with neighbours and patches in 3D need."""
    return 2 if task.get("dims", 3) == 2 and not task.get("context") else 3


def _finish(arm: Arm) -> Finish:
    return Finish(arm.blending, arm.match_noise, arm.shapes)


def _drawn_share(task: Settings) -> float:
    """Share of a training's patches that are drawn."""
    known = {name: float(value) for name, value in task.items() if isinstance(value, int | float)}
    lesion = known.get("lesion_patch_share", 1.0)
    return lesion * known.get("synthetic_share", 0.0) + (1 - lesion) * known.get("null_share", 0.0)
