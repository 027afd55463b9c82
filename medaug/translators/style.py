"""``style``: the look of one domain, a scanner or a contrast, turned into that of another, learnt without pairs.

Slices along the last axis are redrawn one by one in one style code a volume, so that they fit together; structure
stays where it is (there and back again must give the same slice), so labels stay valid. Outside the body nothing
changes, or, where another contrast is drawn, its own background stands. A case translated between channels holds the
new channel alone. The case is still the patient's scan.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from medaug.core.case import Case, Origin
from medaug.core.errors import CheckpointError
from medaug.core.intensity import CaseScale, IntensityScheme
from medaug.core.runs import Progress, RunDir
from medaug.core.seeding import SeedTree
from medaug.core.volume import Image, Volume
from medaug.engine.checkpoint import State, load_checkpoint, save_checkpoint
from medaug.engine.launch import pick_device
from medaug.engine.loop import fit_loop
from medaug.engine.weights import state_sha256
from medaug.translators._style.learner import StyleLearner
from medaug.translators._style.networks import StyleNet
from medaug.translators._style.settings import Config
from medaug.translators._style.slices import (
    Reading,
    Slices,
    bodily,
    body_mask,
    gather,
    members,
    view,
)
from medaug.translators.base import (
    CARD,
    HINT,
    WEIGHTS,
    TrainingCases,
    TranslatorCard,
    read_card,
    read_config,
    require_like,
    translator_sha256,
    write_card,
)

__all__ = ["Config", "Style", "fit", "load"]

_PIXELS = 1 << 18  # that go through the network at once


@final
@dataclass(frozen=True, slots=True, eq=False)
class Learnt:
    """What training leaves.

    Attributes:
        codes: (cases, Z) the style of each training case of the target.
        levels: (cases, 3, C) their native values of normalised 0, of one normalised unit, and of the background.
        net: Draws.
    """

    codes: Float[Tensor, "N Z"]
    levels: Float[Tensor, "N 3 C"]
    net: StyleNet


@final
class Style:
    """A trained network that turns the look of the source into that of the target."""

    kind: str = "style"

    def __init__(self, config: Config, card: TranslatorCard, learnt: Learnt) -> None:
        self._config, self._card, self._learnt = config, card, learnt
        self._device = pick_device("auto")
        self._net = learnt.net.eval().to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def card(self) -> TranslatorCard:
        """What it is and what it has seen."""
        return self._card

    @property
    def sha256(self) -> str:
        """Hash of the configuration and weights."""
        return translator_sha256(self._card)

    def translate(self, case: Case, rng: np.random.Generator) -> Case:
        """The case in the style of one training case of the target, drawn at random and the same for all slices.

        Raises:
            CheckpointError: If the case has another unit than the training cases, or lacks the channels to translate.
        """
        self._require(case)
        chosen = int(rng.integers(len(self._learnt.codes)))
        volume = view(case, self._config.source.channel)
        drawn = self._redraw(volume, case.scale, chosen)
        made = replace(volume, image=drawn, channels=self._channels(volume))
        return replace(case, volume=made, origin=Origin.AUGMENTED, scale=None, site=None)

    def _require(self, case: Case) -> None:
        channel = self._config.source.channel
        if channel is None:
            require_like(case, self._card)
        elif case.volume.unit is not self._card.unit or channel not in case.volume.channels:
            raise CheckpointError(
                f"case holds {', '.join(case.volume.channels)} in {case.volume.unit}",
                where=case.case_id,
                expected=f"{channel} in {self._card.unit}, as in training",
            )

    def _channels(self, volume: Volume) -> tuple[str, ...]:
        target = self._config.target.channel
        return volume.channels if target is None else (target,)

    @property
    def _keeps_units(self) -> bool:
        """Whether source and target share their grey values: another scanner, not another contrast."""
        return (self._config.source.channel, self._config.source.modality) == (
            self._config.target.channel,
            self._config.target.modality,
        )

    def _redraw(self, volume: Volume, known: CaseScale | None, chosen: int) -> Image:
        """The image in the chosen style; outside the body as it was, or the target's background."""
        scale = known or IntensityScheme.for_volume(volume).case_scale(volume)
        body = body_mask(volume)
        drawn = self._draw(bodily(scale.normalise(volume.image), body), self._learnt.codes[chosen])
        if self._keeps_units:
            return np.asarray(np.where(body, scale.restore(drawn), volume.image), np.float32)
        zero, unit, background = self._learnt.levels[chosen].float().numpy()[..., None, None, None]
        return np.asarray(np.where(body, drawn * unit + zero, background), np.float32)

    def _draw(self, image: Image, code: Float[Tensor, " Z"]) -> Image:
        """Slice by slice, normalised units."""
        slices = torch.from_numpy(np.ascontiguousarray(np.moveaxis(image, -1, 0)))
        odd = [n % 2 for n in slices.shape[2:]]
        at_once = max(1, _PIXELS // slices[0, 0].numel())
        drawn = []
        with torch.inference_mode():
            for part in slices.split(at_once):
                even = functional.pad(part, (0, odd[1], 0, odd[0]), mode="replicate").to(self._device)
                told = code.to(self._device).expand(len(part), -1)
                drawn.append(
                    self._net(even.contiguous(memory_format=torch.channels_last), told).float().cpu()
                )
        whole = torch.cat(drawn)[:, :, : image.shape[1], : image.shape[2]]
        return np.ascontiguousarray(np.moveaxis(whole.numpy(), 0, -1))


def fit(config: Config, cases: TrainingCases, run: RunDir, progress: Progress, seed: SeedTree) -> Style:
    """Train on the cases of a fold; leaves ``model.pt`` and ``translator.json`` in the run folder.

    Args:
        config: The whole recipe.
        cases: Of the training patients of one fold.
        run: Open run folder; an interrupted training in it goes on from its last checkpoint.
        progress: Told how many cases each domain has, and the losses.
        seed: Root of all randomness.

    Raises:
        ConfigError: If a domain has no training case, or both are the same.
        DataError: If no slice shows a body.
        DivergedError: If a loss is not finite.
    """
    chosen = members(config, cases.records)
    progress.say(f"learns {len(chosen[0])} cases to look like {len(chosen[1])}, without pairs")
    readings = [
        Reading(domain, cases, part, config.slices)
        for domain, part in zip((config.source, config.target), chosen, strict=True)
    ]
    domains = tuple(gather(r, progress, seed.child(n)) for n, r in enumerate(readings))
    learner = StyleLearner(config, cast("tuple[Slices, Slices]", domains), seed)
    fit_loop(learner, steps=config.steps, run=run, progress=progress, label="style")
    weights: State = {name: tensor.cpu() for name, tensor in learner.averaged.state_dict().items()}
    weights["codes"] = learner.codes(1, seed.child("codes"))
    weights["levels"] = torch.from_numpy(domains[1].levels)
    save_checkpoint(run.path / WEIGHTS, {"net": weights})
    write_card(run, config, cases, config.steps, state_sha256(weights))
    return load(run.path)


def load(run_path: Path) -> Style:
    """The translator of a finished ``medaug fit`` run folder.

    Raises:
        CheckpointError: If it is missing, damaged, or does not fit its own card.
    """
    card = read_card(run_path)
    config = cast(Config, read_config(card))
    weights = load_checkpoint(run_path / WEIGHTS).get("net")
    if not isinstance(weights, dict) or not {"codes", "levels"} <= weights.keys():
        raise CheckpointError(f"{WEIGHTS} holds no style", hint=HINT)
    if state_sha256(weights) != card.weights_sha256:
        raise CheckpointError(f"{WEIGHTS} is not the one that {CARD} names", hint=HINT)
    codes, levels = cast(Tensor, weights.pop("codes")), cast(Tensor, weights.pop("levels"))
    net = StyleNet(levels.shape[2], config.base, config.blocks, config.code_size)
    try:
        net.load_state_dict(weights)
    except (RuntimeError, KeyError) as error:
        message = f"{WEIGHTS} belongs to other channels or another size than {CARD}"
        raise CheckpointError(message, hint=HINT) from error
    return Style(config, card, Learnt(codes, levels, net))
