"""The training of super resolution: the detail that thick slices lost, by mean absolute error."""

from __future__ import annotations

import math
from typing import cast, final

import torch
from torch.nn import functional

from medaug.core.seeding import SeedTree
from medaug.engine.checkpoint import State
from medaug.engine.launch import mixed_precision, pick_device
from medaug.translators._super_resolution.networks import ThinNet
from medaug.translators._super_resolution.patches import Patches
from medaug.translators._super_resolution.settings import Config


@final
class ThinLearner:
    """Adam on the mean absolute error, the learning rate falling along half a cosine."""

    def __init__(self, config: Config, patches: Patches, net: ThinNet, seed: SeedTree) -> None:
        self._config, self._patches, self._seed = config, patches, seed.child("steps")
        self._device = pick_device(config.device)
        self.net = net.to(self._device)
        self._adam = torch.optim.Adam(self.net.parameters(), lr=config.learning_rate)

    def train_step(self, step: int) -> dict[str, float]:
        """One batch, drawn for the step."""
        rng = self._seed.child(step).rng()
        picked = torch.from_numpy(rng.integers(len(self._patches.thick), size=self._config.batch_size))
        thick, lost = (part[picked].to(self._device) for part in (self._patches.thick, self._patches.lost))
        for group in self._adam.param_groups:
            fall = 0.5 * (1 + math.cos(math.pi * step / self._config.steps))
            group["lr"] = self._config.learning_rate * max(fall, 0.01)
        with mixed_precision(self._device):
            loss = functional.l1_loss(self.net(thick).float(), lost)
        self._adam.zero_grad()
        loss.backward()
        self._adam.step()
        return {"l1": float(loss.detach()), "cubic": float(lost.abs().mean())}

    def state(self) -> State:
        """Weights and optimiser."""
        return {"net": self.net.state_dict(), "adam": self._adam.state_dict()}

    def restore(self, state: State) -> None:
        """Go on from a state of the same configuration."""
        self.net.load_state_dict(cast("dict[str, torch.Tensor]", state["net"]))
        self._adam.load_state_dict(cast("dict[str, object]", state["adam"]))
