"""What does each part of the conditional GAN bring? The recipe, and the recipe with one part left out or swapped.

    python scripts/ablation.py DATASET --bank BANK --fold 0 --out runs/ablation --steps 600

Every variant is trained from the same seed on the fold's training patients, draws lesions into the same places of
them, and is compared with real lesions of the other patients. Each leaves a JSON file and is not done again;
an interrupted training goes on. Several processes may share the work (--only). The table is printed and left in
ablation.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, cast

import yaml

if TYPE_CHECKING:
    from medaug.core.lesion import Generator
    from scripts.study.material import Material

ROOT: Final = Path(__file__).resolve().parents[1]
DRAWS_A_PLACE: Final = 4
PLACES_A_CLASS: Final = 5
TABLE: Final = "ablation.md"
COARSE_TOO: Final = ("recipe", "texture")  # variants whose coarse input has a row of its own

Json = dict[str, object]

VARIANTS: Final[dict[str, Json]] = {
    "recipe": {},
    "without LeCam": {"weights": {"lecam": 0.0}},
    "without class ramp": {"ramp": 0.0},
    "without feature matching": {"weights": {"features": 0.0}},
    "without histogram": {"weights": {"histogram": 0.0}},
    "without grain": {"weights": {"grain": 0.0}},
    "without rim": {"weights": {"rim": 0.0}},
    "without mode seeking": {"weights": {"diversity": 0.0}},
    "without DiffAugment": {"distort": False},
    "without averaging": {"ema": 0.0},
    "without healthy ground": {"fresh_share": 0.0},
    "unconditional": {"conditional": False},
    "minimax": {"objective": "minimax"},
    "non-saturating": {"objective": "non_saturating"},
    "DCGAN": {"backbone": "dcgan"},
    "transformer": {"bottleneck": "transformer"},
    "texture": {"coarse": "texture"},
}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path, help="dataset folder with splits")
    parser.add_argument("--bank", type=Path, required=True, help="of the fold")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder for trainings and figures")
    parser.add_argument("--config", type=Path, default=ROOT / "configs/cgan_2d_toy.yaml", help="the recipe")
    parser.add_argument("--steps", type=int, help="of each training; as the recipe says where not given")
    parser.add_argument("--batch-size", type=int, help="as the recipe says where not given")
    parser.add_argument("--per-class", type=int, default=40, help="lesions of each class to draw")
    parser.add_argument("--only", nargs="+", choices=tuple(VARIANTS), default=tuple(VARIANTS))
    return parser.parse_args()


def main() -> int:
    """Train and measure what is not measured yet, and print the table."""
    sys.path.insert(0, str(ROOT))
    asked = arguments()
    asked.out.mkdir(parents=True, exist_ok=True)
    import torch

    from scripts.study.material import Material

    torch.set_num_threads(1)
    recipe = _recipe(asked)
    dims = cast(Literal[2, 3], recipe.get("dims", 2))
    material = Material(asked.dataset, asked.fold, asked.bank, dims, asked.per_class)
    for name in asked.only:
        if not _row_path(asked.out, name).is_file():
            _add(asked, material, name, changed(recipe, VARIANTS[name]))
    text = table([row for name in rows_of(tuple(VARIANTS)) if (row := _read(asked.out, name)) is not None])
    (asked.out / TABLE).write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(text + "\n")
    return 0


def _recipe(asked: argparse.Namespace) -> Json:
    recipe: Json = yaml.safe_load(asked.config.read_text(encoding="utf-8"))
    given = {"steps": asked.steps, "batch_size": asked.batch_size}
    return {**recipe, **{key: value for key, value in given.items() if value is not None}}


def changed(recipe: Json, change: Json) -> Json:
    """A recipe with a part left out or swapped; weights are merged."""
    merged = {**recipe, **change}
    if "weights" in change:
        merged["weights"] = {**cast(Json, recipe.get("weights", {})), **cast(Json, change["weights"])}
    return merged


def _add(asked: argparse.Namespace, material: Material, name: str, config: Json) -> None:
    """Train a variant, and leave its row; of a recipe also that of its coarse input, which no network refined."""
    from medaug.core.runs import NoProgress
    from medaug.generators.base import load_generator
    from medaug.generators.cgan import CGAN
    from medaug.workflows.fit import FitOptions, fit

    file, run = asked.out / f"{_slug(name)}.yaml", asked.out / _slug(name)
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    fresh, begun = not run.exists(), time.process_time()
    options = FitOptions(dataset=asked.dataset, bank=asked.bank, config=file, out=run, fold=asked.fold)
    fit(options, NoProgress())
    seconds = round(time.process_time() - begun) if fresh else None
    generator = load_generator(str(run), material.fold)
    if name in COARSE_TOO and isinstance(generator, CGAN):
        _leave(asked.out, coarse_of(name), measured(material, generator.coarse_only()))
    _leave(asked.out, name, {**measured(material, generator), "cpu_seconds": seconds})


def measured(material: Material, generator: Generator) -> Json:
    """The figures of one generator; distances and recovery are judged by patients that it has not seen."""
    import numpy as np

    from medaug.quality.distances import Described, class_distances, describe_all
    from medaug.quality.recovery import Logistic

    made, real, seen = material.made(generator), material.real_held_out, material.real_training
    sets = [Described(looks.features, looks.class_index, looks.patients) for looks in (real, made)]
    reference, other = describe_all(sets, Described(seen.features, seen.class_index, seen.patients))
    distance = class_distances(other, reference, material.seed.child("distance")).estimate()
    judge = Logistic(real.features, real.class_index)
    right = judge.probabilities(made.features).argmax(axis=1) == made.class_index
    numbers = range(len(material.classes))
    alike, _ = material.same_place(generator, places_a_class=PLACES_A_CLASS, draws_a_place=DRAWS_A_PLACE)
    levels = [[float(looks.of_class(n).levels[:, 0].mean()) for n in numbers] for looks in (seen, made)]
    return {
        "n": len(made),
        "distance": [distance.value, distance.low, distance.high],
        "ssim": float(np.mean(alike)),
        "levels": levels[1],
        "in_order": _order(levels[0]) == _order(levels[1]),
        "recovery": sum(float(right[made.class_index == n].mean()) for n in numbers) / len(numbers),
    }


def _order(levels: list[float]) -> list[int]:
    return sorted(range(len(levels)), key=levels.__getitem__)


def coarse_of(name: str) -> str:
    """Name of the row of a variant's coarse input."""
    return f"{name}, coarse input only"


def rows_of(names: tuple[str, ...]) -> tuple[str, ...]:
    """The rows that variants make: one each, and the coarse input of the two that differ in it."""
    return tuple(
        row for name in names for row in ((name, coarse_of(name)) if name in COARSE_TOO else (name,))
    )


def table(rows: list[Json]) -> str:
    """The rows as a markdown table."""
    lines = [
        "| variant | kernel distance | SSIM of draws | order of densities | class recovered | CPU s |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        value, low, high = cast(list[float], row["distance"])
        seconds = "" if row.get("cpu_seconds") is None else str(row["cpu_seconds"])
        lines.append(
            f"| {row['name']} | {value:.2f} ({low:.2f} to {high:.2f}) | {row['ssim']:.2f} "
            f"| {'as real' if row['in_order'] else 'other'} | {row['recovery']:.2f} | {seconds} |"
        )
    return "\n".join(lines)


def _slug(name: str) -> str:
    return name.replace(",", "").replace(" ", "_").lower()


def _row_path(out: Path, name: str) -> Path:
    return out / f"{_slug(name)}.json"


def _leave(out: Path, name: str, row: Json) -> None:
    _row_path(out, name).write_text(json.dumps({"name": name, **row}, indent=2) + "\n", encoding="utf-8")


def _read(out: Path, name: str) -> Json | None:
    path = _row_path(out, name)
    return cast(Json, json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


if __name__ == "__main__":
    sys.exit(main())
