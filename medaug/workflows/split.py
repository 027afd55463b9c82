"""``medaug split``: folds over the patients of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import final

from pydantic import Field

from medaug.core.case import SPLITS, Manifest, read_manifest
from medaug.core.config import Frozen
from medaug.core.errors import ConfigError
from medaug.core.runs import Progress
from medaug.core.splits import Fold, Splits
from medaug.core.storage import clear_leftovers, require_free_space
from medaug.core.summary import Summary
from medaug.core.wording import counted
from medaug.ingest.split import make_splits

_NEEDED_BYTES = 1 << 20


@final
class SplitOptions(Frozen):
    """Options of `medaug split`."""

    dataset: Path
    folds: int = Field(default=5, ge=2)
    seed: int = 0
    test: float = Field(default=0.0, ge=0, lt=1, description="share of patients kept for a last test")


@final
class ClassShare(Frozen):
    """Patients of one class in one part."""

    class_name: str
    patients: int


@final
class FoldTotal(Frozen):
    """How many patients a fold holds, and of what."""

    index: int
    train: int
    held_out: int
    held_out_classes: tuple[ClassShare, ...]


@final
class SplitSummary(Summary):
    """The folds in numbers."""

    dataset: Path
    seed: int
    test: int
    folds: tuple[FoldTotal, ...]
    notes: tuple[str, ...]

    def lines(self) -> tuple[str, ...]:
        """One line a fold, then the notes."""
        head = f"{len(self.folds)} folds, seed {self.seed}" + (
            f", {self.test} test patients" if self.test else ""
        )
        rows = tuple(
            f"  fold {fold.index}: {fold.train} train, {fold.held_out} held out ("
            + ", ".join(f"{share.class_name} {share.patients}" for share in fold.held_out_classes)
            + ")"
            for fold in self.folds
        )
        return (head, *rows, *self.notes)


def split(options: SplitOptions, progress: Progress) -> SplitSummary:
    """Write ``splits.json`` into a dataset folder; the same call again changes nothing.

    Raises:
        ConfigError: If there are fewer patients than folds, or other folds of this dataset already stand there.
        DataError: If the folder is no dataset, is synthetic, or states a patient on both sides.
    """
    manifest = read_manifest(options.dataset)
    progress.start("splitting patients", len(manifest.patient_ids))
    splits, notes = make_splits(manifest, folds=options.folds, seed=options.seed, test_share=options.test)
    path = options.dataset / SPLITS
    clear_leftovers(path)
    if path.is_file():
        _require_same(Splits.read(path), splits)
    else:
        require_free_space(options.dataset, _NEEDED_BYTES)
        splits.write(path)
    progress.advance(len(manifest.patient_ids))
    return SplitSummary(
        dataset=options.dataset,
        seed=options.seed,
        test=len(splits.test),
        folds=tuple(_total(fold, manifest) for fold in splits.folds),
        notes=notes,
    )


def _require_same(before: Splits, now: Splits) -> None:
    """Folds are never changed under the feet of what was fitted on them; those of another dataset state are no folds."""
    if before == now:
        return
    same_state = before.dataset_sha256 == now.dataset_sha256
    raise ConfigError(
        f"{SPLITS} holds {_words(before)}"
        if same_state
        else f"{SPLITS} belongs to another state of the dataset",
        where="DATASET",
        expected=_words(now) if same_state else "",
        hint=f"delete {SPLITS} to split anew; banks and models of the old folds are then void",
    )


def _words(splits: Splits) -> str:
    test = f" and {counted(len(splits.test), 'test patient')}" if splits.test else ""
    return f"{len(splits.folds)} folds of seed {splits.seed}{test}"


def _total(fold: Fold, manifest: Manifest) -> FoldTotal:
    held_out = manifest.of_patients(frozenset(fold.held_out))
    shares = tuple(
        ClassShare(class_name=name, patients=len({r.patient_id for r in held_out if name in r.classes}))
        for name in manifest.classes
    )
    return FoldTotal(
        index=fold.index, train=len(fold.train), held_out=len(fold.held_out), held_out_classes=shares
    )
