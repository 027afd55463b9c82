"""Commands that make lesions and whole cases, judge and choose: bank, fit, explore, synthesize, translate, assess, filter."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medaug.cli.options import (
    DatasetArgument,
    FoldOption,
    JsonOption,
    OutOption,
    SeedOption,
    StrictOption,
)
from medaug.cli.render import call
from medaug.core.errors import ConfigError

BankOption = Annotated[
    Path, typer.Option("--bank", exists=True, help="Lesion bank that `medaug bank` wrote for this fold.")
]


def add_commands(app: typer.Typer) -> None:
    """Register this file's commands."""
    for command in (bank, fit, explore, synthesize, translate, assess):
        app.command()(command)
    app.command("filter")(filter_set)


def _range(text: str | None) -> tuple[float, float] | None:
    """The two numbers of ``LOW:HIGH``."""
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(":"))
    except ValueError as error:
        raise ConfigError(
            f"{text!r} is no range", where="--diameter-mm", expected="LOW:HIGH, e.g. 4:12"
        ) from error
    return low, high


def _promise(text: str | None) -> dict[str, object] | None:
    """The keys of ``epsilon=8,delta=1e-5``; ``epsilon=none`` is the same without noise."""
    if text is None:
        return None
    pairs = [part.split("=", 1) for part in text.split(",")]
    if any(len(pair) != 2 or not all(pair) for pair in pairs):
        raise ConfigError(f"{text!r} is no promise", where="--dp", expected="epsilon=8[,delta=1e-5,clip=1]")
    return {key.strip(): None if value == "none" else value for key, value in pairs}


def bank(
    *,
    dataset: DatasetArgument,
    out: OutOption,
    fold: FoldOption = 0,
    describe: Annotated[
        bool,
        typer.Option("--describe", help="Count by class and size, and draw a contact sheet of patients."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Cut every lesion out of a fold's training patients.

    Example: `medaug bank dataset --fold 0 --out runs/bank --describe`
    """
    from medaug.workflows import bank as workflow

    options = workflow.BankOptions(dataset=dataset, fold=fold, out=out, describe=describe)
    call(workflow.bank, options, as_json=as_json)


def fit(
    *,
    dataset: DatasetArgument,
    config: Annotated[
        Path,
        typer.Option(
            "--config", exists=True, help="YAML of a generator or translator, e.g. configs/cgan_2d_toy.yaml."
        ),
    ],
    out: OutOption,
    bank: Annotated[
        Path | None,
        typer.Option(
            "--bank",
            exists=True,
            help="Lesion bank that `medaug bank` wrote for this fold; a translator takes none.",
        ),
    ] = None,
    fold: FoldOption = 0,
    seed: SeedOption = 0,
    device: Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = None,
    dp: Annotated[
        str | None,
        typer.Option(
            "--dp",
            metavar="KEY=VALUE,...",
            help="Train a cgan or vae with differential privacy: epsilon=8[,delta=1e-5,clip=1,patches=2].",
        ),
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write the losses for TensorBoard, too.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a generator on a lesion bank, or a translator on whole cases.

    The run folder shows how it goes: curves.png, samples.png, samples/ at several steps, and log.jsonl. On several GPUs,
    or CPUs: `torchrun --nproc-per-node 2 -m medaug fit ...`

    Example: `medaug fit dataset --bank runs/bank --config configs/cgan_2d_toy.yaml --fold 0 --out runs/cgan`
    """
    from medaug.workflows import fit as workflow

    options = workflow.FitOptions(
        dataset=dataset, bank=bank, config=config, fold=fold, out=out, seed=seed, device=device,
        dp=_promise(dp), tensorboard=tensorboard,
    )  # fmt: skip
    call(workflow.fit, options, as_json=as_json)


def explore(
    *,
    run: Annotated[
        Path, typer.Argument(metavar="RUN", exists=True, help="Run folder of `medaug fit` with a vae.")
    ],
    bank: BankOption,
    out: Annotated[Path, typer.Option("--out", help="PNG file to write; it shows training patients.")],
    interpolate: Annotated[
        tuple[str, str] | None,
        typer.Option("--interpolate", metavar="A B", help="From one lesion of the bank to another, by id."),
    ] = None,
    direction: Annotated[
        str | None, typer.Option("--direction", help="Walk along size, contrast or sharpness.")
    ] = None,
    denoise: Annotated[
        str | None,
        typer.Option("--denoise", metavar="ID", help="Add noise to a lesion, of any bank, and remove it."),
    ] = None,
    noise: Annotated[
        float, typer.Option("--noise", min=0.001, max=5, help="How much, in normalised units: 500 HU in CT.")
    ] = 0.2,
    steps: Annotated[int, typer.Option("--steps", min=2, max=40, help="Lesions a row.")] = 7,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Show what a vae has learnt: samples, the way between two lesions, a named direction, or how it denoises.

    Example: `medaug explore runs/vae --bank runs/bank --direction contrast --out contrast.png`
    """
    from medaug.workflows import explore as workflow

    asked = {"interpolate": interpolate, "direction": direction, "denoise": denoise, "noise": noise}
    files = {"run": run, "bank": bank, "out": out}
    options = workflow.ExploreOptions.model_validate({**files, **asked, "steps": steps, "seed": seed})
    call(workflow.explore, options, as_json=as_json)


def synthesize(
    *,
    dataset: DatasetArgument,
    bank: BankOption,
    generator: Annotated[
        str, typer.Option("--generator", help="Run folder of `medaug fit`, or a kind: copy_paste.")
    ],
    out: OutOption,
    per_class: Annotated[
        list[str] | None, typer.Option("--per-class", help="CLASS=COUNT; may be repeated.")
    ] = None,
    balance: Annotated[
        str | None,
        typer.Option("--balance", help="equal or sqrt: fill up the rarer classes, real lesions counted."),
    ] = None,
    total: Annotated[
        int | None, typer.Option("--total", min=1, help="Lesions that --balance may draw.")
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option("--plan", exists=True, help="Draw this plan.jsonl, which you may have edited."),
    ] = None,
    fold: FoldOption = 0,
    seed: SeedOption = 0,
    diameter_mm: Annotated[
        str | None, typer.Option("--diameter-mm", help="Range such as 4:12; default: sizes as in the bank.")
    ] = None,
    swap_share: Annotated[
        float,
        typer.Option(
            "--swap-share", min=0, max=1, help="Share drawn over a lesion of another class, in its outline."
        ),
    ] = 0.0,
    null_share: Annotated[
        float,
        typer.Option(
            "--null-share", min=0, max=0.9, help="Share of cases where healthy tissue is pasted, unlabelled."
        ),
    ] = 0.0,
    sweep: Annotated[
        str | None,
        typer.Option(
            "--sweep",
            help="Each lesion at each value: diameter_mm=4,8,12, contrast=0.5,1 or sharpness=0.5,2.",
        ),
    ] = None,
    blending: Annotated[
        str, typer.Option("--blending", help="feather (as the generator does) or poisson.")
    ] = "feather",
    match_noise: Annotated[
        bool, typer.Option("--match-noise", help="Add the noise that the host has and the lesion lacks.")
    ] = False,
    shapes: Annotated[
        str, typer.Option("--shapes", help="bank (masks, bent), pca, vae, or auto by number of lesions.")
    ] = "bank",
    tissue: Annotated[
        str,
        typer.Option("--tissue", help="Keep to: auto, body, lung, brain, or a class that marks an organ."),
    ] = "auto",
    strict: StrictOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write plan.jsonl, say what to expect, and stop.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Draw new lesions into the fold's training patients; the result is a dataset folder.

    Example: `medaug synthesize dataset --bank runs/bank --generator runs/cgan --per-class ground_glass=200 --out runs/syn`
    """
    from medaug.workflows import synthesize as workflow

    what = {"per_class": per_class or (), "balance": balance, "total": total, "plan": plan, "sweep": sweep}
    shares = {"swap_share": swap_share, "null_share": null_share, "diameter_mm": _range(diameter_mm)}
    finish = {"blending": blending, "match_noise": match_noise, "shapes": shapes, "tissue": tissue}
    how = {"strict": strict, "dry_run": dry_run}
    files = {"dataset": dataset, "bank": bank, "generator": generator, "out": out, "fold": fold, "seed": seed}
    options = workflow.SynthesizeOptions.model_validate({**files, **what, **shares, **finish, **how})
    call(workflow.synthesize, options, as_json=as_json)


def translate(
    *,
    dataset: DatasetArgument,
    translator: Annotated[
        Path,
        typer.Option(
            "--with", metavar="RUN", exists=True, help="Run folder of `medaug fit` with a translator."
        ),
    ],
    out: OutOption,
    fold: FoldOption = 0,
    seed: SeedOption = 0,
    count: Annotated[
        int | None, typer.Option("--count", min=1, help="Cases to make; default: one a training case.")
    ] = None,
    per_class: Annotated[
        list[str] | None,
        typer.Option("--per-class", help="CLASS=COUNT; may be repeated; for whole_image."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make whole cases: finer slices, another scanner's look, or images of label maps that are nobody's.

    Example: `medaug translate dataset --with runs/whole --fold 0 --out runs/made --per-class ground_glass=20`
    """
    from medaug.workflows import translate as workflow

    options = workflow.TranslateOptions(
        dataset=dataset,
        translator=translator,
        out=out,
        fold=fold,
        seed=seed,
        count=count,
        per_class=tuple(per_class or ()),
    )
    call(workflow.translate, options, as_json=as_json)


def assess(
    *,
    synthetic: Annotated[Path, typer.Argument(metavar="SYN", exists=True, help="Synthetic dataset folder.")],
    against: Annotated[
        Path, typer.Option("--against", exists=True, help="The real dataset folder it was made from.")
    ],
    out: OutOption,
    fold: FoldOption = 0,
    on_split: Annotated[
        bool,
        typer.Option(
            "--on-split",
            help="Training and held-out patients as `split` in cases.csv says, not as a fold does.",
        ),
    ] = False,
    parts: Annotated[
        str | None, typer.Option("--parts", help="Some of quality,fidelity,copying,membership; default: all.")
    ] = None,
    segmenter: Annotated[
        Path | None,
        typer.Option(
            "--segmenter",
            metavar="RUN",
            exists=True,
            help="Run of `medaug train` on the same fold; default: a short one.",
        ),
    ] = None,
    extractor: Annotated[
        Path | None,
        typer.Option(
            "--extractor",
            metavar="FILE",
            exists=True,
            help="TorchScript network that makes features of lesions.",
        ),
    ] = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Is a synthetic set a copy, does it tell who was trained on, is it realistic, diverse, unbiased?

    Writes assessment.html, which shows patients, with quality.json, audit.json and sheets of the worst and the closest.

    Example: `medaug assess runs/syn --against dataset --fold 0 --out runs/assessment`
    """
    from medaug.workflows import assess as workflow

    files = {"synthetic": synthetic, "against": against, "out": out}
    networks = {"segmenter": segmenter, "extractor": extractor}
    what = {"parts": [part.strip() for part in parts.split(",")]} if parts is not None else {}
    who = {"fold": fold, "on_split": on_split, "seed": seed}
    options = workflow.AssessOptions.model_validate({**files, **networks, **what, **who})
    call(workflow.assess, options, as_json=as_json)


def filter_set(
    *,
    synthetic: Annotated[Path, typer.Argument(metavar="SYN", exists=True, help="Synthetic dataset folder.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="New folder to write; an interrupted run is resumed.")
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option("--keep", help="Rule that all lesions of a case satisfy: 'score>0.4 and seam>=0.5'."),
    ] = None,
    assessment: Annotated[
        Path | None,
        typer.Option(
            "--assessment", exists=True, help="Folder of `medaug assess` for this very set, for --keep."
        ),
    ] = None,
    reject: Annotated[
        Path | None,
        typer.Option(
            "--reject", exists=True, help="Text file of cases to leave out: an id a line, then the reason."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be kept, and stop.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Leave out the cases that break a rule, or that a person does not want; rejected.json keeps the reasons.

    Fields of a rule: score, typical, recovered, label_dice, seam, diameter_mm, copy_score, class.

    Example: `medaug filter runs/syn --assessment runs/assessment --keep "score>0.4" --reject list.txt --out runs/good`
    """
    from medaug.workflows import filter as workflow

    options = workflow.FilterOptions(
        synthetic=synthetic, out=out, keep=keep, assessment=assessment, reject=reject, dry_run=dry_run
    )
    call(workflow.filter_set, options, as_json=as_json)
