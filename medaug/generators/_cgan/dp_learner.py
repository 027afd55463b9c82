"""One step of the conditional GAN with differential privacy, and all that changes from step to step.

The discriminator alone sees real lesions, by gradients clipped by patient, with noise; see :mod:`medaug.engine.dp`. A
patient's gradient is that of its own lesions and of made ones in the same outlines, so that the discriminator learns
what lesions look like and not which outlines there are. The generator learns from the discriminator, in outlines that
are nobody's; that, the averaged weights, and Adam follow from the noisy gradients and spend nothing.
"""

from __future__ import annotations

import copy
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from medaug.core.budget import PrivacyBudget
from medaug.core.seeding import SeedTree
from medaug.engine.checkpoint import State
from medaug.engine.dp import PrivacyPlan, PrivateGradients
from medaug.engine.launch import pick_device
from medaug.generators._cgan import losses
from medaug.generators._cgan.build import Net, build_net
from medaug.generators._cgan.dp_critic import PrivateCritic, around, inside
from medaug.generators._cgan.settings import Config
from medaug.generators._patches.average import follow
from medaug.generators._patches.coarse import smooth
from medaug.generators._patches.layers import Conditions, initialise, normal
from medaug.generators._patches.records import Draw, Patches, Records, public_distances

_BETAS = (0.5, 0.99)
_OUTLINES = 128  # that are nobody's
_DIFFERENCE = 0.1  # normalised units by which two z shall differ


@final
class PrivateCganLearner:
    """Generator, private discriminator, their optimisers, and the averaged generator that is kept.

    Args:
        config: With ``dp``.
        records: The patches by patient.
        plan: What the patients are promised.
        seed: Root of all randomness that hides nobody.
        relative: Whether lesions are seen less the tissue around them.
    """

    def __init__(
        self, config: Config, records: Records, plan: PrivacyPlan, seed: SeedTree, *, relative: bool
    ) -> None:
        self._config, self._records, self._seed, self._relative = config, records, seed, relative
        self._each, self._device = plan.request.patches, pick_device(config.device)
        spec = config.net_spec(records.patches.image.shape[1], records.classes)
        self._net: Net = build_net(config, spec.channels, spec.classes)
        self._critic = PrivateCritic(spec)
        initialise(self._net, torch.Generator().manual_seed(seed.child("generator").seed))
        initialise(self._critic, torch.Generator().manual_seed(seed.child("critic").seed))
        self._net.to(self._device)
        self._critic.to(self._device)
        self.averaged = copy.deepcopy(self._net).requires_grad_(requires_grad=False)
        self._adam = torch.optim.Adam(self._net.parameters(), config.learning_rate, _BETAS)
        self._critic_adam = torch.optim.Adam(self._critic.parameters(), config.critic_learning_rate, _BETAS)
        self._private = PrivateGradients(self._critic, plan, seed)
        self._outlines = public_distances(config.size, _OUTLINES, seed.child("outlines").rng())
        self._told = float(config.conditional)

    @property
    def budget(self) -> PrivacyBudget | None:
        """What the steps taken so far have spent."""
        return self._private.budget

    @property
    def shown(self) -> tuple[float, float]:
        """Normalised values to show black and white."""
        return self._records.shown

    def train_step(self, step: int) -> dict[str, float]:
        """One private step of the discriminator, one of the generator; the figures are of made lesions alone."""
        seed = self._seed.child("step", step)
        patients = self._private.draw()
        if len(patients):
            drawn = self._records.draw(patients, self._each, seed.child("patients"))
            self._private.fill(*self._critic_losses(drawn))
        else:
            self._private.fill(None, None)
        self._critic_adam.step()
        with self._private.judging():
            terms = self._terms(seed)
            weights = self._config.weights
            loss = terms["adversarial"] + weights.diversity * terms["diversity"]
            self._adam.zero_grad(set_to_none=True)
            loss.backward()
        self._adam.step()
        follow(self.averaged, self._net, self._config.ema, step)
        return {name: float(term.detach()) for name, term in terms.items()}

    def _critic_losses(self, drawn: Draw) -> tuple[Tensor, Tensor]:
        """Of the patients' lesions and of made ones in the same outlines, and whose each is."""
        real = drawn.patches.to(self._device)
        told = Conditions(real.class_index, self._told, real.distance)
        with torch.no_grad():
            z = drawn.normal(self._config.z_size).to(self._device)
            made = self._drawn(self._net, told, z)
        seen = inside(real.image, real.filled, real.distance, relative=self._relative)
        both = Conditions(
            real.class_index.repeat(2), self._told, real.distance.repeat(2, *(1,) * (made.ndim - 1))
        )
        scores = self._critic(torch.cat([seen, made]), both)
        real_scores, made_scores = scores.chunk(2)
        if self._config.objective == "hinge":
            parts = functional.relu(1 - real_scores), functional.relu(1 + made_scores)
        else:
            parts = functional.softplus(-real_scores), functional.softplus(made_scores)
        return torch.cat(parts) / self._each, drawn.owners.repeat(2)

    def _terms(self, seed: SeedTree) -> dict[str, Tensor]:
        """What the generator minimises, in outlines that are nobody's."""
        rng, count = seed.child("made").rng(), self._config.batch_size
        distance = self._outlines[torch.as_tensor(rng.integers(len(self._outlines), size=count))]
        distance = distance.flip([axis for axis in range(2, distance.ndim) if rng.random() < 0.5])
        number = torch.as_tensor(rng.integers(self._records.classes, size=count))
        told = Conditions(number.to(self._device), self._told, distance.to(self._device))
        first, second = (normal((count, self._config.z_size), rng).to(self._device) for _ in range(2))
        made, other = (self._drawn(self._net, told, z) for z in (first, second))
        scores = self._critic(made, told)
        mask = (told.distance > 0).to(made.dtype)
        wanted = torch.full(made.shape[:2], _DIFFERENCE, device=made.device)
        return {
            "adversarial": losses.generator_loss(self._config.objective, scores),
            "diversity": losses.lack_of_diversity(made, other, mask, wanted),
        }

    def _drawn(self, net: Net, told: Conditions, z: Tensor) -> Float[Tensor, "B C *S"]:
        return draw_inside(net, told, z)

    def samples(self, seed: SeedTree, rows_per_class: int = 2) -> list[Float[Tensor, "N C *S"]]:
        """Rows of patches to look at: real, three made of the class in its place, and one made of every class."""
        rows = []
        for number in range(self._records.classes):
            rng = seed.child(number).rng()
            picked = self._records.pick(number, rows_per_class, rng).to(self._device)
            for n in range(rows_per_class):
                drawn_as = [number] * 3 + list(range(self._records.classes))
                place = picked.at(torch.full((len(drawn_as),), n))
                told = Conditions(torch.as_tensor(drawn_as, device=self._device), self._told, place.distance)
                z = normal((len(drawn_as), self._config.z_size), rng).to(self._device)
                with torch.no_grad():
                    made = composed(place, self._drawn(self.averaged, told, z), relative=self._relative)
                rows.append(torch.cat([place.image[:1], made]).float().cpu())
        return rows

    def state(self) -> State:
        """Weights, averages, optimisers, and what was spent."""
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

    def _parts(self) -> dict[str, Net | PrivateCritic | torch.optim.Adam]:
        return {
            "net": self._net,
            "critic": self._critic,
            "averaged": self.averaged,
            "adam": self._adam,
            "critic_adam": self._critic_adam,
        }


def draw_inside(net: Net, told: Conditions, z: Tensor) -> Float[Tensor, "B C *S"]:
    """Lesions of a generator that does not look at hosts, 0 outside their outlines."""
    mask = (told.distance > 0).to(z.dtype)
    nothing = torch.zeros(len(z), net.spec.channels, *net.spec.size, device=z.device)
    drawn: Tensor = mask * net(nothing, told, z, ())
    return drawn


def composed(place: Patches, lesion: Tensor, *, relative: bool) -> Float[Tensor, "B C *S"]:
    """Made lesions in their hosts: whole inside, and one voxel beyond as far as a point spread mixes the two.

    Around them the host is the tissue that fills the zone, so that no rim of a lesion that is replaced stays; it is the
    host's own again from three voxels on.
    """
    mask = (place.distance > 0).to(lesion.dtype)
    level = around(place.filled, place.distance) if relative else 0.0
    share = torch.maximum(mask, smooth(mask))
    spread = smooth(mask * (lesion + level)) / (smooth(mask) + 1e-6)
    drawn = torch.where(mask > 0, lesion + level, spread)
    host = torch.lerp(place.image, place.filled, ((place.distance + 3) / 2).clamp(0, 1))
    return host + share * (drawn - host)
