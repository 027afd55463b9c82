"""One optimiser step of the label-map-conditioned GAN, and all that changes from step to step."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from medaug.core.seeding import SeedTree
from medaug.engine.checkpoint import Parts, State, restore_states, states_of
from medaug.engine.launch import memory_format, mixed_precision, pick_device
from medaug.translators._whole_image.frames import Shown, fine_part, one_hot
from medaug.translators._whole_image.networks import Chance, ImageNet, PatchCritic, draw_fields, initialise
from medaug.translators._whole_image.settings import Config

_BETAS = (0.0, 0.99)
_LESION_SHARE = 0.7  # of a batch: pairs drawn so that every class comes as often
_BLUR = 4
_NEAR_LESION = 6.0  # how much more a judged place counts where it sees a lesion
_SHIFT = 8  # voxels, of what the discriminator sees


@final
@dataclass(frozen=True, slots=True)
class Batch:
    """Real pairs, on the device.

    Attributes:
        maps: (B, P, *S) one-hot layouts.
        image: (B, C, *S) normalised.
        chance: What the made images are drawn from; the strength of grain is the real image's.
    """

    maps: Tensor
    image: Tensor
    chance: Chance


@final
class WholeImageLearner:
    """Generator, discriminator, their optimisers, and the averaged generator that is kept.

    Args:
        config: Widths, weights and rates.
        shown: What is learnt from; its grain standardised.
        planes: Labels of the maps, and how many of the last ones are lesion classes.
        levels: (planes, C) mean of each label.
        seed: Root of all randomness; a step's depends on its number alone.
    """

    def __init__(
        self, config: Config, shown: Shown, planes: tuple[int, int], levels: Tensor, seed: SeedTree
    ) -> None:
        self._config, self._shown, self._seed = config, shown, seed
        self._planes, self._lesion_planes = planes
        self._device, self._layout = pick_device(config.device), memory_format(config.dims)
        spec = config.net_spec(shown.images.shape[1], self._planes)
        self._net, self._critic = ImageNet(spec, levels), PatchCritic(spec)
        initialise(self._net, torch.Generator().manual_seed(seed.child("generator").seed))
        initialise(self._critic, torch.Generator().manual_seed(seed.child("critic").seed))
        self._net.to(device=self._device, memory_format=self._layout)  # type: ignore[call-overload]
        self._critic.to(device=self._device, memory_format=self._layout)  # type: ignore[call-overload]
        self.averaged = copy.deepcopy(self._net).requires_grad_(requires_grad=False)
        self._adam = torch.optim.Adam(self._net.parameters(), config.learning_rate, _BETAS)
        self._critic_adam = torch.optim.Adam(self._critic.parameters(), config.critic_learning_rate, _BETAS)
        self._groups = _groups(shown)

    def train_step(self, step: int) -> dict[str, float]:
        """One step of the discriminator, one of the generator."""
        rng = self._seed.child("step", step).rng()
        batch = self.draw(rng)
        shift = tuple(int(n) for n in rng.integers(-_SHIFT, _SHIFT + 1, size=2))
        with mixed_precision(self._device):
            made = self._net(batch.maps, batch.chance)
            critic, real_features = self._critic_step(batch, made.detach(), shift)
            terms = self._terms(batch, made, shift, real_features)
        weights = self._config.weights.model_dump()
        loss = sum((weights.get(name, 1.0) * term for name, term in terms.items()), torch.zeros(()))
        self._adam.zero_grad(set_to_none=True)
        loss.backward()
        self._adam.step()
        self._average(step)
        return {"critic": critic, **{name: float(term.detach()) for name, term in terms.items()}}

    def draw(self, rng: np.random.Generator, count: int | None = None) -> Batch:
        """A random batch, balanced by class and case, mirrored where that is allowed."""
        count = count or self._config.batch_size
        picked = [self._pick(rng) for _ in range(count)]
        layouts, image = self._shown.layouts[picked], self._shown.images[picked]
        if self._config.layout.flip and rng.random() < 0.5:
            layouts, image = layouts.flip(1), image.flip(2)
        z = torch.from_numpy(rng.standard_normal((count, self._config.z_size), dtype=np.float32))
        chance = Chance(z, self._shown.grain[picked], draw_fields(self._net.spec, count, 0.0, rng))
        maps = one_hot(layouts, self._planes).to(device=self._device, memory_format=self._layout)
        return Batch(
            maps,
            image.to(device=self._device, memory_format=self._layout),
            chance.to(self._device),
        )

    def _pick(self, rng: np.random.Generator) -> int:
        groups = (
            self._groups[1:] if len(self._groups) > 1 and rng.random() < _LESION_SHARE else self._groups[:1]
        )
        cases = groups[int(rng.integers(len(groups)))]
        rows = cases[int(rng.integers(len(cases)))]
        return int(rows[int(rng.integers(len(rows)))])

    def state(self) -> State:
        """Weights, averages and optimisers."""
        return states_of(self._parts())

    def restore(self, state: State) -> None:
        """Go on from a state of the same configuration."""
        restore_states(self._parts(), state)

    def _parts(self) -> Parts:
        return {
            "net": self._net,
            "critic": self._critic,
            "averaged": self.averaged,
            "adam": self._adam,
            "critic_adam": self._critic_adam,
        }

    def samples(self, seed: SeedTree, count: int) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Layouts, real images and two made ones of each; always of the same pairs."""
        rng = seed.rng()
        batch = self.draw(rng, count)
        rows = []
        with torch.inference_mode():
            for _ in range(2):
                z = torch.from_numpy(rng.standard_normal((count, self._config.z_size), dtype=np.float32))
                chance = Chance(z, batch.chance.grain.cpu(), draw_fields(self._net.spec, count, 0.0, rng)).to(
                    self._device
                )
                rows.append(self.averaged(batch.maps, chance).float().cpu())
        return batch.maps.argmax(dim=1).cpu(), batch.image.float().cpu(), rows

    def _critic_step(self, batch: Batch, made: Tensor, shift: tuple[int, ...]) -> tuple[float, list[Tensor]]:
        """Returns the hinge loss and the features of the real images."""
        maps = _shifted(batch.maps, shift)
        both = torch.cat([_shifted(batch.image, shift), _shifted(made, shift)])
        scores, features = self._critic(both, torch.cat([maps, maps]))
        real, fake = scores.float().chunk(2)
        near = self._near_lesions(maps, real)
        hinge = _mean(functional.relu(1 - real), near) + _mean(functional.relu(1 + fake), near)
        self._critic_adam.zero_grad(set_to_none=True)
        hinge.backward()
        self._critic_adam.step()
        return float(hinge.detach()), [level.chunk(2)[0].detach() for level in features]

    def _terms(
        self, batch: Batch, made: Tensor, shift: tuple[int, ...], real_features: list[Tensor]
    ) -> dict[str, Tensor]:
        maps = _shifted(batch.maps, shift)
        self._critic.requires_grad_(requires_grad=False)  # judged only: its own gradients are not needed
        scores, features = self._critic(_shifted(made, shift), maps)
        self._critic.requires_grad_(requires_grad=True)
        pairs = zip(features, real_features, strict=True)
        lesions = batch.maps[:, self._planes - self._lesion_planes :]
        return {
            "adversarial": -_mean(scores.float(), self._near_lesions(maps, scores)),
            "features": sum(((a - b).abs().mean() for a, b in pairs), torch.zeros((), device=made.device))
            / len(features),
            "blurred_l1": (_blurred(made) - _blurred(batch.image)).abs().mean(),
            "lesion": _lesion_gap(made, batch.image, lesions),
            "grain": _grain_gap(made, batch.image, batch.maps),
        }

    def _near_lesions(self, maps: Tensor, scores: Tensor) -> Tensor:
        """(B, 1, *T) how much each judged place counts."""
        lesions = maps[:, self._planes - self._lesion_planes :].sum(dim=1, keepdim=True)
        pool = functional.adaptive_max_pool2d if maps.ndim == 4 else functional.adaptive_max_pool3d
        return 1 + _NEAR_LESION * pool(lesions, scores.shape[2:])

    def _average(self, step: int) -> None:
        """Exponential moving average of the generator's weights; short at first."""
        decay = min(self._config.ema, (step + 1) / (step + 10))
        with torch.no_grad():
            for kept, now in zip(self.averaged.parameters(), self._net.parameters(), strict=True):
                kept.lerp_(now, 1 - decay)


def _groups(shown: Shown) -> list[list[np.ndarray]]:
    """Rows of all pairs, then of each lesion class that is there, by case."""
    masks = [np.ones(len(shown.case_index), dtype=bool)]
    masks += [shown.class_index == n for n in np.unique(shown.class_index) if n >= 0]
    return [
        [np.flatnonzero(mask & (shown.case_index == case)) for case in np.unique(shown.case_index[mask])]
        for mask in masks
    ]


def _shifted(x: Tensor, shift: tuple[int, ...]) -> Tensor:
    return torch.roll(x, shift, dims=(2, 3))


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum() / weight.sum()


def _blurred(x: Tensor) -> Tensor:
    if x.ndim == 4:
        return functional.avg_pool2d(x, _BLUR)
    return functional.avg_pool3d(x, (_BLUR, _BLUR, 1))


def _lesion_gap(
    made: Float[Tensor, "B C *S"], real: Float[Tensor, "B C *S"], lesions: Float[Tensor, "B L *S"]
) -> Tensor:
    """L1 between mean and deviation inside the lesions of each image and class; 0 where there is none."""
    size = lesions.flatten(2).sum(dim=2)  # (B, L)
    there = (size > 0).float()
    gaps = torch.zeros((), device=made.device)
    for moments in zip(_moments(made, lesions, size), _moments(real, lesions, size), strict=True):
        gaps = gaps + ((moments[0] - moments[1]).abs().mean(dim=1) * there).sum()
    return gaps / there.sum().clamp(min=1)


def _moments(image: Tensor, lesions: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """(B, C, L) mean and deviation."""
    weight = size.clamp(min=1)[:, None]
    mean = torch.einsum("bcn,bln->bcl", image.flatten(2), lesions.flatten(2)) / weight
    square = torch.einsum("bcn,bln->bcl", image.flatten(2) ** 2, lesions.flatten(2)) / weight
    return mean, (square - mean**2).clamp(min=1e-6).sqrt()


def _grain_gap(made: Tensor, real: Tensor, maps: Tensor) -> Tensor:
    """How much the strength of fine texture in each label differs, as a logarithm."""
    size = maps.flatten(2).sum(dim=2)
    there = (size > 30).float()
    logs = []
    for image in (made, real):
        energy = torch.einsum("bcn,bpn->bcp", fine_part(image).flatten(2) ** 2, maps.flatten(2))
        logs.append(torch.log(energy / size.clamp(min=1)[:, None] + 1e-5))
    return ((logs[0] - logs[1]).abs().mean(dim=1) * there).sum() / there.sum().clamp(min=1)
