"""Commands that bring scans in, look at them and change them: demo, ingest, inspect, split, augment, convert."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medaug.cli.options import (
    ClassCodesOption,
    DatasetArgument,
    JsonOption,
    OutOption,
    SeedOption,
    SegmentationOption,
    StrictOption,
)
from medaug.cli.render import call


def add_commands(app: typer.Typer) -> None:
    """Register this file's commands."""
    app.command()(demo)
    app.command()(ingest)
    app.command()(inspect)
    app.command()(split)
    app.command()(augment)
    app.command()(convert)


def demo(
    *,
    out: Annotated[Path, typer.Option("--out", help="New folder for everything the demo makes.")],
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Run the whole path, ingest to verified release, on a phantom cohort.

    Example: `medaug demo --out runs/demo`
    """
    from medaug.workflows import demo as workflow

    call(workflow.demo, workflow.DemoOptions(out=out, seed=seed), as_json=as_json)


def ingest(
    *,
    sources: Annotated[
        list[Path], typer.Argument(metavar="SRC...", help="Folders or files of DICOM or NIfTI.")
    ],
    out: OutOption,
    labels: Annotated[
        Path | None, typer.Option("--labels", exists=True, help="A cases.csv; found by itself in SRC.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the dataset; default: the folder's.")
    ] = None,
    origin: Annotated[
        str | None,
        typer.Option("--origin", help="real (the default), or synthetic for a set another tool made."),
    ] = None,
    class_map: Annotated[
        str | None, typer.Option("--class-map", help='Names of label ids, e.g. "1=solid".')
    ] = None,
    modality: Annotated[
        str | None, typer.Option("--modality", help="CT, MR, ... where no file says so.")
    ] = None,
    spacing: Annotated[
        str | None,
        typer.Option("--spacing", help="known, or nominal where the affine is not to be believed."),
    ] = None,
    licence: Annotated[
        str | None, typer.Option("--licence", help="Licence of the scans; a release needs one.")
    ] = None,
    terms: Annotated[str | None, typer.Option("--terms", help="Terms of use, in a sentence.")] = None,
    require_labels: Annotated[
        bool, typer.Option("--require-labels", help="Refuse images without a label.")
    ] = False,
    keep_ids: Annotated[
        bool,
        typer.Option("--keep-ids", help="Keep case ids of file names; they may tell who the patient is."),
    ] = False,
    frames: Annotated[
        str | None,
        typer.Option("--frames", help="A fourth axis: channels, cases, or the number of one frame."),
    ] = None,
    tilt: Annotated[
        str, typer.Option("--tilt", help="resample a tilted gantry upright, or refuse it.")
    ] = "resample",
    fraction_threshold: Annotated[
        float,
        typer.Option("--fraction-threshold", help="From which fraction on a fractional SEG counts."),
    ] = 0.5,
    priority: Annotated[
        str, typer.Option("--priority", help='Classes that win an overlap, strongest first: "a,b".')
    ] = "",
    resample_labels: Annotated[
        bool,
        typer.Option("--resample-labels", help="Put label maps on their image's grid (nearest neighbour)."),
    ] = False,
    workers: Annotated[
        int, typer.Option("--workers", min=0, help="Processes that scan headers; 0: one a core.")
    ] = 0,
    strict: StrictOption = False,
    as_json: JsonOption = False,
) -> None:
    """Turn scans and annotations into a dataset folder, or refuse them case by case.

    Example: `medaug ingest scans/ --out dataset`
    """
    from medaug.workflows import ingest as workflow

    options = workflow.IngestOptions.model_validate(
        {
            "sources": tuple(sources), "out": out, "labels": labels, "name": name, "origin": origin,
            "class_map": class_map, "modality": modality, "spacing": spacing, "licence": licence, "terms": terms,
            "require_labels": require_labels, "keep_ids": keep_ids, "strict": strict, "frames": frames, "tilt": tilt,
            "fraction_threshold": fraction_threshold, "priority": priority, "resample_labels": resample_labels,
            "workers": workers,
        }
    )  # fmt: skip
    call(workflow.ingest, options, as_json=as_json)


def inspect(
    *,
    dataset: DatasetArgument,
    sheet: Annotated[
        Path | None,
        typer.Option(
            "--sheet", help="x.png: pages x_01.png, ... and x.html; default: in DATASET/inspection."
        ),
    ] = None,
    max_cases: Annotated[
        int | None,
        typer.Option("--max-cases", min=1, help="Rows of the contact sheet, worst first; default: all."),
    ] = None,
    folds: Annotated[
        int, typer.Option("--folds", min=2, help="Folds that every class must suffice for.")
    ] = 5,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 3 if a finding is severe.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check every case and the set as a whole, count classes and patients, and draw a contact sheet.

    Example: `medaug inspect dataset`
    """
    from medaug.workflows import inspect as workflow

    options = workflow.InspectOptions(
        dataset=dataset, sheet=sheet, max_cases=max_cases, folds=folds, strict=strict
    )
    call(workflow.inspect, options, as_json=as_json)


def split(
    *,
    dataset: DatasetArgument,
    folds: Annotated[int, typer.Option("--folds", min=2, help="Folds over the patients.")] = 5,
    seed: SeedOption = 0,
    test: Annotated[
        float, typer.Option("--test", min=0, max=0.9, help="Share of patients kept for a last test.")
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Divide the patients into folds, balanced by class; writes DATASET/splits.json.

    Example: `medaug split dataset --folds 5 --seed 0`
    """
    from medaug.workflows import split as workflow

    call(
        workflow.split,
        workflow.SplitOptions(dataset=dataset, folds=folds, seed=seed, test=test),
        as_json=as_json,
    )


def augment(
    *,
    dataset: DatasetArgument,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            exists=True,
            help="YAML: kind and settings as an arm's transforms; default: classical.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="New folder to write; an interrupted run is resumed.")
    ] = None,
    n: Annotated[int, typer.Option("--n", min=1, max=999, help="Copies of each case.")] = 4,
    seed: SeedOption = 0,
    preview: Annotated[
        Path | None, typer.Option("--preview", help="PNG that shows each step on one case, before and after.")
    ] = None,
    case: Annotated[
        str | None, typer.Option("--case", help="Case of the preview; default: the first labelled.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write changed copies of every case as a dataset folder, or a sheet that shows what each step does.

    Example: `medaug augment dataset --config augment.yaml --n 4 --out runs/augmented`
    """
    from medaug.workflows import augment as workflow

    options = workflow.AugmentOptions(
        dataset=dataset, config=config, out=out, n=n, seed=seed, preview=preview, case=case
    )
    call(workflow.augment, options, as_json=as_json)


def convert(
    *,
    dataset: DatasetArgument,
    to: Annotated[str, typer.Option("--to", help="bids, dicom, msd, nifti or nnunet.")],
    out: OutOption,
    with_synthetic: Annotated[
        list[Path] | None,
        typer.Option(
            "--with-synthetic",
            exists=True,
            help="Folder of `medaug synthesize`, for training alone; repeat it for other folds. nnunet only.",
        ),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(
            "--key-file", help="Secret behind all UIDs, mode 600; made where there is none. dicom only."
        ),
    ] = None,
    segmentation: SegmentationOption = "binary",
    class_codes: ClassCodesOption = "",
    as_json: JsonOption = False,
) -> None:
    """Write a dataset in the form that another tool reads; `medaug ingest` reads it back exactly.

    Example: `medaug convert dataset --to bids --out runs/bids`
    """
    from medaug.workflows import convert as workflow

    options = workflow.ConvertOptions.model_validate(
        {
            "dataset": dataset, "to": to, "out": out, "with_synthetic": tuple(with_synthetic or ()),
            "key_file": key_file, "segmentation": segmentation, "class_codes": class_codes,
        }
    )  # fmt: skip
    call(workflow.convert, options, as_json=as_json)
