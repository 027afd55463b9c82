"""Training a generator on a lesion bank, inside the fold the bank belongs to, and what is done where data are few."""

from __future__ import annotations

from medaug.core.errors import DataError
from medaug.core.lesion import Generator
from medaug.core.runs import Progress, RunDir
from medaug.core.seeding import SeedTree
from medaug.core.splits import Fold
from medaug.generators.base import (
    CARD,
    FEW_LESIONS,
    GeneratorConfig,
    Learnt,
    NetworkConfig,
    ReadyConfig,
    is_private,
    load_generator,
    parse_generator,
    read_card,
    train_generator,
)
from medaug.lesions.bank import Bank

FALLBACK = "procedural"


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
    if isinstance(config, ReadyConfig):
        return config.build()
    train_generator(config, bank, run, progress, seed)
    _complete_card(run, bank)
    return load_generator(
        str(run.path), device=config.device if isinstance(config, NetworkConfig) else "auto"
    )


def fit_or_fall_back(
    config: GeneratorConfig, bank: Bank, fold: Fold, run: RunDir, progress: Progress, seed: SeedTree
) -> Generator:
    """As :func:`fit_generator`; but where the bank holds fewer than 8 lesions in all, a network is not trained on them.

    A network would memorise them. The hand-crafted generator needs no more than one lesion of each class, so it
    is fitted in the network's place, and its card says so.

    Raises:
        DataError: If differential privacy is asked for, which the hand-crafted generator does not keep.
    """
    count = len(bank.entries())
    if not isinstance(config, NetworkConfig) or count >= FEW_LESIONS:
        return fit_generator(config, bank, fold, run, progress, seed)
    if is_private(config):
        found = f"{count} lesions are too few to train {config.kind}, and {FALLBACK} hides nobody"
        raise DataError(found, expected=f"{FEW_LESIONS} or more")
    note = (
        f"{count} lesions are too few to train {config.kind} ({FEW_LESIONS} are needed): "
        f"a {FALLBACK} generator was fitted instead"
    )
    progress.say(note)
    fit_generator(parse_generator({"kind": FALLBACK}), bank, fold, run, progress, seed)
    card = read_card(run.path)
    changed = card.model_copy(update={"instead_of": config.kind, "notes": (note, *card.notes)})
    changed.sealed().write(run.path / CARD)
    return load_generator(str(run.path))


def notes_of(bank: Bank) -> tuple[str, ...]:
    """What to beware of when training on a bank, in sentences."""
    counts = {name: len(bank.entries(name)) for name in bank.index.classes}
    scarce = [
        f"class {name} has only {count} lesion{'s' * (count > 1)}: expect little variety"
        for name, count in counts.items()
        if 0 < count < FEW_LESIONS
    ]
    if len({entry.patient_id for entry in bank.entries()}) == 1:
        scarce.append("all lesions are of one patient: what is made will look like that patient's")
    return tuple(scarce)


def _complete_card(run: RunDir, bank: Bank) -> None:
    """Say on the card what was learnt from, and seal it."""
    card = read_card(run.path)
    if card.privacy is not None:
        # counts, sizes and spacings are the patients' own, and outside the budget
        card.model_copy(update={"notes": (card.privacy.statement,)}).sealed().write(run.path / CARD)
        return
    told = {"learnt": Learnt.of(bank.entries()), "notes": notes_of(bank)}
    card.model_copy(update=told).sealed().write(run.path / CARD)
