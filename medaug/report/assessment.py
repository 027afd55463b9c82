"""The page of an assessment: verdicts, copies, quality, bias and pictures; parts of it stand in other reports, too."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

from medaug.core.assessment import (
    AuditReport,
    CopyFlag,
    CopyShare,
    Group,
    Part,
    QualityReport,
    Rejection,
    SampleScore,
)
from medaug.core.runs import RunRecord
from medaug.report.classes import ClassView, class_views, score_plot
from medaug.report.drawing import Drawing, Scale
from medaug.report.judged import Sentence, interval, number, percent, verdicts
from medaug.report.page import Fact, day, settings, spaced, templates

ASSESSMENT_PAGE: Final = "assessment.html"
_SHOWN = 20
_PARTS: Final[tuple[Part, ...]] = ("lesion", "background")
_SHARE_WIDTH, _SHARE_HEIGHT = 120, 24


@final
@dataclass(frozen=True, slots=True)
class Sheet:
    """A PNG to look at.

    Attributes:
        title: What it shows.
        caption: How to read it.
        png: Its bytes, put into the page.
    """

    title: str
    caption: str
    png: bytes

    @property
    def address(self) -> str:
        """The picture as a part of the page."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode('ascii')}"


@final
@dataclass(frozen=True, slots=True, eq=False)
class Assessment:
    """Everything the page is made of."""

    quality: QualityReport
    audit: AuditReport
    record: RunRecord
    sheets: tuple[Sheet, ...] = ()
    licences: tuple[str, ...] = ()


@final
@dataclass(frozen=True, slots=True)
class ShareRow:
    """How many samples of a part are copies."""

    part: str
    judged: int
    flagged: int
    share: str
    interval: str
    limit: str
    recall: str


@final
@dataclass(frozen=True, slots=True)
class FlagTable:
    """The flagged samples of a part, the surest first."""

    title: str
    rows: tuple[CopyFlag, ...]
    more: int


@final
@dataclass(frozen=True, slots=True)
class BiasRow:
    """One value of an attribute."""

    value: str
    mark: str
    real: str
    synthetic: str
    score: str
    note: str
    flag: str


@final
@dataclass(frozen=True, slots=True)
class BiasGroup:
    """The values of an attribute."""

    attribute: str
    rows: tuple[BiasRow, ...]


@final
@dataclass(frozen=True, slots=True)
class RejectionRow:
    """Cases left out for one reason."""

    reason: str
    count: int
    cases: str


@final
@dataclass(frozen=True, slots=True)
class WorstRow:
    """One of the lesions with the lowest scores."""

    case_id: str
    lesion: int
    class_name: str
    score: str
    typical: str
    recovered: str
    label_dice: str
    seam: str


@final
@dataclass(frozen=True, slots=True)
class AssessedView:
    """What pages show of an assessment, apart from pictures."""

    sentences: tuple[Sentence, ...]
    reasons: tuple[str, ...]
    shares: tuple[ShareRow, ...]
    flagged: tuple[FlagTable, ...]
    membership: tuple[tuple[str, str, str], ...]
    membership_reasons: tuple[str, ...]
    classes: tuple[ClassView, ...]
    empty_classes: tuple[str, ...]
    scores: str
    bias: tuple[BiasGroup, ...]
    rejected: tuple[RejectionRow, ...]
    worst: tuple[WorstRow, ...]
    notes: tuple[str, ...]


def render_assessment(assessment: Assessment) -> str:
    """The whole page as text."""
    quality, audit, record = assessment.quality, assessment.audit, assessment.record
    return (
        templates()
        .get_template("assessment.html.j2")
        .render(
            record=record,
            name=quality.synthetic or "the synthetic set",
            dataset=quality.dataset or "its dataset",
            command=quality.command,
            fold=quality.fold,
            started=day(record),
            facts=_facts(quality, audit),
            assessed=assessed_view(quality, audit),
            sheets=assessment.sheets,
            licences=assessment.licences,
            settings=settings(record),
            patients_shown=bool(assessment.sheets),
        )
    )


def assessed_view(quality: QualityReport, audit: AuditReport) -> AssessedView:
    """Text and figures, no reckoning left for the template."""
    names = tuple(one.class_name for one in quality.classes)
    scores = score_plot(quality.samples, names)
    found = audit.membership
    return AssessedView(
        sentences=verdicts(quality, audit),
        reasons=audit.reasons,
        shares=tuple(_share(share) for share in audit.shares),
        flagged=tuple(table for part in _PARTS if (table := _flagged(audit.flagged, part)) is not None),
        membership=_membership(audit),
        membership_reasons=() if found is None else found.reasons,
        classes=class_views(quality),
        empty_classes=tuple(one.class_name for one in quality.classes if not one.n_synthetic),
        scores="" if scores is None else scores.inline(),
        bias=_bias(quality.bias),
        rejected=_rejected(quality.rejected),
        worst=tuple(_worst(sample) for sample in sorted(quality.samples, key=_badness)[:_SHOWN]),
        notes=quality.notes,
    )


def _facts(quality: QualityReport, audit: AuditReport) -> tuple[Fact, ...]:
    made = sum(one.n_synthetic for one in quality.classes)
    held_out = sum(one.n_held_out for one in quality.classes)
    training = sum(one.n_training for one in quality.classes)
    copies = {part: sum(flag.part == part for flag in audit.flagged) for part in _PARTS}
    counts = (
        Fact(spaced(made), "synthetic lesions"),
        Fact(spaced(training), "training lesions"),
        Fact(spaced(held_out), "held-out lesions"),
    )
    searched = (
        Fact(spaced(copies["lesion"]), "lesions flagged as copies"),
        Fact(spaced(copies["background"]), "backgrounds flagged"),
        Fact(percent(audit.detection_limit), "of lesions may be copies unseen"),
    )
    return (*counts, *searched) if audit.shares else counts


def _share(share: CopyShare) -> ShareRow:
    return ShareRow(
        part=share.part,
        judged=share.judged,
        flagged=share.flagged,
        share=percent(share.share) if share.judged else "",
        interval=f"{percent(share.low)} to {percent(share.high)}" if share.judged else "",
        limit=percent(share.detection_limit),
        recall="not known" if share.recall is None else percent(share.recall),
    )


def _flagged(flags: Sequence[CopyFlag], part: Part) -> FlagTable | None:
    mine = sorted((flag for flag in flags if flag.part == part), key=lambda f: (-f.score, f.case_id))
    if not mine:
        return None
    title = f"{part.capitalize()}s that look like copies"
    return FlagTable(title, tuple(mine[:_SHOWN]), max(0, len(mine) - _SHOWN))


def _membership(audit: AuditReport) -> tuple[tuple[str, str, str], ...]:
    found = audit.membership
    if found is None:
        return ()
    rows = (
        ("area under the curve", found.auc),
        ("area under the curve of the control", found.control_auc),
        ("training patients found at 1% false positives", found.tpr_at_1_percent),
    )
    return tuple((name, number(one.value), interval(one)) for name, one in rows if one is not None)


def _bias(groups: Sequence[Group]) -> tuple[BiasGroup, ...]:
    attributes = dict.fromkeys(group.attribute for group in groups)
    return tuple(
        BiasGroup(name, tuple(_bias_row(group) for group in groups if group.attribute == name))
        for name in attributes
    )


def _bias_row(group: Group) -> BiasRow:
    score = group.score
    return BiasRow(
        value=group.value,
        mark=_shares_mark(group).inline(),
        real=f"{group.real} ({percent(group.real_share)})",
        synthetic=f"{group.synthetic} ({percent(group.synthetic_share)})",
        score="" if score is None else f"{number(score.value)} ({interval(score)})",
        note=group.note,
        flag=group.flag,
    )


def _shares_mark(group: Group) -> Drawing:
    """Two bars from 0 to 1: the share among synthetic lesions above, that among real ones below."""
    scale = Scale(0.0, 1.0, 0.0, float(_SHARE_WIDTH))
    body = "".join(
        f'<rect class="{kind}" x="0" y="{y}" width="{max(scale.at(share), 0.8):.1f}" height="7"/>'
        for kind, share, y in (("made", group.synthetic_share, 4), ("real", group.real_share, 13))
    )
    label = f"synthetic {percent(group.synthetic_share)}, real {percent(group.real_share)}"
    return Drawing("shares", _SHARE_WIDTH, _SHARE_HEIGHT, label, body)


def _rejected(rejected: Sequence[Rejection]) -> tuple[RejectionRow, ...]:
    by_reason: dict[str, list[str]] = {}
    for one in rejected:
        by_reason.setdefault(one.reason, []).append(one.case_id)
    rows = sorted(by_reason.items(), key=lambda row: -len(row[1]))
    return tuple(
        RejectionRow(reason or "no reason given", len(cases), ", ".join(cases[:_SHOWN]) + (", ..." if len(cases) > _SHOWN else ""))
        for reason, cases in rows
    )  # fmt: skip


def _badness(sample: SampleScore) -> tuple[float, str, int]:
    return (sample.score, sample.case_id, sample.lesion)


def _worst(sample: SampleScore) -> WorstRow:
    parts = (sample.recovered, sample.label_dice, sample.seam)
    recovered, label_dice, seam = ("" if value is None else f"{value:.2f}" for value in parts)
    return WorstRow(
        sample.case_id, sample.lesion, sample.class_name, f"{sample.score:.2f}", f"{sample.typical:.2f}",
        recovered, label_dice, seam,
    )  # fmt: skip
