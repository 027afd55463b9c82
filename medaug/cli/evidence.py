"""Commands that train, score and compare: train, predict, evaluate, experiment, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medaug.cli.options import (
    DatasetArgument,
    DeviceOption,
    FoldOption,
    JsonOption,
    OutOption,
    SeedOption,
    StrictOption,
)
from medaug.cli.render import call


def add_commands(app: typer.Typer) -> None:
    """Register this file's commands."""
    for command in (train, predict, evaluate, experiment, report):
        app.command()(command)


def train(
    *,
    dataset: DatasetArgument,
    config: Annotated[
        Path,
        typer.Option("--config", exists=True, help="YAML of a task, e.g. configs/hippocampus_quick.yaml."),
    ],
    out: OutOption,
    fold: FoldOption = 0,
    seed: SeedOption = 0,
    synthetic: Annotated[
        Path | None,
        typer.Option("--synthetic", exists=True, help="Folder of `medaug synthesize`, mixed into training."),
    ] = None,
    assessment: Annotated[
        Path | None,
        typer.Option(
            "--assessment", exists=True, help="Folder of `medaug assess` for that set, for synthetic.keep."
        ),
    ] = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train a segmenter on a fold's training patients; several GPUs or CPUs share the batches.

    Several processes: `torchrun --nproc-per-node 2 -m medaug train ...`

    Example: `medaug train dataset --config configs/hippocampus_quick.yaml --fold 0 --out runs/unet`
    """
    from medaug.workflows import train as workflow

    options = workflow.TrainOptions(
        dataset=dataset, config=config, fold=fold, out=out, seed=seed, synthetic=synthetic, assessment=assessment,
        device=device,
    )  # fmt: skip
    call(workflow.train, options, as_json=as_json)


def predict(
    *,
    run: Annotated[Path, typer.Argument(metavar="RUN", exists=True, help="Run folder of `medaug train`.")],
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SRC", exists=True, help="Dataset folder, NIfTI file or folder, or DICOM series."
        ),
    ],
    out: OutOption,
    further: Annotated[
        list[Path] | None,
        typer.Option(
            "--with", exists=True, help="Further run, repeatable: the mean of all probabilities decides."
        ),
    ] = None,
    output_format: Annotated[str, typer.Option("--format", help="nifti or dicom-seg.")] = "nifti",
    cases: Annotated[
        str,
        typer.Option("--cases", help="held-out, all, or auto: held-out where SRC is the run's own dataset."),
    ] = "auto",
    device: DeviceOption = "auto",
    strict: StrictOption = False,
    confidence: Annotated[
        bool, typer.Option("--confidence", help="Write CASE_confidence.nii.gz, too: how sure each label is.")
    ] = False,
    lesions: Annotated[
        Path | None,
        typer.Option(
            "--lesions", exists=True, help="Folder of CASE.nii.gz whose lesions a classifier judges."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Label scans with a trained run, or list their lesions.

    Example: `medaug predict runs/fold0 scans --with runs/fold1 --with runs/fold2 --out runs/predictions`
    """
    from medaug.workflows import lesions as workflow

    options = workflow.PredictOptions.model_validate(
        {
            "run": run, "source": source, "out": out, "format": output_format, "cases": cases, "device": device,
            "strict": strict, "lesions": lesions, "further": tuple(further or ()), "confidence": confidence,
        }
    )  # fmt: skip
    call(workflow.answer, options, as_json=as_json)


def evaluate(
    *,
    predictions: Annotated[
        Path,
        typer.Argument(
            metavar="PREDICTIONS",
            exists=True,
            help="Folder of CASE.nii.gz, or list of lesions: folder, .json, .csv.",
        ),
    ],
    labels: Annotated[
        Path, typer.Argument(metavar="LABELS", exists=True, help="Dataset folder, or folder of CASE.nii.gz.")
    ],
    out: Annotated[Path, typer.Option("--out", help="JSON file to write.")],
    fold: Annotated[
        int | None, typer.Option("--fold", help="Score this fold's held-out patients only.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option("--classes", help="Names of ids 1, 2, ... of a plain folder: a,b")
    ] = None,
    class_map: Annotated[
        str | None, typer.Option("--class-map", help='Label ids of PREDICTIONS, e.g. "2=solid,3=background".')
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="A missing prediction counts as empty.")
    ] = False,
    surface_tolerance_mm: Annotated[
        float, typer.Option("--surface-tolerance-mm", help="Distance that the surface Dice lets pass.")
    ] = 1.0,
    froc: Annotated[
        bool, typer.Option("--froc", help="Score the lesion candidates of label maps with their confidence.")
    ] = False,
    hit: Annotated[str, typer.Option("--hit", help="Candidates hit lesions by centre or iou.")] = "centre",
    as_json: JsonOption = False,
) -> None:
    """Score predictions per class and patient, any tool's: overlap, surfaces, volumes and lesions.

    Example: `medaug evaluate runs/predictions dataset --out runs/scores.json`
    """
    from medaug.workflows import score_lesions as workflow

    options = workflow.EvaluateOptions.model_validate(
        {
            "predictions": predictions, "labels": labels, "out": out, "fold": fold,
            "classes": tuple(classes.split(",")) if classes else (), "class_map": class_map,
            "allow_missing": allow_missing, "surface_tolerance_mm": surface_tolerance_mm, "froc": froc, "hit": hit,
        }
    )  # fmt: skip
    call(workflow.score, options, as_json=as_json)


def experiment(
    *,
    dataset: DatasetArgument,
    config: Annotated[
        Path,
        typer.Option("--config", exists=True, help="YAML of an experiment, e.g. configs/lidc_quick.yaml."),
    ],
    out: OutOption,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that share the work here.")] = 1,
    shard: Annotated[
        str | None,
        typer.Option("--shard", help="I/N: every N-th training subset; `medaug report` merges the folders."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the trainings and what they will take; write nothing.")
    ] = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Compare arms fairly: same folds, steps and patches, paired by patient.

    A second call on the same folder, from this machine or another that sees it, joins the first.

    One shard of four: `medaug experiment dataset --config FILE.yaml --out runs/lidc_1 --shard 1/4 --workers 2`

    Example: `medaug experiment dataset --config configs/lidc_quick.yaml --out runs/lidc`
    """
    from medaug.workflows import experiment as workflow

    options = workflow.ExperimentOptions.model_validate(
        {
            "dataset": dataset, "config": config, "out": out, "workers": workers, "shard": shard,
            "dry_run": dry_run, "device": device,
        }
    )  # fmt: skip
    call(workflow.experiment, options, as_json=as_json)


def report(
    *,
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", exists=True, help="Run folders of one `medaug experiment`, such as its shards."
        ),
    ],
    out: Annotated[Path | None, typer.Option("--out", help="HTML file; default: RUN/report.html.")] = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", help="Folder for SVG and CSV; default: NAME_files beside it.")
    ] = None,
    assessment: Annotated[
        Path | None, typer.Option("--assessment", exists=True, help="Folder of `medaug assess`.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the evidence as one HTML file that needs no network, and its figures as SVG and CSV.

    Example: `medaug report runs/lidc`
    """
    from medaug.workflows import report as workflow

    options = workflow.ReportOptions(runs=tuple(runs), out=out, figures=figures, assessment=assessment)
    call(workflow.report, options, as_json=as_json)
