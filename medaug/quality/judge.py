"""Does a drawn lesion look like its class? A judge fitted on the real lesions of one training subset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, final

import numpy as np
from scipy import ndimage

from medaug.core.case import Case
from medaug.core.geometry import NEIGHBOURS_26
from medaug.core.volume import Mask
from medaug.lesions.bank import Bank
from medaug.quality.features import Features
from medaug.quality.recovery import Logistic
from medaug.quality.samples import LesionSample, figures_of


@final
class ClassJudge:
    """Tells classes apart by the radiological features of lesions (:mod:`medaug.quality.features`).

    Args:
        bank: Lesions of training patients, of at least two classes.
        dims: 2 judges the largest slice of each lesion, 3 the whole.
    """

    def __init__(self, bank: Bank, dims: Literal[2, 3]) -> None:
        self._scheme, self._dims = bank.index.scheme, dims
        crops = [bank.crop(entry.lesion_id) for entry in bank.entries()]
        seen = [
            LesionSample(
                crop.entry.case_id,
                crop.entry.patient_id,
                crop.entry.class_name,
                crop.scale.normalise(crop.image),
                crop.mask,
                crop.entry.spacing_mm,
            )
            for crop in crops
        ]
        named = {sample.class_name for sample in seen}
        self._column = {name: n for n, name in enumerate(c for c in bank.classes if c in named)}
        rows = np.array([self._column[sample.class_name] for sample in seen])
        self._logistic = Logistic(self._features(seen), rows)

    def __call__(self, cases: Sequence[Case]) -> list[float]:
        """Probability that the new lesion of each case is of the class it was drawn as; 0 where it shows none."""
        seen = [self._sample(case) for case in cases]
        shown = [sample for sample in seen if sample is not None]
        if not shown:
            return [0.0] * len(cases)
        told = self._logistic.probabilities(self._features(shown))
        rows = iter(told)
        return [
            0.0 if sample is None else float(next(rows)[self._column[sample.class_name]]) for sample in seen
        ]

    def _features(self, samples: Sequence[LesionSample]) -> Features:
        flat = self._dims == 2
        return figures_of([s.slice_at(s.largest_slice) if flat else s for s in samples])

    def _sample(self, case: Case) -> LesionSample | None:
        if case.label_map is None or case.site is None:
            return None
        found = _lesion_at(case.label_map.labels, case.site)
        if found is None:
            return None
        mask, number = found
        scale = case.scale or self._scheme.case_scale(case.volume)
        name = case.label_map.class_names[number - 1]
        image = scale.normalise(case.volume.image)
        return LesionSample(case.case_id, case.patient_id, name, image, mask, case.volume.grid.spacing_mm)


def _lesion_at(labels: np.ndarray, site: tuple[int, int, int]) -> tuple[Mask, int] | None:
    """The lesion nearest to a site (a centre may lie beside a bent one), and its label id."""
    if not labels.any():
        return None
    nearest = ndimage.distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
    place = tuple(int(axis[site]) for axis in nearest)
    number = int(labels[place])
    components, _ = ndimage.label(labels == number, structure=NEIGHBOURS_26)
    return components == components[place], number
