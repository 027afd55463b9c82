"""Realism and diversity of a synthetic set, class by class, each figure beside the same figure of real lesions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from medaug.core.assessment import ClassQuality, SpaceQuality
from medaug.core.runs import Progress
from medaug.core.seeding import SeedTree
from medaug.quality.distances import Cloud, frechet_figure, kernel_figure
from medaug.quality.encoder import SelfTraining, train_encoder
from medaug.quality.extractor import Extractor
from medaug.quality.features import Features, Standardiser
from medaug.quality.looks import look_at
from medaug.quality.manifold import manifold_figures
from medaug.quality.resampling import FEWEST_PATIENTS, enough
from medaug.quality.samples import LesionSample, figures_of
from medaug.quality.similarity import fitted_size, similarity_figure
from medaug.quality.spreads import spread_figures

FEWEST, ENOUGH = 5, 12  # lesions of a side: for kernel distance, spreads and MS-SSIM, and for all else
_MOST = 1000  # lesions of a side and class; more tell nothing new and cost their square
_MOST_FEATURES = 64
_SEEN = (32, 32)  # what the encoder sees
_STEPS = (30, 300)  # of its training, one for each lesion between

SpaceName = Literal["figures", "encoder", "extractor"]
Sides = tuple[tuple[LesionSample, ...], tuple[LesionSample, ...], tuple[LesionSample, ...]]
Describe = Callable[[Sequence[LesionSample]], Features]


@final
@dataclass(frozen=True, slots=True)
class Description:
    """What was measured of every class, and in words what was not."""

    classes: tuple[ClassQuality, ...]
    notes: tuple[str, ...]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Lesions:
    """The lesions that are compared.

    Attributes:
        made: Synthetic ones.
        training: Real ones of the training patients.
        held_out: Real ones of the held-out patients.
    """

    made: tuple[LesionSample, ...]
    training: tuple[LesionSample, ...]
    held_out: tuple[LesionSample, ...]

    @property
    def sides(self) -> Sides:
        """All three."""
        return self.made, self.training, self.held_out

    def of_class(self, class_name: str) -> Lesions:
        """Those of one class."""
        return Lesions(*(tuple(s for s in side if s.class_name == class_name) for side in self.sides))

    def thinned(self, classes: Sequence[str], rng: np.random.Generator) -> Lesions:
        """At most 1,000 of each class and side."""
        return Lesions(*(_thinned(side, classes, rng) for side in self.sides))


def _thinned(
    side: Sequence[LesionSample], classes: Sequence[str], rng: np.random.Generator
) -> tuple[LesionSample, ...]:
    kept: set[int] = set()
    for name in classes:
        rows = [n for n, sample in enumerate(side) if sample.class_name == name]
        kept |= {rows[int(n)] for n in rng.permutation(len(rows))[:_MOST]}
    return tuple(sample for n, sample in enumerate(side) if n in kept)


def describe_classes(
    lesions: Lesions,
    classes: Sequence[str],
    seed: SeedTree,
    progress: Progress,
    extractor: Extractor | None = None,
) -> Description:
    """Quality of every class of a synthetic set.

    Features are standardised on the training lesions of all classes, so that classes can be compared; the encoder is
    trained on these lesions too.

    Args:
        lesions: Synthetic and real ones; at least one of the training patients.
        classes: The class table.
        seed: Root of all randomness.
        progress: Told of each space and class.
        extractor: A network of the user's, for a space of its own.
    """
    shown = lesions.thinned(classes, seed.child("thin").rng())
    notes = [note for name in classes for note in _notes(lesions.of_class(name), name)]
    spaces: dict[str, list[SpaceQuality]] = {name: [] for name in classes}
    describers = list(_describers(shown, classes, seed, extractor))
    progress.start("quality", (len(describers) + 1) * len(classes))
    for space, describe in describers:
        clouds = _clouds(shown, describe)
        for name in classes:
            of_class = [_of_class(*pair, name) for pair in zip(clouds, shown.sides, strict=True)]
            spaces[name].append(_space(space, of_class, seed.child(space, name)))
            progress.advance()
    data_range = _data_range(shown.training)
    rows = []
    for name in classes:
        rows.append(
            _class(shown.of_class(name), lesions.of_class(name), (name, spaces[name]), data_range, seed)
        )
        progress.advance()
    return Description(tuple(rows), tuple(notes))


def _notes(lesions: Lesions, class_name: str) -> Iterator[str]:
    """What is too little for which figures."""
    if not lesions.made:
        return
    for words, side in (
        ("synthetic", lesions.made),
        ("training", lesions.training),
        ("held-out", lesions.held_out),
    ):
        owners = [sample.patient_id for sample in side]
        found = f"{class_name}: {len(side)} {words} lesions of {len(set(owners))} patients"
        if not enough(owners, FEWEST):
            yield f"{found}; {FEWEST} of {FEWEST_PATIENTS} are needed for distances"
        elif not enough(owners, ENOUGH):
            yield f"{found}; {ENOUGH} are needed for Frechet distance, precision, recall, density and coverage"


def _describers(
    lesions: Lesions, classes: Sequence[str], seed: SeedTree, extractor: Extractor | None
) -> Iterator[tuple[SpaceName, Describe]]:
    yield "figures", figures_of
    if len(lesions.training) >= ENOUGH:
        seen = look_at(lesions.training, _SEEN, classes)
        steps = int(np.clip(len(seen), *_STEPS))
        encoder = train_encoder(seen, seed.child("encoder"), SelfTraining(steps=steps))
        yield "encoder", lambda side: encoder.features(look_at(side, _SEEN, classes))
    if extractor is not None:
        yield "extractor", lambda side: extractor.features(look_at(side, extractor.size, classes).images)


def _clouds(lesions: Lesions, describe: Describe) -> list[Features]:
    """Standardised features of the three sides, brought down to the leading components of the training lesions."""
    training = describe(lesions.training)
    scale = Standardiser.fitted_on(training)
    done = [
        scale.apply(describe(side)) if side else np.zeros((0, training.shape[1])) for side in lesions.sides
    ]
    if training.shape[1] <= _MOST_FEATURES:
        return done
    axes = np.linalg.svd(done[1], full_matrices=False)[2][:_MOST_FEATURES]
    return [side @ axes.T * np.sqrt(len(axes) / training.shape[1]) for side in done]


def _of_class(features: Features, side: Sequence[LesionSample], class_name: str) -> Cloud:
    rows = [n for n, sample in enumerate(side) if sample.class_name == class_name]
    return Cloud(features[rows], tuple(side[n].patient_id for n in rows))


def _space(space: SpaceName, clouds: Sequence[Cloud], seed: SeedTree) -> SpaceQuality:
    made, training, held_out = clouds
    size = min(len(side) for side in clouds if len(side) >= ENOUGH or side is held_out)
    found: dict[str, object] = {"space": space}
    for end, side in (("", made), ("_floor", training)):
        if enough(side.patients, FEWEST) and enough(held_out.patients, FEWEST):
            found[f"kernel{end}"] = kernel_figure(side, held_out, seed.child("kernel", end))
        if enough(side.patients, ENOUGH) and enough(held_out.patients, ENOUGH):
            found[f"frechet{end}"] = frechet_figure(side, held_out, seed.child("frechet", end))
            near = manifold_figures(side, held_out, size, seed.child("manifold", end))
            found |= {f"precision{end}": near.precision, f"recall{end}": near.recall}
            found |= {f"density{end}": near.density, f"coverage{end}": near.coverage}
    return SpaceQuality.model_validate(found)


def _data_range(training: Sequence[LesionSample]) -> float:
    """From the 1st to the 99th percentile of training lesions' voxels, normalised units."""
    values = np.concatenate([sample.image[:, sample.mask].ravel() for sample in training])
    low, high = np.percentile(values, (1, 99))
    return max(float(high - low), 1e-3)


def _class(
    shown: Lesions, every: Lesions, named: tuple[str, list[SpaceQuality]], data_range: float, seed: SeedTree
) -> ClassQuality:
    name, spaces = named
    real = (*shown.training, *shown.held_out)
    alike = [
        similarity_figure(side, fitted_size(real), data_range, seed.child("ms_ssim", word, name))
        if enough([sample.patient_id for sample in side], FEWEST)
        else None
        for word, side in (("made", shown.made), ("real", real))
    ]
    return ClassQuality(
        class_name=name, n_synthetic=len(every.made), n_training=len(every.training),
        n_held_out=len(every.held_out), spaces=tuple(spaces), ms_ssim=alike[0], ms_ssim_real=alike[1],
        spreads=spread_figures(shown.sides, seed.child("spreads", name), FEWEST),
    )  # fmt: skip
