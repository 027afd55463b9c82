"""``medaug demo``: the whole path on a phantom cohort, ingest to verified release."""

from __future__ import annotations

import secrets
from importlib.resources import files
from pathlib import Path
from typing import final

from pydantic import Field, SecretStr

from medaug.core.case import Origin
from medaug.core.config import Document, Frozen
from medaug.core.runs import Progress, finished, open_run
from medaug.core.storage import require_free_space, write_text_atomic
from medaug.core.summary import Summary
from medaug.phantom.cohort import LICENCE, PhantomSpec, make_cohort
from medaug.workflows.assess import AssessOptions, assess
from medaug.workflows.bank import BankOptions, bank
from medaug.workflows.experiment import ExperimentOptions, experiment
from medaug.workflows.fit import FitOptions, fit
from medaug.workflows.ingest import IngestOptions, ingest
from medaug.workflows.inspect import InspectOptions, inspect
from medaug.workflows.keygen import KeygenOptions, keygen
from medaug.workflows.release import ReleaseOptions, release
from medaug.workflows.report import ReportOptions, report
from medaug.workflows.split import SplitOptions, split
from medaug.workflows.synthesize import SynthesizeOptions, synthesize
from medaug.workflows.verify import VerifyOptions, verify

RARE_CLASS = "ground_glass"
N_SYNTHETIC = 40
FOLDS = 2
_NEEDED_BYTES = 400 << 20
_TERMS = "Made-up patients: free for any use."


@final
class DemoOptions(Frozen):
    """What the demo is asked."""

    out: Path = Field(description="new folder for everything the demo makes")
    seed: int = Field(default=0, ge=0, description="of the phantom cohort and of everything drawn from it")


@final
class DemoSummary(Summary):
    """Where the demo left things, and what it found."""

    out: Path
    report: Path
    verdict: str
    release: Path
    skipped: bool = Field(description="everything was there already")

    def lines(self) -> tuple[str, ...]:
        """The summary in short lines for a person."""
        return (
            f"result: {self.verdict}",
            f"release: {self.release} (signed and verified)",
            f"report: {self.report}",
            "Made-up patients, short training: a tour of the tool, not a finding. Research use, not a medical device.",
        )


@final
class _Asked(Frozen):
    """The settings that make two demos the same run."""

    seed: int


@final
class DemoResult(Document):
    """``demo.json``: what the demo found, kept so that the same call again can say it at once."""

    verdict: str


def demo(options: DemoOptions, progress: Progress) -> DemoSummary:
    """Run every station once, each in its own folder below ``out``; an interrupted demo goes on.

    Raises:
        MedaugError: Whatever a station raises.
    """
    asked = _Asked(seed=options.seed)
    result = options.out / "demo.json"
    if finished(options.out, "demo", asked, {}):
        return _summary(options.out, DemoResult.read(result).verdict, skipped=True)
    require_free_space(options.out, _NEEDED_BYTES)
    with open_run(options.out, "demo", asked, {}):
        dataset = _bring_in(options, progress)
        assessment = _synthesise(options, dataset, progress)
        verdict = _compare(options, dataset, assessment, progress)
        _share(options, assessment, progress)
        DemoResult(verdict=verdict).write(result)
    return _summary(options.out, verdict, skipped=False)


def _bring_in(options: DemoOptions, progress: Progress) -> Path:
    """Draw the cohort, ingest both halves of it, look at it and split it."""
    out, dataset = options.out, options.out / "dataset"
    cohort = make_cohort(out / "cohort", PhantomSpec(seed=options.seed), progress)
    ingest(
        IngestOptions(
            sources=(cohort.dicom, cohort.nifti),
            out=dataset,
            name="phantom",
            origin=Origin.REAL,  # phantoms stand for patients here, and their headers say that they are none
            licence=LICENCE,
            terms=_TERMS,
        ),
        progress,
    )
    inspect(InspectOptions(dataset=dataset), progress)
    split(SplitOptions(dataset=dataset, folds=FOLDS, seed=options.seed), progress)
    return dataset


def _synthesise(options: DemoOptions, dataset: Path, progress: Progress) -> Path:
    """Bank, generator, synthetic set and its assessment, all inside fold 0."""
    out, seed = options.out, options.seed
    bank(BankOptions(dataset=dataset, fold=0, out=out / "bank"), progress)
    config = _configuration(out, "cgan.yaml")
    fit(FitOptions(dataset=dataset, bank=out / "bank", config=config, out=out / "cgan", seed=seed), progress)
    synthesize(
        SynthesizeOptions(
            dataset=dataset,
            bank=out / "bank",
            generator=str(out / "cgan"),
            per_class=(f"{RARE_CLASS}={N_SYNTHETIC}",),
            seed=seed,
            out=out / "synthetic",
        ),
        progress,
    )
    assess(AssessOptions(synthetic=out / "synthetic", against=dataset, out=out / "assessment"), progress)
    return out / "assessment"


def _compare(options: DemoOptions, dataset: Path, assessment: Path, progress: Progress) -> str:
    """Arms against each other on held-out patients, and the report; returns its verdict."""
    run, config = options.out / "experiment", _configuration(options.out, "experiment.yaml")
    experiment(ExperimentOptions(dataset=dataset, config=config, out=run), progress)
    return report(
        ReportOptions(runs=(run,), out=_report(options.out), assessment=assessment), progress
    ).verdict


def _share(options: DemoOptions, assessment: Path, progress: Progress) -> None:
    """Sign a release of the synthetic set with a key of its own, and verify it.

    So few held-out patients may leave the copying audit inconclusive; the demo accepts that for made-up patients.
    """
    out, passphrase = options.out, _passphrase(options.out)
    keys = keygen(KeygenOptions(out=out / "keys", passphrase=passphrase), progress)
    release(
        ReleaseOptions(
            synthetic=out / "synthetic",
            assessment=assessment,
            key=Path(keys.private_key),
            out=out / "release",
            accept_inconclusive=True,
            passphrase=passphrase,
        ),
        progress,
    )
    verify(VerifyOptions(release=out / "release", public_key=Path(keys.public_key)), progress)


def _configuration(out: Path, name: str) -> Path:
    """A copy of one of the demo's configurations that the user can read and change."""
    path = out / "configs" / name
    write_text_atomic(path, (files("medaug.phantom") / name).read_text(encoding="utf-8"))
    return path


def _passphrase(out: Path) -> SecretStr:
    """A random passphrase, kept beside the key: the demo's key protects nothing."""
    path = out / "keys" / "passphrase.txt"
    if not path.is_file():
        write_text_atomic(path, secrets.token_urlsafe(16) + "\n", mode=0o600)
    return SecretStr(path.read_text(encoding="utf-8").strip())


def _report(out: Path) -> Path:
    return out / "report.html"


def _summary(out: Path, verdict: str, *, skipped: bool) -> DemoSummary:
    return DemoSummary(
        out=out, report=_report(out), verdict=verdict, release=out / "release", skipped=skipped
    )
