"""How long an experiment will take and what it needs, before it starts and while it runs."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import final

from pydantic import Field

from medaug.core.config import Frozen
from medaug.core.runs import Progress
from medaug.experiments.bench import Rates, Work
from medaug.experiments.design import Cell, scored_records
from medaug.experiments.study import Study
from medaug.experiments.subset import fit_claim


@final
class Estimate(Frozen):
    """From a short trial of everything."""

    workers: int
    trainings: int = Field(default=0, description="that are still to be done")
    fits: int = Field(default=0, description="of generators that are trained, one a training subset")
    minutes: float = Field(default=0.0, description="by the clock, with these workers")
    cpu_hours: float = 0.0
    disk_mib: float = 0.0

    @property
    def line(self) -> str:
        """For a person."""
        fits = f" and {self.fits} generator fits" if self.fits else ""
        crew = f" with {self.workers} workers" if self.workers > 1 else ""
        return (
            f"about {self.minutes:.1f} min{crew}, {self.cpu_hours:.2f} CPU hours and {self.disk_mib:.0f} MiB of disk for "
            f"{self.trainings} trainings{fits}"
        )


def estimate(study: Study, pending: Sequence[Cell], rates: Rates, workers: int) -> Estimate:
    """What the cells that are left will take."""
    fits = {
        fit_claim(cell): rates.fitting[cell.arm.name] for cell in pending if cell.arm.generator is not None
    }
    total = sum((training_work(study, cell, rates) for cell in pending), Work())
    total = sum(fits.values(), total)
    crew = max(1, min(workers, len(pending)))
    return Estimate(
        trainings=len(pending),
        fits=sum(fit.seconds > 0 for fit in fits.values()),
        minutes=total.seconds / 60 / crew,
        cpu_hours=total.cpu_seconds / 3600,
        disk_mib=total.disk_bytes / 2**20,
        workers=workers,
    )


def training_work(study: Study, cell: Cell, rates: Rates) -> Work:
    """Training and scoring of one cell."""
    scored = len(scored_records(study.dataset.manifest, cell.fold))
    return rates.training[cell.arm.name] + rates.scoring.times(scored)


@final
class Clock:
    """Says how long the cells of a call will still take, whoever works on them.

    Args:
        work: What each cell takes, in any unit.
        before: Those that were done when the clock started.
        progress: Told.
    """

    def __init__(self, work: Mapping[str, float], before: Collection[str], progress: Progress) -> None:
        self._work, self._progress = work, progress
        self._at_first = sum(work[name] for name in before if name in work)
        self._begun = time.monotonic()

    def tick(self, name: str, seconds: float, done: Collection[str]) -> None:
        """The line after each cell."""
        total = sum(self._work.values())
        finished = [one for one in done if one in self._work]
        amount = sum(self._work[one] for one in finished)
        rate = (amount - self._at_first) / (time.monotonic() - self._begun)
        left = f"about {(total - amount) / rate / 60:.1f} min left" if rate > 0 else "time left unknown"
        self._progress.say(f"{len(finished)} of {len(self._work)}: {name} trained in {seconds:.0f} s; {left}")
