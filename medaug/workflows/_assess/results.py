"""What was found, written: two JSON files, sheets, and the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from medaug.core.assessment import AUDIT, QUALITY, AuditReport, QualityReport, SampleScore
from medaug.core.runs import RunDir
from medaug.core.storage import write_text_atomic
from medaug.quality.features import Standardiser
from medaug.quality.samples import LesionSample, figures_of
from medaug.quality.scores import nearest_real
from medaug.quality.sheets import Pair, Panel, lesion_panel, write_pairs
from medaug.report.assessment import ASSESSMENT_PAGE, Assessment, Sheet, render_assessment
from medaug.workflows._assess.copies import PAIR_SHEETS
from medaug.workflows._assess.job import Job
from medaug.workflows._assess.look import Kept

WORST: Final = "worst_lesions.png"
_WORST_SHOWN: Final = 20
_SHEETS: Final = (
    (
        WORST,
        "The lesions with the lowest scores",
        "Worst first, each beside the training lesion of its class whose features are nearest. Outlines are labels; windows suit each.",
    ),
    (
        PAIR_SHEETS["lesion"],
        "Closest lesions",
        "Synthetic on the left, the training lesion it is most alike on the right, moved onto it. Red: flagged as a copy.",
    ),
    (
        PAIR_SHEETS["background"],
        "Closest backgrounds",
        "Synthetic on the left, the training scan that its background is most alike on the right. Red: flagged as a copy.",
    ),
)


def write_results(job: Job, run: RunDir, quality: QualityReport, audit: AuditReport) -> None:
    """Write both documents and the page that shows them; pictures that were drawn stand in it."""
    quality.write(run.path / QUALITY)
    audit.write(run.path / AUDIT)
    sheets = tuple(
        Sheet(title, caption, (run.path / name).read_bytes())
        for name, title, caption in _SHEETS
        if (run.path / name).is_file()
    )
    records = (*job.made.cases, *job.training())
    page = Assessment(
        quality=quality,
        audit=audit,
        record=run.record,
        sheets=sheets,
        licences=tuple(sorted({record.licence for record in records if record.licence})),
    )
    write_text_atomic(run.path / ASSESSMENT_PAGE, render_assessment(page))


def draw_worst(path: Path, kept: Kept, samples: Sequence[SampleScore]) -> None:
    """The lesions with the lowest scores, worst first, each beside the real one of its class whose figures are nearest."""
    scale = Standardiser.fitted_on(figures_of(kept.training))
    by_case: dict[str, list[LesionSample]] = {}
    for lesion in kept.made:
        by_case.setdefault(lesion.case_id, []).append(lesion)
    pairs: list[Pair] = []
    for score in sorted(samples, key=lambda s: (s.score, s.case_id, s.lesion))[:_WORST_SHOWN]:
        made = by_case[score.case_id][score.lesion]
        real = nearest_real(made, kept.training, scale)
        beside = (
            Panel(np.zeros((2, 2)), None, "no real one")
            if real is None
            else lesion_panel(real, f"{real.case_id}\nreal")
        )
        pairs.append((lesion_panel(made, f"{score.case_id}\n{score.class_name}  {score.score:.2f}"), beside))
    write_pairs(path, pairs)
