"""Each case is read once: its lesions are kept, all of it goes by for the copy search, and then it is forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import final

import numpy as np
from jaxtyping import Float

from medaug.copying.imprint import Host, Imprint, same_share
from medaug.core.case import Case, CaseRecord
from medaug.core.errors import DataError
from medaug.core.intensity import IntensityScheme
from medaug.core.runs import Progress
from medaug.core.volume import Mask
from medaug.io.dataset import load_case, load_edit_mask
from medaug.quality.samples import LesionSample, cut_lesions
from medaug.quality.seams import PastePair, paste_pair
from medaug.workflows._assess.job import Job

_HOSTED_SHOWN, _WIDEST = 12, 160


@final
@dataclass(frozen=True, slots=True, eq=False)
class Hosted:
    """A synthetic case beside the scan it was made in: the slice where most was edited, first channel."""

    case_id: str
    host: Host
    made: Float[np.ndarray, "I J"]
    scan: Float[np.ndarray, "I J"]


@final
@dataclass(slots=True, eq=False)
class Kept:
    """The lesions, null pastes and slices to look at, cut out of what was read."""

    training: list[LesionSample] = field(default_factory=list)
    held_out: list[LesionSample] = field(default_factory=list)
    made: list[LesionSample] = field(default_factory=list)
    pastes: list[PastePair] = field(default_factory=list)
    hosted: list[Hosted] = field(default_factory=list)


@final
class Reader:
    """Reads the cases of a job.

    Attributes:
        kept: Lesions of the cases that have gone by.
    """

    def __init__(self, job: Job) -> None:
        self.kept = Kept()
        self._job = job
        self._host: Case | None = None

    @property
    def made_records(self) -> tuple[CaseRecord, ...]:
        """The synthetic cases in the order in which they are read: host by host, so that each host is read once."""
        job = self._job
        return tuple(sorted(job.made.cases, key=lambda r: (job.host_of(r.case_id) or "", r.case_id)))

    def training(self) -> Iterator[Imprint]:
        """Cases of the training patients."""
        return self._real(self._job.training(), self.kept.training)

    def held_out(self) -> Iterator[Imprint]:
        """Cases of the held-out patients."""
        return self._real(self._job.held_out(), self.kept.held_out)

    def synthetic(self) -> Iterator[Imprint]:
        """Cases of the set.

        Raises:
            DataError: If a recipe says that a lesion was drawn, and the edit mask holds none.
        """
        job = self._job
        for record in self.made_records:
            case = _finite(load_case(job.options.synthetic, record, job.made.classes))
            edit = None if record.edit_mask is None else load_edit_mask(job.options.synthetic, record)
            found = [] if case.label_map is None or job.is_null(case.case_id) else cut_lesions(case, edit)
            if edit is not None and not found and not job.is_null(case.case_id):
                raise DataError(
                    "no labelled lesion lies in the edit mask",
                    where=record.case_id,
                    hint="make the set again",
                )
            self.kept.made += found
            host = self._host_of(case, edit)
            self._keep_paste(case, edit)
            yield self._imprint(case, edit, host)

    def _real(self, records: Iterable[CaseRecord], kept: list[LesionSample]) -> Iterator[Imprint]:
        job = self._job
        for record in records:
            case = _finite(load_case(job.options.against, record, job.real.classes))
            if case.label_map is not None:
                kept += cut_lesions(case)
            yield self._imprint(case, None, None)

    def _host_of(self, case: Case, edit: Mask | None) -> Host | None:
        """What the set says a case was made in, and how much of it is still the same; shapes may differ."""
        name = self._job.host_of(case.case_id)
        if name is None:
            return None
        if self._host is None or self._host.case_id != name:
            self._host = load_case(
                self._job.options.against, self._job.real.case(name), self._job.real.classes
            )
        background = np.ones(case.volume.grid.shape, dtype=bool) if edit is None else ~edit
        host = Host(name, same_share(case.volume.image, self._host.volume.image, background))
        if host.same_share > 0 and len(self.kept.hosted) < _HOSTED_SHOWN:
            k = background.shape[2] // 2 if edit is None else int(np.argmax(edit.sum(axis=(0, 1))))
            step = -(-max(background.shape[:2]) // _WIDEST)
            made, scan = (one.volume.image[0, ::step, ::step, k].copy() for one in (case, self._host))
            self.kept.hosted.append(Hosted(case.case_id, host, made, scan))
        return host

    def _keep_paste(self, case: Case, edit: Mask | None) -> None:
        """Keep a null paste beside the same place of its host, which has just been read."""
        if edit is None or not edit.any() or self._host is None or not self._job.is_null(case.case_id):
            return
        recipe = self._job.recipes[case.case_id]
        self.kept.pastes.append(paste_pair(case, self._host, edit, recipe.class_name))

    def _imprint(self, case: Case, edit: Mask | None, host: Host | None) -> Imprint:
        image = IntensityScheme.for_volume(case.volume).case_scale(case.volume).normalise(case.volume.image)
        lesion = np.zeros(case.volume.grid.shape, dtype=bool)
        if case.label_map is not None and not self._job.is_null(case.case_id):
            lesion = np.asarray(case.label_map.labels > 0) & (True if edit is None else edit)
        return Imprint(case.case_id, case.patient_id, image, lesion, case.volume.grid.spacing_mm, edit, host)


def _finite(case: Case) -> Case:
    """Raise where an image holds voxels that are no numbers."""
    count = int((~np.isfinite(case.volume.image)).sum())
    if count:
        raise DataError(f"{count} voxels are not finite", where=case.case_id, hint="ingest the set again")
    return case


def let_by(imprints: Iterable[Imprint], label: str, count: int, progress: Progress) -> None:
    """Read cases for their lesions alone."""
    progress.start(label, count)
    for _ in imprints:
        progress.advance()
