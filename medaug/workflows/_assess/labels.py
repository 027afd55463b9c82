"""Does a segmenter find the synthetic lesions where their labels are, as it finds those of held-out patients?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, final

from medaug.core.case import CaseRecord, Manifest
from medaug.core.config import Document
from medaug.core.runs import Progress
from medaug.io.dataset import load_case, load_edit_mask
from medaug.quality.fidelity import Segment, label_dice
from medaug.workflows._assess.job import Job
from medaug.workflows.second_opinion import FOLDER, AssessedFold, lesion_finder, segmenter_for

_MOST_HELD_OUT: Final = 200  # cases; the floor needs no more


@final
class LabelDice(Document):
    """Dice of each lesion, case by case, in the order in which lesions are cut out."""

    made: dict[str, tuple[float, ...]]
    held_out: dict[str, tuple[float, ...]]


def measure_labels(job: Job, records: Sequence[CaseRecord], out: Path, progress: Progress) -> LabelDice:
    """Ask a segmenter of the same fold about each synthetic lesion, and about held-out real ones.

    Args:
        job: What is assessed.
        records: The synthetic cases; null pastes have no lesion.
        out: Folder of the assessment; a segmenter that has to be trained first is kept there.
        progress: Told of every case.
    """
    asked, assessed = job.options, AssessedFold(job.options.against, job.real, job.fold)
    segment = lesion_finder(segmenter_for(assessed, asked.segmenter, out / FOLDER, progress, asked.seed))
    drawn = [record for record in records if not job.is_null(record.case_id)]
    held_out = [record for record in job.held_out() if record.lesions][:_MOST_HELD_OUT]
    progress.start("asking a segmenter", len(drawn) + len(held_out))
    made = {r.case_id: _dice((asked.synthetic, job.made), r, segment, progress) for r in drawn}
    real = {r.case_id: _dice((asked.against, job.real), r, segment, progress) for r in held_out}
    return LabelDice(made=made, held_out=real)


def _dice(
    source: tuple[Path, Manifest], record: CaseRecord, segment: Segment, progress: Progress
) -> tuple[float, ...]:
    folder, manifest = source
    progress.advance()
    case = load_case(folder, record, manifest.classes)
    edit = None if record.edit_mask is None else load_edit_mask(folder, record)
    return () if case.label_map is None else tuple(label_dice(case, segment, edit))
