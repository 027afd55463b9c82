"""What an experiment needs of other packages, as protocols; :mod:`medaug.workflows.bench` supplies it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, final

from medaug.core.case import Case, CaseSource
from medaug.core.runs import Progress
from medaug.core.seeding import SeedTree
from medaug.core.volume import Mask, Prediction, Volume
from medaug.experiments.cell import Trainer
from medaug.experiments.design import Arm, TrainingSubset

Predict = Callable[[Volume], Prediction]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A synthetic lesion to look at.

    Attributes:
        case: The synthetic case.
        mask: (I, J, K) True in the lesion that was drawn.
        class_name: Its class.
    """

    case: Case
    mask: Mask
    class_name: str


class Prepared(Protocol):
    """A bank and a generator, refitted inside one training subset."""

    kind: str

    def source(self, arm: Arm) -> CaseSource:
        """Streams synthetic cases into training."""
        ...

    def samples(self, count: int, seed: SeedTree) -> Sequence[Sample]:
        """A few synthetic lesions of every class that is drawn."""
        ...


@final
@dataclass(frozen=True, slots=True)
class Work:
    """What something takes, once.

    Attributes:
        seconds: By the clock.
        cpu_seconds: Of all cores.
        disk_bytes: That it leaves.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    disk_bytes: int = 0

    def __add__(self, other: Work) -> Work:
        """Both."""
        return Work(
            self.seconds + other.seconds,
            self.cpu_seconds + other.cpu_seconds,
            self.disk_bytes + other.disk_bytes,
        )

    def times(self, factor: float) -> Work:
        """It many times; what is left on the disk, too."""
        return Work(self.seconds * factor, self.cpu_seconds * factor, round(self.disk_bytes * factor))


@final
@dataclass(frozen=True, slots=True)
class Rates:
    """What the parts of an experiment take here, from a short trial of each.

    Attributes:
        training: A training of each arm by name, with its synthetic draws and the search for its augmentation.
        fitting: A fit of the generator of each arm by name; arms of one generator share it.
        scoring: One case.
    """

    training: Mapping[str, Work]
    fitting: Mapping[str, Work]
    scoring: Work


class Workbench(Trainer, Protocol):
    """What an experiment needs beside training: generators, and how long all of it takes."""

    def prepare(
        self, arm: Arm, subset: TrainingSubset, cases: Sequence[Case], folder: Path, progress: Progress
    ) -> Prepared:
        """Fit bank and generator of an arm on the subset alone, inside ``folder``; what is there is reused."""
        ...

    def rates(self, subset: TrainingSubset, cases: Sequence[Case], score: Callable[[Predict], None]) -> Rates:
        """Try a few steps of everything, and let ``score`` score one case with what they taught; nothing is left."""
        ...
