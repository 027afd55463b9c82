"""Membership inference on real lesions: a generator that learnt 8 patients by heart, and sets that know nobody.

    .venv/bin/python scripts/measure_membership.py overfitted --dataset dataset --out runs/membership
    .venv/bin/python scripts/measure_membership.py chance --dataset dataset --draws 40

``overfitted`` trains a VAE without any restraint on 8 patients, two of each class where there are four, draws lesions
with it, with ``copy_paste`` and with ``procedural``, whose textures are its own and whose outlines the 8 patients',
and attacks each set twice: with the 8 patients as those trained on, and with 8 others that no generator saw.
``chance`` takes real lesions of patients in neither group as the set, which nothing can have been learnt from, and
deals the patients anew each time. A finished fit or set in ``--out`` is not made again.
"""

from __future__ import annotations

import json
import sys
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from scripts.benchmarks.measure import at_least_one, limit_threads

if TYPE_CHECKING:
    from medaug.core.assessment import MembershipResult
    from medaug.core.case import Manifest
    from medaug.quality.samples import LesionSample

UNRESTRAINED: Final = {
    "kind": "vae", "dims": 2, "size": [48, 48], "base": 16, "z_size": 4, "beta": 0, "free_bits": 0, "gradient": 1.0,
    "noisy": 0, "grain": 0, "warm_up": 0, "batch_size": 16, "device": "cpu",
}  # fmt: skip
LINKED: Final = ("manifest.json", "dataset.json", "imagesTr", "labelsTr")


def lesions_of(folder: Path) -> list[LesionSample]:
    """Every lesion of a dataset or set; of a drawn case, those that were drawn."""
    from medaug.core.case import read_manifest
    from medaug.io.dataset import load_case, load_edit_mask
    from medaug.quality.samples import cut_lesions

    manifest = read_manifest(folder)
    found: list[LesionSample] = []
    for record in manifest.cases:
        edit = None if record.edit_mask is None else load_edit_mask(folder, record)
        found += cut_lesions(load_case(folder, record, manifest.classes), edit)
    return found


def pick(manifest: Manifest, avoid: tuple[str, ...], count: int, rng: np.random.Generator) -> tuple[str, ...]:
    """So many patients, their classes by turns."""
    shown: dict[str, set[str]] = {}
    for record in manifest.cases:
        shown.setdefault(record.patient_id, set()).update(lesion.class_name for lesion in record.lesions)
    chosen: list[str] = []
    for number in range(count):
        name = manifest.classes[number % len(manifest.classes)]
        pool = sorted(p for p, names in shown.items() if name in names and p not in {*avoid, *chosen})
        chosen.append(pool[int(rng.integers(len(pool)))])
    return tuple(sorted(chosen))


def divide(asked: Namespace) -> tuple[Path, tuple[tuple[str, ...], ...]]:
    """The dataset with folds of its own: trained on, never seen, and all others."""
    from medaug.core.case import SPLITS, read_manifest
    from medaug.core.splits import Fold, Splits

    source, own = asked.dataset.resolve(), asked.out / "dataset"
    manifest, rng = read_manifest(source), np.random.default_rng(asked.seed)
    seen = pick(manifest, (), asked.patients, rng)
    unseen = pick(manifest, seen, asked.patients, rng)
    others = tuple(sorted(set(manifest.patient_ids) - {*seen, *unseen}))
    own.mkdir(parents=True, exist_ok=True)
    for name in LINKED:
        if not (own / name).exists():
            (own / name).symlink_to(source / name)
    fold = Fold(index=0, train=seen, held_out=others)
    Splits(seed=asked.seed, dataset_sha256=manifest.content_sha256, folds=(fold,)).write(own / SPLITS)
    return own, (seen, unseen, others)


def draw(dataset: Path, asked: Namespace, kind: str) -> Path:
    """Lesions by a generator of this kind that knows the trained-on patients alone."""
    from medaug.core.case import read_manifest
    from medaug.core.runs import NoProgress
    from medaug.workflows.bank import BankOptions, bank
    from medaug.workflows.fit import FitOptions, fit
    from medaug.workflows.synthesize import SynthesizeOptions, synthesize

    out: Path = asked.out
    lesions, made, generator = out / "bank", out / f"by_{kind}", kind
    bank(BankOptions(dataset=dataset, out=lesions), NoProgress())
    trained = {"vae": {**UNRESTRAINED, "steps": asked.steps}, "procedural": {"kind": "procedural"}}
    if kind in trained:
        config, run = out / f"{kind}.json", out / kind
        config.write_text(json.dumps(trained[kind]))
        fit(FitOptions(dataset=dataset, bank=lesions, config=config, out=run), NoProgress())
        generator = str(run)
    each = asked.lesions // len(read_manifest(dataset).classes)
    counts = tuple(f"{name}={each}" for name in read_manifest(dataset).classes)
    options = SynthesizeOptions(
        dataset=dataset, bank=lesions, generator=generator, out=made, per_class=counts
    )
    synthesize(options, NoProgress())
    return made


def attack(
    made: list[LesionSample], real: list[LesionSample], sides: list[tuple[str, ...]]
) -> MembershipResult:
    """With one side's patients as those trained on, and the other's as held out."""
    from medaug.copying.membership import infer_membership

    training, held_out = ([lesion for lesion in real if lesion.patient_id in set(side)] for side in sides)
    return infer_membership(made, training, held_out, np.random.default_rng(0))


def overfitted(asked: Namespace) -> dict[str, object]:
    """Each set, attacked with the patients that the generator saw, and with such that it did not."""
    dataset, (seen, unseen, others) = divide(asked)
    real = lesions_of(dataset)
    rows: dict[str, object] = {}
    for kind in ("vae", "copy_paste", "procedural"):
        made = lesions_of(draw(dataset, asked, kind))
        for name, patients in (("trained on", seen), ("never seen", unseen)):
            begun = time.process_time()
            found = attack(made, real, [patients, others])
            rows[f"{kind}, {name}"] = {
                **found.model_dump(mode="json"),
                "cpu_seconds": round(time.process_time() - begun, 1),
            }
    return rows


def chance(asked: Namespace) -> dict[str, object]:
    """Real lesions as the set: how often that fails, and what area under the curve it has on the mean."""
    real, rng = lesions_of(asked.dataset), np.random.default_rng(asked.seed)
    names = np.array(sorted({lesion.patient_id for lesion in real}))
    verdicts: Counter[str] = Counter()
    values: list[float] = []
    for _ in range(asked.draws):
        quarter, dealt = len(names) // 4, rng.permutation(names)
        source, members, others = (
            tuple(part.tolist()) for part in np.split(dealt, [quarter, quarter + asked.patients])
        )
        made = [lesion for lesion in real if lesion.patient_id in set(source)]
        found = attack(made, real, [members, others])
        verdicts[found.verdict] += 1
        values += [] if found.auc is None else [found.auc.value]
    return {
        "draws": asked.draws,
        "patients": asked.patients,
        "verdicts": dict(verdicts),
        "mean_auc": round(float(np.mean(values)), 3) if values else None,
    }


def main() -> int:
    """Read the command line and print."""
    options = ArgumentParser(description="Attack synthetic sets of real lesions.")
    options.add_argument("what", choices=("overfitted", "chance"))
    options.add_argument("--dataset", type=Path, required=True, help="dataset folder")
    options.add_argument(
        "--out", type=Path, default=Path("runs/membership"), help="for what overfitted makes"
    )
    options.add_argument("--patients", type=at_least_one, default=8, help="trained on (default 8)")
    options.add_argument("--lesions", type=at_least_one, default=160, help="synthetic (default 160)")
    options.add_argument("--steps", type=at_least_one, default=800, help="of the VAE (default 800)")
    options.add_argument("--draws", type=at_least_one, default=40, help="of chance (default 40)")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--threads", type=at_least_one, default=1)
    asked = options.parse_args()
    limit_threads(asked.threads)
    print(json.dumps((overfitted if asked.what == "overfitted" else chance)(asked), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
