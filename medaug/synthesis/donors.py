"""Donors of a class: which lesion of the bank a new one is drawn from, and how large it is to be."""

from __future__ import annotations

from typing import final

import numpy as np

from medaug.core.errors import ConfigError, DataError
from medaug.core.lesion import LesionEntry
from medaug.lesions.bank import Bank
from medaug.lesions.prior import TissuePrior

_NEAREST = 5  # donors to choose from for a wanted diameter


@final
class Donors:
    """The lesions of a bank by class, ordered by size, and the tissue they live in."""

    def __init__(self, bank: Bank) -> None:
        self._classes = bank.classes
        self._by_size = {name: _by_size(bank, name) for name in bank.classes}
        self._priors = {name: TissuePrior.learn(found) for name, found in self._by_size.items() if found}

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes with a lesion in the bank."""
        return tuple(self._priors)

    def require_class(self, class_name: str) -> None:
        """Raise DataError if the bank has no lesion of the class, ConfigError if the class is unknown."""
        if class_name not in self._by_size:
            raise ConfigError(f"no class is called {class_name!r}", expected=", ".join(self._classes))
        if class_name not in self._priors:
            raise DataError(
                f"the bank holds no lesion of class {class_name}",
                hint="its patients may be held out: choose another --fold, or split into more folds",
            )

    def prior(self, class_name: str) -> TissuePrior:
        """The tissue that lesions of the class live in.

        Raises:
            ConfigError: If the class is unknown.
            DataError: If the bank has no lesion of it.
        """
        self.require_class(class_name)
        return self._priors[class_name]

    def of_any_size(self, class_name: str, attempt: int, rng: np.random.Generator) -> LesionEntry:
        """A random lesion of the class; from the third attempt on of fewer, smaller ones."""
        pool = self._by_size[class_name]
        pool = pool[: max(1, round(len(pool) * 0.6 ** max(0, attempt - 1)))]
        return pool[int(rng.integers(len(pool)))]

    def wanted_mm(
        self, class_name: str, allowed_mm: tuple[float, float], attempt: int, rng: np.random.Generator
    ) -> float:
        """A diameter within the range, distributed as in the bank where it has such; smaller with every attempt."""
        low, high = allowed_mm
        typical = [e.diameter_mm for e in self._by_size[class_name] if low <= e.diameter_mm <= high]
        wanted = float(rng.choice(typical)) * rng.uniform(0.9, 1.1) if typical else rng.uniform(low, high)
        return float(np.clip(wanted * 0.85**attempt, low, high))

    def nearest(self, class_name: str, diameter_mm: float, rng: np.random.Generator) -> LesionEntry:
        """One of the few lesions of the class that are nearest to a diameter."""
        pool = sorted(self._by_size[class_name], key=lambda entry: abs(entry.diameter_mm - diameter_mm))
        return pool[int(rng.integers(min(_NEAREST, len(pool))))]


def _by_size(bank: Bank, class_name: str) -> tuple[LesionEntry, ...]:
    return tuple(sorted(bank.entries(class_name), key=lambda entry: (entry.diameter_mm, entry.lesion_id)))
