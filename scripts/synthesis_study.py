"""How good are the lesions? Recovery, density, kernel distance, diversity, seams and size as asked, on real data.

    python scripts/synthesis_study.py DATASET --fold 0 --bank BANK --dims 2 --out runs/study_2d \
        --generators cgan=runs/cgan vae=runs/vae procedural=runs/procedural copy_paste=copy_paste

The bank and the generators have seen the fold's training patients only; classifiers, segmenter and reference are of
the other patients, so two folds serve best. Every part leaves a JSON file and is not measured again; delete one to
measure it again. The tables are printed and left in summary.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, cast

ROOT: Final = Path(__file__).resolve().parents[1]
PARTS: Final = ("recovery", "density", "distance", "diversity", "seams", "controls")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path, help="dataset folder with splits")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--bank", type=Path, required=True, help="of the fold")
    parser.add_argument(
        "--generators",
        nargs="+",
        required=True,
        metavar="NAME=RUN_OR_KIND",
        help="in the order of the tables",
    )
    parser.add_argument("--dims", type=int, choices=(2, 3), default=2)
    parser.add_argument("--per-class", type=int, default=48, help="lesions of each class to draw")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--out", type=Path, required=True, help="folder for the figures")
    return parser.parse_args()


def main() -> int:
    """Measure what is not measured yet, and print the tables."""
    sys.path.insert(0, str(ROOT))
    asked = arguments()
    asked.out.mkdir(parents=True, exist_ok=True)
    from medaug.quality.looks import Looks
    from scripts.study import parts
    from scripts.study.material import COARSE, Material, open_generators
    from scripts.study.summary import tables

    dims = cast(Literal[2, 3], asked.dims)
    material = Material(asked.dataset, asked.fold, asked.bank, dims, asked.per_class)
    generators = open_generators(asked.generators, material.fold)
    trained = {name: one for name, one in generators.items() if name + COARSE in generators}

    def made() -> dict[str, Looks]:
        return parts.made_sets(material, generators, asked.out)

    work: dict[str, Callable[[], parts.Json]] = {
        "recovery": lambda: parts.recovery(material, made()),
        "density": lambda: parts.density(material, made()),
        "distance": lambda: parts.distances(material, made()),
        "diversity": lambda: parts.diversity(material, trained, made()),
        "seams": lambda: parts.seams(material),
        "controls": lambda: parts.controls(material, trained, asked.out),
    }
    for name in asked.parts:
        _measure(asked.out / f"{name}.json", work[name])
    found = {n: json.loads(p.read_text()) for n in PARTS if (p := asked.out / f"{n}.json").is_file()}
    text = tables(found, tuple(trained))
    (asked.out / "summary.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


def _measure(path: Path, work: Callable[[], dict[str, object]]) -> None:
    if path.is_file():
        return
    begun = time.process_time()
    found = {**work(), "cpu_seconds": round(time.process_time() - begun, 1)}
    path.write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(f"{path.stem}: {found['cpu_seconds']} s", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
