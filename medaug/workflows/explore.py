"""``medaug explore``: what a trained variational autoencoder has learnt, as a sheet of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, final

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from medaug.core.config import Frozen
from medaug.core.errors import ConfigError
from medaug.core.lesion import LesionEntry
from medaug.core.runs import Progress
from medaug.core.seeding import SeedTree
from medaug.core.summary import Summary
from medaug.generators.base import load_generator
from medaug.generators.vae import ATTRIBUTES, VAE, Attribute, Scene, Walk, write_sheet
from medaug.lesions.bank import Bank

_LESIONS_PER_CLASS = 2
_SAME = 1e-6
_DARKEST, _BRIGHTEST = 1.0, 99.0  # percentiles shown black and white


@final
class ExploreOptions(Frozen):
    """What ``medaug explore`` is asked."""

    run: Path = Field(description="run folder of `medaug fit` with a vae")
    bank: Path = Field(description="the bank it was trained on")
    out: Path = Field(description="PNG file to write")
    interpolate: tuple[str, str] | None = Field(default=None, description="two lesions of the bank, by id")
    direction: Attribute | None = None
    denoise: str | None = Field(
        default=None, description="a lesion by id; of the bank it was trained on, or of another"
    )
    noise: float = Field(
        default=0.2,
        gt=0,
        le=5,
        description="added before denoising: deviation, normalised units (500 HU in CT)",
    )
    steps: int = Field(default=7, ge=2, le=40, description="lesions a row")
    seed: int = Field(default=0, ge=0)


@final
class ExploreSummary(Summary):
    """What stands on the sheet."""

    out: str
    shows: Literal["samples", "interpolation", "direction", "denoising"]
    rows: tuple[str, ...] = Field(description="class of each row")
    attribute: Attribute | None = None
    explained: float | None = Field(
        default=None, description="share of the attribute's variance in a class that the codes explain"
    )
    measured: tuple[tuple[float, ...], ...] = Field(
        default=(), description="the attribute of each drawn lesion, a row each; contrast in normalised units"
    )
    follows: tuple[float | None, ...] = Field(
        default=(),
        description="correlation of the attribute with the steps, a row each; null where it is constant",
    )
    psnr_noised: float | None = Field(
        default=None, description="of the lesion and its edge against the real one, noise added, dB"
    )
    psnr_denoised: float | None = Field(default=None, description="the same, denoised, dB")

    def lines(self) -> tuple[str, ...]:
        """What each row holds, and for a direction what was measured in the pictures."""
        ends = " and the other real one last" if self.shows == "interpolation" else ""
        head = f"{self.shows} in {self.out}; each row: a real lesion first{ends}"
        if self.psnr_noised is not None and self.psnr_denoised is not None:
            gain = self.psnr_denoised - self.psnr_noised
            found = f"PSNR {self.psnr_noised:.1f} dB noised, {self.psnr_denoised:.1f} dB denoised ({gain:+.1f} dB)"
            return (f"{head}, then noised, then denoised", found)
        if self.attribute is None:
            return (head, *self.rows)
        rows = [
            f"{name}: {self.attribute} {row[0]:.2f} to {row[-1]:.2f}{_words(follows)}"
            for name, row, follows in zip(self.rows, self.measured, self.follows, strict=True)
        ]
        if self.explained is None:
            return (head, *rows)
        found = (
            f"the codes explain {100 * self.explained:.0f}% of the spread of {self.attribute} in one place"
        )
        return (head, found, *rows)


def _words(follows: float | None) -> str:
    return "" if follows is None else f", r {follows:.2f} with the steps"


def explore(options: ExploreOptions, progress: Progress) -> ExploreSummary:
    """Draw samples of every class, the way between two lesions, a walk along a named direction, or a denoised lesion.

    The pictures show lesions of the training patients: they stay where the bank stays.

    Raises:
        ConfigError: If the generator is no vae, was trained on another bank, two choices exclude each other, or the
            picture is there already.
        CheckpointError: If the run folder holds no finished generator, or a damaged one.
        DataError: If there is no such lesion in the bank.
        StorageError: If the picture cannot be written.
    """
    _check(options)
    vae, bank = _opened(options)
    progress.start("explore", None)
    if options.interpolate:
        return _between(vae, bank, options, options.interpolate)
    if options.denoise is not None:
        return _calmed(vae, bank, options, options.denoise)
    chosen = _typical(bank)
    scenes = [vae.scene(bank.crop(entry.lesion_id)) for entry in chosen]
    names = tuple(entry.class_name for entry in chosen)
    if options.direction:
        return _along(vae, scenes, names, options, options.direction)
    seed = SeedTree(options.seed).child("explore")
    rows = []
    for entry, scene in zip(chosen, scenes, strict=True):
        rngs = [seed.child(entry.lesion_id, n).rng() for n in range(options.steps)]
        rows.append(_row(scene, vae.sample(scene, rngs)))
    _write(options.out, rows)
    return ExploreSummary(out=str(options.out), shows="samples", rows=names)


def _check(options: ExploreOptions) -> None:
    """Refuse what cannot be meant, before anything is read."""
    if sum(bool(chosen) for chosen in (options.interpolate, options.direction, options.denoise)) > 1:
        raise ConfigError("only one of them at a time", where="--interpolate, --direction, --denoise")
    if options.interpolate and options.interpolate[0] == options.interpolate[1]:
        raise ConfigError("the same lesion twice", where="--interpolate", expected="two lesions of the bank")
    if options.out.suffix.lower() != ".png":
        raise ConfigError(f"{options.out} is no PNG", where="--out", expected="a name that ends in .png")
    if options.out.exists():
        raise ConfigError(f"{options.out} exists", where="--out", hint="choose another name, or delete it")


def _opened(options: ExploreOptions) -> tuple[VAE, Bank]:
    if not options.run.is_dir():
        raise ConfigError(f"no folder {options.run}", where="RUN", expected="a run folder of `medaug fit`")
    generator, bank = load_generator(str(options.run)), Bank.open(options.bank)
    if not isinstance(generator, VAE):
        raise ConfigError(f"a {generator.kind} has no latent space to explore", where="RUN", expected="a vae")
    if options.denoise is None and generator.card.bank_sha256 != bank.sha256:
        raise ConfigError("the generator was trained on another bank", where="--bank")
    return generator, bank


def _typical(bank: Bank) -> list[LesionEntry]:
    """Of each class the lesions of middling size, of different patients where there are several."""
    chosen: list[LesionEntry] = []
    for name in bank.classes:
        entries = sorted(bank.entries(name), key=lambda entry: (entry.diameter_mm, entry.lesion_id))
        middle = len(entries) / 2
        order = sorted(range(len(entries)), key=lambda n: abs(n + 0.5 - middle))
        by_patient = {entries[n].patient_id: entries[n] for n in reversed(order)}
        nearest = [entries[n] for n in order if by_patient[entries[n].patient_id] is entries[n]]
        chosen += nearest[:_LESIONS_PER_CLASS]
    return chosen


def _between(vae: VAE, bank: Bank, options: ExploreOptions, ids: tuple[str, str]) -> ExploreSummary:
    crops = [bank.crop(lesion_id) for lesion_id in ids]
    first, second = (vae.scene(crop) for crop in crops)
    walk = vae.interpolate(first, second, options.steps)
    _write(options.out, [torch.cat([first.image, walk.images, second.image])])
    name = " to ".join(dict.fromkeys(crop.entry.class_name for crop in crops))
    return ExploreSummary(out=str(options.out), shows="interpolation", rows=(name,))


def _along(
    vae: VAE, scenes: Sequence[Scene], names: tuple[str, ...], options: ExploreOptions, attribute: Attribute
) -> ExploreSummary:
    walks = [vae.along(scene, attribute, options.steps) for scene in scenes]
    number = ATTRIBUTES.index(attribute)
    _write(options.out, [_row(scene, walk) for scene, walk in zip(scenes, walks, strict=True)])
    # size is given with the outline: the codes have no say in it
    explained = None if attribute == "size" else round(float(vae.directions.explained[number]), 3)
    measured = tuple(_figures(walk.measured[:, number]) for walk in walks)
    return ExploreSummary(
        out=str(options.out),
        shows="direction",
        rows=names,
        attribute=attribute,
        explained=explained,
        measured=measured,
        follows=tuple(_follows(row) for row in measured),
    )


def _calmed(vae: VAE, bank: Bank, options: ExploreOptions, lesion_id: str) -> ExploreSummary:
    """A lesion with noise added, and without it again."""
    crop = bank.crop(lesion_id)
    real = vae.scene(crop)
    rng = SeedTree(options.seed).child("explore", "denoise", lesion_id).rng()
    noised = real.with_noise(options.noise, rng)
    calm = vae.denoised(noised)
    _write(options.out, [torch.cat([real.image, noised.image, calm.images])])
    return ExploreSummary(
        out=str(options.out),
        shows="denoising",
        rows=(crop.entry.class_name,),
        psnr_noised=round(real.psnr(noised.image), 2),
        psnr_denoised=round(real.psnr(calm.images), 2),
    )


def _follows(row: tuple[float, ...]) -> float | None:
    """Correlation of figures with their number."""
    if max(row) - min(row) < _SAME:
        return None
    return round(float(np.corrcoef(np.arange(len(row)), row)[0, 1]), 3)


def _row(scene: Scene, walk: Walk) -> Float[Tensor, "N C *S"]:
    return torch.cat([scene.image, walk.images])


def _write(path: Path, rows: Sequence[Float[Tensor, "N C *S"]]) -> None:
    """Write the rows, windowed alike, by the real lesions that begin them."""
    shown = np.concatenate([row[0, 0].numpy().ravel() for row in rows])
    low, high = (float(v) for v in np.percentile(shown, (_DARKEST, _BRIGHTEST)))
    write_sheet(path, list(rows), (low, max(high, low + 1e-3)))


def _figures(values: Tensor) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)
