"""Training of the variational autoencoder with differential privacy.

Every weight sees real lesions and their hosts, so every weight learns by gradients clipped by patient, with noise; see
:mod:`medaug.engine.dp`. What is fitted to the codes of real lesions elsewhere (the spread of a class, the named
directions, the grain) is not fitted: codes come from the standard normal, directions lead nowhere, and the grain of a
lesion is the noise of its host.
"""

from __future__ import annotations

import copy
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from medaug.core.budget import PrivacyBudget, PrivacyRequest
from medaug.core.runs import Progress, RunDir
from medaug.core.seeding import SeedTree
from medaug.engine.checkpoint import State, save_checkpoint
from medaug.engine.dp import PrivacyPlan, PrivateGradients, plan_privacy
from medaug.engine.launch import pick_device
from medaug.engine.loop import fit_loop
from medaug.generators._patches.average import follow
from medaug.generators._patches.coarse import feather, zone_of
from medaug.generators._patches.layers import initialise, normal, spread
from medaug.generators._patches.pictures import Watched
from medaug.generators._patches.records import Draw, Patches, Records, gather_records
from medaug.generators._patches.serving import card_of
from medaug.generators._vae import losses
from medaug.generators._vae.directions import ATTRIBUTES, Directions
from medaug.generators._vae.networks import LesionVae, Place
from medaug.generators._vae.prior import Prior
from medaug.generators._vae.scenes import Taught
from medaug.generators._vae.settings import Config
from medaug.generators.base import CARD, WEIGHTS, LesionLibrary

_FROM_PRIOR = 3


@final
class PrivateVaeLearner:
    """The network, its optimiser, and the averaged network that is kept.

    Args:
        config: With ``dp``.
        records: The patches by patient.
        plan: What the patients are promised.
        seed: Root of all randomness that hides nobody.
    """

    def __init__(self, config: Config, records: Records, plan: PrivacyPlan, seed: SeedTree) -> None:
        self._config, self._records, self._seed = config, records, seed
        self._each, self._device = plan.request.patches, pick_device(config.device)
        self._net = LesionVae(config.net_spec(records.patches.image.shape[1], records.classes))
        initialise(self._net, torch.Generator().manual_seed(seed.child("network").seed))
        self._net.to(self._device)
        self.averaged = copy.deepcopy(self._net).requires_grad_(requires_grad=False)
        self._adam = torch.optim.Adam(self._net.parameters(), config.learning_rate)
        self._private = PrivateGradients(self._net, plan, seed)

    @property
    def budget(self) -> PrivacyBudget | None:
        """What the steps taken so far have spent."""
        return self._private.budget

    @property
    def shown(self) -> tuple[float, float]:
        """Normalised values to show black and white."""
        return self._records.shown

    def train_step(self, step: int) -> dict[str, float]:
        """One private step; tells the size of the noisy gradient, since the losses are the patients' own."""
        patients = self._private.draw()
        if len(patients):
            seed = self._seed.child("step", step, "patients")
            drawn = self._records.draw(patients, self._each, seed)
            self._private.fill(self._losses(drawn, step), drawn.owners)
        else:
            self._private.fill(None, None)
        self._adam.step()
        follow(self.averaged, self._net, self._config.ema, step)
        squares = [p.grad.square().sum() for p in self._net.parameters() if p.grad is not None]
        return {"noisy_gradient": float(torch.stack(squares).sum().sqrt())}

    def _losses(self, drawn: Draw, step: int) -> Float[Tensor, " B"]:
        """Of each patch alone: its share of its patient's mean."""
        real = drawn.patches.to(self._device)
        seen = _noisy(drawn, self._config).to(self._device)
        place = _place(seen, self._net)
        mean, log_variance = self._net.encode(seen.image, place)
        z = mean + (0.5 * log_variance).exp() * drawn.normal(self._config.z_size).to(self._device)
        lesion, zone = self._net.decode(place, z), zone_of(real.distance)
        error = losses.absolute_error(lesion, real.image, zone)
        edges = losses.gradient_error(lesion, real.image, zone)
        nats = losses.divergence(mean, log_variance).sum(dim=1)
        total = error + self._config.gradient * edges + self._config.beta_at(step) * nats
        return total / self._each

    def samples(self, seed: SeedTree, rows_per_class: int = 2) -> list[Float[Tensor, "N C *S"]]:
        """Rows of patches to look at: real, three of the class in its place, and one of every class."""
        rows, classes = [], self._records.classes
        for number in range(classes):
            rng = seed.child(number).rng()
            picked = self._records.pick(number, rows_per_class, rng).to(self._device)
            for n in range(rows_per_class):
                drawn_as = torch.as_tensor([number] * _FROM_PRIOR + list(range(classes)), device=self._device)
                there = picked.at(torch.full((len(drawn_as),), n))
                z = normal((len(drawn_as), self._config.z_size), rng).to(self._device)
                with torch.no_grad():
                    place = Place(there.filled, there.distance, self.averaged.embed(drawn_as))
                    lesion = self.averaged.decode(place, z)
                made = there.image + feather(there.distance) * (lesion - there.image)
                rows.append(torch.cat([there.image[:1], made]).float().cpu())
        return rows

    def taught(self) -> Taught:
        """Beside the weights nothing was learnt."""
        return public_taught(self._records.classes, self._config.z_size, self._records.patches.image.shape[1])

    def state(self) -> State:
        """Weights, averages, optimiser, and what was spent."""
        return {
            **{name: part.state_dict() for name, part in self._parts().items()},
            "private": self._private.state(),
        }

    def restore(self, state: State) -> None:
        """Go on from a state of the same configuration and promise."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])  # type: ignore[arg-type]
        private = state["private"]
        if not isinstance(private, dict):
            raise ValueError("nothing is told of what was spent")  # noqa: TRY004 (told by the loop)
        self._private.restore(private)

    def _parts(self) -> dict[str, LesionVae | torch.optim.Adam]:
        return {"net": self._net, "averaged": self.averaged, "adam": self._adam}


def public_taught(classes: int, z_size: int, channels: int) -> Taught:
    """Codes from the standard normal for every class, directions that change nothing, and the grain of the host."""
    prior = Prior(
        torch.zeros(classes, z_size),
        torch.eye(z_size).repeat(classes, 1, 1),
        torch.zeros(z_size),
        torch.tensor([[0.0, 1.0]]).repeat(classes, 1),
    )
    count = len(ATTRIBUTES)
    directions = Directions(torch.zeros(count, z_size), torch.zeros(count), torch.ones(count))
    return Taught(prior, directions, torch.ones(classes, channels))


def fit_private(
    config: Config,
    request: PrivacyRequest,
    bank: LesionLibrary,
    run: RunDir,
    progress: Progress,
    seed: SeedTree,
) -> None:
    """Train with differential privacy; leaves ``model.pt``, ``generator.json`` and ``samples.png`` in the run folder.

    Raises:
        ConfigError: If the promise cannot be kept; see :func:`medaug.engine.dp.plan_privacy`.
        DataError: If no lesion is large enough.
        DependencyError: If Opacus or dp-accounting is not installed.
        DivergedError: If the gradient is not finite.
    """
    records = gather_records(bank, config, progress)
    plan = plan_privacy(
        request, patients=len(records.owned), batch_size=config.batch_size, steps=config.steps
    )
    progress.say(plan.statement)
    learner = PrivateVaeLearner(config, records, plan, seed)
    watched = Watched(learner, run, seed, config.samples_every)
    fit_loop(watched, steps=config.steps, run=run, progress=progress, label="vae with privacy")
    watched.picture()
    weights: State = {name: tensor.cpu() for name, tensor in learner.averaged.state_dict().items()}
    budget = learner.budget
    spent = None if budget is None else budget.model_dump()
    save_checkpoint(run.path / WEIGHTS, {"net": weights, "privacy": spent, **learner.taught().state})
    card_of(config, bank, weights).model_copy(update={"privacy": budget}).write(run.path / CARD)


def _place(patches: Patches, net: LesionVae) -> Place:
    return Place(patches.filled, patches.distance, net.embed(patches.class_index))


def _noisy(drawn: Draw, config: Config) -> Patches:
    """Noise of random strength added to some patches, inside the lesion and around it; see the learner without privacy."""
    real, each = drawn.patches, len(drawn.owners) // len(drawn.rngs)
    levels = [
        rng.uniform(0, config.most_noise, each) * (rng.random(each) < config.noisy) for rng in drawn.rngs
    ]
    level = torch.from_numpy(np.concatenate(levels)).float()
    added = drawn.normal(*real.image.shape[1:]) * spread(level[:, None], real.image.ndim)
    filled = real.filled + (1 - zone_of(real.distance)) * added
    return Patches(real.image + added, filled, real.distance, real.class_index)
