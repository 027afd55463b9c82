"""Source of new outlines: bank masks bent a little, or a model of shapes that was fitted on the bank's lesions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol, final

import numpy as np

from medaug.core.errors import DataError
from medaug.core.geometry import Box
from medaug.core.lesion import LesionCrop
from medaug.core.volume import Mask
from medaug.lesions.bank import Bank
from medaug.lesions.diameter import mask_diameter_mm, too_small, too_thick, wanted_voxels
from medaug.lesions.distance_maps import Map, maps_of, mask_of_size, on_voxels
from medaug.lesions.shape import (
    Outline,
    ShapeTarget,
    draw_outline,
    draw_shape,
    drawn_spacing,
    fit_texture,
    in_patch,
    wanted_diameter_mm,
)
from medaug.lesions.shape_pca import PcaShapes

ShapeKind = Literal["bank", "pca", "vae", "auto"]
FEWEST_PCA: Final = 12
FEWEST_VAE: Final = 50
_Learnt = Literal["pca", "vae"]
_FEWEST: Final[dict[ShapeKind, int]] = {"pca": FEWEST_PCA, "vae": FEWEST_VAE}
_NAMES: Final[dict[ShapeKind, str]] = {"pca": "principal components", "vae": "a shape VAE"}
_TRIES = 6  # maps drawn for one outline


class ShapeModel(Protocol):
    """Makes new signed distance maps."""

    def sample(self, rng: np.random.Generator) -> Map:
        """A map as of :func:`medaug.lesions.distance_maps.maps_of`."""
        ...


@final
@dataclass(frozen=True, slots=True)
class Choice:
    """What shapes of a class are drawn with.

    Attributes:
        kind: ``bank``, ``pca`` or ``vae``.
        pooled: Whether it has learnt from the lesions of all classes.
        note: Why it is not what was asked for; empty where it is.
    """

    kind: Literal["bank", "pca", "vae"]
    pooled: bool = False
    note: str = ""


def choose(kind: ShapeKind, class_name: str, own: int, every: int) -> Choice:
    """What suits a class of that many lesions, in a bank of that many.

    ``auto`` takes the VAE from 50 lesions of the class on, principal components from 12 on, else bank masks. A model asked for
    by name learns from all classes where one has too few, and gives way to the next simpler one where that does not help.
    """
    if kind == "auto":
        return Choice("vae" if own >= FEWEST_VAE else "pca" if own >= FEWEST_PCA else "bank")
    wanted: dict[ShapeKind, tuple[_Learnt, ...]] = {"vae": ("vae", "pca"), "pca": ("pca",)}
    for model in wanted.get(kind, ()):
        less = f"{_NAMES[kind]} would need {_FEWEST[kind]} lesions: " if model != kind else ""
        if own >= _FEWEST[model]:
            return Choice(model, note=f"class {class_name}: {less}{_NAMES[model]} instead" if less else "")
        if every >= _FEWEST[model]:
            return Choice(
                model, True, f"class {class_name}: {less}{_NAMES[model]} of all classes, it has {own} lesions"
            )
    few = (
        f"class {class_name}: bank masks, {every} lesions are too few for {_NAMES[kind]}"
        if kind != "bank"
        else ""
    )
    return Choice("bank", note=few)


@final
class ShapeSource:
    """Draws outlines; what is learnt is learnt once, from the bank alone, when it is first needed.

    Args:
        bank: Whose lesions teach.
        kind: What is asked for.
    """

    def __init__(self, bank: Bank, kind: ShapeKind = "bank") -> None:
        self._bank = bank
        self._choices = {
            name: choose(kind, name, len(bank.entries(name)), len(bank.entries())) for name in bank.classes
        }
        self._models: dict[tuple[str, str, int], ShapeModel] = {}

    def choice(self, class_name: str) -> Choice:
        """What draws the shapes of a class, and why."""
        return self._choices[class_name]

    def learn(self, class_name: str, slices: int) -> None:
        """Learn what shapes of a class need for hosts of so many slices, unless that is done; one call at a time.

        Raises:
            DataError: If no lesion is large enough to learn from.
            UnreadableError: If a crop is damaged.
        """
        if self._choices[class_name].kind != "bank":
            self._model(class_name, 2 if slices == 1 else 3)

    def outline(self, crop: LesionCrop, target: ShapeTarget, rng: np.random.Generator) -> Outline:
        """A new outline for a lesion of the donor's class; the donor gives its texture and, where open, its size.

        Args:
            crop: The donor.
            target: Spacing and size wanted; the volume (area in one slice) is met within 10%.
            rng: Randomness.

        Raises:
            DataError: If the size cannot be drawn on the host's voxels, or in its slices.
        """
        name = crop.entry.class_name
        if self._choices[name].kind == "bank":
            return draw_outline(crop, target, rng)
        spacing = drawn_spacing(crop, target)
        mask = self._mask(self._model(name, 2 if target.slices == 1 else 3), crop, target, rng)
        patch, _ = in_patch(mask, target, flat=target.slices == 1)
        diameter = mask_diameter_mm(patch, spacing)
        like = replace(target, diameter_mm=diameter, patch_voxels=max(patch.shape[:2]))
        seed = int(rng.integers(2**63))
        return Outline(
            patch,
            diameter,
            lambda: fit_texture(draw_shape(crop, like, np.random.default_rng(seed)), patch),
        )

    def _mask(
        self, model: ShapeModel, crop: LesionCrop, target: ShapeTarget, rng: np.random.Generator
    ) -> Mask:
        flat, spacing = target.slices == 1, drawn_spacing(crop, target)
        widest = crop.mask[..., [int(np.argmax(crop.mask.sum(axis=(0, 1))))]] if flat else crop.mask
        own = mask_diameter_mm(widest, crop.entry.spacing_mm)
        diameter = wanted_diameter_mm(own, spacing, target, rng, flat=flat)
        wanted = wanted_voxels(diameter, spacing, flat=flat)
        for _ in range(_TRIES):
            shape = _turned(model.sample(rng), rng)
            values = on_voxels(shape, diameter, spacing, target.slices, rng)
            if target.diameter_mm is None:
                wanted = max(3.0, min(wanted, int((values <= 0).sum())))
            mask = mask_of_size(values, wanted)
            if mask is not None:
                return np.asarray(mask[Box.around(mask).slices])
        is_cut = not flat and target.slices * spacing[2] < diameter
        raise too_thick(diameter, target.slices) if is_cut else too_small(diameter, spacing)

    def _model(self, class_name: str, dims: int) -> ShapeModel:
        choice = self._choices[class_name]
        pool = None if choice.pooled else class_name
        key = (choice.kind, pool or "", dims)
        if key not in self._models:
            self._models[key] = self._learn(choice, pool, dims)
        return self._models[key]

    def _learn(self, choice: Choice, pool: str | None, dims: int) -> ShapeModel:
        entries = self._bank.entries(pool)
        if choice.kind == "vae":
            from medaug.lesions.shape_vae import learnt_or_stored

            return learnt_or_stored(self._bank, pool, dims)
        maps = maps_of([self._bank.crop(entry.lesion_id) for entry in entries], dims)
        if not len(maps):
            raise DataError("no lesion is large enough to learn shapes from", hint="draw with --shapes bank")
        return PcaShapes.fit(maps, len(entries))


def _turned(shape: Map, rng: np.random.Generator) -> Map:
    """A map flipped along any axis and turned in plane by a quarter, or not."""
    flips: Sequence[int] = [axis for axis in range(shape.ndim) if rng.random() < 0.5]
    turned = np.flip(shape, tuple(flips))
    return np.ascontiguousarray(np.swapaxes(turned, 0, 1) if rng.random() < 0.5 else turned)
