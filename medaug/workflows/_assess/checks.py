"""What belongs together is assessed; everything else is refused before an image is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from medaug.core.case import RECIPES, SPLITS, TRANSLATIONS, CaseRecord, Manifest, Origin, read_manifest
from medaug.core.errors import ConfigError, DataError, GeometryError, LabelError, SplitLeakageError
from medaug.core.plan import Recipe, Translation, read_lines
from medaug.core.runs import RUN_FILE, RunRecord
from medaug.core.splits import Fold, guard_donors, guard_evaluation, guard_training, read_splits
from medaug.quality.extractor import Extractor
from medaug.workflows._assess.job import AssessOptions, Job
from medaug.workflows.second_opinion import AssessedFold, check_run

T = TypeVar("T", Recipe, Translation)
_SPACING_ROOM = 1.25  # a voxel may be so many times as wide, or narrow, as those of the training scans


def open_job(options: AssessOptions) -> Job:
    """Read the manifests and refuse what does not belong together.

    Raises:
        ConfigError: If there is no such fold, or no such file, or the output lies in what is read.
        DataError: If the set is empty or not synthetic, was made from another dataset, is of another unit, channels or
            spacing, or if its recipes contradict its files.
        SplitLeakageError: If it is of another fold, or a host or donor is no training patient.
    """
    _check_out(options)
    made, real = read_manifest(options.synthetic), read_manifest(options.against)
    _check_files(options)
    _check_set(made, real)
    fold = _fold(options, real)
    _check_run(options.synthetic, real, fold)
    recipes = _by_case(options.synthetic / RECIPES, made, Recipe)
    translations = _by_case(options.synthetic / TRANSLATIONS, made, Translation)
    job = Job(options, made, real, fold, recipes, translations)
    for recipe in recipes.values():
        _check_recipe(recipe, job)
    for translation in translations.values():
        _check_translation(translation, job)
    guard_training(job.training(), fold)
    guard_evaluation(job.held_out(), fold)
    _check_spacing(job)
    if options.segmenter is not None:
        check_run(options.segmenter, AssessedFold(options.against, real, fold))
    return job


def _check_out(options: AssessOptions) -> None:
    for what, folder in (("set", options.synthetic), ("dataset", options.against)):
        if options.out.resolve().is_relative_to(folder.resolve()):
            raise ConfigError(f"lies in the {what}", where="--out", expected="a new folder beside it")


def _check_files(options: AssessOptions) -> None:
    """Networks that were brought are looked at first: what follows takes minutes."""
    if not options.parts:
        raise ConfigError("nothing to measure", where="--parts", expected="quality, copying, ...")
    if options.extractor is not None:
        if not options.extractor.is_file():
            found = f"there is no {options.extractor}"
            raise ConfigError(found, where="--extractor", expected="a TorchScript file")
        Extractor(options.extractor)
    if options.segmenter is not None and not options.segmenter.is_dir():
        hint = "name the --out of `medaug train`"
        raise ConfigError(f"there is no {options.segmenter}", where="--segmenter", hint=hint)


def _fold(options: AssessOptions, real: Manifest) -> Fold:
    """The asked fold, or the division that the dataset's own ``split`` makes."""
    has_split = {record.split for record in real.cases} >= {"train", "test"}
    if not options.on_split and ((options.against / SPLITS).is_file() or not has_split):
        return read_splits(options.against, real).fold(options.fold)
    if not has_split:
        hint = "say `split` train or test in cases.csv for each patient, and ingest again"
        raise ConfigError(f"the split of {real.name} is not known", where="--on-split", hint=hint)
    sides = {
        side: tuple(sorted({record.patient_id for record in real.cases if record.split == side}))
        for side in ("train", "test")
    }
    both = set(sides["train"]) & set(sides["test"])
    if both:
        what = f"{len(both)} patients are both trained on and held out (first: {min(both)})"
        raise SplitLeakageError(what, where="--on-split", hint="give each patient one `split` in cases.csv")
    return Fold(index=0, train=sides["train"], held_out=sides["test"])


def _check_set(made: Manifest, real: Manifest) -> None:
    hint = "mark a set of another tool with `medaug ingest SRC --origin synthetic`"
    if not made.cases:
        raise DataError(f"synthetic set {made.name} is empty", expected="at least one case")
    for record in made.cases:
        if record.origin is not Origin.SYNTHETIC:
            found = f"case is {record.origin}"
            raise DataError(found, where=record.case_id, expected="synthetic cases only", hint=hint)
    unknown = sorted({name for record in made.cases for name in record.classes} - set(real.classes))
    if unknown:
        named = "name its label ids as the dataset does: `medaug ingest SRC --class-map ...`"
        raise LabelError(
            f"class {unknown[0]} is not in the dataset", expected=", ".join(real.classes), hint=named
        )
    if not real.cases:
        raise DataError(f"dataset {real.name} is empty", expected="at least one case")
    model = real.cases[0]
    for record in made.cases:
        if (record.unit, record.channels) != (model.unit, model.channels):
            found = f"image is {','.join(record.channels)} in {record.unit}"
            wanted = f"{','.join(model.channels)} in {model.unit}, as in the dataset"
            raise DataError(found, where=record.case_id, expected=wanted)


def _check_run(synthetic: Path, real: Manifest, fold: Fold) -> None:
    """Compare what the set's own run folder says it was made from, where it says so."""
    if not (synthetic / RUN_FILE).is_file():
        return
    inputs = RunRecord.read(synthetic / RUN_FILE).inputs
    if inputs.get("dataset", real.content_sha256) != real.content_sha256:
        raise DataError(
            f"{synthetic} was made from another dataset, or from another state of this one",
            hint="name the dataset it was made from with --against",
        )
    if inputs.get("training_scope", fold.scope_sha256) != fold.scope_sha256:
        raise SplitLeakageError(
            f"{synthetic} was made for another fold than {fold.index}", hint="name its fold with --fold"
        )


def _by_case(path: Path, made: Manifest, model: type[T]) -> dict[str, T]:
    """Lines by case; none for a set that has no such file.

    Raises:
        DataError: If some cases have a line and others none, or a line is of no case.
    """
    if not path.is_file():
        return {}
    rows = read_lines(path, model)
    found = {row.case_id: row for row in rows}
    odd = sorted(set(found) ^ {record.case_id for record in made.cases})
    if odd or len(rows) != len(found):
        what = f"{len(odd) or len(rows) - len(found)} cases do not have one {model.__name__.lower()} each"
        raise DataError(f"{path.name} contradicts the manifest: {what}", where=odd[0] if odd else "")
    return found


def _check_recipe(recipe: Recipe, job: Job) -> None:
    """Raise unless a recipe fits the set's files, the dataset and the fold."""
    _check_scope(recipe, job.fold)
    record, host = job.made.case(recipe.case_id), job.real.case(recipe.host_case_id)
    guard_donors((recipe.host_patient_id, *recipe.donor_patient_ids), job.fold, where=recipe.case_id)
    edit = record.edit_mask.path if record.edit_mask is not None else "none"
    shown = recipe.use == "null" or recipe.class_name in record.classes
    contradictions = {
        "host patient": (recipe.host_patient_id, host.patient_id),
        "edit mask": (recipe.edit_mask, edit),
        "grid": (record.shape, host.shape),
        "spacing": (_mm(record), _mm(host)),
        "class": (recipe.class_name, recipe.class_name if shown else "no such lesion"),
    }
    for what, (said, found) in contradictions.items():
        if said != found:
            raise DataError(
                f"recipe contradicts the files: {what}",
                where=recipe.case_id,
                expected=f"{said}, found {found}",
            )


def _check_translation(row: Translation, job: Job) -> None:
    """Raise unless a translated case fits the dataset and the fold."""
    _check_scope(row, job.fold)
    guard_donors(row.donor_patient_ids, job.fold, where=row.case_id)
    if row.source_case_id is None:
        return
    source, record = job.real.case(row.source_case_id), job.made.case(row.case_id)
    guard_donors((source.patient_id,), job.fold, where=row.case_id)
    if record.patient_id != source.patient_id:
        raise DataError(
            "translation contradicts the files: patient",
            where=row.case_id,
            expected=f"{source.patient_id}, found {record.patient_id}",
        )


def _check_scope(row: Recipe | Translation, fold: Fold) -> None:
    if row.training_scope_sha256 != fold.scope_sha256 or row.fold != fold.index:
        kind = "recipe" if isinstance(row, Recipe) else "translation"
        raise SplitLeakageError(
            f"{kind} is of fold {row.fold} and its training patients, not those of fold {fold.index}",
            where=row.case_id, hint="name the fold and the dataset that the set was made from",
        )  # fmt: skip


def _check_spacing(job: Job) -> None:
    """Voxels of a set of another tool are about as wide as those of the training scans, slice thickness included."""
    training = job.training()
    known = [record.spacing_mm for record in training if record.spacing == "known"]
    foreign = [
        r for r in job.made.cases if r.case_id not in job.recipes and r.case_id not in job.translations
    ]
    for record in foreign if known else ():
        if record.spacing != "known":
            hint = "give it in cases.csv and ingest the set again"
            raise GeometryError(
                "spacing is not known, and that of the dataset is", where=record.case_id, hint=hint
            )
        _fits(record, known)


def _fits(record: CaseRecord, known: Sequence[tuple[float, float, float]]) -> None:
    # a single slice has no thickness that could be compared
    for axis in range(3 if record.shape[2] > 1 else 2):
        low, high = min(one[axis] for one in known), max(one[axis] for one in known)
        if not low / _SPACING_ROOM <= record.spacing_mm[axis] <= high * _SPACING_ROOM:
            raise GeometryError(
                f"voxels are {_mm(record)} mm",
                where=record.case_id,
                expected=f"{low:.3g} to {high:.3g} mm along {'IJK'[axis]}, as in the training scans",
                hint="bring the set to the spacing of the dataset it was made from, or name that dataset",
            )


def _mm(record: CaseRecord) -> str:
    return " x ".join(f"{value:.3g}" for value in record.spacing_mm)
