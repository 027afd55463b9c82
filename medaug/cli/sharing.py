"""Commands that prepare data for sharing: deface, deidentify, keygen, release, verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medaug.cli.options import (
    ClassCodesOption,
    DatasetArgument,
    JsonOption,
    OutOption,
    SegmentationOption,
)
from medaug.cli.render import call
from medaug.cli.secrets import read_secret
from medaug.core.errors import ConfigError

PassphraseOption = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        exists=True,
        help="File with the key's passphrase; else it is asked for, or read from standard input.",
    ),
]
ReportOption = Annotated[
    Path | None, typer.Option("--report", help="One JSON line an input file, mode 600; outside --out.")
]


def add_commands(app: typer.Typer) -> None:
    """Register this file's commands."""
    for command in (deface, deidentify, keygen, release, verify):
        app.command()(command)


def _passphrase(file: Path | None, *, confirm: bool) -> str:
    secret = read_secret(file, "passphrase", "--passphrase-file", confirm=confirm)
    if not secret:
        raise ConfigError("holds no passphrase", where="--passphrase-file", expected="one line")
    return secret


def deface(
    *,
    dataset: DatasetArgument,
    out: OutOption,
    part: Annotated[
        str,
        typer.Option("--part", help="auto, or what you saw in every case: head, or other where none is one."),
    ] = "auto",
    views: Annotated[
        Path | None,
        typer.Option(
            "--views", help="New folder for a picture of each head before and after; they show patients."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Take faces out of head MR, measured; what cannot be told, and every head CT, is left out.

    Example: `medaug deface dataset --out runs/faceless --views runs/views`
    """
    from medaug.workflows import deface as workflow

    options = workflow.DefaceOptions.model_validate(
        {"dataset": dataset, "out": out, "part": part, "views": views}
    )
    call(workflow.deface_dataset, options, as_json=as_json)


def deidentify(
    *,
    source: Annotated[
        Path,
        typer.Argument(metavar="SRC", exists=True, help="Folder with DICOM and NIfTI files, or one file."),
    ],
    out: Annotated[Path, typer.Option("--out", help="New folder; an interrupted run goes on in it.")],
    key_file: Annotated[
        Path,
        typer.Option("--key-file", help="Secret behind all pseudonyms, mode 600; made where there is none."),
    ],
    profile: Annotated[
        str,
        typer.Option(
            "--profile",
            help="Options after commas; basic always applies: clean-descriptors, clean-structured-content, modified-dates or full-dates, "
            "clean-pixel-data or clean-pixel-data-ocr, retain-device, retain-institution, retain-patient-characteristics, retain-safe-private, retain-uids.",
        ),
    ] = "basic,clean-descriptors,clean-structured-content,modified-dates",
    report: ReportOption = None,
    workers: Annotated[
        int, typer.Option("--workers", min=0, help="Processes; 0: one a core. The output is the same.")
    ] = 1,
    as_json: JsonOption = False,
) -> None:
    """Take out of DICOM and NIfTI files what tells whose they are (PS3.15 Annex E); what cannot be made safe is left out.

    Example: `medaug deidentify scans --out runs/clean --key-file keys/pseudonyms --report runs/clean.jsonl`
    """
    from medaug.workflows import deidentify as workflow

    options = workflow.DeidentifyOptions(
        source=source, out=out, key_file=key_file, profile=profile, report=report, workers=workers
    )
    call(workflow.deidentify, options, as_json=as_json)


def keygen(
    *,
    out: Annotated[Path, typer.Option("--out", help="Folder for signing.key and signing.pub.")] = Path(
        "keys"
    ),
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an Ed25519 key pair; the private key is encrypted.

    Example: `medaug keygen --out keys`
    """
    from medaug.workflows import keygen as workflow

    options = workflow.KeygenOptions.model_validate(
        {"out": out, "passphrase": _passphrase(passphrase_file, confirm=True)}
    )
    call(workflow.keygen, options, as_json=as_json)


def release(
    *,
    dataset: Annotated[
        Path,
        typer.Argument(metavar="SYN|DATASET", exists=True, help="Synthetic set, or dataset of real cases."),
    ],
    key: Annotated[Path, typer.Option("--key", exists=True, help="Private key of `medaug keygen`.")],
    out: Annotated[Path, typer.Option("--out", help="New folder for the release.")],
    assessment: Annotated[
        Path | None,
        typer.Option(
            "--assessment",
            exists=True,
            help="Folder of `medaug assess` for this very synthetic set; a real dataset has none.",
        ),
    ] = None,
    tier: Annotated[str, typer.Option("--tier", help="synthetic-only, hosted or internal.")] = "hosted",
    output_format: Annotated[
        str, typer.Option("--format", help="nnunet, nifti, msd, bids or dicom.")
    ] = "nnunet",
    segmentation: SegmentationOption = "binary",
    class_codes: ClassCodesOption = "",
    licence: Annotated[str | None, typer.Option("--licence", help="Where the manifest has none.")] = None,
    terms: Annotated[
        str | None, typer.Option("--terms", help="Terms of use, in a sentence, where the manifest has none.")
    ] = None,
    generator: Annotated[
        Path | None,
        typer.Option(
            "--generator",
            exists=True,
            help="Run folder of the generator: its privacy budget goes onto the certificate.",
        ),
    ] = None,
    accept_inconclusive: Annotated[
        bool, typer.Option("--accept-inconclusive", help="A person accepts an inconclusive copying audit.")
    ] = False,
    no_faces: Annotated[
        bool, typer.Option("--no-faces", help="A person has looked at every case: no face is in view.")
    ] = False,
    identifiers: Annotated[
        Path | None,
        typer.Option(
            "--identifiers",
            exists=True,
            help="What must not leave: a text file, one identifier a line, or a folder of the original DICOM files.",
        ),
    ] = None,
    report: ReportOption = None,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check, write, re-read and sign a release; refuses with the list of reasons.

    Example: `medaug release runs/syn --assessment runs/assessment --key keys/signing.key --out runs/release`
    """
    from medaug.workflows import release as workflow

    options = workflow.ReleaseOptions.model_validate(
        {
            "synthetic": dataset, "assessment": assessment, "key": key, "out": out, "tier": tier,
            "format": output_format, "segmentation": segmentation, "class_codes": class_codes,
            "licence": licence, "terms": terms, "accept_inconclusive": accept_inconclusive,
            "generator": generator, "no_faces": no_faces, "identifiers": identifiers, "report": report,
            "passphrase": _passphrase(passphrase_file, confirm=False),
        }
    )  # fmt: skip
    call(workflow.release, options, as_json=as_json)


def verify(
    *,
    release: Annotated[Path, typer.Argument(metavar="RELEASE", exists=True, help="Release folder.")],
    public_key: Annotated[
        Path, typer.Option("--public-key", exists=True, help="The only key that is trusted.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Check every byte of a release against its signed certificate.

    Example: `medaug verify runs/release --public-key keys/signing.pub`
    """
    from medaug.workflows import verify as workflow

    call(workflow.verify, workflow.VerifyOptions(release=release, public_key=public_key), as_json=as_json)
