"""nnU-Net as the independent judge: does it take what `medaug convert --with-synthetic` writes, and what does it score?

    medaug convert DATASET --to nnunet --with-synthetic SYN --out runs/Dataset501_Name
    python scripts/nnunet_check.py runs/Dataset501_Name --work runs/nnunet --epochs 2 --iterations 10

nnU-Net's own integrity check, fingerprint, plan and preprocessing run on the folder; then its trainer learns the fold
twice, with the synthetic cases and without, from one plan, one seed and as many steps, and validates on the fold's real
held-out cases. The Dice are those of its summary.json. Few steps show that all works, not what synthesis is worth: for
that leave the lengths at nnU-Net's own (--epochs 1000 --iterations 250) and take a GPU.

nnU-Net lives in an environment of its own (--env), which is made where it is missing. One of its packages asks for timm
and that for torchvision, for networks that are not used here: the environment has neither. `nnUNetv2_train` loads the
files of all trainers and therefore fails without them; here the trainer is imported by its name.
Every step that is done is skipped when the call is repeated.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
JUDGE: Final = ROOT / "scripts" / "nnunet" / "judge.py"
FOLDS: Final = "splits_final.json"
REAL, SYNTHETIC = "real", "with_synthetic"
BARE: Final = (
    "nnunetv2==2.8.1",
    "dynamic-network-architectures==0.4.4",
    "batchgenerators==0.25.5",
    "batchgeneratorsv2==0.3.6",
    "acvl-utils==0.2.6",
)
NEEDED: Final = (
    "blosc2", "connected-components-3d", "einops", "future", "graphviz", "imagecodecs", "matplotlib", "nibabel", "numpy",
    "pandas", "requests", "scikit-image", "scikit-learn", "scipy", "seaborn", "SimpleITK", "threadpoolctl", "tifffile",
    "torch", "tqdm", "yacs",
)  # fmt: skip


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("raw", type=Path, help="folder DatasetXXX_Name of `medaug convert --with-synthetic`")
    parser.add_argument("--work", type=Path, required=True, help="folder for all that nnU-Net writes")
    parser.add_argument(
        "--env", type=Path, help="nnU-Net's environment, made where missing; default: WORK/env"
    )
    parser.add_argument("--configuration", default="2d", choices=("2d", "3d_fullres"))
    parser.add_argument("--fold", type=int, help="default: the first that trains on synthetic cases")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--iterations", type=int, default=10, help="optimiser steps an epoch")
    parser.add_argument(
        "--memory-gb", type=float, default=8.0, help="the GPU to plan for; decides the batch size"
    )
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def prepare_environment(folder: Path) -> Path:
    """The interpreter of nnU-Net's environment, installed at the versions of constraints.txt where that was not done."""
    python, done = folder / "bin" / "python", folder / ".nnunet-installed"
    if not python.is_file():
        venv.create(folder, with_pip=True)
    if not done.is_file():
        print(f"installing nnU-Net into {folder}: once, some minutes", flush=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--constraint", str(ROOT / "constraints.txt")]
        subprocess.run([*pip, *NEEDED], check=True)
        subprocess.run([*pip, "--no-deps", *BARE], check=True)
        done.touch()
    return python


def fold_sides(raw: Path, fold: int | None) -> tuple[int, list[dict[str, list[str]]], frozenset[str]]:
    """The fold to judge, all folds, and which cases are synthetic; refuses folds that would score made cases."""
    folds = json.loads((raw / FOLDS).read_text(encoding="utf-8"))
    manifest = json.loads((raw / "manifest.json").read_text(encoding="utf-8"))
    made = frozenset(c["case_id"] for c in manifest["cases"] if c["origin"] != "real")
    patients = {c["case_id"]: c["patient_id"] for c in manifest["cases"]}
    for sides in folds:
        shared = {patients[name] for name in sides["train"]} & {patients[name] for name in sides["val"]}
        if made & set(sides["val"]) or shared:
            sys.exit("a fold validates on made cases, or on patients that it trains on")
    learners = [number for number, sides in enumerate(folds) if made & set(sides["train"])]
    chosen = learners[0] if fold is None else fold
    if chosen not in learners:
        sys.exit(f"fold {chosen} trains on no synthetic case; these do: {learners}")
    return chosen, folds, made


def call(python: Path, args: argparse.Namespace, arm: str, results: Path) -> None:
    """Run nnU-Net in its environment."""
    environment = os.environ | {
        "nnUNet_raw": str(args.raw.resolve().parent),
        "nnUNet_preprocessed": str((args.work / "preprocessed").resolve()),
        "nnUNet_results": str(results.resolve()),
        # 0 augments in the process itself, so that the same seed gives the same batches; the planner wants a thread
        "nnUNet_n_proc_DA": "1" if arm == "plan" else "0",
        "nnUNet_def_n_proc": "1",
    }
    asked = {
        "dataset": args.raw.name, "arm": arm, "configuration": args.configuration, "fold": args.fold,
        "epochs": args.epochs, "iterations": args.iterations, "memory_gb": args.memory_gb, "device": args.device,
        "seed": args.seed,
    }  # fmt: skip
    subprocess.run([str(python), str(JUDGE), json.dumps(asked)], env=environment, check=True)


def plan(python: Path, args: argparse.Namespace) -> None:
    """Check, plan and preprocess, once; a work folder belongs to one state of the dataset and one plan."""
    note = args.work / "planned.txt"
    state = hashlib.sha256((args.raw / "manifest.json").read_bytes()).hexdigest()
    wanted = f"{args.raw.name} {state} {args.configuration} {args.memory_gb:g} GB"
    found = note.read_text(encoding="utf-8") if note.is_file() else ""
    if found and found.removesuffix(" done") != wanted:
        sys.exit(f"{args.work} belongs to another dataset or plan; name a new --work")
    if found != f"{wanted} done":
        args.work.mkdir(parents=True, exist_ok=True)
        note.write_text(wanted, encoding="utf-8")
        call(python, args, "plan", args.work / "results")
        note.write_text(f"{wanted} done", encoding="utf-8")


def judge(python: Path, args: argparse.Namespace, arm: str, folds: list[dict[str, list[str]]]) -> Path:
    """Train and validate one arm; gives the validation's summary.json."""
    length = f"{args.configuration}_{args.epochs}x{args.iterations}_{args.memory_gb:g}gb_seed{args.seed}"
    results: Path = args.work / "results" / f"{length}_{arm}"
    found = list(results.glob(f"*/*/fold_{args.fold}/validation/summary.json"))
    if not found:
        text = json.dumps(folds, indent=1)
        (args.work / "preprocessed" / args.raw.name / FOLDS).write_text(text, encoding="utf-8")
        call(python, args, arm, results)
        found = list(results.glob(f"*/*/fold_{args.fold}/validation/summary.json"))
    return found[0]


def row(arm: str, sides: dict[str, list[str]], summary: Path, names: dict[int, str]) -> str:
    """One line of the table: what was trained on and validated, and nnU-Net's mean Dice of each class."""
    mean = json.loads(summary.read_text(encoding="utf-8"))["mean"]
    dice = ", ".join(f"{names[int(number)]} {figures['Dice']:.3f}" for number, figures in mean.items())
    return f"{arm}: {len(sides['train'])} training cases, {len(sides['val'])} validated, Dice {dice}"


def main() -> None:
    """Check, plan, preprocess, train and validate."""
    args = arguments()
    args.fold, folds, made = fold_sides(args.raw, args.fold)
    python = prepare_environment((args.env or args.work / "env").absolute())
    plan(python, args)
    real = [{"train": [c for c in f["train"] if c not in made], "val": f["val"]} for f in folds]
    description = json.loads((args.raw / "dataset.json").read_text(encoding="utf-8"))
    names = {number: name for name, number in description["labels"].items()}
    lines = [
        row(arm, sides[args.fold], judge(python, args, arm, sides), names)
        for arm, sides in ((REAL, real), (SYNTHETIC, folds))
    ]
    print(f"\nfold {args.fold}, {args.configuration}, {args.epochs} epochs of {args.iterations} steps")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
