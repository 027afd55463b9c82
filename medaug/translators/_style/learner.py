"""The training of style transfer, both ways at once."""

from __future__ import annotations

import copy
from typing import final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from medaug.core.seeding import SeedTree
from medaug.engine.checkpoint import Parts, State, restore_states, states_of
from medaug.engine.launch import pick_device
from medaug.translators._style.networks import Critic, StyleNet, initialise
from medaug.translators._style.settings import Config
from medaug.translators._style.slices import Slices

_EMA = 0.99
_FALL = 0.5  # of the steps with a full learning rate; it falls to nothing over the rest


@final
class StyleLearner:
    """Cycle-consistent adversarial training (Zhu et al., ICCV 2017) of one network that is told a style.

    Styles are read from another slice of the same volume, so that a code says what a volume's slices share. Critics
    learn by least squares (Mao et al., ICCV 2017).
    """

    def __init__(self, config: Config, domains: tuple[Slices, Slices], seed: SeedTree) -> None:
        self._config, self._domains, self._seed = config, domains, seed.child("steps")
        self._device = pick_device(config.device)
        channels = domains[0].by_case[0].shape[1]
        net = StyleNet(channels, config.base, config.blocks, config.code_size)
        initialise(net, seed.child("weights"))
        self._net = net.to(self._device)
        self.averaged = copy.deepcopy(self._net).requires_grad_(False)
        self._critics = torch.nn.ModuleList()
        for n in range(2):
            critic = Critic(channels, config.base)
            initialise(critic, seed.child("critic", n))
            self._critics.append(critic.to(self._device))
        rate = config.learning_rate
        self._adam = torch.optim.Adam(self._net.parameters(), lr=rate, betas=(0.5, 0.99))
        self._critic_adam = torch.optim.Adam(self._critics.parameters(), lr=rate, betas=(0.5, 0.99))

    def train_step(self, step: int) -> dict[str, float]:
        """One step of the network and one of both critics, on patches drawn for the step."""
        rng = self._seed.child(step).rng()
        self._slow_down(step)
        images, styles = zip(*(self._draw(domain, rng) for domain in self._domains), strict=True)
        codes = [self._net.code(style) for style in styles]
        drawn = [self._net(images[1 - n], codes[n]) for n in range(2)]
        back = [self._net(drawn[1 - n], codes[n]) for n in range(2)]
        same = [self._net(images[n], codes[n]) for n in range(2)]
        self._critics.requires_grad_(False)
        fooled = torch.stack([((self._critics[n](drawn[n]) - 1) ** 2).mean() for n in range(2)]).sum()
        cycle = torch.stack([functional.smooth_l1_loss(back[n], images[n]) for n in range(2)]).sum()
        identity = torch.stack([functional.smooth_l1_loss(same[n], images[n]) for n in range(2)]).sum()
        weights = self._config.weights
        self._adam.zero_grad()
        (fooled + weights.cycle * cycle + weights.identity * identity).backward()
        self._adam.step()
        self._critics.requires_grad_(True)
        judged = self._judge([d.detach() for d in drawn], list(images))
        self._average(step)
        parts = {"fooled": fooled, "cycle": cycle, "identity": identity, "critic": judged}
        return {name: float(part.detach()) for name, part in parts.items()}

    def codes(self, n: int, seed: SeedTree, per_case: int = 16) -> Tensor:
        """The mean style of each training case of a domain, by the kept weights."""
        found = []
        with torch.inference_mode():
            for owner in range(len(self._domains[n].by_case)):
                rng = seed.child(n, owner).rng()
                patches = self._domains[n].patches([owner] * per_case, self._config.patch, rng)
                found.append(self.averaged.code(patches.to(self._device)).mean(dim=0).cpu())
        return torch.stack(found).clone()

    def state(self) -> State:
        """Weights, averages and optimisers."""
        return states_of(self._parts())

    def restore(self, state: State) -> None:
        """Go on from a state of the same configuration."""
        restore_states(self._parts(), state)

    def _parts(self) -> Parts:
        return {
            "net": self._net,
            "averaged": self.averaged,
            "critics": self._critics,
            "adam": self._adam,
            "critic_adam": self._critic_adam,
        }

    def _draw(self, domain: Slices, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Patches of a domain, and others of the same volumes to read the styles from."""
        owners = [int(n) for n in rng.integers(len(domain.by_case), size=self._config.batch_size)]
        first, second = (domain.patches(owners, self._config.patch, rng).to(self._device) for _ in range(2))
        return first, second

    def _judge(self, drawn: list[Tensor], images: list[Tensor]) -> Tensor:
        """Teach both critics."""
        marks = [
            ((self._critics[n](images[n]) - 1) ** 2).mean() + (self._critics[n](drawn[n]) ** 2).mean()
            for n in range(2)
        ]
        loss = torch.stack(marks).sum()
        self._critic_adam.zero_grad()
        loss.backward()
        self._critic_adam.step()
        return loss

    def _slow_down(self, step: int) -> None:
        """The learning rate falls to nothing over the last part."""
        left = 1 - step / self._config.steps
        share = min(1.0, left / (1 - _FALL))
        for group in (*self._adam.param_groups, *self._critic_adam.param_groups):
            group["lr"] = self._config.learning_rate * share

    def _average(self, step: int) -> None:
        """Exponential moving average of the weights; short at first."""
        decay = min(_EMA, (step + 1) / (step + 10))
        with torch.no_grad():
            for kept, now in zip(self.averaged.parameters(), self._net.parameters(), strict=True):
                kept.lerp_(now, 1 - decay)
