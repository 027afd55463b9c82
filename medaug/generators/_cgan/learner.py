"""One optimiser step of the GAN, and all that changes from step to step."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from medaug.core.seeding import SeedTree
from medaug.engine.checkpoint import Parts, State, restore_states, states_of
from medaug.engine.launch import (
    average_gradients,
    averaged,
    memory_format,
    mixed_precision,
    pick_device,
    team,
)
from medaug.engine.watch import Scores, VitalSigns
from medaug.generators._cgan import losses
from medaug.generators._cgan.augment import Distortion
from medaug.generators._cgan.build import Net, build_net
from medaug.generators._cgan.networks import Critic
from medaug.generators._cgan.noise import Noise
from medaug.generators._cgan.scene import Scene, coarse_of, donors, own, partners
from medaug.generators._cgan.settings import Config
from medaug.generators._cgan.table import FigureTable
from medaug.generators._cgan.teacher import Teacher
from medaug.generators._patches.average import follow
from medaug.generators._patches.batches import Batch, TrainingSet
from medaug.generators._patches.coarse import (
    NOISE,
    SPREAD,
    Anchor,
    at_noise,
    energies,
    feather,
    soft_cumulative,
)
from medaug.generators._patches.layers import Conditions, initialise, normal
from medaug.generators._patches.pictures import shown_range
from medaug.generators._patches.variety import mean_of_known, relative_variety

_BETAS = (0.5, 0.99)
_SCORE_DECAY = 0.99
_COMPARED, _JUDGED = 4, 24  # lesions of a class whose variety is measured, lesions whose scores are
_DIVERSITY = 0.4  # two z shall differ by so much of the lesion's own spread and grain, on average


@final
class CganLearner:
    """Generator, discriminator, their optimisers, and the averaged generator that is kept.

    Args:
        config: Widths, weights and rates.
        training: What is learnt from.
        anchor: Whether the level or the contrast of a lesion is carried from its donor.
        seed: Root of all randomness; a step's depends on its number alone.
        teacher: Judges made lesions, if there is one.
    """

    def __init__(
        self,
        config: Config,
        training: TrainingSet,
        anchor: Anchor,
        seed: SeedTree,
        teacher: Teacher | None = None,
    ) -> None:
        self._teacher, self._team = teacher, team()
        self._config, self._training, self._anchor, self._seed = config, training, anchor, seed
        self._device, self._layout = pick_device(config.device), memory_format(config.dims)
        channels, classes = training.edges.shape[0], len(training.owners)
        self._net: Net = build_net(config, channels, classes)
        self._critic = Critic(config.net_spec(channels, classes))
        initialise(self._net, torch.Generator().manual_seed(seed.child("generator").seed))
        initialise(self._critic, torch.Generator().manual_seed(seed.child("critic").seed))
        self._net.to(device=self._device, memory_format=self._layout)  # type: ignore[call-overload]
        self._critic.to(device=self._device, memory_format=self._layout)  # type: ignore[call-overload]
        self.averaged = copy.deepcopy(self._net).requires_grad_(requires_grad=False)
        self._adam = torch.optim.Adam(self._net.parameters(), config.learning_rate, _BETAS)
        self._critic_adam = torch.optim.Adam(self._critic.parameters(), config.critic_learning_rate, _BETAS)
        self._undistorted = Distortion((0,) * config.dims, 0.0, 1.0)
        self._edges = training.edges.to(self._device)
        self._table = FigureTable.of(training, anchor)
        self._score_means = (0.0, 0.0)
        self._ramp_steps = max(1, round(config.ramp * config.steps))
        self._told = float(config.conditional)  # weight of the class after the ramp
        if config.compile:  # in place: the names of the weights stay
            self._net.compile()
            self._critic.compile()

    @property
    def shown(self) -> tuple[float, float]:
        """Normalised values to show black and white."""
        return shown_range(self._training.patches.image)

    def train_step(self, step: int) -> dict[str, float]:
        """One step of the discriminator, one of the generator."""
        rng = team().stream(self._seed.child("step", step)).rng()
        count = team().share(self._config.batch_size)
        batch = self._training.draw(count, rng)
        partner = partners(batch.class_index.numpy(), self._config.swap_share, rng)
        donor = donors(batch.class_index.numpy(), partner, rng)
        fresh = torch.as_tensor(rng.random(count) < self._config.fresh_share)
        noise = Noise.draw(self._net, count, rng, self._table.factors)
        other_z = normal((count, self._config.z_size), rng)
        noise.z[:, 0] = self._table.first_of(batch.figures[partner], batch.class_index[partner])
        other_z[:, 0] = noise.z[:, 0]  # it chose the coarse lesion
        noise, other_z = noise.to(self._device), other_z.to(self._device)
        distortion = Distortion.draw(self._config.size, rng) if self._config.distort else self._undistorted
        weight = self.class_weight(step)
        whose = (partner.to(self._device), weight, donor.to(self._device), fresh.to(self._device))
        scene = Scene(batch.to(self._device, self._layout), *whose)
        with mixed_precision(self._device):
            coarse = coarse_of(scene, noise, self._anchor, textured=self._config.coarse == "texture")
            made = self._refine(scene, coarse, noise, self._net)
            critic, real_features = self._critic_step(
                scene, made.detach(), distortion, lecam_on=step + 1 >= self._ramp_steps
            )
            terms = self._terms(scene, made, distortion, real_features)
            if step % 2 == 0:  # a second pass of the network: half as often is enough
                terms["diversity"] = self._diversity(scene, coarse, made, noise.with_z(other_z))
        weights = self._config.weights.model_dump()
        loss = sum((weights.get(name, 1.0) * term for name, term in terms.items()), torch.zeros(()))
        self._adam.zero_grad(set_to_none=True)
        loss.backward()
        average_gradients(self._net.parameters())
        self._adam.step()
        follow(self.averaged, self._net, self._config.ema, step)
        return {"critic": critic, **{name: float(term.detach()) for name, term in terms.items()}}

    def state(self) -> State:
        """Weights, averages and optimisers."""
        return {**states_of(self._parts()), "score_means": list(self._score_means)}

    def restore(self, state: State) -> None:
        """Go on from a state of the same configuration."""
        restore_states(self._parts(), state)
        means = state["score_means"]
        if not isinstance(means, list) or len(means) != 2:
            raise ValueError("score_means is no pair")
        self._score_means = (float(means[0]), float(means[1]))

    def samples(self, seed: SeedTree) -> list[Float[Tensor, "N C *S"]]:
        """Rows of patches to look at: real, coarse, three made of the class, and one made of every class.

        The kept weights draw them, always from the same patches and the same noise.
        """
        return [
            self._sample_row(picked.to(self._device, self._layout), n, rng)
            for picked, n, rng in self._training.to_show(seed)
        ]

    def _sample_row(self, picked: Batch, n: int, rng: np.random.Generator) -> Float[Tensor, "N C *S"]:
        """One row of :meth:`samples`, in the context of patch ``n``."""
        classes = len(self._training.owners)
        own = picked.class_index[[n] * 3].tolist()
        drawn_as = [*own, *range(classes)]
        donors = [
            picked.figures[n],
            *(self._training.pick(c, 1, rng).figures[0].to(self._device) for c in drawn_as[1:]),
        ]
        count = len(drawn_as)
        index = [n] * count
        batch = Batch(
            picked.image[index],
            picked.filled[index],
            picked.distance[index],
            torch.as_tensor(drawn_as, device=self._device),
            at_noise(torch.stack(donors), picked.figures[index][..., NOISE]),
            picked.cumulative[index],
        )
        scene = Scene(batch, torch.arange(count, device=self._device), self._told)
        noise = Noise.draw(self.averaged, count, rng, self._table.factors).to(self._device)
        with torch.no_grad():
            coarse = coarse_of(scene, noise, self._anchor, textured=self._config.coarse == "texture")
            made = self._refine(scene, coarse, noise, self.averaged)
        return torch.cat([batch.image[:1], coarse[:1], made]).float().cpu()

    def vital_signs(self, step: int) -> VitalSigns:
        """How much lesions in one place vary, and what the discriminator says of lesions it has never seen.

        See :class:`medaug.engine.watch.LivingLearner`.
        """
        rng = self._seed.child("signs", step).rng()
        varieties = [self._variety(number, rng) for number in range(len(self._training.owners))]
        return VitalSigns(mean_of_known(varieties), self._scores(step, rng))

    def _variety(self, number: int, rng: np.random.Generator) -> float | None:
        """Of a class: one place, as many draws of figures and noise as real lesions they are compared with."""
        real = self._training.pick(number, _COMPARED, rng).to(self._device, self._layout)
        place = real.at(torch.zeros(_COMPARED, dtype=torch.long))
        donors = self._training.pick(number, _COMPARED, rng).figures.to(self._device)
        scene = Scene(
            replace(place, figures=at_noise(donors, place.figures[..., NOISE])), own(place), self._told
        )
        noise = Noise.draw(self.averaged, _COMPARED, rng, self._table.factors).to(self._device)
        with torch.no_grad():
            coarse = coarse_of(scene, noise, self._anchor, textured=self._config.coarse == "texture")
            made = self._refine(scene, coarse, noise, self.averaged)
        return relative_variety(made.float(), place.distance[:1], real.image, real.distance)

    def _scores(self, step: int, rng: np.random.Generator) -> Scores | None:
        """Of real lesions held back, of real ones of the same classes it learns from, and of made ones."""
        if self._training.unseen is None:
            return None
        numbers = rng.integers(len(self._training.unseen.image), size=_JUDGED)
        unseen = self._training.unseen.at(torch.as_tensor(numbers))
        trained = self._training.alike(unseen, rng).to(self._device, self._layout)
        scene = Scene(trained, own(trained), self.class_weight(step))
        noise = Noise.draw(self._net, _JUDGED, rng, self._table.factors).to(self._device)
        self._critic.eval()  # else every look would move its spectral norms
        with torch.no_grad():
            coarse = coarse_of(scene, noise, self._anchor, textured=self._config.coarse == "texture")
            made = replace(trained, image=self._refine(scene, coarse, noise, self._net))
            three = (trained, unseen.to(self._device, self._layout), made)
            means = [self._mean_score(batch, scene.class_weight) for batch in three]
        self._critic.train()
        return Scores(*means)

    def _mean_score(self, batch: Batch, class_weight: float) -> float:
        told = Conditions(batch.class_index, class_weight, batch.distance)
        scores, _ = self._critic(batch.image, told, feather(batch.distance))
        return float(scores.float().mean())

    def class_weight(self, step: int) -> float:
        """How much of the class the networks are told at a step."""
        return self._told * min(1.0, (step + 1) / self._ramp_steps)

    def _parts(self) -> Parts:
        return {
            "net": self._net,
            "critic": self._critic,
            "averaged": self.averaged,
            "adam": self._adam,
            "critic_adam": self._critic_adam,
        }

    def _refine(self, scene: Scene, coarse: Tensor, noise: Noise, net: Net) -> Tensor:
        """The patches with the made lesions, blended into their hosts."""
        drawn = coarse.contiguous(memory_format=self._layout)
        lesion = drawn + net(drawn, scene.told, noise.z, noise.fields)
        return scene.blended(lesion, scene.ground(noise))

    def _critic_step(
        self, scene: Scene, made: Tensor, distortion: Distortion, *, lecam_on: bool
    ) -> tuple[float, list[Tensor]]:
        """Returns the hinge loss, and feature statistics of the real lesions."""
        batch, count = scene.batch, len(made)
        distance = distortion.maps(torch.cat([batch.distance, batch.distance]))
        index = torch.cat([batch.class_index, batch.class_index[scene.partner]])
        images = distortion.image(torch.cat([batch.image, made]))
        scores, features = self._critic(
            images, Conditions(index, scene.class_weight, distance), feather(distance)
        )
        real, fake = scores.float().split(count)
        hinge = losses.critic_loss(self._config.objective, real, fake)
        loss = hinge
        if lecam_on:
            means = self._score_means
            loss = loss + self._config.weights.lecam * losses.lecam(
                real, fake, real_mean=means[0], made_mean=means[1]
            )
        self._critic_adam.zero_grad(set_to_none=True)
        loss.backward()
        average_gradients(self._critic.parameters())
        self._critic_adam.step()
        fresh = averaged({"real": float(real.detach().mean()), "made": float(fake.detach().mean())})
        kept = [
            _SCORE_DECAY * m + (1 - _SCORE_DECAY) * f
            for m, f in zip(self._score_means, fresh.values(), strict=True)
        ]
        self._score_means = (kept[0], kept[1])
        statistics = losses.feature_statistics(
            [f[:count].detach() for f in features], feather(distance[:count])
        )
        return float(hinge.detach()), statistics

    def _terms(
        self, scene: Scene, made: Tensor, distortion: Distortion, real_features: list[Tensor]
    ) -> dict[str, Tensor]:
        """The terms of the generator's loss, but for diversity."""
        batch, partner = scene.batch, scene.partner
        mask, zone = (batch.distance > 0).to(made.dtype), feather(batch.distance)
        distance = distortion.maps(batch.distance)
        told = Conditions(scene.told.class_index, scene.class_weight, distance)
        self._critic.requires_grad_(
            requires_grad=False
        )  # judged only: its own gradients would be thrown away
        scores, features = self._critic(distortion.image(made), told, distortion.maps(zone))
        self._critic.requires_grad_(requires_grad=True)
        statistics = losses.feature_statistics(features, distortion.maps(zone))
        stays = (partner == torch.arange(len(partner), device=partner.device)).to(made.dtype)
        rebuilt = losses.blurred_l1(made, batch.image, zone)
        cumulative = soft_cumulative(made, mask, self._edges)
        levels, known = losses.by_depth(batch.image, batch.distance)
        made_levels, made_known = losses.by_depth(made, batch.distance)
        shared = known[partner] * made_known
        shared[..., :2] *= stays.reshape(-1, 1, 1)  # outside the lesion only its own surroundings are right
        lively = energies(made, batch.distance) - scene.figures[..., SPREAD:NOISE]
        terms = {
            "adversarial": losses.generator_loss(self._config.objective, scores.float()),
            "blurred_l1": (rebuilt * stays).sum() / stays.sum().clamp(min=1),
            "features": losses.feature_distance(statistics, [level[partner] for level in real_features]),
            "histogram": losses.histogram_distance(cumulative, batch.cumulative[partner]),
            "grain": lively.abs().mean(),
            "rim": losses.depth_distance(made_levels, levels[partner], shared),
        }
        if self._teacher is not None:
            terms["teacher"] = self._teacher.loss(made, scene.told)
        return terms

    def _diversity(self, scene: Scene, coarse: Tensor, made: Tensor, noise: Noise) -> Tensor:
        """How far two z of the same scene are from giving two lesions; on a quarter of the batch."""
        count = max(1, len(made) // 4)
        batch, told = scene.batch.at(torch.arange(count, device=made.device)), scene.told
        few = Conditions(told.class_index[:count], told.class_weight, batch.distance)
        drawn = coarse[:count].contiguous(memory_format=self._layout)
        part = noise.part(0, count)
        lesion = drawn + self._net(drawn, few, part.z, part.fields)
        again = scene.blended(lesion, scene.ground(noise)[:count])
        wanted = _DIVERSITY * scene.figures[:count, :, SPREAD:NOISE].sum(dim=-1) + 0.02
        return losses.lack_of_diversity(made[:count], again, (batch.distance > 0).to(made.dtype), wanted)
