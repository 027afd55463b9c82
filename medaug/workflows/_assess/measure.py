"""The parts of an assessment in their order; what was finished before is not measured again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from medaug.copying.membership import infer_membership
from medaug.core.assessment import (
    ClassQuality,
    Group,
    MembershipResult,
    QualityReport,
    SampleScore,
    read_rejections,
)
from medaug.core.config import Document
from medaug.core.errors import DataError
from medaug.core.runs import Progress, RunDir
from medaug.quality.bias import Asked, Mix, describe_bias, inherited
from medaug.quality.extractor import Extractor
from medaug.quality.realism import Lesions, describe_classes
from medaug.quality.samples import LesionSample
from medaug.quality.scores import Material, Scores, aligned, score_samples
from medaug.workflows._assess.copies import Copies, search_copies, unsearched, with_membership
from medaug.workflows._assess.job import PIECES, Job
from medaug.workflows._assess.labels import LabelDice, measure_labels
from medaug.workflows._assess.look import Kept, Reader, let_by
from medaug.workflows._assess.pieces import Pieces
from medaug.workflows._assess.results import WORST, draw_worst, write_results

_NO_LESION = "no lesion is labelled in the set; quality, fidelity and bias need some"


@final
class _Classes(Document):
    """What was measured of every class, and what was not."""

    classes: tuple[ClassQuality, ...]
    notes: tuple[str, ...]


def measure(job: Job, run: RunDir, progress: Progress) -> None:
    """Measure what is asked and write it.

    Raises:
        DataError: If the training patients have no lesion, or an image or label does not fit.
    """
    course = _Course(job, run, Pieces(run.path), progress)
    reader = Reader(job)
    copies = course.copies(reader)
    kept = reader.kept
    if not kept.training:
        what = f"training patients of fold {job.fold.index} have no lesion"
        raise DataError(what, hint="split the dataset again")
    described = course.described(kept)
    scores = course.scored(kept, reader)
    quality = course.quality(described, scores, copies).model_copy(update={"bias": course.bias(kept, scores)})
    if scores is not None:
        draw_worst(run.path / WORST, kept, scores.samples)
    run.log("assess", lesions=len(kept.made), flagged=len(copies.audit.flagged))
    audit = with_membership(copies.audit, course.membership(kept))
    write_results(job, run, quality, audit)
    course.pieces.clear()


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Course:
    """One call on its way through the parts."""

    job: Job
    run: RunDir
    pieces: Pieces
    progress: Progress

    def copies(self, reader: Reader) -> Copies:
        """Read every case, and search it for copies unless that is done or not asked."""
        job, progress = self.job, self.progress
        if job.asks("copying") and not self.pieces.has("copying"):
            return self.pieces.get(
                "copying", Copies, lambda: search_copies(job, reader, self.run.path, progress)
            )
        let_by(reader.training(), "training cases", len(job.training()), progress)
        let_by(reader.held_out(), "held-out cases", len(job.held_out()), progress)
        let_by(reader.synthetic(), "synthetic cases", len(job.made.cases), progress)
        nothing = unsearched(job, "copies were not searched: --parts leaves copying out")
        return self.pieces.get("copying", Copies, lambda: nothing) if job.asks("copying") else nothing

    def membership(self, kept: Kept) -> MembershipResult | None:
        """Whether the set tells who was trained on; None where that is not asked."""
        if not self.job.asks("membership"):
            return None
        rng = self.job.seeds.child("membership").rng()
        return infer_membership(kept.made, kept.training, kept.held_out, rng)

    def described(self, kept: Kept) -> _Classes:
        """Distances, spreads and diversity of every class; counts alone where they are not asked."""
        job = self.job
        if kept.made and job.asks("quality"):
            return self.pieces.get("quality", _Classes, lambda: self._describe(kept))
        counts = [
            {
                "class_name": name,
                "n_synthetic": _count(kept.made, name),
                "n_training": _count(kept.training, name),
                "n_held_out": _count(kept.held_out, name),
            }
            for name in job.real.classes
        ]
        return _Classes(classes=tuple(ClassQuality.model_validate(one) for one in counts), notes=())

    def _describe(self, kept: Kept) -> _Classes:
        job, path = self.job, self.job.options.extractor
        lesions = Lesions(tuple(kept.made), tuple(kept.training), tuple(kept.held_out))
        extractor = None if path is None else Extractor(path)
        found = describe_classes(
            lesions, job.real.classes, job.seeds.child("classes"), self.progress, extractor
        )
        return _Classes(classes=found.classes, notes=found.notes)

    def scored(self, kept: Kept, reader: Reader) -> Scores | None:
        """Every lesion by itself, with what a segmenter says of its label."""
        job = self.job
        if not kept.made or not job.asks("fidelity"):
            return None
        asked = reader.made_records, self.run.path
        dice = self.pieces.get("labels", LabelDice, lambda: measure_labels(job, *asked, self.progress))
        material = Material(
            kept.made,
            kept.training,
            kept.held_out,
            dice=aligned(kept.made, dice.made),
            dice_held_out=aligned(kept.held_out, dice.held_out),
            pastes=kept.pastes,
        )
        return score_samples(material, job.real.classes, job.seeds.child("scores"))

    def bias(self, kept: Kept, scores: Scores | None) -> tuple[Group, ...]:
        """Synthetic lesions beside the training patients', group by group."""
        job = self.job
        if not kept.made or not (job.asks("quality") or job.asks("fidelity")):
            return ()
        mix = Mix(
            made=kept.made,
            scores=np.asarray(
                [np.nan] * len(kept.made) if scores is None else [s.score for s in scores.samples]
            ),
            real=kept.training,
            of_made=inherited(
                job.made, job.real, {r.case_id: job.host_of(r.case_id) for r in job.made.cases}
            ),
            of_real={record.case_id: record.attributes for record in job.real.cases},
            asked=Asked.of(job.recipes.values()),
        )
        return describe_bias(mix, job.real.classes, job.seeds.child("bias"))

    def quality(self, described: _Classes, scores: Scores | None, copies: Copies) -> QualityReport:
        """All that was found of quality as one document."""
        job = self.job
        made = any(one.n_synthetic for one in described.classes)
        notes = [
            f"{piece} was not measured: --parts leaves it out" for piece in PIECES if not job.asks(piece)
        ]
        notes += [] if made else [_NO_LESION]
        parts = {} if scores is None else scores.classes
        return QualityReport(
            synthetic_sha256=job.made.content_sha256,
            dataset_sha256=job.real.content_sha256,
            fold=job.fold.index,
            training_scope_sha256=job.fold.scope_sha256,
            synthetic=job.made.name,
            dataset=job.real.name,
            command=job.options.command(),
            classes=tuple(
                parts[one.class_name].added_to(one) if one.class_name in parts else one
                for one in described.classes
            ),
            samples=() if scores is None else _with_copies(scores.samples, copies),
            rejected=read_rejections(job.options.synthetic),
            extractor_sha256=job.inputs.get("extractor"),
            notes=(*notes, *described.notes),
        )


def _count(lesions: Sequence[LesionSample], name: str) -> int:
    return sum(lesion.class_name == name for lesion in lesions)


def _with_copies(samples: Sequence[SampleScore], copies: Copies) -> tuple[SampleScore, ...]:
    """The scores with how alike the case's lesion is to a training one; null where it was not judged."""
    return tuple(s.model_copy(update={"copy_score": copies.scores.get(s.case_id)}) for s in samples)
