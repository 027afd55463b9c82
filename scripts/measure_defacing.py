"""How defacing fares on made-up heads, whose brain and nose are known, and on a dataset, whose lesions are.

`python scripts/measure_defacing.py heads [NAME ...]`, and `... dataset DATASET`: there lesions are not spared, so that they tell
whether brain would go.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Final

import numpy as np

from medaug.core.case import read_manifest
from medaug.io.dataset import load_case
from medaug.phantom.head import HeadSpec, draw_head
from medaug.privacy.deface import deface

_MM: Final = (3.0, 3.0, 3.0)
_HEADS: Final = {
    "t1": HeadSpec(spacing_mm=_MM),
    "t2": HeadSpec(weighting="T2", spacing_mm=_MM),
    "flair": HeadSpec(weighting="FLAIR", spacing_mm=_MM),
    "pd": HeadSpec(weighting="PD", spacing_mm=_MM),
    "chin_up_15": HeadSpec(spacing_mm=_MM, turn_deg=(15.0, 0.0, 0.0)),
    "chin_up_25": HeadSpec(spacing_mm=_MM, turn_deg=(25.0, 0.0, 0.0)),
    "chin_down_10": HeadSpec(spacing_mm=_MM, turn_deg=(-10.0, 0.0, 0.0)),
    "chin_down_20": HeadSpec(spacing_mm=_MM, turn_deg=(-20.0, 0.0, 0.0)),
    "oblique": HeadSpec(spacing_mm=_MM, turn_deg=(8.0, 10.0, 15.0)),
    "crooked": HeadSpec(spacing_mm=_MM, crooked_mm=8.0),
    "child": HeadSpec(spacing_mm=(2.5, 2.5, 2.5), size=0.85, is_child=True),
    "child_t2": HeadSpec(weighting="T2", spacing_mm=(2.5, 2.5, 2.5), size=0.85, is_child=True),
    "infant": HeadSpec(spacing_mm=(2.0, 2.0, 2.0), size=0.65, is_child=True),
    "thick_axial": HeadSpec(spacing_mm=(1.5, 1.5, 6.0)),
    "thick_sagittal": HeadSpec(spacing_mm=(5.0, 2.0, 2.0)),
    "noisy": HeadSpec(spacing_mm=_MM, noise=0.1, bias=0.5),
    "noisy_t2": HeadSpec(weighting="T2", spacing_mm=_MM, noise=0.1, bias=0.5),
    "ends_below_eyes": HeadSpec(spacing_mm=_MM, bottom_mm=60.0),
    "ends_above_eyes": HeadSpec(spacing_mm=_MM, bottom_mm=0.0),
    "stripped": HeadSpec(spacing_mm=_MM, has_skin=False),
}


def dataset(folder: Path) -> None:
    """One line a case without its name, then all of them."""
    manifest = read_manifest(folder)
    print("| | outcome | lesion | of it lost | skin left | distance | CPU s |")
    print("|---|---|---|---|---|---|---|")
    outcomes: list[str] = []
    lost = total = 0
    for number, record in enumerate(manifest.cases):
        case = load_case(folder, record, manifest.classes)
        start = time.process_time()
        made = deface(case.volume, modality=record.modality)
        seconds, report = time.process_time() - start, made.report
        lesion = made.removed & False if case.label_map is None else case.label_map.labels > 0
        held, gone = int(lesion.sum()), int((lesion & made.removed).sum())
        outcomes.append(f"{report.outcome}: {report.reason}")
        lost, total = lost + gone, total + held * (report.outcome == "defaced")
        print(
            f"| {number} | {outcomes[-1]} | {held} | {gone} | {report.face_left} | {report.face_distance_mm} "
            f"| {seconds:.1f} |",
            flush=True,
        )
    for outcome in sorted(set(outcomes)):
        print(f"{outcomes.count(outcome)} {outcome}")
    print(f"{lost} of {total} voxels of lesions lost")


def heads(names: list[str]) -> None:
    """One line a head, two seeds each."""
    print("| head | outcome | brain lost | nose and eyes left | skin left | distance | CPU s |")
    print("|---|---|---|---|---|---|---|")
    for name in names or list(_HEADS):
        for seed in range(2):
            print(_line(name, seed), flush=True)


def _line(name: str, seed: int) -> str:
    scan = draw_head(_HEADS[name], np.random.default_rng(seed))
    start = time.process_time()
    made = deface(scan.volume, modality="MR")
    seconds, report = time.process_time() - start, made.report
    lost = int((made.removed & scan.brain).sum())
    left = float((scan.nose & ~made.removed).sum() / max(scan.nose.sum(), 1))
    if report.outcome != "defaced":
        return f"| {name} | {report.outcome}: {report.reason} | {lost} | | | | {seconds:.1f} |"
    return (
        f"| {name} | defaced | {lost} | {left:.0%} | {report.face_left:.0%} | {report.face_distance_mm:.0f} mm "
        f"| {seconds:.1f} |"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["dataset"]:
        dataset(Path(sys.argv[2]))
    else:
        heads(sys.argv[2:])
