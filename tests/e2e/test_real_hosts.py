"""On real scans: lesions land where real ones live."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from medaug.core.case import Case
from medaug.core.volume import LabelMap, Unit, Volume
from medaug.generators.copy_paste import Config
from medaug.io.nifti import read_label, read_nifti
from medaug.lesions.bank import bank_of_cases
from medaug.lesions.body import Body
from medaug.synthesis.render import Renderer
from medaug.synthesis.source import StreamingSource, StreamOptions
from tests.small_cases import fold_of, labels_of

LUNG = ("solid", "part_solid", "calcified", "ground_glass")
BRAIN = ("flair_abnormality",)


def cases_of(folder: Path, per_class: int, classes: tuple[str, ...], unit: Unit, channel: str) -> list[Case]:
    with (folder / "cases.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    chosen = [r for name in classes for r in [r for r in rows if r["lesion_class"] == name][:per_class]]
    cases = []
    for number, row in enumerate(chosen):
        image, label = read_nifti(folder / row["image"]), read_label(folder / row["label"])
        volume = Volume(image.array[None].astype(np.float32), image.grid, unit, (channel,), unit is Unit.HU)
        labels = LabelMap(label.array, image.grid, classes)
        cases.append(Case(f"case_{number}", f"patient_{number}", volume, labels))
    return cases


def stream(cases: list[Case], draws: int) -> list[tuple[Case, np.ndarray, np.ndarray]]:
    """Drawn slabs, each with its host's slice (I, J) and where the new lesion is."""
    renderer = Renderer(bank_of_cases(cases, fold_of(cases)), Config().build())
    source = StreamingSource(cases, renderer, StreamOptions(dims=2))
    found = []
    names = tuple(source.classes[n % len(source.classes)] for n in range(draws))
    for case in source.draw(names, tuple(np.random.default_rng(n) for n in range(draws))):
        host = next(c for c in cases if c.case_id == case.case_id)
        k = round(float(host.volume.grid.to_index(case.volume.grid.affine[:3, 3])[2]))
        assert case.label_map is not None
        assert host.label_map is not None
        found.append(
            (
                case,
                host.volume.image[0, ..., k],
                case.label_map.labels[..., 0] != host.label_map.labels[..., k],
            )
        )
    return found


def test_nodules_land_in_lung_and_look_like_their_class(medaug_data):
    folder = medaug_data / "lidc_nodules"
    if not folder.is_dir():
        pytest.skip("no lidc_nodules in MEDAUG_DATA")
    drawn = stream(cases_of(folder, 8, LUNG, Unit.HU, "CT"), 48)
    inside: dict[str, list[float]] = {name: [] for name in LUNG}
    for case, before, new in drawn:
        rim = ndimage.binary_dilation(new, iterations=4) & ~ndimage.binary_dilation(new, iterations=1)
        assert np.median(before[rim]) < -500
        assert np.median(before[new]) < -500
        inside[LUNG[int(labels_of(case)[..., 0][new][0]) - 1]].append(
            float(case.volume.image[0, ..., 0][new].mean())
        )
    means = {name: np.mean(values) for name, values in inside.items()}
    assert means["ground_glass"] < means["part_solid"] < means["calcified"]
    assert means["ground_glass"] < means["solid"]


def test_gliomas_land_inside_the_head_where_spacing_is_nominal(medaug_data):
    folder = medaug_data / "lgg_flair"
    if not folder.is_dir():
        pytest.skip("no lgg_flair in MEDAUG_DATA")
    cases = cases_of(folder, 5, BRAIN, Unit.ARBITRARY, "FLAIR")
    bodies = {case.case_id: Body.of(case.volume) for case in cases}
    gains = []
    for case, before, new in stream(cases, 16):
        host = next(c for c in cases if c.case_id == case.case_id)
        k = round(float(host.volume.grid.to_index(case.volume.grid.affine[:3, 3])[2]))
        assert bodies[case.case_id].mask[..., k][new].all()
        gains.append(float(case.volume.image[0, ..., 0][new].mean() - before[new].mean()))
    assert np.mean(gains) > 5  # of 255; bright, as in FLAIR, in the mean
