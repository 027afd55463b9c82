"""A made-up assessment with everything that a page can show."""

from __future__ import annotations

import numpy as np

from medaug.core.assessment import (
    AuditReport,
    ClassQuality,
    CopyFlag,
    CopyShare,
    Figure,
    Group,
    MembershipResult,
    Part,
    PartVerdict,
    QualityReport,
    Rejection,
    SampleScore,
    SpaceQuality,
    SpreadQuality,
    Verdict,
)
from medaug.core.runs import RunRecord
from medaug.report.assessment import Assessment, Sheet
from medaug.report.tiles import png

CLASSES = ("solid", "part_solid", "ground_glass", "calcified")
RECORD = RunRecord(
    step="assess",
    status="done",
    config={"fold": 0, "seed": 0},
    inputs={"synthetic": "1" * 64, "dataset": "2" * 64},
    environment={"python": "3.11"},
    started=1_700_000_000.0,
)
HASHES = {"synthetic_sha256": "1" * 64, "dataset_sha256": "2" * 64, "fold": 0}


def figure(value: float, half: float) -> Figure:
    return Figure(value=value, low=value - half, high=value + half)


def space(kind: str, shift: float) -> SpaceQuality:
    return SpaceQuality.model_validate(
        {
            "space": kind,
            "frechet": figure(12.0 + 100 * shift, 4.0),
            "frechet_floor": figure(9.0, 3.0),
            "kernel": figure(0.02 + shift, 0.03),
            "kernel_floor": figure(0.001, 0.004),
            "precision": figure(0.8, 0.1),
            "precision_floor": figure(0.85, 0.05),
            "recall": figure(0.3, 0.1),
            "recall_floor": figure(0.7, 0.1),
            "density": figure(1.1, 0.2),
            "density_floor": figure(0.9, 0.2),
            "coverage": figure(0.6, 0.1),
            "coverage_floor": None,
        }
    )


def one_class(name: str, shift: float) -> ClassQuality:
    spreads = (
        SpreadQuality(name="diameter_mm", distance=figure(0.2, 0.05), floor=figure(0.1, 0.05)),
        SpreadQuality(name="place_i", distance=figure(0.9, 0.2), floor=figure(0.1, 0.05)),
        SpreadQuality(name="place_k", distance=None, floor=None),
    )
    return ClassQuality(
        class_name=name, n_synthetic=60, n_training=200, n_held_out=40,
        spaces=(space("figures", shift), space("encoder", shift / 2)), spreads=spreads,
        ms_ssim=figure(0.4, 0.02), ms_ssim_real=figure(0.2, 0.02), recovered=figure(0.7, 0.1),
        recovered_real=figure(0.75, 0.1), label_dice=figure(0.8, 0.05), label_dice_real=figure(0.78, 0.04),
        seam_auc=figure(0.6, 0.08), seam_auc_real=figure(0.55, 0.08), score=figure(0.5, 0.03), score_real=0.6,
    )  # fmt: skip


def group(attribute: str, value: str, real: int, synthetic: int, flag: str = "") -> Group:
    return Group(
        attribute=attribute,
        value=value,
        real=real,
        synthetic=synthetic,
        real_share=real / 200,
        synthetic_share=synthetic / 180,
        score=figure(0.7, 0.05) if synthetic else None,
        note="as asked" if attribute == "size" else "",
        flag=flag,
    )


def quality() -> QualityReport:
    """Three classes with figures, one without a synthetic lesion."""
    rng = np.random.default_rng(3)
    samples = tuple(
        SampleScore.model_validate(
            {"case_id": f"syn_{c}_{n:03d}", "lesion": 0, "class": name, "score": float(rng.uniform(0.05, 0.95)),
             "typical": 0.5, "recovered": 0.8, "label_dice": None if n % 2 else 0.7}
        )
        for c, name in enumerate(CLASSES[:3])
        for n in range(60)
    )  # fmt: skip
    bias = (
        group("size", "< 6 mm", 100, 20, "half as frequent as among real lesions"),
        group("size", "6 to 10 mm", 60, 100),
        group("size", "10 mm and more", 40, 60),
        group("site", "<A & B>", 200, 180),
    )
    empty = ClassQuality(class_name=CLASSES[3], n_synthetic=0, n_training=12, n_held_out=3)
    return QualityReport.model_validate(
        HASHES
        | {
            "synthetic": "made <A&B>",
            "dataset": "lungs",
            "command": "medaug assess made --against lungs --fold 0 --out assessment",
            "classes": (*(one_class(name, 0.1 * n) for n, name in enumerate(CLASSES[:3])), empty),
            "samples": samples,
            "bias": bias,
            "rejected": tuple(Rejection(case_id=f"gone_{n}", reason="a seam is seen") for n in range(3)),
            "notes": ("label Dice was not measured: no --segmenter",),
        }
    )


def audit(lesion: Verdict = "pass", background: Verdict = "fail", copied: int = 0) -> AuditReport:
    flags = [flag(n, "lesion", 1.0 + 0.01 * n) for n in range(copied)]
    flags += [flag(n, "background", 1.0) for n in range(90)]
    return AuditReport.model_validate(
        HASHES
        | {
            "verdict": PartVerdict(lesion=lesion, background=background),
            "reasons": ("hosts are training scans",),
            "threshold": 1.0,
            "n_synthetic": 170,
            "n_training": 200,
            "n_held_out": 120,
            "detection_limit": 0.018,
            "recall": 0.97,
            "flagged": tuple(flags),
            "shares": (share("lesion", 170, copied), share("background", 180, 90)),
            "membership": MembershipResult(
                verdict="pass", auc=figure(0.52, 0.05), control_auc=figure(0.5, 0.05),
                tpr_at_1_percent=figure(0.02, 0.02), n_members=40, n_others=20,
                reasons=("the interval holds the control",),
            ),
        }
    )  # fmt: skip


def flag(number: int, part: Part, score: float) -> CopyFlag:
    return CopyFlag(
        case_id=f"syn_{number:03d}", source_case_id=f"case_{number}", part=part, score=score, transform="rotated by 90"
    )  # fmt: skip


def share(part: Part, judged: int, flagged: int) -> CopyShare:
    found = flagged / judged
    return CopyShare(
        part=part, judged=judged, flagged=flagged, share=found, low=0.9 * found, high=found + 0.01,
        detection_limit=0.018, recall=0.97,
    )  # fmt: skip


def assessment(**changes: object) -> Assessment:
    grey = np.linspace(0, 255, 64 * 96).reshape(64, 96).astype(np.uint8)
    parts: dict[str, object] = {
        "quality": quality(),
        "audit": audit(),
        "record": RECORD,
        "sheets": (Sheet("The 20 lowest scores", "Worst first.", png(grey)),),
        "licences": ("CC BY 4.0",),
    }
    return Assessment(**(parts | changes))  # type: ignore[arg-type]
