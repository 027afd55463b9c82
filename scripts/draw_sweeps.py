"""Draws what class, size and z of a request do to a lesion, on a phantom, for the documentation.

    .venv/bin/python scripts/draw_sweeps.py         # docs/assets/phantom/sweeps.png

A cgan is trained on made-up patients (medaug.phantom) and draws into one slice of a lesion-free one: the upper row solid, the
lower ground glass; left the requested diameter grows, right the outline stays and only z changes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from medaug.core.case import Case
    from medaug.core.lesion import Generator
    from medaug.lesions.bank import Bank

ROOT: Final = Path(__file__).resolve().parents[1]
PICTURE: Final = ROOT / "docs" / "assets" / "phantom" / "sweeps.png"
CLASSES: Final = ("solid", "ground_glass")
DIAMETERS_MM: Final = (6.0, 9.0, 12.0, 15.0, 18.0)
DRAWS: Final = 5
SIZE_OF_Z_MM: Final = 15.0
SIDE, ZOOM, GAP = 40, 3, 4
LOW_HU, HIGH_HU = -1000.0, 300.0


def main() -> int:
    """Train, draw and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=900, help="of training")
    parser.add_argument("--out", type=Path, default=PICTURE)
    asked = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    cases, host = _patients()
    with tempfile.TemporaryDirectory() as folder:
        bank, generator = _trained(cases, Path(folder) / "run", asked.steps)
    picture = _picture(bank, generator, host)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).quantize(64, dither=Image.Dither.NONE).save(asked.out, optimize=True)
    print(f"{asked.out.name}: {asked.out.stat().st_size / 1000:.0f} kB")
    return 0


def _patients() -> tuple[list[Case], Case]:
    """The cohort of the demo, and one of its patients without a lesion."""
    from medaug.core.case import Case
    from medaug.phantom.cohort import PhantomSpec, draw_patient, list_patients

    spec = PhantomSpec()
    cases = []
    for patient in list_patients(spec):
        scan = draw_patient(spec, patient)
        name = f"P{patient.number:03d}"
        cases.append(Case(name, name, scan.volume, scan.label_map))
    host = next(c for c in cases if c.label_map is not None and not c.label_map.labels.any())
    return cases, host


def _trained(cases: list[Case], out: Path, steps: int) -> tuple[Bank, Generator]:
    """A cgan of the cohort, and its bank."""
    from medaug.core.runs import NoProgress, open_run
    from medaug.core.seeding import SeedTree
    from medaug.core.splits import Fold
    from medaug.generators.cgan import Config
    from medaug.lesions.bank import bank_of_cases
    from medaug.synthesis.fit import fit_generator

    fold = Fold(index=0, train=tuple(c.patient_id for c in cases), held_out=("nobody",))
    bank = bank_of_cases(cases, fold)
    config = Config(size=(32, 32), steps=steps)
    with open_run(out, "sweeps", config, {}) as run:
        return bank, fit_generator(config, bank, fold, run, NoProgress(), SeedTree(0).child("sweeps"))


def _picture(bank: Bank, generator: Generator, host: Case) -> np.ndarray:
    """A row a class: sizes, then draws."""
    from medaug.core.seeding import SeedTree
    from medaug.synthesis.order import HostView, Order, Prepared
    from medaug.synthesis.render import Renderer
    from medaug.synthesis.source import slab_of

    renderer = Renderer(bank, generator)
    whole = renderer.view(host)
    k = host.volume.grid.shape[2] // 2
    view = HostView(slab_of(host, k), whole.scale, whole.body.slice_at(k))
    seed = SeedTree(4)
    largest = renderer.prepare(view, Order("solid", (DIAMETERS_MM[-1],) * 2), seed.rng())
    site = tuple(int(v) for v in np.add(largest.request.box.start, largest.request.box.stop) // 2)
    site_mm = tuple(float(v) for v in view.case.volume.grid.to_mm(np.asarray(site, dtype=np.float64)))

    def place(diameter_mm: float) -> Prepared:
        order = Order("solid", (diameter_mm, diameter_mm), site_mm=(site_mm[0], site_mm[1], site_mm[2]))
        return renderer.prepare(view, order, seed.child("outline").rng())

    def as_class(prepared: Prepared, name: str) -> Prepared:
        request = replace(prepared.request, class_name=name)
        return replace(prepared, request=request, order=replace(prepared.order, class_name=name))

    sizes = [place(d) for d in DIAMETERS_MM]
    same = place(SIZE_OF_Z_MM)
    rows = []
    for name in CLASSES:
        left = renderer.complete(
            [as_class(p, name) for p in sizes], [seed.child("z", 0).rng() for _ in sizes]
        )
        right = renderer.complete(
            [as_class(same, name)] * DRAWS, [seed.child("z", n).rng() for n in range(DRAWS)]
        )
        tiles = [_tile(r.case, site) for r in (*left, *right)]
        rows.append(_joined(tiles, len(left)))
    line = np.full((GAP, rows[0].shape[1]), 255, dtype=np.uint8)
    return np.concatenate([rows[0], line, rows[1]], axis=0)


def _tile(case: Case, site: tuple[int, ...]) -> np.ndarray:
    """The surroundings of the lesion, enlarged."""
    shape = case.volume.grid.shape
    start = [min(max(0, site[n] - SIDE // 2), shape[n] - SIDE) for n in (0, 1)]
    part = case.volume.image[0, start[0] : start[0] + SIDE, start[1] : start[1] + SIDE, 0]
    grey = np.clip((part - LOW_HU) / (HIGH_HU - LOW_HU), 0, 1) * 255
    turned = np.flip(grey.astype(np.uint8).T, axis=0)  # anterior up
    return np.asarray(Image.fromarray(turned).resize((SIDE * ZOOM, SIDE * ZOOM), Image.Resampling.BICUBIC))


def _joined(tiles: list[np.ndarray], first: int) -> np.ndarray:
    """Tiles in a row, with a wider gap between the two sweeps."""
    parts: list[np.ndarray] = []
    for number, tile in enumerate(tiles):
        if number:
            width = 3 * GAP if number == first else GAP
            parts.append(np.full((len(tile), width), 255, dtype=np.uint8))
        parts.append(tile)
    return np.concatenate(parts, axis=1)


if __name__ == "__main__":
    sys.exit(main())
