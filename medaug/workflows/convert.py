"""``medaug convert``: a dataset folder in the form that another tool reads."""

from __future__ import annotations

import hmac
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar, final

from pydantic import Field

from medaug.core.assessment import REJECTED, Rejection, RejectionsFile, read_rejections
from medaug.core.case import (
    FINDINGS,
    MANIFEST,
    RECIPES,
    SPLITS,
    TRANSLATIONS,
    CaseRecord,
    FindingsFile,
    Manifest,
    marked_id,
    read_findings,
    read_manifest,
)
from medaug.core.config import Frozen
from medaug.core.errors import ConfigError, DataError, GeometryError, UnreadableError
from medaug.core.findings import Finding
from medaug.core.plan import Recipe, Translation, write_lines
from medaug.core.runs import Progress, finished, open_run
from medaug.core.splits import Splits, read_splits
from medaug.core.storage import require_free_space, sha256_file, sha256_text
from medaug.core.summary import Summary
from medaug.core.synthetic import SyntheticSet, read_origins, read_synthetic
from medaug.core.wording import counted
from medaug.io.dataset import edit_mask_path
from medaug.layouts.base import Export, Layout, parse_layout
from medaug.layouts.nnunet import FOLDS, describe, write_folds
from medaug.privacy.deidentify import load_secret, write_secret

Form = Literal["bids", "dicom", "msd", "nifti", "nnunet"]
Segmentation = Literal["binary", "labelmap"]
_OPTION = "--with-synthetic"
_PURPOSE = "DICOM UID"
R = TypeVar("R", Recipe, Translation, Rejection)
_RAW_NAME = re.compile(r"Dataset[5-9]\d\d_\w+")


@final
class ConvertOptions(Frozen):
    """Options of `medaug convert`."""

    dataset: Path
    to: Form = Field(description="bids, dicom, msd (Medical Segmentation Decathlon), nifti or nnunet")
    out: Path = Field(description="new folder")
    with_synthetic: tuple[Path, ...] = Field(
        default=(),
        description="folders of `medaug synthesize`, for training in the folds that cover them; nnunet alone",
    )
    key_file: Path | None = Field(
        default=None, description="secret behind all UIDs; for dicom, and made where missing"
    )
    segmentation: Segmentation = Field(default="binary", description="kind of DICOM SEG; dicom alone")
    class_codes: str = Field(
        default="", description="terms of classes, such as nodule=SCT:27925004:Nodule; dicom alone"
    )


@final
class _Asked(Frozen):
    """What the run folder remembers of the options."""

    to: Form
    segmentation: str = Field(default="", exclude_if=operator.not_)
    class_codes: str = Field(default="", exclude_if=operator.not_)
    key_check: str = Field(default="", exclude_if=operator.not_, description="tells whether two keys are one")


@final
class ConvertSummary(Summary):
    """A dataset in another form."""

    dataset: Path
    form: Form
    cases: int = Field(description="synthetic ones that were added not counted")
    labelled: int
    images: int = Field(description="image files")
    synthetic: int = Field(default=0, description="synthetic cases that were added")
    folds: tuple[int, ...] = Field(default=(), description="those that train on synthetic cases")
    new_key: bool = Field(default=False, description="a key was made")

    def lines(self) -> tuple[str, ...]:
        """The folder in one line, the folds, and how to go back."""
        cases = f"{counted(self.cases, 'case')} ({self.labelled} labelled)"
        cases += f" and {self.synthetic} synthetic" if self.synthetic else ""
        where = f"fold{'s' if len(self.folds) > 1 else ''} {', '.join(map(str, self.folds))}"
        folds = (f"{FOLDS}: synthetic cases train in {where} alone, and none is validated on",)
        return (
            f"{cases} in {counted(self.images, 'image file')}, as {self.form} in {self.dataset}",
            *(folds if self.synthetic else ()),
            *(("made a new key: keep it, it alone gives the same UIDs again",) if self.new_key else ()),
            self._way_back,
        )

    @property
    def _way_back(self) -> str:
        if self.form == "dicom":
            return (
                f"{MANIFEST} keeps what the form cannot hold; `medaug ingest {self.dataset}` reads the rest"
            )
        return f"{MANIFEST} keeps what the form cannot hold; `medaug ingest` reads it back"


@final
@dataclass(frozen=True, slots=True)
class _Part:
    """What is written of one folder: the dataset, or a synthetic set and the folds that may learn from it."""

    folder: Path
    manifest: Manifest
    findings: tuple[Finding, ...]
    recipes: tuple[Recipe, ...]
    translations: tuple[Translation, ...]
    rejected: tuple[Rejection, ...]
    folds: frozenset[int] = frozenset()


def convert(options: ConvertOptions, progress: Progress) -> ConvertSummary:
    """Write a dataset folder in another form and read everything back; the folder stays a dataset folder of medaug.

    With synthetic sets it holds their cases, too, and nnU-Net's folds, in which they are trained on and never scored.
    The same call again is skipped, an interrupted one goes on.

    Raises:
        ConfigError: If ``out`` lies in the dataset, holds something else or is called what nnU-Net does not read, an
            option goes with another form, or a class that is given a code is none of the dataset.
        DataError: If the dataset is damaged, or the copy differs from it, or a synthetic set does not go with it.
        LabelError: If a synthetic set has other classes.
        GeometryError: If nnU-Net is to plan by a spacing that is not known.
        SplitLeakageError: If no fold may learn from a synthetic set.
        PrivacyError: If others may read the key.
        StorageError: If the disk is too small, or a file cannot be read or written.
    """
    _check(options)
    manifest = read_manifest(options.dataset)
    splits = read_splits(options.dataset, manifest) if options.with_synthetic else None
    parts = _parts(options, manifest, splits)
    files = [path for part in parts for path in _files(part)]
    form = parse_layout(_layout(options))
    form.check_classes(manifest.classes)
    layout = form.build()
    uid_key, inputs = _uid_key(options), _inputs(options, parts)
    asked = _asked(options, uid_key)
    if finished(options.out, "convert", asked, inputs):
        return _summary(options, parts)
    require_free_space(options.out, int(1.1 * sum(path.stat().st_size for path in files)))
    new_key = None if uid_key else options.key_file
    if new_key is not None:  # made last: a call that is refused leaves no key
        uid_key = write_secret(new_key).derive(_PURPOSE)
        asked = _asked(options, uid_key)
    with open_run(options.out, "convert", asked, inputs) as run:
        written = _write(layout, options.out, parts, splits, uid_key, progress)
        run.log("converted", cases=len(written.cases))
    return _summary(options, parts).model_copy(update={"new_key": new_key is not None})


def _check(options: ConvertOptions) -> None:
    for folder in (options.dataset, *options.with_synthetic):
        if options.out.resolve().is_relative_to(folder.resolve()):
            raise ConfigError("--out lies in the dataset", where="--out", expected="a new folder beside it")
    if options.with_synthetic and options.to != "nnunet":
        raise ConfigError("goes with --to nnunet alone", where=_OPTION, hint="convert the set on its own")
    if options.with_synthetic and not _RAW_NAME.fullmatch(options.out.name):
        raise ConfigError(
            f"nnU-Net would not read {options.out.name}",
            where="--out",
            expected="a folder called DatasetXXX_Name, XXX from 500 to 999",
        )
    _check_dicom(options)


def _check_dicom(options: ConvertOptions) -> None:
    """What goes with DICOM alone, and the key, which may lie in no folder that is handed on."""
    if options.to == "dicom" and options.key_file is None:
        hint = "name a file outside --out; it is made where there is none"
        raise ConfigError("UIDs need a key", where="--key-file", expected="a file", hint=hint)
    stated = {
        "--key-file": options.key_file is not None,
        "--segmentation": options.segmentation != "binary",
        "--class-codes": bool(options.class_codes),
    }
    if options.to != "dicom" and any(stated.values()):
        where = next(name for name, value in stated.items() if value)
        raise ConfigError("goes with --to dicom alone", where=where)
    for folder in (options.dataset, options.out):
        if options.key_file is not None and options.key_file.resolve().is_relative_to(folder.resolve()):
            raise ConfigError("key would lie beside the data", where="--key-file", hint="keep it apart")


def _uid_key(options: ConvertOptions) -> bytes:
    """Behind the UIDs of DICOM; empty for other forms, and where there is no key yet."""
    file = options.key_file
    if file is None or not (file.exists() or file.is_symlink()):
        return b""
    return load_secret(file).derive(_PURPOSE)


def _asked(options: ConvertOptions, uid_key: bytes) -> _Asked:
    if options.to != "dicom":
        return _Asked(to=options.to)
    return _Asked(
        to=options.to,
        segmentation=options.segmentation,
        class_codes=options.class_codes,
        key_check=hmac.digest(uid_key, b"key check", "sha256").hex()[:32],
    )


def _layout(options: ConvertOptions) -> dict[str, object]:
    """What the layout is asked."""
    if options.to == "dicom":
        return {
            "kind": "dicom",
            "segmentation": options.segmentation.upper(),
            "class_codes": options.class_codes,
        }
    return {"kind": options.to} | ({"test_apart": True} if options.with_synthetic else {})


def _parts(options: ConvertOptions, manifest: Manifest, splits: Splits | None) -> tuple[_Part, ...]:
    """The dataset, and the synthetic sets with the folds that may learn from each."""
    marked = manifest if splits is None else _test_marked(manifest, splits)
    folder = options.dataset
    real = _Part(folder, marked, read_findings(folder), *read_origins(folder), read_rejections(folder))
    if splits is None:
        return (real,)
    several = len(options.with_synthetic) > 1
    made = [
        _made(read_synthetic(folder, manifest, where=_OPTION), splits, f"_s{n}" if several else "")
        for n, folder in enumerate(options.with_synthetic, start=1)
    ]
    _check_together((real, *made))
    return (real, *made)


def _test_marked(manifest: Manifest, splits: Splits) -> Manifest:
    test = set(splits.test)
    cases = tuple(
        record.model_copy(update={"split": "test"}) if record.patient_id in test else record
        for record in manifest.cases
    )
    return manifest.model_copy(update={"cases": cases})


def _made(synthetic: SyntheticSet, splits: Splits, mark: str) -> _Part:
    """Its labelled cases, their ids marked: every set counts from SYN_00001."""
    labelled = [record for record in synthetic.manifest.cases if record.label is not None]
    if not labelled:
        raise DataError(f"{synthetic.folder} holds no labelled case", where=_OPTION)
    cases = tuple(r.model_copy(update={"case_id": marked_id(r.case_id, mark)}) for r in labelled)
    return _Part(
        folder=synthetic.folder,
        manifest=synthetic.manifest.model_copy(update={"cases": cases}),
        findings=tuple(
            f if f.case_id is None else f.model_copy(update={"case_id": marked_id(f.case_id, mark)})
            for f in read_findings(synthetic.folder)
        ),
        recipes=tuple(
            r.model_copy(update={"edit_mask": edit_mask_path(r.case_id)})
            for r in (_renamed(recipe, mark) for recipe in synthetic.recipes)
        ),
        translations=tuple(_renamed(row, mark) for row in synthetic.translations),
        rejected=tuple(_renamed(one, mark) for one in read_rejections(synthetic.folder)),
        folds=synthetic.learners(splits, where=_OPTION),
    )


def _renamed(row: R, mark: str) -> R:
    return row.model_copy(update={"case_id": marked_id(row.case_id, mark)})


def _check_together(parts: Sequence[_Part]) -> None:
    records = [record for part in parts for record in part.manifest.cases]
    seen: set[str] = set()
    for record in records:
        if record.case_id in seen:
            raise DataError(
                "two cases have this id", where=record.case_id, hint="rename the lines of the plan"
            )
        seen.add(record.case_id)
    nominal = [record.case_id for record in records if record.spacing == "nominal"]
    if nominal:
        what = f"the spacing of {counted(len(nominal), 'case')} (first: {nominal[0]}) is nominal"
        hint = "nnU-Net plans by it; ingest with --spacing known where the affine can be believed"
        raise GeometryError(what, where=_OPTION, expected="known spacing", hint=hint)


def _files(part: _Part) -> list[Path]:
    """Every file that is to be converted.

    Raises:
        UnreadableError: If one is missing, or a case has no image file.
    """
    if not all(record.images for record in part.manifest.cases):
        hint = "ingest the folder, and convert what that makes"
        raise UnreadableError("images are DICOM series", expected="a dataset of NIfTI files", hint=hint)
    stored = [file for record in part.manifest.cases for file in record.files]
    for file in stored:
        if not (part.folder / file.path).is_file():
            raise UnreadableError(f"{file.path} is missing", hint="restore it, or make the dataset again")
    return [part.folder / path for path in {file.path for file in stored}]


def _inputs(options: ConvertOptions, parts: Sequence[_Part]) -> dict[str, str]:
    """Hashes of all that is read."""
    inputs = _hashes(options.dataset)
    if options.with_synthetic:
        inputs[SPLITS] = sha256_file(options.dataset / SPLITS)
    for n, part in enumerate(parts[1:], start=1):
        inputs[f"synthetic {n}"] = sha256_text("\n".join(_hashes(part.folder).values()))
    return inputs


def _hashes(folder: Path) -> dict[str, str]:
    texts = (FINDINGS, RECIPES, TRANSLATIONS, REJECTED)
    return {"dataset": read_manifest(folder).content_sha256} | {
        name: sha256_file(path) for name in texts if (path := folder / name).is_file()
    }


def _write(
    layout: Layout,
    out: Path,
    parts: Sequence[_Part],
    splits: Splits | None,
    uid_key: bytes,
    progress: Progress,
) -> Manifest:
    """Every part, then the files that describe all of them; the manifest comes last."""
    cases: list[CaseRecord] = []
    for part in parts:
        export = Export(part.folder, part.manifest, out, uid_key)
        written = layout.write(export, progress)
        layout.check(export, written, progress)
        cases += written.cases
    whole = parts[0].manifest.model_copy(update={"cases": tuple(cases)})
    if splits is not None:
        describe(out, whole)
        write_folds(out, splits, parts[0].manifest.cases, _of_fold(parts, splits))
    _write_texts(out, parts)
    whole.write(out / MANIFEST)
    return whole


def _of_fold(parts: Sequence[_Part], splits: Splits) -> dict[int, list[str]]:
    return {
        fold.index: [r.case_id for part in parts if fold.index in part.folds for r in part.manifest.cases]
        for fold in splits.folds
    }


def _write_texts(out: Path, parts: Sequence[_Part]) -> None:
    """Findings, recipes, translations and what was left out before."""
    FindingsFile(findings=tuple(f for part in parts for f in part.findings)).write(out / FINDINGS)
    recipes = tuple(recipe for part in parts for recipe in part.recipes)
    translations = tuple(row for part in parts for row in part.translations)
    if recipes:
        write_lines(out / RECIPES, recipes)
    if translations:
        write_lines(out / TRANSLATIONS, translations)
    rejected = tuple(one for part in parts for one in part.rejected)
    if rejected:
        RejectionsFile(rejections=rejected).write(out / REJECTED)


def _image_files(record: CaseRecord) -> int:
    """How many files the images of a case are: of a series, one a slice."""
    return len(record.images) or record.shape[2] * len(record.channels)


def _summary(options: ConvertOptions, parts: Sequence[_Part]) -> ConvertSummary:
    manifest = read_manifest(options.out)
    added = sum(len(part.manifest.cases) for part in parts[1:])
    return ConvertSummary(
        dataset=options.out,
        form=options.to,
        cases=len(manifest.cases) - added,
        labelled=sum(record.label is not None for record in manifest.cases) - added,
        images=sum(_image_files(record) for record in manifest.cases),
        synthetic=added,
        folds=tuple(sorted(frozenset[int]().union(*(part.folds for part in parts)))),
    )
