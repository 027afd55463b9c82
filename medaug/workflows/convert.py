"""``medaug convert``: a dataset folder in the form that another tool reads."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, final

from pydantic import Field

from medaug.core.case import FINDINGS, MANIFEST, RECIPES, FindingsFile, Manifest, read_manifest
from medaug.core.config import Frozen
from medaug.core.errors import ConfigError, UnreadableError
from medaug.core.plan import Recipe, read_lines, write_lines
from medaug.core.results import Summary
from medaug.core.runs import Progress, finished, open_run
from medaug.core.storage import require_free_space, sha256_file
from medaug.core.wording import counted
from medaug.layouts.base import Export, parse_layout

Form = Literal["bids", "msd", "nifti", "nnunet"]


@final
class ConvertOptions(Frozen):
    """Options of `medaug convert`."""

    dataset: Path
    to: Form = Field(description="bids, msd (Medical Segmentation Decathlon), nifti or nnunet")
    out: Path = Field(description="new folder")


@final
class _Asked(Frozen):
    """What the run folder remembers of the options."""

    to: Form


@final
class ConvertSummary(Summary):
    """A dataset in another form."""

    dataset: Path
    form: Form
    cases: int
    labelled: int
    images: int = Field(description="image files")

    def lines(self) -> tuple[str, ...]:
        """The folder in one line, and how to go back."""
        cases = f"{counted(self.cases, 'case')} ({self.labelled} labelled)"
        return (
            f"{cases} in {counted(self.images, 'image file')}, as {self.form} in {self.dataset}",
            f"{MANIFEST} keeps what the form cannot hold; `medaug ingest` reads it back",
        )


def convert(options: ConvertOptions, progress: Progress) -> ConvertSummary:
    """Write a dataset folder in another form and read everything back; the folder stays a dataset folder of medaug.

    The same call again is skipped, an interrupted one goes on.

    Raises:
        ConfigError: If ``out`` lies in the dataset or holds something else.
        DataError: If the dataset is damaged, or the copy differs from it.
        StorageError: If the disk is too small, or a file cannot be read or written.
    """
    if options.out.resolve().is_relative_to(options.dataset.resolve()):
        raise ConfigError("--out lies in the dataset", where="--out", expected="a new folder beside it")
    manifest = read_manifest(options.dataset)
    files = _files(options.dataset, manifest)
    inputs = {"dataset": manifest.content_sha256}
    inputs |= {
        name: sha256_file(path) for name in (FINDINGS, RECIPES) if (path := options.dataset / name).is_file()
    }
    asked = _Asked(to=options.to)
    if finished(options.out, "convert", asked, inputs):
        return _summary(options)
    require_free_space(options.out, int(1.1 * sum(path.stat().st_size for path in files)))
    with open_run(options.out, "convert", asked, inputs) as run:
        export = Export(options.dataset, manifest, options.out, b"")
        layout = parse_layout({"kind": options.to}).build()
        written = layout.write(export, progress)
        layout.check(export, written, progress)
        _write_texts(options, written)
        run.log("converted", cases=len(written.cases))
    return _summary(options)


def _files(dataset: Path, manifest: Manifest) -> list[Path]:
    """Every file that is to be converted.

    Raises:
        UnreadableError: If one is missing, or a case has no image file.
    """
    if not all(record.images for record in manifest.cases):
        hint = "ingest the folder, and convert what that makes"
        raise UnreadableError("images are DICOM series", expected="a dataset of NIfTI files", hint=hint)
    stored = [
        file
        for record in manifest.cases
        for file in (*record.images, record.label, record.edit_mask)
        if file is not None
    ]
    for file in stored:
        if not (dataset / file.path).is_file():
            raise UnreadableError(f"{file.path} is missing", hint="restore it, or make the dataset again")
    return [dataset / path for path in {file.path for file in stored}]


def _write_texts(options: ConvertOptions, written: Manifest) -> None:
    """Findings, recipes and, last, the manifest."""
    FindingsFile.read(options.dataset / FINDINGS).write(options.out / FINDINGS)
    if (options.dataset / RECIPES).is_file():
        recipes = read_lines(options.dataset / RECIPES, Recipe)
        write_lines(options.out / RECIPES, recipes)
    written.write(options.out / MANIFEST)


def _summary(options: ConvertOptions) -> ConvertSummary:
    manifest = read_manifest(options.out)
    return ConvertSummary(
        dataset=options.out,
        form=options.to,
        cases=len(manifest.cases),
        labelled=sum(record.label is not None for record in manifest.cases),
        images=sum(len(record.images) for record in manifest.cases),
    )
