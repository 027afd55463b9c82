"""Draws what each augmentation does to a phantom, for the documentation: before, after at magnitude 1, and the change.

    .venv/bin/python scripts/draw_augmentations.py         # into docs/assets/phantom/augment

The patient is made up (medaug.phantom). Steps of other scanners are drawn on the same chest, its grey values taken as
arbitrary units, since there is no phantom of theirs.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

ROOT: Final = Path(__file__).resolve().parents[1]
FOLDER: Final = ROOT / "docs" / "assets" / "phantom" / "augment"
SHOWN: Final = (0, 3, 4)  # of the pictures of a row: before, at magnitude 1, change
SIDE: Final = 140
GREYS: Final = 28
# Steps that change nothing in 3D
FLAT: Final = ("perspective",)


def main() -> int:
    """Draw every step there is."""
    sys.path.insert(0, str(ROOT))
    from medaug.core.case import Case
    from medaug.core.seeding import SeedTree
    from medaug.core.volume import Unit
    from medaug.engine.warp import Resampling
    from medaug.io.thumbnails import COLOURS
    from medaug.phantom.scan import draw_scan
    from medaug.report.augmentations import Preview
    from medaug.transforms import PRESETS, STEPS

    scan = draw_scan((128, 128, 24), ("solid", "ground_glass", "solid"), SeedTree(1).child("pictures"))
    chest = Case("phantom", "phantom", scan.volume, scan.label_map)
    # no air outside the body: scanners of other kinds see none, and it would stretch the grey scale
    grey = replace(chest, volume=replace(scan.volume, unit=Unit.ARBITRARY, channels=("grey",)))
    FOLDER.mkdir(parents=True, exist_ok=True)
    palette = Image.new("P", (1, 1))
    greys = np.repeat(np.linspace(0, 255, GREYS), 3)
    palette.putpalette(
        np.concatenate([greys, 255 * np.ravel(COLOURS[:2])]).round().astype(np.uint8).tobytes()
    )
    for name, kind in STEPS.items():
        case = chest if kind in PRESETS["ct"] else grey
        row = Preview(case, 2 if name in FLAT else 3, SeedTree(0).child(name), SIDE).row(kind, Resampling())
        strip = np.concatenate([row.pictures[number] for number in SHOWN], axis=1)
        picture = Image.fromarray(strip).quantize(palette=palette, dither=Image.Dither.NONE)
        picture.save(FOLDER / f"{name}.png", optimize=True)
    size = sum(path.stat().st_size for path in FOLDER.glob("*.png"))
    print(f"{len(STEPS)} pictures, {size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
