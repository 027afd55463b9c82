"""Grey values of lesions as nnU-Net scales CT by them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from medaug.core.intensity import IntensityScheme
from medaug.core.volume import Unit
from medaug.tasks._segmentation.contrast import Foreground, take_foreground
from tests.unit.tasks.cases import make_case

CASES = [make_case(n, unit=Unit.HU) for n in range(3)]
SCHEME = IntensityScheme.for_volume(CASES[0].volume)


def test_the_labelled_voxels_of_all_cases_are_measured():
    found = take_foreground([*CASES, replace(CASES[0], label_map=None)], SCHEME)
    values = np.concatenate(
        [
            (case.volume.image[0][case.label_map.labels > 0] + 400) / 500
            for case in CASES
            if case.label_map is not None
        ]
    )
    assert found is not None
    assert np.allclose([*found.low, *found.high], np.percentile(values, (0.5, 99.5)), atol=1e-4)
    assert np.allclose(
        [*found.mean, *found.deviation], (float(values.mean()), float(values.std())), atol=1e-4
    )


def test_every_channel_is_scaled_by_its_own():
    found = Foreground(low=(0.0, -1.0), high=(2.0, 1.0), mean=(1.0, 0.0), deviation=(0.5, 2.0))
    image = np.stack([np.array([[-1.0, 1.5, 9.0]]), np.array([[-3.0, 0.5, 4.0]])]).astype(np.float32)
    assert np.allclose(found.scale(image), [[[-2.0, 1.0, 2.0]], [[-0.5, 0.25, 0.5]]])


def test_no_lesion_no_foreground():
    assert take_foreground([make_case(0, classes=())], SCHEME) is None
    assert take_foreground([], SCHEME) is None
