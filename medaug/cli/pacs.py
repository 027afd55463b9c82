"""Commands that talk to an image archive (PACS): pull, push."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medaug.cli.options import JsonOption, StrictOption
from medaug.cli.render import call
from medaug.cli.secrets import read_secret
from medaug.core.errors import ConfigError

DicomwebOption = Annotated[
    str | None, typer.Option("--dicomweb", metavar="URL", help="A DICOMweb service, https://HOST:PORT/PATH.")
]
DimseOption = Annotated[
    str | None, typer.Option("--dimse", metavar="AE@HOST:PORT", help="An application entity.")
]
TlsOption = Annotated[bool, typer.Option("--tls", help="Encrypt DIMSE; DICOMweb is, by its https address.")]
CaOption = Annotated[
    Path | None, typer.Option("--ca-file", exists=True, help="PEM certificates to trust; implies --tls.")
]
CertOption = Annotated[
    Path | None, typer.Option("--client-cert", exists=True, help="Our PEM certificate; implies --tls.")
]
KeyOption = Annotated[
    Path | None,
    typer.Option("--client-key", exists=True, help="Its PEM key, where it stands in a file of its own."),
]
TokenOption = Annotated[
    Path | None,
    typer.Option("--token-file", exists=True, help="File whose first line is a bearer token (DICOMweb)."),
]
AskTokenOption = Annotated[
    bool, typer.Option("--ask-token", help="Ask for the bearer token, or read it from standard input.")
]
AetOption = Annotated[str, typer.Option("--aet", help="Our own AE title.")]
TimeoutOption = Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for an answer.")]
RetriesOption = Annotated[
    int, typer.Option("--retries", min=0, max=20, help="Times to try again, after 1, 2, 4 ... seconds.")
]


def add_commands(app: typer.Typer) -> None:
    """Register this file's commands."""
    app.command()(pull)
    app.command()(push)


def _token(file: Path | None, *, ask: bool) -> str | None:
    """The bearer token, where there is one; it can be written into a header."""
    if file is None and not ask:
        return None
    token = read_secret(file, "token", "--token-file").strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError("holds no token", where="--token-file", expected="one word")
    return token


def pull(
    *,
    query: Annotated[
        list[str],
        typer.Option(
            "--query",
            metavar="KEY=VALUE,...",
            help="What to fetch; * and ? are wildcards, dates have ranges.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", help="New folder for the files; an interrupted pull goes on in it.")
    ],
    dicomweb: DicomwebOption = None,
    dimse: DimseOption = None,
    level: Annotated[
        str, typer.Option("--level", help="series: those that match; study: all series beside such a one.")
    ] = "series",
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="At most so many series, or studies, as --level says."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how much would be fetched; no more.")
    ] = False,
    tls: TlsOption = False,
    ca_file: CaOption = None,
    client_cert: CertOption = None,
    client_key: KeyOption = None,
    token_file: TokenOption = None,
    ask_token: AskTokenOption = False,
    aet: AetOption = "MEDAUG",
    timeout_s: TimeoutOption = 30,
    retries: RetriesOption = 3,
    strict: StrictOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fetch series from an archive into a folder that `medaug ingest` takes.

    Example: `medaug pull --dicomweb https://pacs.example/dicom-web --query "Modality=CT,StudyDate=20200101-" --out scans`
    """
    from medaug.workflows import pull as workflow

    options = workflow.PullOptions.model_validate(
        {
            "query": tuple(query), "out": out, "level": level, "limit": limit, "dry_run": dry_run, "strict": strict,
            "archive": {
                "dicomweb": dicomweb, "dimse": dimse, "tls": tls, "ca_file": ca_file, "client_cert": client_cert,
                "client_key": client_key, "token": _token(token_file, ask=ask_token), "calling_ae": aet,
                "timeout_s": timeout_s, "retries": retries,
            },
        }
    )  # fmt: skip
    call(workflow.pull, options, as_json=as_json)


def push(
    *,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", exists=True, help="Release folder with DICOM files.")
    ],
    dicomweb: DicomwebOption = None,
    dimse: DimseOption = None,
    public_key: Annotated[
        Path | None, typer.Option("--public-key", exists=True, help="The release must verify under this key.")
    ] = None,
    allow_unverified: Annotated[
        bool, typer.Option("--allow-unverified", help="A person answers for sending a folder of any origin.")
    ] = False,
    state: Annotated[
        Path | None,
        typer.Option("--state", help="Private file that knows what was sent; default: beside FOLDER."),
    ] = None,
    tls: TlsOption = False,
    ca_file: CaOption = None,
    client_cert: CertOption = None,
    client_key: KeyOption = None,
    token_file: TokenOption = None,
    ask_token: AskTokenOption = False,
    aet: AetOption = "MEDAUG",
    timeout_s: TimeoutOption = 30,
    retries: RetriesOption = 3,
    strict: StrictOption = False,
    as_json: JsonOption = False,
) -> None:
    """Send the DICOM files of a verified release to an archive.

    Example: `medaug push runs/release --public-key keys/signing.pub --dimse ARCHIVE@pacs.example:11112 --tls`
    """
    from medaug.workflows import push as workflow

    options = workflow.PushOptions.model_validate(
        {
            "folder": folder, "public_key": public_key, "allow_unverified": allow_unverified, "state": state,
            "strict": strict,
            "archive": {
                "dicomweb": dicomweb, "dimse": dimse, "tls": tls, "ca_file": ca_file, "client_cert": client_cert,
                "client_key": client_key, "token": _token(token_file, ask=ask_token), "calling_ae": aet,
                "timeout_s": timeout_s, "retries": retries,
            },
        }
    )  # fmt: skip
    call(workflow.push, options, as_json=as_json)
