"""What translators are worth on held-out patients: the figures of docs/results/super_resolution.md and style.md.

scripts/translator_study.py thin DATASET RUN [--fold N]             PSNR and SSIM against interpolation
scripts/translator_study.py contrast DATASET RUN [--fold N]         PSNR and SSIM against the true channel
scripts/translator_study.py scanner DATASET RUN MODEL [--fold N]    Dice before and after the transfer
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

import numpy as np
from skimage.exposure import match_histograms
from skimage.metrics import structural_similarity

from medaug.core.case import Case, Manifest, read_manifest
from medaug.core.geometry import Axis, Grid
from medaug.core.seeding import SeedTree
from medaug.core.splits import Fold, read_splits
from medaug.core.volume import Image, LabelMap, Volume
from medaug.experiments.means import mean_interval
from medaug.io.dataset import load_case
from medaug.metrics.scoring import dice
from medaug.tasks.base import Model, load_model
from medaug.translators._style.look import change_look
from medaug.translators._style.slices import body_mask, view
from medaug.translators._super_resolution.slices import (
    along_last,
    between_weights,
    finer_grid,
    slice_axis,
    thick_weights,
)
from medaug.translators.base import Translator, load_translator, read_config
from medaug.translators.style import Config as StyleConfig
from medaug.translators.super_resolution import SuperResolution

Scores = dict[str, list[float]]


@dataclass(frozen=True)
class Held:
    """The held-out cases of a fold, read one by one."""

    dataset: Path
    manifest: Manifest
    fold: Fold

    @staticmethod
    def of(dataset: Path, index: int) -> Held:
        """Those of a fold of a dataset folder."""
        manifest = read_manifest(dataset)
        return Held(dataset, manifest, read_splits(dataset, manifest).fold(index))

    def cases(self, patients: Iterable[str]) -> Iterable[Case]:
        """One case after the other."""
        for record in self.manifest.of_patients(frozenset(patients)):
            yield load_case(self.dataset, record, self.manifest.classes)


def psnr(made: np.ndarray, truth: np.ndarray) -> float:
    """Peak signal to noise in dB; the peak is the range of the truth."""
    error = float(np.mean((made.astype(np.float64) - truth) ** 2))
    return float(10 * np.log10(float(np.ptp(truth)) ** 2 / max(error, 1e-12)))


def ssim(made: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Structural similarity voxel by voxel (Wang et al., IEEE Trans Image Process 2004), Gaussian window in 3D."""
    found = structural_similarity(
        truth,
        made,
        data_range=float(np.ptp(truth)),
        gaussian_weights=True,
        use_sample_covariance=False,
        full=True,
    )
    return np.asarray(found[1])


def thickened(case: Case, axis: Axis, factor: int, profile: Literal["box", "gaussian"]) -> Case:
    """The case as a scan with slices ``factor`` times as thick would show it, on that scan's grid; image alone."""
    image = np.moveaxis(case.volume.image, axis + 1, -1)
    thick = along_last(image, thick_weights(image.shape[-1], factor, profile))
    affine = np.array(case.volume.grid.affine)
    affine[:3, 3] += affine[:3, axis] * (factor - 1) / 2
    affine[:3, axis] *= factor
    whole = np.ascontiguousarray(np.moveaxis(thick, -1, axis + 1))
    grid = Grid((whole.shape[1], whole.shape[2], whole.shape[3]), affine)
    return replace(case, volume=replace(case.volume, image=whole, grid=grid), label_map=None)


def thin(held: Held, translator: Translator) -> None:
    """Make held-out cases thick, and compare what interpolation and the network make of them with the truth."""
    by = cast(SuperResolution, translator)
    scores: Scores = {}
    for case in held.cases(held.fold.held_out):
        axis = slice_axis(case.volume.grid.spacing_mm)
        profile = cast(Literal["box", "gaussian"], by.card.config["profile"])
        thick = thickened(case, axis, by.factor, profile)
        made = {"network": by.translate(thick, np.random.default_rng(0)).volume.image}
        coarse = np.moveaxis(thick.volume.image, axis + 1, -1)
        _, positions = finer_grid(thick.volume.grid, axis, thick.volume.grid.spacing_mm[axis] / by.factor)
        for name, order in (("linear", 1), ("cubic spline", 3)):
            weights = between_weights(coarse.shape[-1], positions, cast(Literal[1, 3], order))
            made[name] = np.moveaxis(along_last(coarse, weights), -1, axis + 1)
        truth = np.moveaxis(np.moveaxis(case.volume.image, axis + 1, -1)[..., : len(positions)], -1, axis + 1)
        for name, image in made.items():
            note(
                scores,
                f"{name} PSNR",
                float(np.mean([psnr(a, b) for a, b in zip(image, truth, strict=True)])),
            )
            note(
                scores,
                f"{name} SSIM",
                float(np.mean([ssim(a, b).mean() for a, b in zip(image, truth, strict=True)])),
            )
    report(scores, ("linear", "cubic spline", "network"), ("PSNR", "SSIM"))


def contrast(held: Held, translator: Translator) -> None:
    """Compare the drawn channel with the true one, which the network has seen of no held-out patient."""
    config = cast(StyleConfig, read_config(translator.card))
    targets = [view(case, config.target.channel) for case in held.cases(held.fold.train)]
    scores: Scores = {}
    for case in held.cases(held.fold.held_out):
        truth = view(case, config.target.channel).image[0]
        source = view(case, config.source.channel)
        body = body_mask(source)
        drawn = translator.translate(case, SeedTree(0).child(case.case_id).rng()).volume.image[0]
        matched = matched_to(source, targets[0])[0]
        for name, image in (
            ("source, scaled", linear(source.image[0], truth, body)),
            ("histogram", matched),
            ("network", drawn),
        ):
            # one gain and offset for all, since grey levels of a scan mean nothing
            fitted = linear(image, truth, body)
            note(scores, f"{name} PSNR", psnr(fitted[body], truth[body]))
            note(
                scores,
                f"{name} SSIM",
                float(ssim(np.where(body, fitted, 0), np.where(body, truth, 0))[body].mean()),
            )
    report(scores, ("source, scaled", "histogram", "network"), ("PSNR", "SSIM"))


def linear(image: np.ndarray, truth: np.ndarray, body: np.ndarray) -> np.ndarray:
    """The image with the gain and offset, of either sign, that bring it closest to the truth in the body."""
    gain, offset = np.polyfit(image[body].astype(np.float64), truth[body].astype(np.float64), 1)
    return np.asarray(image * gain + offset, np.float32)


def matched_to(volume: Volume, target: Volume) -> Image:
    """The image with the histogram of a target's body, inside its own body."""
    body, other = body_mask(volume), body_mask(target)
    made = volume.image.copy()
    for n in range(len(made)):
        made[n][body] = match_histograms(made[n][body], target.image[n][other])
    return made


def scanner(held: Held, translator: Translator, model: Model) -> None:
    """Dice on true images, on those of a simulated other scanner, and on these transferred back."""
    config = cast(StyleConfig, read_config(translator.card))
    look = config.source.look
    if look is None:
        sys.exit("the source of this style is no simulated scanner")
    targets = [case.volume for case in list(held.cases(held.fold.train))[:8]]
    scores: Scores = {}
    for case in held.cases(held.fold.held_out):
        rng = SeedTree(0).child("look", case.case_id).rng()
        seen = replace(case, volume=replace(case.volume, image=change_look(case.volume.image, look, rng)))
        target = targets[int(rng.integers(len(targets)))]
        images = {
            "other scanner": seen.volume,
            "histogram matched": replace(seen.volume, image=matched_to(seen.volume, target)),
            "style": translator.translate(seen, rng).volume,
            "style on true images": translator.translate(case, rng).volume,
            "true images": case.volume,
        }
        for name, volume in images.items():
            add_dice(scores, name, model.predict(volume), cast(LabelMap, case.label_map))
    report(scores, tuple(images), held.manifest.classes, baseline="other scanner")


def add_dice(scores: Scores, name: str, found: LabelMap, truth: LabelMap) -> None:
    """Note the Dice of every class that is there."""
    for class_name in truth.class_names:
        value = dice(found.mask(class_name), truth.mask(class_name))
        if value is not None:
            note(scores, f"{name} {class_name}", value)


def note(scores: Scores, name: str, value: float) -> None:
    """Remember one patient's value."""
    scores.setdefault(name, []).append(value)


def report(scores: Scores, ways: tuple[str, ...], figures: tuple[str, ...], baseline: str = "") -> None:
    """Print means, and differences of the last way, or of all from a baseline, with intervals by patient."""
    print(f"| way | {' | '.join(figures)} |\n|---|{'---|' * len(figures)}")
    for way in ways:
        means = [np.mean(scores[f"{way} {figure}"]) for figure in figures]
        print(f"| {way} | {' | '.join(f'{mean:.3f}' for mean in means)} |")
    n = len(scores[f"{ways[0]} {figures[0]}"])
    pairs = (
        [(way, baseline) for way in ways if way != baseline]
        if baseline
        else [(ways[-1], w) for w in ways[:-1]]
    )
    print(f"\n| difference, {n} patients | {' | '.join(figures)} |\n|---|{'---|' * len(figures)}")
    for way, other in pairs:
        print(f"| {way} - {other} | {' | '.join(gain(scores, way, other, figure) for figure in figures)} |")


def gain(scores: Scores, way: str, other: str, figure: str) -> str:
    """Mean paired difference and its 95% interval, in words."""
    paired = np.array(scores[f"{way} {figure}"]) - np.array(scores[f"{other} {figure}"])
    if len(paired) < 2:
        return f"{paired.mean():+.3f}"
    found = mean_interval(paired, SeedTree(0).child(figure), low=-100.0, high=100.0)
    return f"{paired.mean():+.3f} ({found.low:+.3f} to {found.high:+.3f})"


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", choices=("thin", "contrast", "scanner"))
    parser.add_argument("dataset", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--fold", type=int, default=0)
    asked = parser.parse_args()
    held = Held.of(asked.dataset, asked.fold)
    translator = load_translator(asked.run, held.fold)
    if asked.study == "scanner":
        if asked.model is None:
            parser.error("scanner needs the run folder of a segmenter")
        scanner(held, translator, load_model(asked.model))
        return 0
    study: Callable[[Held, Translator], None] = {"thin": thin, "contrast": contrast}[asked.study]
    study(held, translator)
    return 0


if __name__ == "__main__":
    sys.exit(main())
