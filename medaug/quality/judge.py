"""Does a drawn lesion look like its class? A judge fitted on the real lesions of one training subset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, final

import numpy as np
from scipy import ndimage

from medaug.core.case import Case
from medaug.core.volume import Mask
from medaug.lesions.bank import Bank
from medaug.quality.looks import Sighting
from medaug.quality.recovery import Logistic

_TOUCHING = np.ones((3, 3, 3), dtype=bool)  # 26-connected


@final
class ClassJudge:
    """Tells classes apart by the radiological features of lesions (:mod:`medaug.quality.features`).

    Args:
        bank: Lesions of training patients, of at least two classes.
        dims: 2 judges the largest slice of each lesion, 3 the whole.
    """

    def __init__(self, bank: Bank, dims: Literal[2, 3]) -> None:
        self._scheme, self._classes, self._dims = bank.index.scheme, bank.classes, dims
        crops = [bank.crop(entry.lesion_id) for entry in bank.entries()]
        seen = [
            Sighting(
                crop.scale.normalise(crop.image),
                crop.mask,
                self._classes.index(crop.entry.class_name),
                crop.entry.patient_id,
                crop.entry.spacing_mm,
            )
            for crop in crops
        ]
        present = sorted({sighting.class_index for sighting in seen})
        self._column = {self._classes[number]: column for column, number in enumerate(present)}
        rows = np.array([present.index(sighting.class_index) for sighting in seen])
        self._logistic = Logistic(np.stack([self._features(sighting) for sighting in seen]), rows)

    def __call__(self, cases: Sequence[Case]) -> list[float]:
        """Probability that the new lesion of each case is of the class it was drawn as; 0 where it shows none."""
        seen = [self._sighting(case) for case in cases]
        shown = [sighting for sighting in seen if sighting is not None]
        if not shown:
            return [0.0] * len(cases)
        told = self._logistic.probabilities(np.stack([self._features(sighting) for sighting in shown]))
        rows = iter(told)
        return [
            0.0 if sighting is None else float(next(rows)[self._column[self._classes[sighting.class_index]]])
            for sighting in seen
        ]

    def _features(self, sighting: Sighting) -> np.ndarray:
        return (sighting.largest_slice() if self._dims == 2 else sighting).features()

    def _sighting(self, case: Case) -> Sighting | None:
        if case.label_map is None or case.site is None:
            return None
        found = _lesion_at(case.label_map.labels, case.site)
        if found is None:
            return None
        mask, number = found
        scale = case.scale or self._scheme.case_scale(case.volume)
        name = case.label_map.class_names[number - 1]
        return Sighting(
            scale.normalise(case.volume.image),
            mask,
            self._classes.index(name),
            case.patient_id,
            case.volume.grid.spacing_mm,
        )


def _lesion_at(labels: np.ndarray, site: tuple[int, int, int]) -> tuple[Mask, int] | None:
    """The lesion nearest to a site (a centre may lie beside a bent one), and its label id."""
    if not labels.any():
        return None
    nearest = ndimage.distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
    place = tuple(int(axis[site]) for axis in nearest)
    number = int(labels[place])
    components, _ = ndimage.label(labels == number, structure=_TOUCHING)
    return components == components[place], number
