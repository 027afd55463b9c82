"""A synthetic set on disk, which folds may learn from it, and which of its cases are good enough."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from medaug.core.assessment import QUALITY, QualityReport, Rejection
from medaug.core.case import RECIPES, TRANSLATIONS, Manifest, Origin, read_manifest
from medaug.core.errors import DataError, LabelError, SplitLeakageError
from medaug.core.keep import KeepRule, broken
from medaug.core.plan import Recipe, Translation, read_lines
from medaug.core.splits import Fold, Splits, guard_donors, guard_training
from medaug.core.wording import counted

_SAY_WHOSE = "say in cases.csv from whose scan each case was made, by the patient_id of the dataset, and ingest it again"
_NAME_CLASSES = "ingest it again with a --class-map that names all of them in this order"


@final
@dataclass(frozen=True, slots=True)
class SyntheticSet:
    """Made cases and how they were made; sets of other tools have neither recipes nor translations."""

    folder: Path
    manifest: Manifest
    recipes: tuple[Recipe, ...]
    translations: tuple[Translation, ...]

    @property
    def tells_how(self) -> bool:
        """Whether it says how its cases were made; sets of other tools do not."""
        return says_how(self.folder)

    @property
    def made_for(self) -> int | None:
        """Index of the fold it says it was made for; None where nothing says."""
        folds = [*(recipe.fold for recipe in self.recipes), *(row.fold for row in self.translations)]
        return folds[0] if folds else None

    def guard(self, fold: Fold) -> None:
        """Refuse to let a fold learn from it.

        Raises:
            SplitLeakageError: If a host or donor is no training patient of the fold, or what made a case was fitted on
                others than these.
        """
        nobodys = {row.case_id for row in self.translations if row.source_case_id is None}
        try:
            guard_training((record for record in self.manifest.cases if record.case_id not in nobodys), fold)
        except SplitLeakageError as error:
            raise error.located(error.where, hint="" if self.tells_how else _SAY_WHOSE) from None
        for row in self.translations:
            guard_donors(row.donor_patient_ids, fold, where=row.case_id)
            _same_scope(row, fold, hint=f"translate again with --fold {fold.index}")
        for recipe in self.recipes:
            guard_donors((recipe.host_patient_id, *recipe.donor_patient_ids), fold, where=recipe.case_id)
            _same_scope(recipe, fold, hint=f"synthesize again with --fold {fold.index}")

    def broken(
        self, rule: str, assessment: Path, *, where: str, fold: Fold | None = None
    ) -> tuple[Rejection, ...]:
        """The cases that break a rule, by what an assessment of this very set says of their lesions.

        Args:
            rule: Such as ``score>0.4``.
            assessment: Folder of ``medaug assess``.
            where: The option or key that holds the rule.
            fold: That learns from what is kept.

        Raises:
            ConfigError: If it is no rule.
            DataError: If the assessment is damaged, of another set, or scores no lesion.
            SplitLeakageError: If its scores rest on other patients than the fold may learn from.
        """
        parsed = KeepRule.parse(rule, self.manifest.classes, where=where)
        quality = QualityReport.read(assessment / QUALITY)
        again = f"run `medaug assess` for {self.folder} again"
        if quality.synthetic_sha256 != self.manifest.content_sha256:
            what = f"{assessment} is of another set than {self.folder}, or of another state of it"
            raise DataError(what, where="--assessment", hint=again)
        if not quality.samples:
            raise DataError(f"{assessment} scores no lesion", where="--assessment", hint=again)
        if fold is not None and quality.training_scope_sha256 not in (None, fold.scope_sha256):
            what = f"{assessment} rests on other patients than the training part of fold {fold.index}"
            raise SplitLeakageError(what, where="--assessment", hint=f"assess with --fold {fold.index}")
        nulls = frozenset(recipe.case_id for recipe in self.recipes if recipe.use == "null")
        return broken(self.manifest.cases, quality.samples, parsed, nulls)

    def without(self, case_ids: Iterable[str]) -> SyntheticSet:
        """The same set less some cases.

        Raises:
            DataError: If nothing is left.
        """
        gone = frozenset(case_ids)
        cases = tuple(record for record in self.manifest.cases if record.case_id not in gone)
        if not cases:
            what = f"none of {counted(len(self.manifest.cases), 'case')} of {self.folder} is kept"
            raise DataError(what, hint="ask for less, or make a better set")
        return replace(
            self,
            manifest=self.manifest.model_copy(update={"cases": cases}),
            recipes=tuple(row for row in self.recipes if row.case_id not in gone),
            translations=tuple(row for row in self.translations if row.case_id not in gone),
        )

    def learners(self, splits: Splits, *, where: str) -> frozenset[int]:
        """Indices of the folds that may learn from it; ``where`` is the option that named it.

        Raises:
            SplitLeakageError: If there is none; it says why the fold that the set was made for may not.
        """
        refused: dict[int, SplitLeakageError] = {}
        for fold in splits.folds:
            try:
                self.guard(fold)
            except SplitLeakageError as error:
                refused[fold.index] = error
        if len(refused) < len(splits.folds):
            return frozenset(fold.index for fold in splits.folds) - refused.keys()
        reason = refused.get(self.made_for or 0, next(iter(refused.values())))
        raise reason.located(where, part=f"no fold may learn from {self.folder}; {reason.where}")


def read_synthetic(folder: Path, manifest: Manifest, *, where: str) -> SyntheticSet:
    """A folder of synthetic cases that go with a dataset; ``where`` is the option that named it.

    Raises:
        DataError: If it holds other than synthetic cases, or its channels are others.
        LabelError: If its classes are others.
    """
    synthetic = open_synthetic(folder, where=where)
    classes = synthetic.manifest.classes
    if classes != manifest.classes:
        found, expected = ", ".join(classes), ", ".join(manifest.classes)
        hint = "" if synthetic.tells_how else _NAME_CLASSES
        raise LabelError(f"synthetic set has classes {found}", where=where, expected=expected, hint=hint)
    _same_channels(synthetic.manifest, manifest, where)
    return synthetic


def open_synthetic(folder: Path, *, where: str) -> SyntheticSet:
    """A folder of synthetic cases; ``where`` is the option that named it.

    Raises:
        DataError: If it holds none, or others.
    """
    manifest = read_manifest(folder)
    if not manifest.cases:
        raise DataError(f"{folder} holds no case", where=where)
    other = next((record for record in manifest.cases if record.origin is not Origin.SYNTHETIC), None)
    if other is not None:
        hint = "name a folder of `medaug synthesize`, or ingest the set with --origin synthetic"
        what = f"{folder} holds {other.origin} cases (first: {other.case_id})"
        raise DataError(what, where=where, hint=hint)
    return SyntheticSet(folder, manifest, *read_origins(folder))


def says_how(folder: Path) -> bool:
    """Whether a dataset folder says how its cases were made; sets of other tools do not."""
    return any((folder / name).is_file() for name in (RECIPES, TRANSLATIONS))


def read_origins(folder: Path) -> tuple[tuple[Recipe, ...], tuple[Translation, ...]]:
    """The recipes and translations of a dataset folder, where there are any."""
    recipes, translations = folder / RECIPES, folder / TRANSLATIONS
    return (
        read_lines(recipes, Recipe) if recipes.is_file() else (),
        read_lines(translations, Translation) if translations.is_file() else (),
    )


def _same_channels(synthetic: Manifest, manifest: Manifest, where: str) -> None:
    channels = {record.channels for record in manifest.cases}
    for record in synthetic.cases:
        if record.channels not in channels:
            expected = " or ".join(", ".join(names) for names in sorted(channels))
            found = f"{record.case_id} has channels {', '.join(record.channels)}"
            raise DataError(f"synthetic set: {found}", where=where, expected=expected)


def _same_scope(made: Recipe | Translation, fold: Fold, *, hint: str) -> None:
    if made.training_scope_sha256 != fold.scope_sha256:
        what = "what made it was fitted on other patients than this fold's training part"
        raise SplitLeakageError(what, where=made.case_id, hint=hint)
