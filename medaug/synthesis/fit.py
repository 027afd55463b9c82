"""Training a generator on a lesion bank, inside the fold the bank belongs to."""

from __future__ import annotations

from medaug.core.lesion import Generator
from medaug.core.runs import Progress, RunDir
from medaug.core.seeding import SeedTree
from medaug.core.splits import Fold
from medaug.generators.base import GeneratorConfig, TrainableConfig
from medaug.lesions.bank import Bank


def fit_generator(
    config: GeneratorConfig, bank: Bank, fold: Fold, run: RunDir, progress: Progress, seed: SeedTree
) -> Generator:
    """Train a generator on a bank, or build one that needs no training.

    Args:
        config: Of the generator.
        bank: What it learns from.
        fold: Where its lesions will be used.
        run: Open run folder; an interrupted training goes on from what lies there.
        progress: Told about each step.
        seed: Root of the training's randomness.

    Raises:
        SplitLeakageError: If the bank holds a patient outside the fold's training part.
        TrainingError: If training cannot go on.
    """
    bank.fold_check(fold)
    if isinstance(config, TrainableConfig):
        return config.fit(bank, run, progress, seed)
    return config.build()
