"""Realism and diversity: how far synthetic lesions lie from held-out real ones, against the real-to-real floor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from medaug.core.assessment import ClassQuality, Figure, SpaceQuality
from medaug.core.runs import Progress
from medaug.core.seeding import SeedTree
from medaug.quality.distances import FEWEST, Cloud, kernel_draws
from medaug.quality.features import Standardiser
from medaug.quality.resampling import around
from medaug.quality.samples import LesionSample, figures_of


@final
@dataclass(frozen=True, slots=True)
class Description:
    """What was measured of every class, and in words what was not."""

    classes: tuple[ClassQuality, ...]
    notes: tuple[str, ...]


def describe_classes(
    made: Sequence[LesionSample],
    training: Sequence[LesionSample],
    held_out: Sequence[LesionSample],
    classes: Sequence[str],
    seed: SeedTree,
    progress: Progress,
) -> Description:
    """Quality of every class of a synthetic set.

    Args:
        made: Synthetic lesions.
        training: Real lesions of the training patients; at least one.
        held_out: Real lesions of the held-out patients.
        classes: The class table.
        seed: Root of all randomness.
        progress: Told of each class.
    """
    scale = Standardiser.fitted_on(figures_of(training))
    progress.start("classes", len(classes))
    rows, notes = [], []
    for name in classes:
        clouds = [_cloud(side, name, scale) for side in (made, training, held_out)]
        space = _space(clouds[0], clouds[1], clouds[2], seed.child(name))
        if space.kernel is None:
            notes.append(
                f"{name}: {len(clouds[0])} synthetic and {len(clouds[2])} held-out lesions; {FEWEST} of each are needed"
            )
        rows.append(
            ClassQuality(
                class_name=name, n_synthetic=len(clouds[0]), n_training=len(clouds[1]), n_held_out=len(clouds[2]),
                spaces=(space,),
            )
        )  # fmt: skip
        progress.advance()
    return Description(tuple(rows), tuple(notes))


def _cloud(samples: Sequence[LesionSample], class_name: str, scale: Standardiser) -> Cloud:
    chosen = [sample for sample in samples if sample.class_name == class_name]
    features = scale.apply(figures_of(chosen)) if chosen else np.zeros((0, len(scale.mean)))
    return Cloud(features, tuple(sample.patient_id for sample in chosen))


def _space(made: Cloud, training: Cloud, held_out: Cloud, seed: SeedTree) -> SpaceQuality:
    return SpaceQuality(
        space="figures",
        kernel=_kernel(made, held_out, seed.child("made")),
        kernel_floor=_kernel(training, held_out, seed.child("floor")),
    )


def _kernel(one: Cloud, other: Cloud, seed: SeedTree) -> Figure | None:
    if min(len(one), len(other)) < FEWEST:
        return None
    return around(*kernel_draws(one, other, seed))
