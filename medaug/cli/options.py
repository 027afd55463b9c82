"""Options that several commands share, written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DatasetArgument = Annotated[
    Path, typer.Argument(metavar="DATASET", exists=True, help="Dataset folder that `medaug ingest` wrote.")
]
OutOption = Annotated[Path, typer.Option("--out", help="New folder to write; an interrupted run is resumed.")]
FoldOption = Annotated[
    int, typer.Option("--fold", min=0, help="Fold of splits.json; only its training patients are seen.")
]
SeedOption = Annotated[int, typer.Option("--seed", help="Same seed, same result.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
SegmentationOption = Annotated[
    str, typer.Option("--segmentation", help="Kind of DICOM SEG: binary or labelmap. dicom only.")
]
ClassCodesOption = Annotated[
    str, typer.Option("--class-codes", help="Such as nodule=SCT:27925004:Nodule, after commas. dicom only.")
]
StrictOption = Annotated[bool, typer.Option("--strict", help="Exit 3 if any case is refused.")]
