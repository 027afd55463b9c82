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
_MOST_FEATURES = 32  # more than there are lesions of a class leave a Frechet distance nothing to rest on
_SEEN = (32, 32)  # what the encoder sees
_STEPS = (30, 200)  # of its training, one for each lesion between

SpaceName = Literal["figures", "encoder", "extractor"]
Sides = tuple[tuple[LesionSample, ...], tuple[LesionSample, ...], tuple[LesionSample, ...]]


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

    Features are standardised on the training lesions of all classes, so that classes can be compared. The encoder is
    trained on half of the training patients, and its floor is that of the other half, new to it as held-out ones are.

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
    described = list(_spaces(shown, classes, seed, extractor))
    if all(space.name != "encoder" for space in described):
        notes.append(
            f"no encoder: half of the training patients have fewer than {ENOUGH} lesions to learn from"
        )
    progress.start("quality", (len(described) + 1) * len(classes))
    for space in described:
        clouds = _clouds(shown, space)
        for name in classes:
            of_class = [side.of_class(name) for side in clouds]
            spaces[name].append(_figures(space.name, of_class, seed.child(space.name, name)))
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
            yield f"{found}; distances take at least {FEWEST} of {FEWEST_PATIENTS} patients"
        elif not enough(owners, ENOUGH):
            yield f"{found}; Frechet distance, precision, recall, density and coverage take at least {ENOUGH}"


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Space:
    """A way to describe lesions, and the patients that it was learnt from."""

    name: SpaceName
    describe: Callable[[Sequence[LesionSample]], Features]
    learnt_from: frozenset[str] = frozenset()


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """Lesions of all classes, described."""

    features: Features
    lesions: Sequence[LesionSample]

    def of_class(self, class_name: str) -> Cloud:
        rows = [n for n, sample in enumerate(self.lesions) if sample.class_name == class_name]
        return Cloud(self.features[rows], tuple(self.lesions[n].patient_id for n in rows))

    def without(self, patients: frozenset[str]) -> _Side:
        rows = [n for n, sample in enumerate(self.lesions) if sample.patient_id not in patients]
        return _Side(self.features[rows], [self.lesions[n] for n in rows])


def _spaces(
    lesions: Lesions, classes: Sequence[str], seed: SeedTree, extractor: Extractor | None
) -> Iterator[_Space]:
    yield _Space("figures", figures_of)
    patients = sorted({sample.patient_id for sample in lesions.training})
    half = frozenset(seed.child("half").rng().permutation(patients)[: -(-len(patients) // 2)].tolist())
    seen = [sample for sample in lesions.training if sample.patient_id in half]
    if enough([sample.patient_id for sample in seen], ENOUGH):
        how = SelfTraining(steps=int(np.clip(len(seen), *_STEPS)))
        encoder = train_encoder(look_at(seen, _SEEN, classes), seed.child("encoder"), how)
        yield _Space("encoder", lambda side: encoder.features(look_at(side, _SEEN, classes)), half)
    if extractor is not None:
        size = extractor.size
        yield _Space("extractor", lambda side: extractor.features(look_at(side, size, classes).images))


def _clouds(lesions: Lesions, space: _Space) -> list[_Side]:
    """Standardised features of the three sides, brought down to the leading components of the training lesions."""
    training = space.describe(lesions.training)
    wide = training.shape[1]
    scale = Standardiser.fitted_on(training)
    made, held_out = (
        space.describe(side) if side else np.zeros((0, wide)) for side in (lesions.made, lesions.held_out)
    )
    done = [scale.apply(features) for features in (made, training, held_out)]
    if wide > _MOST_FEATURES:
        axes = np.linalg.svd(done[1], full_matrices=False)[2][:_MOST_FEATURES]
        done = [features @ axes.T * np.sqrt(len(axes) / wide) for features in done]
    sides = [_Side(*pair) for pair in zip(done, lesions.sides, strict=True)]
    return [sides[0], sides[1].without(space.learnt_from), sides[2]]


def _figures(space: SpaceName, clouds: Sequence[Cloud], seed: SeedTree) -> SpaceQuality:
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
