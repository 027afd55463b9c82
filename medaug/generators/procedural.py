"""``procedural``: hand-crafted lesions whose figures follow those of a class's real ones; nothing is learnt by a network.

The idea of drawing lesions by hand is that of Hu et al. (Label-free liver tumor segmentation, CVPR 2023), with constants
for one organ; here every number is measured on the bank, so that any class, organ and modality is drawn by one formula,
in 2D and 3D and all channels together:

1. The outline is the one asked for, or an ellipsoid of its place, axes and volume with an elastic boundary.
2. Nine figures a channel (level, radial profile, halo, texture of rim and core, grain) are drawn from the class's law,
   given the lesion's diameter and the tissue around it: see :mod:`medaug.generators._procedural.laws`.
3. Texture is Gaussian noise with the class's power, grain in mm, and correlation between channels; on two scales where the
   lesion is large.
4. The host's own fine noise stays, so that the lesion is as noisy as its scan.

Fitting takes a second and leaves ``laws.json``, which holds statistics and no voxels. Sizes beyond the learnt ones are
drawn with the figures of the nearest learnt size.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, final

import numpy as np
from pydantic import Field, ValidationError

from medaug.core.config import Frozen
from medaug.core.errors import CheckpointError, ConfigError, DataError
from medaug.core.lesion import Lesion, LesionRequest
from medaug.core.runs import Progress, RunDir
from medaug.core.seeding import SeedTree
from medaug.core.storage import sha256_text
from medaug.core.volume import Mask, Unit
from medaug.generators._procedural.draw import draw_lesion, texture_field
from medaug.generators._procedural.figures import GRAIN, LEVEL, Measured, measure
from medaug.generators._procedural.laws import ClassLaw, Laws, Sample, fit_laws
from medaug.generators._procedural.region import Region
from medaug.generators.base import (
    CARD,
    FEW_LESIONS,
    GeneratorCard,
    LesionLibrary,
    TrainedGenerator,
    new_card,
    read_card,
)
from medaug.lesions.ellipsoid import elastic_ellipsoid

LAWS = "laws.json"
_HINT = "fit it again with `medaug fit`"


@final
class Config(Frozen):
    """Configuration of ``procedural``."""

    kind: Literal["procedural"] = "procedural"
    outline: Literal["given", "ellipsoid"] = Field(
        default="given", description="the outline asked for, or an ellipsoid of its volume and axes"
    )
    elasticity: float = Field(
        default=0.15, ge=0, le=0.5, description="deviation of an ellipsoid's outline, of its radius"
    )
    variety: float = Field(
        default=1.0, ge=0, le=2, description="spread of the figures; 1 as in the bank, 0 the typical lesion"
    )


@final
class Procedural(TrainedGenerator[Config]):
    """Draws lesions of the classes whose laws it knows."""

    kind: str = "procedural"

    def __init__(self, config: Config, card: GeneratorCard, laws: Laws) -> None:
        super().__init__(config, card)
        self._laws = laws

    def generate(
        self, requests: Sequence[LesionRequest], rngs: Sequence[np.random.Generator]
    ) -> list[Lesion]:
        """See :class:`~medaug.generators.base.TrainedGenerator`."""
        return [self._draw(request, rng) for request, rng in zip(requests, rngs, strict=True)]

    def _law(self, request: LesionRequest) -> ClassLaw:
        law = self._laws.of(request.class_name)
        if law is None:
            known = ", ".join(self._card.classes)
            raise ConfigError(f"the generator knows no class {request.class_name!r}", expected=known)
        if request.host.shape[0] != self._laws.channels:
            raise CheckpointError(
                f"the host has {request.host.shape[0]} channels",
                expected=f"{self._laws.channels} channels",
                hint=_HINT,
            )
        return law

    def _draw(self, request: LesionRequest, rng: np.random.Generator) -> Lesion:
        law, spacing = self._law(request), request.spacing_mm
        mask = request.mask
        if self._config.outline == "ellipsoid":
            mask = elastic_ellipsoid(mask, spacing, self._config.elasticity, rng)
        region = Region.around(mask, spacing)
        host = request.scale.normalise(region.cut(request.host))
        around = np.median(host[:, region.ring], axis=1).astype(np.float64)
        chance = self._config.variety * rng.standard_normal(len(law.intercept))
        figures = law.draw(_diameter_mm(mask, spacing), around, chance)
        figures[:, LEVEL] += self._laws.anchor * around
        white = rng.standard_normal(host.shape)
        mixed = np.einsum("ab,b...->a...", _mixing(law), white)
        texture = texture_field(region, np.exp(figures[:, GRAIN]), spacing, mixed)
        drawn, changed = draw_lesion(host, region, figures, texture)
        image = request.host.copy()
        part = region.cut(image)
        part[:, changed] = request.scale.restore(drawn)[:, changed]
        return Lesion(image, mask, request.class_name)


def fit(config: Config, bank: LesionLibrary, run: RunDir, progress: Progress, seed: SeedTree) -> Procedural:
    """Measure all lesions of a bank; leaves ``laws.json`` and ``generator.json`` in the run folder.

    Args:
        config: Of the generator.
        bank: Lesions of the training patients of one fold.
        run: Open run folder.
        progress: Told about each lesion, and what is scarce.
        seed: Not needed: there is nothing random in it.

    Raises:
        DataError: If a class of the bank's table has no lesion.
    """
    del seed
    samples, measured = _measure(bank, progress)
    laws = fit_laws(samples, measured, anchored=bank.index.scheme.unit is Unit.ARBITRARY)
    laws.write(run.path / LAWS)
    new_card(config.kind, config.model_dump(mode="json"), bank, 0, _hash(laws)).write(run.path / CARD)
    return load(run.path)


def load(run_path: Path) -> Procedural:
    """The generator of a finished ``medaug fit`` run folder.

    Raises:
        CheckpointError: If it is missing, damaged, or does not fit its own card.
    """
    card = read_card(run_path)
    try:
        config = Config.model_validate(card.config)
        laws = Laws.read(run_path / LAWS)
    except (ValidationError, DataError) as error:
        raise CheckpointError(f"{LAWS} or {CARD} is damaged or of another version", hint=_HINT) from error
    if _hash(laws) != card.weights_sha256:
        raise CheckpointError(f"{LAWS} is not the one that {CARD} names", hint=_HINT)
    return Procedural(config, card, laws)


def _measure(bank: LesionLibrary, progress: Progress) -> tuple[list[Sample], list[Measured]]:
    samples: list[Sample] = []
    measured: list[Measured] = []
    progress.start("procedural", len(bank.entries()))
    for class_name in bank.index.classes:
        entries = bank.entries(class_name)
        if not entries:
            raise DataError(
                f"the bank has no lesion of class {class_name} to learn from",
                expected=f"some, better {FEW_LESIONS} or more",
                hint="leave the class out of the labels, or choose another fold",
            )
        if len(entries) < FEW_LESIONS:
            progress.say(
                f"class {class_name} has only {len(entries)} lesions: it varies as all classes together do"
            )
        for entry in entries:
            crop = bank.crop(entry.lesion_id)
            image = crop.scale.normalise(crop.image)
            measured.append(measure(image, crop.mask, crop.others, entry.spacing_mm))
            diameter = _diameter_mm(crop.mask, entry.spacing_mm)
            samples.append(Sample(class_name=class_name, patient_id=entry.patient_id, diameter_mm=diameter))
            progress.advance()
    return samples, measured


def _diameter_mm(mask: Mask, spacing_mm: tuple[float, float, float]) -> float:
    """Diameter of the disc of the largest section's area: the same measure in 2D and 3D."""
    area = int(mask.sum(axis=(0, 1)).max()) * spacing_mm[0] * spacing_mm[1]
    return float(np.sqrt(4.0 * area / np.pi))


def _mixing(law: ClassLaw) -> np.ndarray:
    """Turns independent channels of noise into channels that vary together as the class's texture does."""
    correlation = np.array(law.correlation)
    return np.linalg.cholesky(0.95 * correlation + 0.05 * np.eye(len(correlation)))


def _hash(laws: Laws) -> str:
    return sha256_text(laws.model_dump_json())
