"""``medaug assess``: is a synthetic set realistic, and is it a copy of the patients it was made from?"""

from __future__ import annotations

from pathlib import Path
from typing import Final, final

from medaug.core.assessment import AUDIT, QUALITY, AuditReport, ClassQuality, Figure, QualityReport
from medaug.core.runs import Progress, finished, open_run
from medaug.core.storage import require_free_space
from medaug.core.summary import Summary
from medaug.core.wording import counted
from medaug.report.assessment import ASSESSMENT_PAGE
from medaug.report.judged import number, verdicts
from medaug.workflows._assess.checks import open_job
from medaug.workflows._assess.job import PIECES, AssessOptions, Piece
from medaug.workflows._assess.measure import measure

__all__ = ["AUDIT", "PIECES", "QUALITY", "AssessOptions", "AssessSummary", "Piece", "assess"]
_NEEDED_BYTES: Final = 64 << 20


@final
class AssessSummary(Summary):
    """What was found."""

    out: str
    lesion: str
    background: str
    membership: str | None
    sentences: tuple[tuple[str, str], ...]
    reasons: tuple[str, ...]
    n_flagged: int
    detection_limit: float
    classes: tuple[ClassQuality, ...]
    n_rejected: int
    notes: tuple[str, ...]

    def lines(self) -> tuple[str, ...]:
        """The verdicts, their reasons, then one line a class, and where to read on."""
        rejected = [f"{counted(self.n_rejected, 'case')} had been rejected before"] if self.n_rejected else []
        return (
            *(f"{title}. {words}" for title, words in self.sentences),
            *(f"  {reason}" for reason in self.reasons),
            *(_class_line(one) for one in self.classes if one.n_synthetic),
            *rejected,
            *self.notes,
            f"see {self.out}/{ASSESSMENT_PAGE}; it shows patients and stays there",
        )


def _class_line(one: ClassQuality) -> str:
    space = next(iter(one.spaces), None)
    figures = (
        (
            "kernel distance",
            None if space is None else space.kernel,
            None if space is None else space.kernel_floor,
        ),
        ("alikeness", one.ms_ssim, one.ms_ssim_real),
        ("class recovered", one.recovered, one.recovered_real),
        ("segmenter's Dice", one.label_dice, one.label_dice_real),
        ("seam AUC", one.seam_auc, one.seam_auc_real),
    )
    told = ", ".join(_told(name, figure, floor) for name, figure, floor in figures if figure is not None)
    return f"{one.class_name}: {one.n_synthetic} synthetic; {told or 'no figure'}"


def _told(name: str, figure: Figure, floor: Figure | None) -> str:
    return f"{name} {number(figure.value)}" + ("" if floor is None else f" (real {number(floor.value)})")


def assess(options: AssessOptions, progress: Progress) -> AssessSummary:
    """Measure quality and search for copies; writes ``quality.json``, ``audit.json``, sheets and a page.

    An interrupted assessment goes on with the parts that are not finished.

    Raises:
        ConfigError: If there is no such fold or file, or ``out`` holds another run or lies in the set
            or the dataset.
        DataError: If the set is empty or not synthetic, was made from another dataset or fold, is of another unit,
            channels or spacing, holds voxels that are not finite, or if its recipes contradict its files.
        SplitLeakageError: If a host or donor is no training patient of the fold.
        StorageError: If the disk cannot hold the result.
    """
    job = open_job(options)
    if not finished(options.out, "assess", job.settings, job.inputs):
        require_free_space(options.out, _NEEDED_BYTES)
        with open_run(options.out, "assess", job.settings, job.inputs) as run:
            measure(job, run, progress)
    return _summary(options.out)


def _summary(out: Path) -> AssessSummary:
    audit, quality = AuditReport.read(out / AUDIT), QualityReport.read(out / QUALITY)
    return AssessSummary(
        out=str(out),
        lesion=audit.verdict.lesion,
        background=audit.verdict.background,
        membership=None if audit.membership is None else audit.membership.verdict,
        sentences=tuple((one.title, one.words) for one in verdicts(quality, audit)),
        reasons=audit.reasons,
        n_flagged=sum(flag.part == "lesion" for flag in audit.flagged),
        detection_limit=audit.detection_limit,
        classes=quality.classes,
        n_rejected=len(quality.rejected),
        notes=quality.notes,
    )
